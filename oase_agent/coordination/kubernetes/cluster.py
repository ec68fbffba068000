"""What is known of all Leases of the agent: listed once, then watched; listed again whenever that ends.

Of others only what we saw change counts, on our own clock: nobody's clock is compared with anybody's. A member is
taken for alive until its Lease did not change for its duration, seen from here (client-go's rule). Silence that may
be our own counts for nobody's death: as long as we hear nothing at all nobody dies, and afterwards everybody's
duration begins anew.
"""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from oase_agent.coordination.kubernetes.api import LeaseApi
from oase_agent.coordination.kubernetes.lease import (
    CLAIM,
    MEMBER,
    RETIRING_ANNOTATION,
    WISHES_ANNOTATION,
    Lease,
)
from oase_agent.errors import CoordinationUnavailable

# After a list or watch that failed, and between two lists, in seconds; with jitter, because all replicas meet the
# same trouble.
_RETRY_S = 2.0
# In leases. Members renew after 0.4 of one: a watch that is silent for longer is dead, whatever the connection says,
# and a list tells what it missed. Who hears nothing then, either, is deaf before anybody could look dead: the last
# sign of a member that lives is at most 0.4 older than the last that we heard of anybody.
_SILENCE_IN_LEASES = 0.45
_DEAF_IN_LEASES = 0.55


@dataclass(slots=True)
class Seen:
    """A Lease, and when its last change was seen, in monotonic seconds."""

    lease: Lease
    at_s: float


class Cluster:
    """The Leases by name, kept up to date by `run`."""

    def __init__(
        self,
        api: LeaseApi,
        *,
        lease_s: float,
        monotonic: Callable[[], float],
        random: Callable[[], float],
    ) -> None:
        self._api = api
        self._lease_s = lease_s
        self._monotonic = monotonic
        self._random = random
        self._seen: dict[str, Seen] = {}
        self._news = asyncio.Event()
        self._listed = asyncio.Event()
        self._heard_at_s = monotonic()
        self.trouble: CoordinationUnavailable | None = None

    # -- what is known ------------------------------------------------------------------------------------

    def member_leases(self) -> list[Seen]:
        """Return the member Leases that somebody holds, dead or alive."""
        return [seen for seen in self._seen.values() if seen.lease.kind == MEMBER and seen.lease.holder]

    def free_slots(self, names: Sequence[str]) -> list[Lease]:
        """Return those of `names` that nobody holds, as they are to be taken."""
        found = (self._seen[name].lease if name in self._seen else Lease(name, MEMBER) for name in names)
        return [lease for lease in found if not lease.holder]

    def is_alive(self, seen: Seen) -> bool:
        """Whether a member may still be at work, as far as we can tell."""
        duration_s = seen.lease.duration_s or self._lease_s
        return self._is_deaf or self._monotonic() - seen.at_s <= duration_s

    @property
    def _is_deaf(self) -> bool:
        return self._monotonic() - self._heard_at_s > self._lease_s * _DEAF_IN_LEASES

    def ranked(self) -> set[str]:
        """Return the members that may be given settings."""
        return {
            seen.lease.holder
            for seen in self.member_leases()
            if self.is_alive(seen) and RETIRING_ANNOTATION not in seen.lease.annotations
        }

    def wishes(self) -> dict[str, frozenset[str]]:
        """Return the tokens of the settings that members ask for, by member."""
        return {
            seen.lease.holder: frozenset(filter(None, seen.lease.annotations[WISHES_ANNOTATION].split(",")))
            for seen in self.member_leases()
            if WISHES_ANNOTATION in seen.lease.annotations
        }

    def claims(self) -> list[Lease]:
        """Return the claims that somebody holds."""
        return [seen.lease for seen in self._seen.values() if seen.lease.kind == CLAIM and seen.lease.holder]

    def lease(self, name: str) -> Lease | None:
        """Return a Lease as it was last seen."""
        seen = self._seen.get(name)
        return None if seen is None else seen.lease

    # -- how it becomes known -----------------------------------------------------------------------------

    def note(self, lease: Lease) -> None:
        """Take in a Lease: what was already known, or is older than that, changes nothing.

        A watch tells what we wrote ourselves after its answer, and what was there before it later still.
        """
        known = self._seen.get(lease.name)
        if known is None or _is_newer(lease.version, known.lease.version):
            lease = lease.without_record()
            self._seen[lease.name] = Seen(lease, self._monotonic())
            # A record in a claim is no news: there is one with every collection of every setting.
            if known is None or lease.kind != CLAIM or replace(known.lease, version=lease.version) != lease:
                self._news.set()

    def forget(self, name: str) -> None:
        """Take in that there is no such Lease."""
        if self._seen.pop(name, None) is not None:
            self._news.set()

    async def listed(self) -> None:
        """Return when all Leases were listed once."""
        await self._listed.wait()

    async def changed(self, timeout_s: float) -> None:
        """Return when something changed since the last call, or after `timeout_s` seconds."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._news.wait(), timeout_s)
        self._news.clear()

    async def run(self) -> None:
        """List and watch until cancelled."""
        while True:
            try:
                version = await self._list()
                self.trouble = None
                self._listed.set()
                began_s = self._monotonic()
                await self._watch(version)
                if self._monotonic() - began_s >= min(_RETRY_S, self._silence_s):
                    continue
            except CoordinationUnavailable as error:
                self.trouble = error
            await asyncio.sleep(_RETRY_S * (0.5 + self._random()))

    @property
    def _silence_s(self) -> float:
        return self._lease_s * _SILENCE_IN_LEASES

    async def _list(self) -> str:
        found: dict[str, Lease] = {}
        asked_at_s = self._monotonic()
        version = more = ""
        while True:
            page = await self._api.list_page(more)
            found |= {lease.name: lease for lease in page.leases}
            # That of the first part: what changes while we read the others is told by the watch.
            version, more = version or page.version, page.more
            if not more:
                break
        self._heard(asked_at_s)
        for name in self._seen.keys() - found.keys():
            # What was created while we asked is not gone.
            if _is_as_new(version, self._seen[name].lease.version):
                self.forget(name)
        for lease in found.values():
            self.note(lease)
        return version

    def _heard(self, asked_at_s: float) -> None:
        """Take in that we hear something; if we had not even asked for long, everybody's duration begins anew."""
        now_s = self._monotonic()
        if asked_at_s - self._heard_at_s > self._lease_s * _DEAF_IN_LEASES:
            for seen in self._seen.values():
                seen.at_s = now_s
        self._heard_at_s = now_s

    async def _watch(self, version: str) -> None:
        async with contextlib.aclosing(self._api.watch(version)) as changes:
            while True:
                try:
                    async with asyncio.timeout(self._silence_s):
                        change = await anext(changes)
                except (StopAsyncIteration, TimeoutError):
                    return
                self._heard(self._monotonic())
                if change.is_deleted:
                    self._deleted(change.lease)
                else:
                    self.note(change.lease)

    def _deleted(self, lease: Lease) -> None:
        known = self._seen.get(lease.name)
        # A deletion has a version of its own: what we know of a later one was created anew.
        if known is not None and _is_as_new(lease.version, known.lease.version):
            self.forget(lease.name)


def _is_newer(version: str, than: str) -> bool:
    """Whether something of this version was written later. Where they are not numbers, what comes later is."""
    if version.isdecimal() and than.isdecimal():
        return int(version) > int(than)
    return version != than


def _is_as_new(version: str, than: str) -> bool:
    return version == than or _is_newer(version, than)
