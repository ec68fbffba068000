"""What owning a setting means where replicas share them: its queue is open, and it is collected and delivered.

Order of a hand-over: no new collection, the running one ends or is cut, the POST under way is settled, the queue is
made durable and let go. A collection that was cut is asked again by the next owner; a POST that was not settled in
time is settled by the workspace's position.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from oase_agent.app.own_volumes import OwnVolumes
from oase_agent.coordination.coordinator import Claim
from oase_agent.deliver.deliverer import Deliverer
from oase_agent.errors import AgentError, Reason, SpoolUnavailable
from oase_agent.model import Setting
from oase_agent.schedule.scheduler import Scheduler
from oase_agent.spool.spool import Spool
from oase_agent.telemetry import Telemetry

# What a hand-over leaves to what is under way, in seconds: together below the two seconds of a planned takeover.
_COLLECTION_GRACE_S = 0.4
_POST_GRACE_S = 1.0


class OwnedSettings:
    """The settings that this replica works for. `share` is told all names that must have an owner.

    `own` is None where the replicas share a volume.
    """

    def __init__(
        self,
        spool: Spool,
        scheduler: Scheduler,
        deliverer: Deliverer,
        telemetry: Telemetry,
        own: OwnVolumes | None = None,
    ) -> None:
        self._spool = spool
        self._scheduler = scheduler
        self._deliverer = deliverer
        self._telemetry = telemetry
        self._own = own
        self.share: Callable[[Sequence[str]], None] = lambda _names: None
        self._settings: Sequence[Setting] = ()
        self._left: Sequence[str] = ()
        self._owned: set[str] = set()

    async def settings_changed(self, settings: Sequence[Setting]) -> None:
        """Take in what there is to collect, and share it together with what is left on the volume."""
        self._settings = settings
        self._collect_owned()
        self._share()
        try:
            await self.look_at_volume()
        except OSError as error:
            # What is left there is found when the volume is looked at again.
            why = f"what is left on the volume cannot be listed ({error.strerror})"
            self._telemetry.volume_failed("", SpoolUnavailable(why, Reason.DISK))

    async def look_at_volume(self) -> None:
        """Share what is on the volume, too: batches of settings that are not collected any more. Raises OSError."""
        if self._own is None:
            self._left = await asyncio.to_thread(self._spool.existing_names)
        else:
            self._left = await self._own.left()
        self._share()

    def _share(self) -> None:
        self.share([*(setting.name for setting in self._settings), *self._left])

    async def take(self, claim: Claim) -> None:
        """Open the queue, then collect and deliver. Raises AgentError."""
        name = claim.setting_name
        if self._own is None:
            await asyncio.to_thread(self._spool.take, name, claim.epoch)
        else:
            await self._own.take(claim)
        self._owned.add(name)
        self._collect_owned()
        self._deliverer.admit(name)

    async def hand_over(self, setting_name: str) -> None:
        """Finish what is under way as far as there is time, and make the queue durable."""
        if self._own is not None:
            await self._deliver_rest(setting_name, self._own)
        await self._stop(setting_name, _COLLECTION_GRACE_S, _POST_GRACE_S, save=True)

    async def drop(self, setting_name: str) -> None:
        """Stop at once and write nothing more."""
        await self._stop(setting_name, 0.0, 0.0, save=False)

    async def _stop(self, name: str, collection_s: float, post_s: float, *, save: bool) -> None:
        self._owned.discard(name)
        self._collect_owned()
        stopping: tuple[Awaitable[None], ...] = (
            self._scheduler.finish_one(name, collection_s),
            self._deliverer.release(name, post_s),
        )
        await asyncio.gather(*stopping)
        try:
            if self._own is not None:
                await self._leave_record(name, self._own, is_last=save)
            await asyncio.to_thread(self._spool.let_go, name, save=save)
        except SpoolUnavailable as error:
            self._telemetry.volume_failed(name, error)

    async def _deliver_rest(self, name: str, own: OwnVolumes) -> None:
        """Collect nothing new and deliver what waits: nobody else could."""
        self._owned.discard(name)
        self._collect_owned()
        await self._scheduler.finish_one(name, _COLLECTION_GRACE_S)
        await own.deliver_rest([name])

    async def _leave_record(self, name: str, own: OwnVolumes, *, is_last: bool) -> None:
        """Leave the next owner what it needs, unless the setting is another's by now."""
        own.dropped(name)
        if is_last:
            try:
                await own.entrust(name)
            except AgentError as error:
                # The record before this one stands: what came after it is collected again.
                self._telemetry.volume_failed(name, SpoolUnavailable(str(error), error.reason))

    def _collect_owned(self) -> None:
        self._scheduler.apply([setting for setting in self._settings if setting.name in self._owned])
