"""A replay of dead letters is stopped, or its disk fails, at every single call: each event arrives once."""

import asyncio
import errno
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from oase_agent.disk import Disk
from oase_agent.errors import AgentError
from oase_agent.spool import replay
from oase_agent.spool.collection_file import CollectionFile
from oase_agent.spool.dead import (
    DeadLetter,
    LetterName,
    letter_names,
    mark_for_replay,
    marked_letters,
    read_letter,
    remove_letter,
)
from oase_agent.spool.journal import Journal
from tests.crash.simulated_disk import Loss, Point, SimulatedDisk, Stop
from tests.crash.test_crash_points import every_point
from tests.crash.world import Life, World

IDS = ["a1", "a2", "a3", "a4", "a5", "a6"]
POISONED = {"a2", "a3", "a5"}


class Replayed:
    """The story: three poisoned events are dead, the workspace is mended, the operator has them replayed."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.world = World()
        self.world.add_setting("a")
        self.world.make("a", *IDS)
        self.life = Life(self.world, SimulatedDisk(), loop)
        self.world.acceptance.poison = lambda event: event["id"] in POISONED
        self.life.collect("a")
        deliver_all(self.life)
        # The reserve is written before the part that counts.
        self.life.spool.maintain()
        self.world.acceptance.poison = None
        assert len(letter_names(self.life.disk, self._directory())) == 3

    def _directory(self) -> Path:
        [place] = {Path(path).parent for path in self.life.disk.content() if "/state." in path}
        return place

    def from_now_on(self) -> int:
        """Return how many calls there were."""
        return len(self.life.disk.calls)

    def go(self, chance: random.Random, *losses: Loss, second: Point | None = None) -> None:
        """Let the operator and the agent do their parts, begun again after every end; ends take `losses`."""
        is_marked = is_done = False
        remaining = list(losses)
        while not is_done:
            try:
                if not is_marked:
                    self._mark()
                    is_marked = True
                self.life.spool.maintain()
                self.life.deliver("a")
                self.world.now_s += 1
                is_done = not self.life.figures("a").waiting and not self._marked()
            except Stop:
                disk = self.life.disk.after(remaining.pop(0), chance)
                disk.stop_at, second = second, None
                self.life = Life(self.world, disk, self._loop)
            except (AgentError, OSError):
                continue

    def _mark(self) -> None:
        for name in letter_names(self.life.disk, self._directory()):
            mark_for_replay(self.life.disk, self._directory(), name)

    def _marked(self) -> bool:
        return bool(marked_letters(self.life.disk, self._directory()))

    def faults(self) -> Iterator[str]:
        """Yield what is wrong at the end, and again after a restart."""
        for _ in range(2):
            arrived = self.world.acceptance.ids_of("a")
            if sorted(arrived) != IDS:
                yield f"arrived {arrived}"
            figures = self.life.figures("a")
            if (figures.collected, figures.delivered, figures.waiting, figures.dead) != (6, 6, 0, 0):
                yield f"accounting {figures}"
            if names := letter_names(self.life.disk, self._directory()):
                yield f"letters {names}"
            disk = self.life.disk.after(Loss.NOTHING, random.Random(1))
            self.life = Life(self.world, disk, self._loop)
            self.life.spool.maintain()
            self.life.deliver("a")


def calls_of(loop: asyncio.AbstractEventLoop) -> tuple[int, int]:
    """Return the first call of the replay, and how many there are."""
    story = Replayed(loop)
    first = story.from_now_on()
    story.go(random.Random(1))
    calls = story.from_now_on() - first
    assert list(story.faults()) == []
    assert calls > 60
    return first, calls


def faults_at(loop: asyncio.AbstractEventLoop, point: Point, loss: Loss) -> str:
    story = Replayed(loop)
    story.life.disk.stop_at = point
    story.go(random.Random(point.call), loss)
    return "; ".join(story.faults())


@pytest.mark.parametrize("loss", list(Loss))
def test_a_replay_that_is_stopped_at_any_call_delivers_each_event_once(
    loop: asyncio.AbstractEventLoop, loss: Loss
) -> None:
    first, calls = calls_of(loop)
    points = [Point(first + point.call, point.is_after) for point in every_point(calls)]

    found = {point: faults_at(loop, point, loss) for point in points}

    assert {point: fault for point, fault in found.items() if fault} == {}


def test_a_replay_that_is_killed_and_then_loses_power_delivers_each_event_once(
    loop: asyncio.AbstractEventLoop,
) -> None:
    first, calls = calls_of(loop)
    chance = random.Random(3)
    for point in every_point(calls):
        at = Point(first + point.call, point.is_after)
        second = Point(chance.randrange(40), is_after=chance.random() < 0.5)

        story = Replayed(loop)
        story.life.disk.stop_at = at
        story.go(chance, Loss.NOTHING, chance.choice([Loss.UNSYNCED, Loss.SOME]), second=second)

        assert list(story.faults()) == [], (at, second)


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO])
def test_an_error_at_any_call_of_a_replay_delivers_each_event_once(
    loop: asyncio.AbstractEventLoop, error: int
) -> None:
    first, calls = calls_of(loop)
    for call in range(first, first + calls):
        story = Replayed(loop)
        story.life.disk.fail_at = (call, error)

        story.go(random.Random(1))

        assert list(story.faults()) == [], call


def removed_before_it_is_in_the_queue(patch: pytest.MonkeyPatch) -> None:
    def hasty(disk: Disk, directory: Path, name: LetterName) -> DeadLetter:
        letter = read_letter(disk, directory, name)
        remove_letter(disk, directory, name)
        return letter

    patch.setattr(replay, "read_letter", hasty)


def without_its_name_in_the_footer(patch: pytest.MonkeyPatch) -> None:
    publish = CollectionFile.publish

    def nameless(self: Any, *args: Any, letter: str | None = None, **rest: Any) -> Any:
        name, footer = publish(self, *args, letter="" if letter else None, **rest)
        return name, footer

    patch.setattr(CollectionFile, "publish", nameless)


def its_name_forgotten_before_it_is_removed(patch: pytest.MonkeyPatch) -> None:
    adopt = Journal.adopt

    def forgetful(self: Any, *args: Any, **rest: Any) -> None:
        adopt(self, *args, **rest)
        self.forget_letters()

    patch.setattr(Journal, "adopt", forgetful)


@pytest.mark.parametrize(
    "mistake",
    [
        removed_before_it_is_in_the_queue,
        without_its_name_in_the_footer,
        its_name_forgotten_before_it_is_removed,
    ],
)
def test_a_seeded_mistake_in_replaying_is_caught(
    loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch, mistake: Any
) -> None:
    first, calls = calls_of(loop)
    mistake(monkeypatch)

    assert any(
        faults_at(loop, Point(first + point.call, point.is_after), Loss.NOTHING)
        for point in every_point(calls)
    )


def test_a_letter_whose_events_never_left_the_queue_is_given_up_when_the_queue_is_opened(
    loop: asyncio.AbstractEventLoop,
) -> None:
    world = World()
    world.add_setting("a")
    world.make("a", "a1")
    world.acceptance.poison = lambda _event: True
    life = Life(world, SimulatedDisk(), loop)
    life.collect("a")
    # The letter is written; the process ends before the checkpoint that lets the event leave.
    life.disk.observe = lambda _call: _stop_after_letter(life.disk)
    with pytest.raises(Stop):
        deliver_all(life)
    world.acceptance.poison = None

    again = Life(world, life.disk.after(Loss.NOTHING, random.Random(1)), loop)
    deliver_all(again)

    assert world.acceptance.ids_of("a") == ["a1"]
    assert [path for path in again.disk.content() if "/dead/" in path] == []
    figures = again.figures("a")
    assert (figures.collected, figures.delivered, figures.dead) == (1, 1, 0)


def deliver_all(life: Life) -> None:
    while life.deliver("a"):
        life.world.now_s += 1


def _stop_after_letter(disk: SimulatedDisk) -> None:
    if any("/dead/" in path and "/tmp." not in path for path in disk.content()):
        raise Stop("the letter is there")
