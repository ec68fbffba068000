"""Our own member Lease: a slot that is taken, renewed, and given up (durability study section 5, rules 1 and 4).

A renewal counts from before it was sent: that is the latest moment at which others can begin to count. We stop
being sure of our membership well before they may take us for dead. Whoever takes us for dead first replaces our
Lease; our next renewal then fails, however long we slept.
"""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import NoReturn

from oase_agent.coordination.kubernetes.api import LeaseApi
from oase_agent.coordination.kubernetes.cluster import Cluster
from oase_agent.coordination.kubernetes.lease import (
    POD_ANNOTATION,
    RETIRING_ANNOTATION,
    WISHES_ANNOTATION,
    Lease,
)
from oase_agent.errors import CoordinationUnavailable, OwnershipLost, Reason


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds, in client-go's proportions: others wait for `lease_s`, we are sure for `deadline_s`.

    Between two renewals are `renew_s`, after one that failed `retry_s`. A renewal every ten seconds is 0.1 PUT/s.
    """

    lease_s: float
    deadline_s: float
    renew_s: float
    retry_s: float

    @classmethod
    def of(cls, lease_s: float) -> "Timing":
        """Return the proportions for a lease: a renewal may fail twice before we are not sure any more."""
        return cls(lease_s, lease_s * 0.72, lease_s * 0.4, lease_s * 0.08)


@dataclass(frozen=True, slots=True)
class Clocks:
    """`monotonic` counts while the host sleeps, `wall` is epoch seconds; `random` gives [0, 1)."""

    monotonic: Callable[[], float]
    wall: Callable[[], float]
    random: Callable[[], float]


# A wall clock that moved apart from the monotonic one by more than this: the machine may have been stopped as a
# whole, with all its clocks (durability study section 5, rule 1).
_CLOCK_JUMP_S = 5.0


class Membership:
    """One membership after the other: each has a name of its own, and ends for good.

    `slots` are the names of the member Leases, of which one is taken.
    """

    def __init__(
        self,
        api: LeaseApi,
        cluster: Cluster,
        slots: Sequence[str],
        *,
        pod_name: str,
        timing: Timing,
        clocks: Clocks,
    ) -> None:
        self._api = api
        self._cluster = cluster
        self._slots = slots
        self._pod_name = pod_name
        self._timing = timing
        self._clocks = clocks
        self._lease: Lease | None = None
        self._renewed_at_s = 0.0
        self._clock_offset_s = 0.0
        self._turn = asyncio.Lock()
        self.name = ""
        # When this membership began, monotonic seconds.
        self.began_at_s = float("-inf")

    @property
    def is_sure(self) -> bool:
        """Whether nobody can have taken us for dead, as far as our clocks tell."""
        if self._lease is None:
            return False
        age_s = self._clocks.monotonic() - self._renewed_at_s
        has_jumped = abs(self._offset_s() - self._clock_offset_s) > _CLOCK_JUMP_S
        return age_s < self._timing.deadline_s and not has_jumped

    async def join(self, name: str) -> None:
        """Be a member again if nobody took us for dead; else take a free slot under a new name.

        Raises CoordinationUnavailable if all slots are taken.
        """
        if self._lease is not None:
            with contextlib.suppress(OwnershipLost):
                await self.renew()
                return
        async with self._turn:
            for free in self._cluster.free_slots(self._slots):
                if await self._take(free, name):
                    return
        raise CoordinationUnavailable(
            f"All {len(self._slots)} slots for replicas are taken: this one waits for one to become free. Raise "
            "COORDINATION_SLOTS, and the slots of the chart's Role, for more replicas.",
            Reason.STANDBY,
        )

    async def _take(self, free: Lease, name: str) -> bool:
        began_s = self._clocks.monotonic()
        annotations = MappingProxyType({POD_ANNOTATION: self._pod_name})
        duration_s = max(1, round(self._timing.lease_s))
        wanted = replace(free, duration_s=duration_s, annotations=annotations).held_by(name)
        taken = await (self._api.replace(wanted) if free.version else self._api.create(wanted))
        if taken is None:
            return False
        self.name, self.began_at_s = name, began_s
        self._keep(taken, began_s)
        return True

    async def run(self) -> None:
        """Renew until cancelled."""
        while True:
            wait_s = self._timing.renew_s
            if self._lease is not None:
                try:
                    await self.renew()
                except OwnershipLost:
                    pass  # whoever looks at `is_sure` sees it
                except CoordinationUnavailable:
                    wait_s = self._timing.retry_s
            await asyncio.sleep(wait_s * (0.9 + 0.1 * self._clocks.random()))

    async def renew(self) -> None:
        """Renew once. Raises OwnershipLost if we were taken for dead, and CoordinationUnavailable."""
        await self._replace(lambda lease: lease)

    async def retire(self) -> None:
        """Tell the others to give us no more settings. Raises OwnershipLost and CoordinationUnavailable."""
        retiring = {POD_ANNOTATION: self._pod_name, RETIRING_ANNOTATION: "true"}
        await self._replace(lambda lease: replace(lease, annotations=MappingProxyType(retiring)))

    async def wish(self, wishes: str) -> None:
        """Tell the others what we ask for, if they do not know. Raises OwnershipLost and CoordinationUnavailable."""
        lease = self._lease
        if lease is None or RETIRING_ANNOTATION in lease.annotations:
            return
        if lease.annotations.get(WISHES_ANNOTATION, "") != wishes:
            annotations = {POD_ANNOTATION: self._pod_name, **({WISHES_ANNOTATION: wishes} if wishes else {})}
            await self._replace(lambda lease: replace(lease, annotations=MappingProxyType(annotations)))

    async def confirm(self) -> None:
        """Ask the API server whether our Lease is still ours. Raises OwnershipLost and CoordinationUnavailable."""
        lease = self._lease
        found = None if lease is None else await self._api.get(lease.name)
        if lease is None or found is None or found.holder != lease.holder:
            self._lost(lease)
        # It was renewed meanwhile, or is what we know: in both cases it is ours.
        self._cluster.note(found)

    async def leave(self) -> None:
        """Give the slot up. Raises OwnershipLost and CoordinationUnavailable: then others find out by themselves."""
        try:
            await self._replace(_given_up)
        finally:
            self._lease = None

    async def bury(self, dead: Lease) -> None:
        """Take the slot from a member that gave no sign for its lease, before any of its settings is claimed.

        Does nothing if it gave a sign meanwhile, or another member was faster. Raises CoordinationUnavailable.
        """
        buried = await self._api.replace(_given_up(dead))
        if buried is None:
            buried = await self._api.get(dead.name)
        if buried is not None:
            self._cluster.note(buried)

    async def _replace(self, change: Callable[[Lease], Lease]) -> None:
        async with self._turn:
            lease = self._lease
            if lease is None:
                self._lost(None)
            began_s = self._clocks.monotonic()
            renewed = await self._api.replace(change(lease))
            if renewed is None:
                # An answer that was lost may have been our own renewal.
                found = await self._api.get(lease.name)
                if found is None or found.holder != lease.holder:
                    self._lost(lease)
                began_s = self._clocks.monotonic()
                renewed = await self._api.replace(change(found))
            if renewed is None:
                self._lost(lease)
            self._keep(renewed, began_s)

    def _keep(self, lease: Lease, began_s: float) -> None:
        self._lease = lease
        self._renewed_at_s = began_s
        self._clock_offset_s = self._offset_s()
        self._cluster.note(lease)

    def _lost(self, lease: Lease | None) -> NoReturn:
        # Not a membership that was begun while the answer about an earlier one was under way.
        if lease is not None and self._lease is not None and self._lease.holder == lease.holder:
            self._lease = None
        raise OwnershipLost(
            "The other replicas took this one for dead: its member Lease was given to nobody."
        )

    def _offset_s(self) -> float:
        return self._clocks.wall() - self._clocks.monotonic()


def _given_up(lease: Lease) -> Lease:
    return replace(lease.held_by(""), annotations=MappingProxyType({}))
