"""The circuit of a source: when it opens, how long for, and what closes it. Clock and chances are the test's own."""

import logging
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from oase_agent.collect.pacing import Pacing
from oase_agent.errors import (
    AgentError,
    OwnershipLost,
    Reason,
    SettingRejected,
    SourceUnavailable,
    SpoolUnavailable,
)
from oase_agent.sources.host_budget import HostBusy
from oase_agent.telemetry import Telemetry
from tests.unit.source_servers import GET_SETTING

INTERVAL_S = 3.0
UNREACHABLE = SourceUnavailable("away", Reason.UNREACHABLE)
LUCK = 0.999999


class Polls:
    """A setting that is due every interval; `chance` is what is drawn."""

    def __init__(
        self, longest_pause_s: float = 60.0, *, chance: float = LUCK, interval_s: float = INTERVAL_S
    ) -> None:
        self.now_s = 1000.0
        self.telemetry = Telemetry()
        self.interval_s = interval_s
        self.pacing = Pacing(
            longest_pause_s,
            self.telemetry.pacing,
            interval_s=lambda _setting: interval_s,
            monotonic=lambda: self.now_s,
            random=lambda: chance,
            sleep=self._sleep,
        )

    async def attempts(self, count: int, error: AgentError | None, **changes: Any) -> list[float]:
        """Poll until there were so many attempts, which end with `error`; return the intervals between them."""
        setting, times = replace(GET_SETTING, **changes), [self.now_s]
        while len(times) <= count:
            due_s = self.now_s
            if await self.pacing.may_begin(setting):
                times.append(self.now_s)
                self._end(error, **changes)
            self.now_s = due_s + self.interval_s
        return [round(later - earlier, 3) for earlier, later in pairwise(times[1:])]

    def _end(self, error: AgentError | None, **changes: Any) -> None:
        setting = replace(GET_SETTING, **changes)
        if error is None:
            self.pacing.succeeded(setting)
        elif isinstance(error, HostBusy):
            self.pacing.put_off(setting, error)
        else:
            self.pacing.failed(setting, error)

    def put_off(self, outcome: str) -> float:
        labels = {"setting": GET_SETTING.name, "outcome": outcome}
        return self.telemetry.registry.get_sample_value("oase_agent_collections_total", labels) or 0.0

    async def _sleep(self, seconds: float) -> None:
        self.now_s += seconds


async def test_the_first_failures_cost_one_interval_and_the_next_ones_more_and_more() -> None:
    gaps = await Polls().attempts(10, UNREACHABLE)
    assert gaps[:2] == [3.0, 3.0]
    assert gaps[2:7] == pytest.approx([6.3, 12.3, 24.3, 48.3, 60.3], abs=0.4)
    assert max(gaps) <= 60.4


@pytest.mark.parametrize("chance", [0.0, 0.25, 0.5, LUCK])
async def test_pauses_are_drawn_with_full_jitter_below_the_limit(chance: float) -> None:
    gaps = await Polls(20, chance=chance).attempts(12, UNREACHABLE)
    assert gaps[-1] == pytest.approx(max(INTERVAL_S, 20 * chance), abs=0.4)


async def test_one_success_closes_the_circuit() -> None:
    polls = Polls()
    await polls.attempts(8, UNREACHABLE)
    polls.now_s += 60
    assert await polls.attempts(5, None) == [3.0] * 4
    assert (await polls.attempts(3, UNREACHABLE))[:2] == [3.0, 3.0]


async def test_a_failure_of_the_trial_after_a_pause_opens_the_circuit_for_longer() -> None:
    polls = Polls()
    await polls.attempts(4, UNREACHABLE)
    first_s = polls.pacing.seconds_paused(GET_SETTING)
    await polls.attempts(1, UNREACHABLE)
    assert polls.pacing.seconds_paused(GET_SETTING) > first_s + INTERVAL_S


async def test_0_asks_at_every_interval() -> None:
    assert await Polls(0).attempts(50, UNREACHABLE) == [3.0] * 49


async def test_a_limit_below_the_interval_puts_nothing_off(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        assert await Polls(60, interval_s=300).attempts(20, UNREACHABLE) == [300.0] * 19
    assert not caplog.records


@pytest.mark.parametrize("longest_pause_s", [0, 60])
async def test_what_the_source_asks_for_is_done_at_once(longest_pause_s: float) -> None:
    polls = Polls(longest_pause_s, chance=0.0)
    gaps = await polls.attempts(3, SourceUnavailable("busy", Reason.RATE_LIMITED, retry_after_s=100))
    assert gaps == [100.0, 100.0]


async def test_a_pause_as_long_as_the_interval_does_not_cost_two() -> None:
    polls = Polls(0, chance=0.0, interval_s=60)
    gaps = await polls.attempts(4, SourceUnavailable("busy", Reason.RATE_LIMITED, retry_after_s=60.5))
    assert gaps == [60.5, 60.5, 60.5]


async def test_nobody_is_left_alone_for_more_than_an_hour() -> None:
    polls = Polls(0)
    await polls.attempts(1, SourceUnavailable("busy", Reason.RATE_LIMITED, retry_after_s=1e9))
    assert polls.pacing.seconds_paused(GET_SETTING) <= 3600


@pytest.mark.parametrize(
    "error",
    [
        SettingRejected("wrong", Reason.TEMPLATE),
        SpoolUnavailable("full", Reason.DISK, retry_after_s=1000),
        OwnershipLost("gone"),
    ],
)
async def test_trouble_that_is_not_the_sources_puts_nothing_off(error: AgentError) -> None:
    assert await Polls().attempts(20, error) == [3.0] * 19


async def test_a_host_that_is_not_to_be_asked_is_no_failure_of_the_source() -> None:
    polls = Polls(chance=0.0)
    busy = HostBusy("host:80", retry_after_s=30.0, is_over_budget=True)
    assert await polls.attempts(10, busy) == [30.0] * 9
    polls.now_s += 60
    assert await polls.attempts(3, UNREACHABLE) == [3.0, 3.0]


async def test_collections_that_are_put_off_are_counted_by_their_cause(
    caplog: pytest.LogCaptureFixture,
) -> None:
    polls = Polls(chance=0.0)
    with caplog.at_level(logging.INFO):
        await polls.attempts(2, HostBusy("host:80", retry_after_s=30.0, is_over_budget=True))
    # Both attempts themselves, and the intervals between them; the last of those was waited for.
    assert (polls.put_off("over_budget"), polls.put_off("backing_off")) == (2 + 8, 0)
    assert not caplog.records
    polls.now_s += 60
    await polls.attempts(2, SourceUnavailable("busy", Reason.RATE_LIMITED, retry_after_s=30.0))
    assert polls.put_off("backing_off") == 8


async def test_the_circuit_is_told_once_when_it_opens_with_how_long(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        await Polls().attempts(10, UNREACHABLE)
    (record,) = caplog.records
    assert vars(record)["action"] == "circuit_opened"
    assert vars(record)["facts"] == {
        "setting": GET_SETTING.name,
        "seconds": 6.0,
        "failures": 3,
        "reason": "unreachable",
    }


async def test_a_setting_that_was_changed_starts_with_a_closed_circuit() -> None:
    polls = Polls()
    await polls.attempts(8, UNREACHABLE, url="http://wrong/")
    assert polls.pacing.seconds_paused(replace(GET_SETTING, url="http://wrong/")) > 0
    assert polls.pacing.seconds_paused(replace(GET_SETTING, url="http://right/")) == 0
    assert (await polls.attempts(4, UNREACHABLE, url="http://right/"))[:2] == [3.0, 3.0]


async def test_a_setting_that_was_loaded_anew_without_a_change_keeps_its_pause() -> None:
    polls = Polls()
    await polls.attempts(8, UNREACHABLE)
    assert polls.pacing.seconds_paused(replace(GET_SETTING)) > 0


async def test_settings_that_are_gone_are_forgotten() -> None:
    polls = Polls()
    await polls.attempts(8, UNREACHABLE)
    other = replace(GET_SETTING, name="another")
    polls.pacing.forget_others([other, GET_SETTING])
    assert polls.pacing.seconds_paused(GET_SETTING) > 0
    polls.pacing.forget_others([other])
    assert polls.pacing.seconds_paused(GET_SETTING) == 0
