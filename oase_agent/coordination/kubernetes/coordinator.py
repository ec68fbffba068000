"""A member among replicas that Leases coordinate (durability study section 5).

K1 A dead member's Lease is taken from it before any of its settings is claimed: whoever only slept learns it with its
   next renewal, and with the check before its next POST.
K2 A claim is written only when the setting changes hands, against the version that was seen: of two that try, one
   succeeds. Its transitions are the epoch of what the owner writes.
   Where records are kept, it is also written whenever there is a new one (see records.py).
K3 Before a POST our own member Lease is read, after the commit of what is sent; one reading serves all settings.
"""

import asyncio
import contextlib
import secrets
from collections.abc import Collection
from types import MappingProxyType

from oase_agent.coordination.coordinator import Claim, View
from oase_agent.coordination.kubernetes.api import LeaseApi
from oase_agent.coordination.kubernetes.cluster import Cluster
from oase_agent.coordination.kubernetes.lease import CLAIM, SETTING_ANNOTATION, Lease, claim_name, member_name
from oase_agent.coordination.kubernetes.membership import Clocks, Membership, Timing
from oase_agent.coordination.kubernetes.records import Records
from oase_agent.errors import AgentError, CoordinationUnavailable, OwnershipLost, Reason

# Between two readings of our own Lease, in seconds: what was committed in between waits for the next one.
_CHECK_EVERY_S = 0.5
# A reading is believed for this long when nothing new was committed.
_CHECK_LASTS_S = 1.0
# A stop does not wait longer for the API server: the others find out by themselves.
_LEAVE_S = 1.0


class KubernetesCoordinator:
    """See the module's text. `base` begins the names of the Leases, `slots` is how many replicas there may be."""

    def __init__(
        self,
        api: LeaseApi,
        base: str,
        *,
        slots: int,
        pod_name: str,
        timing: Timing,
        clocks: Clocks,
        keeps_records: bool = False,
    ) -> None:
        self._api = api
        self._base = base
        self._pod_name = pod_name
        self._clocks = clocks
        self._cluster = Cluster(api, lease_s=timing.lease_s, monotonic=clocks.monotonic, random=clocks.random)
        self._membership = Membership(
            api,
            self._cluster,
            [member_name(base, slot) for slot in range(slots)],
            pod_name=pod_name,
            timing=timing,
            clocks=clocks,
        )
        self._records = Records(api, self._cluster) if keeps_records else None
        self._timing = timing
        self._is_retired = False
        self._tasks: list[asyncio.Task[None]] = []
        self._checking = asyncio.Lock()
        self._checked_at_s = float("-inf")
        self._checked_as = ""

    @property
    def name(self) -> str:
        """The name of this membership: pod and a number drawn for it."""
        return self._membership.name

    @property
    def is_sure(self) -> bool:
        """Whether nobody can have taken this member for dead."""
        return self._membership.is_sure

    async def join(self) -> None:
        """Become a member: under the name of before if nobody took us for dead. Raises CoordinationUnavailable."""
        if not self._tasks:
            await self._api.__aenter__()
            self._tasks = [
                asyncio.create_task(self._cluster.run(), name="watch leases"),
                asyncio.create_task(self._membership.run(), name="renew lease"),
            ]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._timing.retry_s):
                await self._cluster.listed()
        if self._cluster.trouble is not None:
            raise self._cluster.trouble
        await self._bury_dead()
        await self._membership.join(f"{self._pod_name}_{secrets.token_hex(6)}")

    async def view(self) -> View:
        """Return the living members, and who owns what. Raises CoordinationUnavailable."""
        for task in self._tasks:
            if task.done():
                task.result()  # raises why it ended, which it never should
        if self._cluster.trouble is not None:
            raise self._cluster.trouble
        await self._bury_dead()
        holders = {seen.lease.holder for seen in self._cluster.member_leases()}
        owners = {
            claim.setting_name: claim.holder for claim in self._cluster.claims() if claim.holder in holders
        }
        ranked = self._cluster.ranked() - ({self.name} if self._is_retired else set())
        return View(frozenset(ranked), MappingProxyType(owners), MappingProxyType(self._cluster.wishes()))

    async def changed(self, timeout_s: float) -> None:
        """Return when a Lease changed, or after `timeout_s`."""
        await self._cluster.changed(timeout_s)

    async def claim(self, setting_name: str) -> Claim | None:
        """Become the owner of a setting that is free, or ours; None if another member was faster.

        Raises CoordinationUnavailable.
        """
        self._must_be_sure()
        name = claim_name(self._base, setting_name)
        seen = self._cluster.lease(name) or Lease(
            name, CLAIM, annotations=MappingProxyType({SETTING_ANNOTATION: setting_name})
        )
        known = await self._whole(seen)
        if known is None:
            return None
        if known.holder == self.name:
            return self._claimed(setting_name, known)
        wanted = known.held_by(self.name)
        taken = await (self._api.replace(wanted) if known.version else self._api.create(wanted))
        if taken is None:
            # What was known was old: the next look is at what is there.
            await self._look_at(name)
            return None
        self._cluster.note(taken)
        return self._claimed(setting_name, taken)

    def _claimed(self, setting_name: str, lease: Lease) -> Claim:
        if self._records is None:
            return Claim(setting_name, lease.transitions)
        self._records.keep(lease)
        return Claim(setting_name, lease.transitions, lease.record)

    async def _whole(self, seen: Lease) -> Lease | None:
        """Return a claim as it is to be written again; None if it was changed since it was seen."""
        return seen if self._records is None or not seen.version else await self._records.whole(seen)

    async def release(self, setting_name: str) -> None:
        """Let others own a setting. Raises CoordinationUnavailable."""
        name = claim_name(self._base, setting_name)
        known = self._cluster.lease(name)
        while known is not None and known.holder == self.name:
            whole = await self._whole(known)
            released = None if whole is None else await self._api.replace(self._released(whole))
            if released is not None:
                self._cluster.note(released)
                break
            await self._look_at(name)
            known = self._cluster.lease(name)
        if self._records is not None:
            self._records.forget(name)

    def _released(self, whole: Lease) -> Lease:
        return whole.held_by("") if self._records is None else self._records.released(whole)

    async def carry(self, setting_name: str, record: str) -> None:
        """Let the next owner of a setting of ours find this record, and prove thereby that nobody else owns it.

        Raises OwnershipLost and CoordinationUnavailable.
        """
        assert self._records is not None, "this coordinator keeps no records"
        self._must_be_sure()
        await self._records.write(claim_name(self._base, setting_name), self.name, record)
        # It may have taken long: then somebody may be about to take our settings.
        self._must_be_sure()

    def entrust(self, setting_name: str, record: str) -> None:
        """Let the next `release` of a setting carry this record. Raises CoordinationUnavailable."""
        assert self._records is not None, "this coordinator keeps no records"
        self._records.entrust(claim_name(self._base, setting_name), record)

    async def wish(self, tokens: Collection[str]) -> None:
        """Ask for the settings with these tokens, and for no others.

        Raises OwnershipLost and CoordinationUnavailable.
        """
        await self._membership.wish(",".join(sorted(tokens)))

    async def confirm(self, since_s: float) -> None:
        """Return if our member Lease was ours at a moment after `since_s`, monotonic seconds, and not long ago.

        What was committed in an earlier membership is not confirmed in this one: its owner was taken for dead.
        Raises OwnershipLost and CoordinationUnavailable.
        """
        async with self._checking:
            if since_s < self._membership.began_at_s:
                raise OwnershipLost("The other replicas took this one for dead since this was committed.")
            now_s = self._clocks.monotonic()
            is_young = now_s - self._checked_at_s < _CHECK_LASTS_S and self._checked_as == self.name
            if is_young and self._checked_at_s > since_s:
                self._must_be_sure()
                return
            await asyncio.sleep(max(0.0, self._checked_at_s + _CHECK_EVERY_S - now_s))
            name, began_s = self.name, self._clocks.monotonic()
            self._must_be_sure()
            await self._membership.confirm()
            self._checked_as, self._checked_at_s = name, began_s

    async def retire(self) -> None:
        """Be given no more settings. Raises OwnershipLost and CoordinationUnavailable."""
        self._is_retired = True
        await self._membership.retire()

    async def leave(self) -> None:
        """Give up the slot, which frees what was not released."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        try:
            with contextlib.suppress(AgentError, TimeoutError):
                async with asyncio.timeout(_LEAVE_S):
                    await self._membership.leave()
        finally:
            if self._tasks:
                self._tasks = []
                await self._api.__aexit__(None, None, None)

    async def _bury_dead(self) -> None:
        """Take their slots from members that gave no sign for their lease (rule K1)."""
        for seen in self._cluster.member_leases():
            if seen.lease.holder != self.name and not self._cluster.is_alive(seen):
                await self._membership.bury(seen.lease)

    async def _look_at(self, name: str) -> None:
        found = await self._api.get(name)
        if found is None:
            self._cluster.forget(name)
        else:
            self._cluster.note(found)

    def _must_be_sure(self) -> None:
        if not self.is_sure:
            raise CoordinationUnavailable(
                "This replica is not sure of its membership: its Lease could not be renewed in time.",
                Reason.NOT_OWNER,
            )
