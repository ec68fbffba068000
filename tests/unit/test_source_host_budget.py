"""SOURCE_REQUESTS_PER_MINUTE and the pauses that hosts ask for; time is instant here, and nothing is random."""

import asyncio
import logging
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from typing import Any

import pytest

from oase_agent.sources.host_budget import HostBudget, HostBusy
from oase_agent.telemetry import Telemetry
from tests.unit.instant_time import in_no_time, now_s

HOST = "host.example:443"
HOUR_S = 3600.0


def a_budget(requests_per_minute: int = 0, **changes: Any) -> HostBudget:
    arguments: dict[str, Any] = {"monotonic": now_s, "random": lambda: 0.0} | changes
    return HostBudget(requests_per_minute, **arguments)


def waiting_at_most(seconds: float) -> Callable[[str], float]:
    return lambda _setting: seconds


async def when_free(budget: HostBudget, host: str = HOST, setting: str = "a") -> float:
    """Return when one request may go, in seconds since the beginning."""
    await budget.acquire(host, setting)
    return now_s()


# -- the budget ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("requests_per_minute", [1, 2, 7, 19, 20, 60, 600])
def test_no_minute_has_more_requests_than_the_budget_and_none_much_less(requests_per_minute: int) -> None:
    async def everybody_asks() -> list[float]:
        budget = a_budget(requests_per_minute)
        wanted = requests_per_minute * 3
        return await asyncio.gather(*(when_free(budget, setting=str(number)) for number in range(wanted)))

    times = in_no_time(everybody_asks())
    for first, time in enumerate(times):
        in_this_minute = bisect_left(times, time + 60.0 - 1e-6) - first
        assert in_this_minute <= requests_per_minute
    assert times[-1] <= 3 * 60 / 0.9


def test_a_tenth_of_the_budget_may_go_at_once() -> None:
    async def a_few_pages() -> list[float]:
        budget = a_budget(100)
        return [await when_free(budget) for _ in range(11)]

    times = in_no_time(a_few_pages())
    assert times[:10] == [0.0] * 10
    assert times[10] > 0


def test_who_waits_is_served_in_order() -> None:
    async def a_queue() -> list[str]:
        budget, served = a_budget(6), list[str]()

        async def ask(setting: str) -> None:
            await budget.acquire(HOST, setting)
            served.append(setting)

        await asyncio.gather(*(ask(setting) for setting in "caebd"))
        return served

    assert in_no_time(a_queue()) == list("caebd")


@pytest.mark.parametrize("settings", [20, 21, 24])
def test_settings_that_want_too_much_together_get_equal_shares(settings: int) -> None:
    async def poll(budget: HostBudget, setting: int, served: Counter[int]) -> None:
        await asyncio.sleep(setting * 3 / settings)
        while now_s() < HOUR_S:
            began_s = now_s()
            try:
                await budget.acquire(HOST, str(setting))
                served[setting] += 1
                pause_s = 0.0
            except HostBusy as busy:
                pause_s = busy.retry_after_s or 0.0
            # The next time that is due is the first one after the pause.
            missed = max(0.0, now_s() + pause_s - began_s) // 3
            await asyncio.sleep(began_s + 3 * (missed + 1) - now_s())

    async def an_hour() -> Counter[int]:
        budget, served = a_budget(60, longest_wait_s=waiting_at_most(3)), Counter[int]()
        await asyncio.gather(*(poll(budget, setting, served) for setting in range(settings)))
        return served

    served = in_no_time(an_hour())
    assert len(served) == settings
    assert max(served.values()) <= 1.25 * min(served.values())
    assert served.total() >= 0.85 * 60 * 60


def test_a_collection_that_would_wait_longer_than_its_interval_is_sent_away() -> None:
    async def too_many() -> HostBusy:
        budget = a_budget(6, longest_wait_s=waiting_at_most(15))
        await budget.acquire(HOST, "a")
        others = [asyncio.ensure_future(when_free(budget, setting=setting)) for setting in "bc"]
        await asyncio.sleep(0)
        with pytest.raises(HostBusy) as caught:
            await budget.acquire(HOST, "d")
        # b goes after 10 s. c would go after 20 s, and was sent away like d.
        assert await others[0] == 10.0
        with pytest.raises(HostBusy):
            await others[1]
        return caught.value

    busy = in_no_time(too_many())
    assert busy.is_over_budget
    assert "SOURCE_REQUESTS_PER_MINUTE" in str(busy)
    # Before it stand b and c: it would wait 30 s, and comes back when 15 s of these are left.
    assert busy.retry_after_s == pytest.approx(15.0)


def test_who_was_sent_away_keeps_its_place() -> None:
    async def come_back() -> tuple[bool, float]:
        budget = a_budget(6, longest_wait_s=waiting_at_most(5))
        await budget.acquire(HOST, "a")
        with pytest.raises(HostBusy):
            await budget.acquire(HOST, "b")
        await asyncio.sleep(9)
        with pytest.raises(HostBusy):
            await budget.acquire(HOST, "c")
        return budget.is_free(HOST, "c"), await when_free(budget, setting="b")

    assert in_no_time(come_back()) == (False, 10.0)


def test_a_place_of_somebody_who_never_comes_back_is_given_to_others() -> None:
    async def come_never() -> float:
        budget = a_budget(6, longest_wait_s=waiting_at_most(5))
        await budget.acquire(HOST, "a")
        with pytest.raises(HostBusy):
            await budget.acquire(HOST, "gone")
        await asyncio.sleep(60)
        return await when_free(budget, setting="b")

    assert in_no_time(come_never()) == 60.0


def test_a_collection_that_has_begun_waits_for_as_long_as_it_takes() -> None:
    async def redirected() -> float:
        budget = a_budget(1, longest_wait_s=waiting_at_most(3))
        await budget.acquire(HOST, "a")
        await budget.acquire(HOST, "a", has_begun=True)
        return now_s()

    assert in_no_time(redirected()) == 60.0


def test_who_gives_up_leaves_its_place_to_the_next() -> None:
    async def give_up() -> float:
        budget = a_budget(6)
        await budget.acquire(HOST, "a")
        first = asyncio.ensure_future(budget.acquire(HOST, "b"))
        second = asyncio.ensure_future(when_free(budget, setting="c"))
        await asyncio.sleep(5)
        first.cancel()
        return await second

    assert in_no_time(give_up()) == 10.0


def test_a_request_that_does_not_wait_is_counted() -> None:
    async def aside() -> float:
        budget = a_budget(6)
        budget.count(HOST)
        return await when_free(budget)

    assert in_no_time(aside()) == 10.0


def test_each_host_and_port_has_its_own_budget() -> None:
    async def two_services() -> list[float]:
        budget = a_budget(6)
        hosts = ["host.example:443", "host.example:8443", "other.example:443", "HOST.example:443"]
        return [await when_free(budget, host) for host in hosts]

    assert in_no_time(two_services()) == [0.0, 0.0, 0.0, 10.0]


def test_hosts_that_were_not_asked_for_long_are_forgotten() -> None:
    async def hostile_template() -> tuple[bool, bool]:
        budget = a_budget(6)
        for host in ("old.example:80", "used.example:80"):
            budget.hold(host, HOUR_S)
        for number in range(5000):
            await budget.acquire(f"{number}.example:80", "a")
            budget.is_free("used.example:80", "b")
        return budget.is_free("old.example:80", "b"), budget.is_free("used.example:80", "b")

    assert in_no_time(hostile_template()) == (True, False)


# -- pauses that hosts ask for -------------------------------------------------------------------------------


@pytest.mark.parametrize("requests_per_minute", [0, 60])
def test_a_pause_shorter_than_the_interval_is_waited_for(requests_per_minute: int) -> None:
    async def short() -> float:
        budget = a_budget(requests_per_minute, longest_wait_s=waiting_at_most(60))
        budget.hold(HOST, 45)
        return await when_free(budget)

    assert in_no_time(short()) == 45.0


@pytest.mark.parametrize("requests_per_minute", [0, 60])
def test_a_longer_pause_sends_away_until_an_interval_of_it_is_left(requests_per_minute: int) -> None:
    async def long() -> HostBusy:
        budget = a_budget(requests_per_minute, longest_wait_s=waiting_at_most(10))
        budget.hold(HOST, 45)
        with pytest.raises(HostBusy) as caught:
            await budget.acquire(HOST, "a", has_begun=True)
        return caught.value

    busy = in_no_time(long())
    assert (busy.is_over_budget, busy.retry_after_s) == (False, 35.0)


@pytest.mark.parametrize("requests_per_minute", [0, 6])
def test_a_pause_that_begins_while_others_wait_is_for_them_too(requests_per_minute: int) -> None:
    async def late() -> list[float | BaseException]:
        budget = a_budget(requests_per_minute, longest_wait_s=waiting_at_most(40))
        budget.hold(HOST, 10)
        waiting = [asyncio.ensure_future(when_free(budget, setting=setting)) for setting in "ab"]
        await asyncio.sleep(5)
        budget.hold(HOST, 100)
        return await asyncio.gather(*waiting, return_exceptions=True)

    assert [type(result) for result in in_no_time(late())] == [HostBusy, HostBusy]


def test_a_shorter_pause_does_not_end_a_longer_one() -> None:
    async def two() -> float:
        budget = a_budget()
        budget.hold(HOST, 100)
        budget.hold(HOST, 1)
        return await when_free(budget)

    assert in_no_time(two()) == 100.0


def test_without_a_budget_those_who_waited_do_not_all_come_at_once() -> None:
    async def after_a_pause() -> list[float]:
        chances = iter([0.0, 0.5, 0.25])
        budget = a_budget(random=lambda: next(chances))
        budget.hold(HOST, 30)
        return await asyncio.gather(*(when_free(budget, setting=setting) for setting in "abc"))

    assert in_no_time(after_a_pause()) == [30.0, 31.0, 30.5]


def test_with_a_budget_they_come_one_after_the_other() -> None:
    async def after_a_pause() -> list[float]:
        budget = a_budget(6)
        budget.hold(HOST, 30)
        return await asyncio.gather(*(when_free(budget, setting=setting) for setting in "abc"))

    assert [later - earlier for earlier, later in pairwise(in_no_time(after_a_pause()))] == [10.0, 10.0]


def test_no_host_gets_a_pause_of_more_than_an_hour() -> None:
    async def greedy() -> float:
        budget = a_budget()
        budget.hold(HOST, 1e9)
        return await when_free(budget)

    assert in_no_time(greedy()) == HOUR_S


def test_a_pause_that_comes_again_and_again_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    async def every_minute() -> None:
        budget = a_budget(facts=Telemetry().pacing)
        for _ in range(30):
            budget.hold(HOST, 50)
            await asyncio.sleep(60)

    with caplog.at_level(logging.INFO):
        in_no_time(every_minute())
    (record,) = caplog.records
    assert vars(record)["action"] == "host_asks_to_wait"
    assert vars(record)["facts"] == {"host": HOST, "seconds": 50}


def test_a_budget_that_is_too_small_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    async def too_small() -> None:
        budget = a_budget(1, longest_wait_s=waiting_at_most(3), facts=Telemetry().pacing)
        for _ in range(100):
            with suppress(HostBusy):
                await budget.acquire(HOST, "a")
            await asyncio.sleep(3)

    with caplog.at_level(logging.INFO):
        in_no_time(too_small())
    assert [vars(record)["action"] for record in caplog.records] == ["host_over_budget"]
