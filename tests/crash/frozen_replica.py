"""Replicas on one volume: a frozen one, and those that take it for dead by Leases.

The engine is three lines of truth here: who lives, who owns what, and under which epoch. What a replica does with
that is what `coordination/` and `app/owned_settings.py` do: claim, then open the queue above the claim's epoch;
before each POST ask whether it lives; give way when the volume names another owner, and take the setting again if
the claim still stands.
"""

import asyncio
import itertools
from collections.abc import Callable, Sequence

from oase_agent.errors import OwnershipLost, SpoolUnavailable
from oase_agent.spool.queue import SettingQueue
from tests.crash.frozen_owner import Process
from tests.crash.simulated_disk import SimulatedDisk
from tests.crash.story import NAMES
from tests.crash.world import Life, World


class Leases:
    """What the API server knows."""

    def __init__(self) -> None:
        self.living: set[str] = set()
        self._owners: dict[str, str] = {}
        self._epochs: dict[str, int] = {}

    def claim(self, member: str, name: str) -> int | None:
        """Make a member the owner of a setting that no living one owns; return the epoch of its claim."""
        owner = self._owners.get(name)
        if member not in self.living or owner in self.living - {member}:
            return None
        if owner != member:
            self._owners[name] = member
            self._epochs[name] = self._epochs.get(name, 0) + 1
        return self._epochs[name]


class ReplicaLife(Life):
    """One life of one replica; `ask` is called around each request to the engine, with whether it is after it."""

    def __init__(
        self,
        world: World,
        disk: SimulatedDisk,
        loop: asyncio.AbstractEventLoop,
        *,
        leases: Leases,
        member: str,
        ask: Callable[[bool], None] = lambda _is_after: None,
    ) -> None:
        super().__init__(world, disk, loop, self._confirm)
        # The lock of the directory is a real file, which a disk in memory does not have.
        self.spool._is_shared = True
        self.spool.when_taken_over(lambda name, _error: self._knocked_out.append(name))
        self._leases = leases
        self._ask = ask
        self.held: set[str] = set()
        self._knocked_out: list[str] = []
        self.member = member
        # Settings that were taken again because the volume named another owner and our claim stood.
        self.taken_again: list[str] = []
        for name in NAMES:
            self._take(name)

    def collect(self, name: str) -> None:
        """Collect what is ours."""
        if name in self.held:
            super().collect(name)
        self._give_way()

    def deliver(self, *names: str) -> bool:
        """Deliver what is ours."""
        found = super().deliver(*self.held.intersection(names))
        self._give_way()
        return found

    async def _confirm(self, _queues: Sequence[SettingQueue]) -> None:
        self._ask(False)
        lives = self.member in self._leases.living
        self._ask(True)
        if not lives:
            raise OwnershipLost("taken for dead")

    def _take(self, name: str) -> bool:
        self._ask(False)
        epoch = self._leases.claim(self.member, name)
        self._ask(True)
        if epoch is None:
            return False
        try:
            self.spool.take(name, epoch)
        except SpoolUnavailable:
            return False
        self.held.add(name)
        return True

    def _give_way(self) -> None:
        while self._knocked_out:
            name = self._knocked_out.pop()
            self.spool.let_go(name, save=False)
            self._courses.pop(name, None)
            self.held.discard(name)
            if self._take(name):
                self.taken_again.append(name)


class Replicas:
    """A replica that may freeze, and others, each of which takes those before it for dead."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.leases = Leases()
        # Of the first one after it was taken for dead.
        self.late_posts = 0
        self._owner: Process | None = None
        # In the order in which they were begun; one that froze at once works later than the next one.
        self.lives: list[ReplicaLife] = []
        self._numbers = itertools.count()

    def owner(self, process: Process, loop: asyncio.AbstractEventLoop) -> Life:
        """Begin the life of the first replica."""
        self._owner = process
        self._world.on_post = self._count
        return self._replica(process.disk, loop, lambda is_after: process.lease_at(is_after=is_after))

    def successor(self, disk: SimulatedDisk, loop: asyncio.AbstractEventLoop) -> Life:
        """Take the member Leases of all others, then begin a life that claims their settings (rule K1)."""
        self.leases.living.clear()
        return self._replica(disk, loop, lambda _is_after: None)

    def _count(self) -> None:
        assert self._owner is not None
        self.late_posts += self._owner.was_frozen and self._owner.is_current

    def _replica(
        self, disk: SimulatedDisk, loop: asyncio.AbstractEventLoop, ask: Callable[[bool], None]
    ) -> Life:
        member = f"replica-{next(self._numbers)}"
        self.leases.living.add(member)
        life = ReplicaLife(self._world, disk, loop, leases=self.leases, member=member, ask=ask)
        self.lives.append(life)
        self.lives.sort(key=lambda life: life.member)
        return life
