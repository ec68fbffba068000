"""An owner that freezes in the middle of the story, another process that takes over, and the thaw.

The frozen process is a thread that waits: it and the one that took over share the volume, the workspace and the
clock, and never run at the same time. What it does after the thaw, it does in good faith. Time passes while it is
frozen, and the sources have news, so that what the new owner collects is not what the old one was about to commit.
"""

import asyncio
import contextlib
import itertools
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from oase_agent.errors import SpoolUnavailable
from tests.crash.simulated_disk import Point, SimulatedDisk, Stop
from tests.crash.story import MAX_ROUNDS, NAMES, STORY, InWorld, faults_of, finish, is_done
from tests.crash.world import Life, World, new_loop

# How often the thawed owner tries to go on.
_ROUNDS_AFTER_THAW = 2
_PATIENCE_S = 30.0
_FROZEN_S = 7.0


@dataclass(frozen=True, slots=True)
class Freeze:
    """Where the owner stops: at a call of its disk, or around one of its requests; counted from 0.

    With `is_lease` the request is one to the engine by which replicas share the settings.
    """

    point: Point
    is_request: bool = False
    is_lease: bool = False


class Process:
    """One life in a thread of its own that runs only when it is let."""

    def __init__(self, world: World, disk: SimulatedDisk, freeze: Freeze | None) -> None:
        self.disk = disk
        self._freeze = freeze
        self._may_run = threading.Semaphore(0)
        self._is_frozen = threading.Semaphore(0)
        self.was_frozen = False
        self.is_over = False
        self.requests = 0
        self.lease_requests = 0
        self.world = world
        if freeze is not None and not (freeze.is_request or freeze.is_lease):
            disk.pause_at, disk.pause = freeze.point, self._pause

    def start(self, work: Callable[["Process"], None]) -> None:
        """Run `work` until it freezes or ends."""

        def run() -> None:
            self._may_run.acquire()
            try:
                work(self)
            finally:
                self.is_over = True
                self._is_frozen.release()

        self._thread = threading.Thread(target=run, daemon=True)
        self._thread.start()
        self.go_on()

    def go_on(self) -> None:
        """Let it run until it freezes or ends."""
        self._may_run.release()
        assert self._is_frozen.acquire(timeout=_PATIENCE_S)

    def end(self) -> None:
        """Let it go on until it ends, if it is frozen."""
        if not self.is_over:
            self.go_on()
            assert self.is_over

    @property
    def is_current(self) -> bool:
        """Whether the caller runs in this process."""
        return threading.current_thread() is self._thread

    def request_at(self, *, is_after: bool) -> None:
        """Count a request as it leaves, or its answer as it comes, and freeze there if that is the point."""
        if not self.is_current:
            return
        self.requests += not is_after
        if self._freeze == Freeze(Point(self.requests - 1, is_after), is_request=True):
            self._pause()

    def lease_at(self, *, is_after: bool) -> None:
        """Count a request to the engine of coordination like one to the workspace."""
        self.lease_requests += not is_after
        if self._freeze == Freeze(Point(self.lease_requests - 1, is_after), is_lease=True):
            self._pause()

    def _pause(self) -> None:
        self.was_frozen = True
        self._is_frozen.release()
        self._may_run.acquire()


class Company(Protocol):
    """Who lives on a volume, one after the other."""

    def owner(self, process: Process, loop: asyncio.AbstractEventLoop) -> Life:
        """Begin the life that may freeze, in its own process."""
        ...

    def successor(self, disk: SimulatedDisk, loop: asyncio.AbstractEventLoop) -> Life:
        """Begin the life that takes over from all before it."""
        ...


class Agents:
    """Agents that take each other for dead by a lock that was lost."""

    def __init__(self, world: World) -> None:
        self._world = world

    def owner(self, process: Process, loop: asyncio.AbstractEventLoop) -> Life:
        """Own everything."""
        return Life(self._world, process.disk, loop)

    def successor(self, disk: SimulatedDisk, loop: asyncio.AbstractEventLoop) -> Life:
        """Own everything."""
        return Life(self._world, disk, loop)


@dataclass(slots=True)
class _Progress:
    step: int = 0


@dataclass(frozen=True, slots=True)
class Thaw:
    """When the frozen owner goes on: as the new owner's request of this number, counted from 0, is about to leave.

    None = when the story is over. With `new_owner_dies` the new owner is killed then, and a third one goes on.
    """

    at_request: int | None = None
    new_owner_dies: bool = False


class FrozenTeller:
    """Runs the story with an owner that freezes once; `company` tells who it is, and who takes over."""

    def __init__(self, loop: asyncio.AbstractEventLoop, company: Callable[[World], Company] = Agents) -> None:
        self._loop = loop
        self._new_company = company

    def tell(self, freeze: Freeze | None, thaw: Thaw = Thaw()) -> tuple[tuple[str, ...], Process]:
        """Tell the story; return what is wrong at its end, and the process that was frozen.

        At the very end one more life recovers what all of them have left.
        """
        world = World()
        for name in NAMES:
            world.add_setting(name)
        disk = SimulatedDisk()
        owner = Process(world, disk, freeze)
        company = self._new_company(world)
        progress = _Progress()
        world.on_request = lambda: owner.request_at(is_after=False)
        world.on_answer = lambda: owner.request_at(is_after=True)
        owner.start(lambda process: _own(process, company, progress))
        if owner.was_frozen:
            self._take_over(world, owner, company, thaw, progress)
        last = Life(world, disk.shared(), self._loop)
        _to_the_end(last)
        return tuple(faults_of(world, last)), owner

    def _take_over(
        self, world: World, owner: Process, company: Company, thaw: Thaw, progress: _Progress
    ) -> None:
        world.now_s += _FROZEN_S
        for name in NAMES:
            world.make(name, f"{name}-meanwhile")
        remaining = itertools.count(0 if thaw.at_request is None else -thaw.at_request)

        def on_request() -> None:
            owner.request_at(is_after=False)
            if not owner.is_current and thaw.at_request is not None and next(remaining) == 0:
                owner.end()
                if thaw.new_owner_dies:
                    raise Stop

        world.on_request = on_request
        try:
            _tell_on(company.successor(owner.disk.shared(), self._loop), progress)
        except Stop:
            _tell_on(company.successor(owner.disk.shared(), self._loop), progress)
        owner.end()


def _tell_on(life: Life, progress: _Progress) -> None:
    for place, step in enumerate(STORY[progress.step :], start=progress.step):
        progress.step = place
        if isinstance(step, InWorld):
            step.happen(life.world)
        else:
            step.do(life)
    progress.step = len(STORY)
    _to_the_end(life)


def _own(process: Process, company: Company, progress: _Progress) -> None:
    """Live the story until frozen; after the thaw go on for a while, as an owner that knows of nothing would."""
    loop = new_loop()
    life = company.owner(process, loop)
    for place, step in enumerate(STORY if not process.was_frozen else ()):
        if isinstance(step, InWorld):
            progress.step = place + 1
            step.happen(process.world)
            continue
        progress.step = place
        with contextlib.suppress(SpoolUnavailable):
            step.do(life)
        if process.was_frozen:
            break
    for _ in range(_ROUNDS_AFTER_THAW if process.was_frozen else MAX_ROUNDS):
        if process.was_frozen:
            # What it was about to send comes first: collecting would tell it that it was replaced.
            with contextlib.suppress(SpoolUnavailable):
                life.deliver(*NAMES)
        with contextlib.suppress(SpoolUnavailable):
            finish(life)
        if not process.was_frozen and is_done(life):
            break
    loop.close()


def _to_the_end(life: Life) -> None:
    for _ in range(MAX_ROUNDS):
        life.world.now_s += 3
        finish(life)
        if is_done(life):
            break
