"""Sources that answer in pages: stopped at any call, between two pages as well, they lose and double nothing."""

import asyncio
import errno
from collections.abc import Callable

import pytest

from tests.crash.simulated_disk import Loss
from tests.crash.story import Teller
from tests.crash.test_crash_points import every_point

# Several pages for most collections of the story, and a last one that may be full.
PAGE_EVENTS = 2
# Every other point, with one kind of loss after the other: test_crash_points.py tries all kinds at every call.
LOSSES = [Loss.NOTHING, Loss.UNSYNCED, Loss.SOME]


@pytest.mark.parametrize("loss", LOSSES)
def test_a_stop_between_pages_loses_and_doubles_nothing(
    loop: asyncio.AbstractEventLoop, loss: Loss, count: Callable[[str, object], None]
) -> None:
    teller = Teller(loop, page_size=PAGE_EVENTS)
    whole = teller.tell()
    assert whole.faults == ()
    assert len(whole.calls) > len(Teller(loop).tell().calls)
    points = list(every_point(len(whole.calls)))[LOSSES.index(loss) :: 2 * len(LOSSES)]

    faults = {point: teller.tell([(point, loss)], seed=point.call).faults for point in points}

    assert {point: found for point, found in faults.items() if found} == {}
    count(f"crash points between pages ({loss.name.lower()})", len(points))


def test_an_error_of_the_disk_between_pages_loses_and_doubles_nothing(
    loop: asyncio.AbstractEventLoop, count: Callable[[str, object], None]
) -> None:
    teller = Teller(loop, page_size=PAGE_EVENTS)
    calls = len(teller.tell().calls)

    faults = {call: teller.tell(fail_at=(call, errno.ENOSPC)).faults for call in range(0, calls, 4)}

    assert {call: found for call, found in faults.items() if found} == {}
    count("injected errors between pages (ENOSPC)", len(faults))
