"""What owning a setting means beside `owned_settings.py` where each replica has a volume of its own (decision 16).

A setting is taken with the record in its claim and handed over with one. Batches that are left behind are delivered
by the replica that has them: it asks for their settings, and gets them until these batches are gone.
"""

import asyncio
import contextlib
from collections.abc import Callable, Sequence

from oase_agent.app.carrying import Carrier
from oase_agent.coordination.coordinator import Claim
from oase_agent.coordination.rendezvous import token_of
from oase_agent.deliver.deliverer import Deliverer
from oase_agent.errors import AgentError
from oase_agent.spool.queue import SettingQueue
from oase_agent.spool.spool import Spool
from oase_agent.telemetry.ownership import OwnershipFacts

# What a hand-over leaves to delivering what waits, in seconds.
_DRAIN_S = 0.6
_DRAIN_LOOK_S = 0.05
# Between two looks at what is to be told. What was committed and could not be sent is told within two of them.
_LOOK_S = 1.0
# The cursor of a setting without events is told this often: the next owner asks for no longer a window.
_CURSOR_LAG_S = 3600
# Settings asked for at a time: the texts stand in a Lease that everybody is sent every few seconds.
MAX_WISHES = 256
# After a setting could not be taken, others may own it for so long, in seconds.
_GIVEN_UP_S = 600.0


class OwnVolumes:
    """The part of one replica. `monotonic` is seconds."""

    def __init__(
        self,
        spool: Spool,
        deliverer: Deliverer,
        carrier: Carrier,
        facts: OwnershipFacts,
        monotonic: Callable[[], float],
    ) -> None:
        self._spool = spool
        self._deliverer = deliverer
        self._carrier = carrier
        self._facts = facts
        self._monotonic = monotonic
        # The last batch that was left behind, by settings that are ours until it is delivered.
        self._left_through: dict[str, int] = {}
        self._settled: dict[str, int] = {}
        self._elsewhere: Sequence[str] = ()
        self._given_up: dict[str, float] = {}
        self._was_due: set[str] = set()

    # -- taking and handing over --------------------------------------------------------------------------

    async def take(self, claim: Claim) -> None:
        """Open the queue and go on from the record in the claim. Raises AgentError."""
        name = claim.setting_name
        try:
            inherited = await asyncio.to_thread(self._spool.inherit, name, claim.epoch, claim.record)
            queue = self._spool.queue(name)
            if inherited.must_be_told:
                # From now on nobody begins later than we did: what happens in between would be asked for by nobody.
                await self._carrier.carry([queue])
        except AgentError:
            self._given_up[name] = self._monotonic() + _GIVEN_UP_S
            await asyncio.to_thread(self._spool.let_go, name, save=False)
            raise
        self._given_up.pop(name, None)
        self._facts.inherited(
            name, inherited.kept, inherited.stored, inherited.dropped, inherited.is_unjudged
        )
        place = queue.succession.place
        if inherited.kept and place is not None:
            self._left_through[name] = place.last

    async def deliver_rest(self, names: Sequence[str]) -> None:
        """Wait a moment for what waits of these settings to be delivered, as long as the workspace takes it."""
        wanted = frozenset(names)
        queues = [queue for queue in self._spool.queues() if queue.setting_name in wanted]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_DRAIN_S):
                while any(queue.has_waiting for queue in queues) and self._deliverer.is_delivering:  # noqa: ASYNC110
                    await asyncio.sleep(_DRAIN_LOOK_S)

    async def entrust(self, name: str) -> None:
        """Leave the record for the next owner with the release of the claim. Raises AgentError."""
        self._left_through.pop(name, None)
        record = await asyncio.to_thread(self._spool.queue(name).succession.last)
        if record is not None:
            self._carrier.records.entrust(name, await asyncio.to_thread(record.text))

    def dropped(self, name: str) -> None:
        """Take in that a setting is not ours any more."""
        self._left_through.pop(name, None)

    # -- what was left behind -----------------------------------------------------------------------------

    async def left(self) -> list[str]:
        """Return the settings of which batches wait on this volume without an owner here. Raises OSError."""
        self._elsewhere = await asyncio.to_thread(self._spool.names_with_leftovers)
        self._look_at_ours()
        return [*self._elsewhere, *self._left_through]

    def _look_at_ours(self) -> None:
        """Note which of our settings have batches that nobody else can deliver, and cannot deliver them now."""
        for queue in self._spool.queues():
            name, place = queue.setting_name, queue.succession.place
            if place is None:
                continue
            if place.settled >= self._left_through.get(name, -1):
                self._left_through.pop(name, None)
            if place.settled < place.last and self._settled.get(name) == place.settled:
                # Nothing of it left since the last look.
                self._left_through.setdefault(name, place.last)
            self._settled[name] = place.settled

    def _wishes(self) -> set[str]:
        now_s = self._monotonic()
        names = sorted({*self._elsewhere, *self._left_through})
        wanted = [name for name in names if self._given_up.get(name, now_s) <= now_s]
        return set(map(token_of, wanted[:MAX_WISHES]))

    # -- what is told -------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Tell the others what changed, also when nothing can be sent, until cancelled."""
        while True:
            try:
                await self._carrier.records.wish(self._wishes())
                await self._tell_what_is_due()
            except AgentError as error:
                self._facts.coordination_failed(error)
            await asyncio.sleep(_LOOK_S)

    async def _tell_what_is_due(self) -> None:
        due = [queue for queue in self._spool.queues() if _is_due(queue)]
        names = {queue.setting_name for queue in due}
        # What is new since the last look is about to be sent, and told before that.
        late = [queue for queue in due if queue.setting_name in self._was_due]
        self._was_due = names
        await self._carrier.carry(late, max_cursor_lag_s=_CURSOR_LAG_S)


def _is_due(queue: SettingQueue) -> bool:
    return queue.succession.is_due(max_cursor_lag_s=_CURSOR_LAG_S)
