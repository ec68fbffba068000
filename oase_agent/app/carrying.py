"""What is told to the other replicas before a POST: that we live, or what the next owner of a setting would need.

Where replicas share a volume, one reading of our member Lease after the commit is the check. Where each has a volume
of its own, a record in the claim is the commit to the others, and writing it is the check (decision 16).
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from oase_agent.coordination.coordinator import Coordinator, RecordKeeper
from oase_agent.deliver.handover import Confirm
from oase_agent.spool.queue import SettingQueue

# Records that are written at a time: as many as moves of settings.
_AT_A_TIME = 16


def confirm_with(coordinator: Coordinator) -> Confirm:
    """Return the check of replicas that share a volume."""

    async def confirm(queues: Sequence[SettingQueue]) -> None:
        await coordinator.confirm(max(queue.changed_at_s for queue in queues))

    return confirm


@dataclass(frozen=True, slots=True)
class Carrier:
    """Writes the records of queues into their claims, one at a time for each setting."""

    coordinator: Coordinator
    records: RecordKeeper
    _slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_AT_A_TIME))
    _turns: dict[str, asyncio.Lock] = field(default_factory=dict)

    async def confirm(self, queues: Sequence[SettingQueue]) -> None:
        """Return when the others know all that these queues hold, and nobody else owns one of them.

        Raises OwnershipLost, CoordinationUnavailable and SpoolUnavailable.
        """
        written = await self.carry(queues)
        known = [queue.changed_at_s for queue, is_new in zip(queues, written, strict=True) if not is_new]
        if known:
            await self.coordinator.confirm(max(known))

    async def carry(
        self, queues: Sequence[SettingQueue], *, max_cursor_lag_s: int | None = None
    ) -> Sequence[bool]:
        """Write the records that are due; return for each queue whether there was one. Raises as `confirm`.

        All are tried; of several errors the first one is raised.
        """
        tasks = [self._carry_one(queue, max_cursor_lag_s) for queue in queues]
        found = await asyncio.gather(*tasks, return_exceptions=True)
        for outcome in found:
            if isinstance(outcome, BaseException):
                raise outcome
        return [outcome is True for outcome in found]

    async def _carry_one(self, queue: SettingQueue, max_cursor_lag_s: int | None) -> bool:
        turn = self._turns.setdefault(queue.setting_name, asyncio.Lock())
        async with turn, self._slots:
            # After our turn came: what was due may have been written by then.
            record = await asyncio.to_thread(queue.succession.due, max_cursor_lag_s=max_cursor_lag_s)
            if record is None:
                return False
            await self.records.carry(queue.setting_name, await asyncio.to_thread(record.text))
            await asyncio.to_thread(queue.succession.told, record)
            return True
