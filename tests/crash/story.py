"""The scripted story that is stopped at every call, and what must be true when it ends."""

import asyncio
import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from oase_agent.errors import SpoolUnavailable
from oase_agent.spool.collection_file import BatchLimits
from tests.crash.simulated_disk import Loss, Point, SimulatedDisk, Stop
from tests.crash.world import START_S, Life, World

# What happens in the world happens once; what a life does is begun again by the next life.
Step = Callable[[World], None] | Callable[[Life], None]
NAMES = ("a", "b")
# A life that cannot finish the story in this many rounds is stuck.
MAX_ROUNDS = 40


@dataclass(frozen=True, slots=True)
class InWorld:
    """Something that happens whether an agent lives or not."""

    happen: Callable[[World], None]


@dataclass(frozen=True, slots=True)
class InLife:
    """Something that an agent does."""

    do: Callable[[Life], object]


def _make(name: str, *ids: str, **fields: object) -> InWorld:
    return InWorld(lambda world: world.make(name, *ids, **fields))


def _lose(*, requests: int = 0, answers: int = 0) -> InWorld:
    def lose(world: World) -> None:
        world.lost_requests, world.lost_answers = requests, answers

    return InWorld(lose)


def _pass(seconds: float) -> InWorld:
    def pass_(world: World) -> None:
        world.now_s += seconds

    return InWorld(pass_)


def _collect(name: str) -> InLife:
    return InLife(lambda life: life.collect(name))


def _deliver(*names: str) -> InLife:
    return InLife(lambda life: life.deliver(*names))


STORY: tuple[InWorld | InLife, ...] = (
    # A former agent of the same name was ahead of our clock.
    InWorld(lambda world: world.foreign_writer("b", START_S + 500)),
    # An empty collection, then one of a single event, delivered.
    _collect("a"),
    _pass(3),
    _make("a", "a1"),
    _collect("a"),
    _deliver("a"),
    # Both settings in one request, and nothing new.
    _pass(3),
    _make("a", "a2", "a3"),
    _make("b", "b1"),
    _collect("a"),
    _collect("b"),
    _deliver("a", "b"),
    _collect("a"),
    # A collection of several batches; the answer to its first request is lost after storing.
    _pass(3),
    _make("a", *(f"a{number}" for number in range(4, 10))),
    _collect("a"),
    _lose(answers=1),
    _deliver("a"),
    _deliver("a"),
    # The clock goes back; a request is lost before storing; collections pile up meanwhile.
    _pass(-50),
    _make("b", "b2"),
    _collect("b"),
    _lose(requests=1),
    _deliver("b"),
    _pass(3),
    _make("b", "b3"),
    _collect("b"),
    _deliver("b"),
    # An event that the workspace cannot store, among others that it can.
    _make("a", "a10"),
    _make("a", "a11", poison=True),
    _make("a", "a12"),
    _collect("a"),
    *[_deliver("a")] * 4,
    # An event whose value is set aside when it is collected.
    _pass(3),
    _make("b", "b4", value=2**70),
    _make("b", "b5"),
    _collect("b"),
    _deliver("b"),
    _pass(3),
    _make("a", "a13"),
    _collect("a"),
    _deliver("a", "b"),
)

EXPECTED_DEAD = {"a": ["a11"], "b": ["b4"]}


@dataclass(frozen=True, slots=True)
class Ending:
    """What went wrong in a run of the story; empty when nothing did."""

    faults: tuple[str, ...]
    calls: Sequence[str]


class Teller:
    """Runs the story with one or more ends of a life in it."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        new_disk: Callable[[], SimulatedDisk] = SimulatedDisk,
        batches: BatchLimits | None = None,
        page_size: int | None = None,
    ) -> None:
        self._page_size = page_size
        self._loop = loop
        self._new_disk = new_disk
        self._batches = batches

    def tell(
        self,
        ends: Sequence[tuple[Point, Loss]] = (),
        *,
        seed: int = 0,
        fail_at: tuple[int, int] | None = None,
    ) -> Ending:
        """Run the story; life number n ends at `ends[n]`, the last one goes on to the end of the story."""
        world = World()
        world.batches = self._batches or world.batches
        world.page_size = self._page_size
        for name in NAMES:
            world.add_setting(name)
        chance = random.Random(seed)
        disk = self._new_disk()
        disk.fail_at = fail_at
        remaining = list(ends)
        disk.stop_at = remaining[0][0] if remaining else None
        life = Life(world, disk, self._loop)
        calls: list[str] = []
        for step in (*STORY, *([None] * MAX_ROUNDS)):
            if isinstance(step, InWorld):
                step.happen(world)
                continue
            while True:
                try:
                    if step is None:
                        world.now_s += 3
                        finish(life)
                    else:
                        step.do(life)
                    break
                except Stop:
                    calls.extend(life.disk.calls)
                    loss = remaining.pop(0)[1]
                    disk = life.disk.after(loss, chance)
                    disk.stop_at = remaining[0][0] if remaining else None
                    life = Life(world, disk, self._loop)
            if step is None and is_done(life):
                break
        return Ending(tuple(faults_of(world, life)), [*calls, *life.disk.calls])


def finish(life: Life) -> None:
    for name in NAMES:
        life.collect(name)
        life.deliver(name)


def is_done(life: Life) -> bool:
    try:
        return all(life.figures(name).waiting == 0 for name in NAMES)
    except SpoolUnavailable:
        return False


def faults_of(world: World, life: Life) -> list[str]:
    faults = []
    for name in NAMES:
        arrived = [str(event["id"]) for event in world.acceptance.events_of(name)]
        expected = [event_id for event_id in _ever_made(world, name) if event_id not in EXPECTED_DEAD[name]]
        lost = [event_id for event_id in expected if event_id not in arrived]
        twice = sorted({event_id for event_id in arrived if arrived.count(event_id) > 1})
        if lost:
            faults.append(f"{name}: lost {lost}")
        if twice:
            faults.append(f"{name}: twice {twice}")
        if not lost and not twice and arrived != expected:
            faults.append(f"{name}: order {arrived}")
        figures = life.figures(name)
        if figures.collected != figures.delivered + figures.waiting + figures.dead or figures.waiting:
            faults.append(f"{name}: accounting {figures}")
        if figures.dead != len(EXPECTED_DEAD[name]):
            faults.append(f"{name}: counted as dead {figures.dead}")
        if figures.collected != len(world.sources[name]):
            faults.append(f"{name}: collected {figures.collected}")
        dead = sorted(_dead_ids(life.disk, name))
        if dead != EXPECTED_DEAD[name]:
            faults.append(f"{name}: dead {dead}")
    return faults


def _ever_made(world: World, name: str) -> list[str]:
    foreign = ["foreign"] if name == "b" else []
    return foreign + [str(event["id"]) for event in world.sources[name]]


def _dead_ids(disk: SimulatedDisk, name: str) -> list[str]:
    found: list[str] = []
    for path, content in disk.content().items():
        if f"/{name}-" in path and "/dead/" in path and "/tmp." not in path:
            found.extend(_ids_in_letter(content))
    return found


def _ids_in_letter(content: bytes) -> list[str]:
    try:
        events = json.loads(content)["events"]
    except ValueError:
        return ["unreadable"]
    return [json.loads(event["event"])["id"] if "why" in event else event["id"] for event in events]
