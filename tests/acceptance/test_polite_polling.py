"""How the whole agent treats sources that fail, that ask for a pause, or that may not be asked often."""

import logging

import pytest

from oase_agent.simulators.faults import Fault
from oase_agent.simulators.loopback import Reply
from tests.acceptance.sources import DocumentSource
from tests.acceptance.stage import Stage
from tests.acceptance.steps import collecting, polls


def put_off(stage: Stage, name: str, outcome: str) -> float:
    """Return how many collections of a setting were due and did not begin."""
    labels = {"setting": name, "outcome": outcome}
    return stage.telemetry.registry.get_sample_value("oase_agent_collections_total", labels) or 0.0


async def test_a_source_that_keeps_failing_is_asked_less_often_until_it_works_again(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    await stage.open()
    source = await stage.logs("web-01")
    await stage.start_collecting("web-01")
    source.faults.add(Fault.status(500, times=None))

    await stage.until(lambda: put_off(stage, "web-01", "backing_off") > 0)
    await stage.until(lambda: stage.setting("web-01").next_attempt_at_s is not None)

    source.faults.clear()
    source.fill(3, 100)
    assert len(await stage.arrived("web-01", 3)) == 3
    await stage.until(lambda: stage.setting("web-01").next_attempt_at_s is None)
    # It begins anew, which it would not if the failures before still counted.
    source.faults.add(Fault.status(500, times=None))
    story = [
        "collection_failed",
        "circuit_opened",
        "collection_works_again",
        "collection_failed",
        "circuit_opened",
    ]
    await stage.until(lambda: told(caplog, *story) == story)


def told(caplog: pytest.LogCaptureFixture, *actions: str) -> list[str]:
    """Return which of these actions were logged, in order."""
    return [action for record in caplog.records if (action := vars(record).get("action")) in actions]


async def test_0_asks_a_failing_source_at_every_interval(stage: Stage) -> None:
    await stage.open()
    source = await stage.logs("web-01")
    await stage.start_collecting("web-01", SOURCE_BACKOFF_MAX_S="0")
    source.faults.add(Fault.status(500, times=None))

    await polls(source, 15)

    assert put_off(stage, "web-01", "backing_off") == 0


@pytest.mark.parametrize("status", [429, 503])
async def test_retry_after_keeps_every_setting_from_its_host_and_no_other(stage: Stage, status: int) -> None:
    await stage.open()
    limited = await stage.logs("first")
    stage.add("second", f"{limited.url}/logs", RESPONSE_KEY="lines", EVENT_ID_KEY="id")
    other = await stage.logs("elsewhere")
    await stage.start_collecting("first", "second", "elsewhere")
    limited.faults.add(Fault.status(status, retry_after="3600", times=None))
    names = ("first", "second")

    await stage.until(lambda: all(stage.setting(name).next_attempt_at_s for name in names))
    asked = len(limited.requests)
    await polls(other, 10)

    assert len(limited.requests) == asked
    assert all(put_off(stage, name, "backing_off") > 0 for name in names)
    assert stage.setting("elsewhere").next_attempt_at_s is None


async def test_an_answer_that_uses_up_a_limit_is_delivered_and_the_host_is_left_alone(stage: Stage) -> None:
    await stage.open()
    other = await stage.logs("elsewhere")
    async with DocumentSource([]) as limited:
        stage.add("limited", f"{limited.url}/alerts", EVENT_ID_KEY="id")
        await stage.start()
        await collecting(stage, "limited", "elsewhere")
        limited.reply = Reply(
            200, b'[{"id": "1"}]', headers={"RateLimit": '"default";r=0;t=3600', "RateLimit-Policy": "a"}
        )

        assert await stage.arrived("limited", 1) == ["1"]
        asked = len(limited.requests)
        await polls(other, 10)

        assert len(limited.requests) == asked
        assert stage.setting("limited").trouble is None


async def test_two_settings_share_the_budget_of_their_host(stage: Stage) -> None:
    await stage.open()
    source = await stage.logs("first")
    stage.add("second", f"{source.url}/logs", RESPONSE_KEY="lines", EVENT_ID_KEY="id")
    await stage.start(SOURCE_REQUESTS_PER_MINUTE="60")
    source.fill(5, 100)

    names = ("first", "second")
    await stage.until(lambda: all(put_off(stage, name, "over_budget") > 2 for name in names))
    assert len(await stage.arrived("first", 5)) == len(await stage.arrived("second", 5)) == 5

    seconds = source.requests[-1].received_at - source.requests[0].received_at
    at_once, a_second = 6, 55 / 60
    assert len(source.requests) <= at_once + 1 + seconds * a_second
    assert all(stage.setting(name).trouble is None for name in names)
