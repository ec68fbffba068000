"""Replicas that share one directory: what runs beside the usual parts, and in which order it starts and ends."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from oase_agent.app.coordination import Coordination, boottime
from oase_agent.app.own_volumes import OwnVolumes
from oase_agent.app.owned_settings import OwnedSettings
from oase_agent.coordination.sharing import Clock, Sharing
from oase_agent.deliver.deliverer import Deliverer
from oase_agent.errors import OwnershipLost
from oase_agent.model import Setting
from oase_agent.schedule.scheduler import Scheduler
from oase_agent.spool.spool import Spool
from oase_agent.telemetry import Telemetry

# What a stop leaves to handing over everything, in seconds; what is under way was finished before.
_LEAVE_S = 1.0


@dataclass(frozen=True, slots=True)
class Shared:
    """The parts that only an agent with coordination has."""

    coordination: Coordination
    sharing: Sharing
    owned: OwnedSettings
    own: OwnVolumes | None

    def try_begin(self, spool: Spool, *, is_alone: bool) -> bool:
        """Use the directory as replicas do; False while others have it who do not share. Blocks.

        `is_alone` tells that this process has locked it. Raises OSError and SpoolUnavailable.
        """
        if self.own is None:
            # The first replica was alone until now: nobody else took anything over meanwhile.
            return spool.try_share()
        if is_alone:
            spool.share_alone()
        return is_alone

    async def run(self) -> None:
        """Share until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.sharing.run(), name="own settings")
            if self.own is not None:
                tasks.create_task(self.own.run(), name="carry cursors")

    async def deliver_rest(self) -> None:
        """Wait a moment for what waits to be delivered, where no other replica could deliver it."""
        if self.own is not None:
            await self.own.deliver_rest(list(self.sharing.held))

    async def leave(self) -> None:
        """Hand everything over, as far as there is time, and stop being a replica."""
        await self.sharing.leave(_LEAVE_S)

    async def settings_changed(self, settings: Sequence[Setting]) -> None:
        """Take in what there is to collect."""
        await self.owned.settings_changed(settings)

    def listen_to(self, spool: Spool) -> None:
        """Take in, from any thread, that the volume names another owner of a setting."""
        loop = asyncio.get_running_loop()

        def tell(setting_name: str, _error: OwnershipLost) -> None:
            loop.call_soon_threadsafe(self.sharing.lost, setting_name)

        spool.when_taken_over(tell)


def share(
    coordination: Coordination, spool: Spool, scheduler: Scheduler, deliverer: Deliverer, telemetry: Telemetry
) -> Shared:
    """Tie the engine to the parts that work for the settings."""
    carrier = coordination.carrier
    own = None
    if carrier is not None:
        own = OwnVolumes(spool, deliverer, carrier, coordination.facts, boottime)
    owned = OwnedSettings(spool, scheduler, deliverer, telemetry, own)
    clock = Clock(time.time, boottime)
    sharing = Sharing(coordination.coordinator, owned, coordination.facts, clock)
    owned.share = sharing.want
    return Shared(coordination, sharing, owned, own)
