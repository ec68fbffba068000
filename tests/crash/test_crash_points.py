"""The agent is stopped, or its disk fails, at every single call; then it must have lost nothing and doubled nothing.

All points, no sampling, for one end of a life; for two ends in a row the second one is drawn by a seeded chance.
"""

import asyncio
import errno
import itertools
import random
from collections.abc import Callable, Iterator

import pytest

from tests.crash.simulated_disk import Loss, Point, SimulatedDisk
from tests.crash.story import Teller
from tests.crash.world import COMPRESSED


def every_point(calls: int) -> Iterator[Point]:
    return (Point(call, is_after) for call, is_after in itertools.product(range(calls), (False, True)))


def test_the_story_ends_well_without_any_end_of_a_life(loop: asyncio.AbstractEventLoop) -> None:
    ending = Teller(loop).tell()

    assert ending.faults == ()
    assert len(ending.calls) > 150


@pytest.mark.parametrize("loss", list(Loss))
def test_a_stop_before_and_after_every_call_loses_nothing_and_doubles_nothing(
    loop: asyncio.AbstractEventLoop, loss: Loss, count: Callable[[str, object], None]
) -> None:
    teller = Teller(loop)
    points = list(every_point(len(teller.tell().calls)))

    faults = {point: teller.tell([(point, loss)], seed=point.call).faults for point in points}

    assert {point: found for point, found in faults.items() if found} == {}
    count(f"crash points ({loss.name.lower()})", len(points))


def test_a_power_cut_before_and_after_every_call_loses_and_doubles_nothing_that_is_compressed(
    loop: asyncio.AbstractEventLoop, count: Callable[[str, object], None]
) -> None:
    disks: list[SimulatedDisk] = []

    def new_disk() -> SimulatedDisk:
        disks.append(SimulatedDisk())
        return disks[-1]

    teller = Teller(loop, new_disk, COMPRESSED)
    points = list(every_point(len(teller.tell().calls)))
    assert any(b'"z":"' in content for content in disks[0].content().values())

    faults = {point: teller.tell([(point, Loss.UNSYNCED)], seed=point.call).faults for point in points}

    assert {point: found for point, found in faults.items() if found} == {}
    count("crash points (unsynced, compressed)", len(points))


def test_a_power_cut_after_a_kill_loses_nothing_and_doubles_nothing(
    loop: asyncio.AbstractEventLoop, count: Callable[[str, object], None]
) -> None:
    teller = Teller(loop)
    chance = random.Random(2)
    runs = 0
    for point in every_point(len(teller.tell().calls)):
        second = Point(chance.randrange(60), is_after=chance.random() < 0.5)
        loss = chance.choice([Loss.UNSYNCED, Loss.SOME])
        ending = teller.tell([(point, Loss.NOTHING), (second, loss)], seed=point.call)
        assert ending.faults == (), (point, second, loss)
        runs += 1
    count("crash points (kill, then power cut)", runs)


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO], ids=["no-space", "input-output-error"])
def test_one_error_at_every_call_loses_nothing_and_doubles_nothing(
    loop: asyncio.AbstractEventLoop, error: int, count: Callable[[str, object], None]
) -> None:
    teller = Teller(loop)
    calls = len(teller.tell().calls)

    faults = {call: teller.tell(fail_at=(call, error)).faults for call in range(calls)}

    assert {call: found for call, found in faults.items() if found} == {}
    count(f"injected errors ({errno.errorcode[error]})", calls)
