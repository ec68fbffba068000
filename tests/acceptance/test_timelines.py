"""Whole-agent timelines: what the workspace has in the end, in which order, and nothing more."""

import asyncio
import time

from oase_agent.simulators.faults import Fault
from tests.acceptance.stage import Stage


async def test_events_arrive_in_order_and_once(stage: Stage) -> None:
    await stage.open()
    logs = await stage.logs("logs")
    await stage.start_collecting("logs")

    written = []
    for number in range(10):
        written.append(logs.write(f"line {number}"))
        await asyncio.sleep(0.1)

    assert await stage.arrived("logs", 10) == written
    await asyncio.sleep(0.6)
    assert stage.workspace.ids_of("logs") == written


async def test_an_alert_that_stays_active_arrives_once(stage: Stage) -> None:
    await stage.open()
    alerts = await stage.alerts("alerts")
    await stage.start_collecting("alerts")

    first = alerts.fire({"alertname": "Load"})
    await stage.arrived("alerts", 1)
    second = alerts.fire({"alertname": "Disk"})
    await stage.arrived("alerts", 2)
    await asyncio.sleep(1.0)

    assert stage.workspace.ids_of("alerts") == [first, second]


async def test_what_was_collected_during_an_outage_arrives_after_it_in_order(stage: Stage) -> None:
    await stage.open()
    logs = await stage.logs("logs")
    await stage.start_collecting("logs")
    written = [logs.write("before")]
    await stage.arrived("logs", 1)

    await stage.workspace.refuse()
    for number in range(5):
        written.append(logs.write(f"during {number}"))
        await asyncio.sleep(0.25)
    await stage.until(lambda: stage.waiting("logs") == 5)
    await stage.workspace.resume()

    assert await stage.arrived("logs", 6) == written


async def test_a_restart_during_an_outage_loses_nothing_and_repeats_nothing(stage: Stage) -> None:
    await stage.open()
    alerts = await stage.alerts("alerts")
    await stage.start_collecting("alerts")
    fired = [alerts.fire({"alertname": "first"})]
    await stage.arrived("alerts", 1)
    await stage.workspace.refuse()
    fired.append(alerts.fire({"alertname": "second"}))
    await stage.until(lambda: stage.waiting("alerts") == 1)

    await stage.stop()
    await stage.start()
    await stage.until(lambda: stage.waiting("alerts") == 1)
    fired.append(alerts.fire({"alertname": "third"}))
    await stage.until(lambda: stage.waiting("alerts") == 2)
    await stage.workspace.resume()

    assert await stage.arrived("alerts", 3) == fired


async def test_collecting_begins_without_the_workspace_from_the_last_good_settings(stage: Stage) -> None:
    await stage.open()
    logs = await stage.logs("logs")
    await stage.start_collecting("logs")
    await stage.until(lambda: stage.setting("logs").state == "collecting")
    await stage.stop()
    await stage.workspace.refuse()

    await stage.start()
    line = logs.write("nobody is there to take it")
    await stage.until(lambda: stage.waiting("logs") == 1)
    await stage.workspace.resume()

    assert await stage.arrived("logs", 1) == [line]


async def test_an_answer_lost_after_storing_does_not_double_events(stage: Stage) -> None:
    workspace = await stage.open()
    logs = await stage.logs("logs")
    await stage.start_collecting("logs")
    written = [logs.write("first")]
    await stage.arrived("logs", 1)

    workspace.faults.add(Fault.lost_answer(times=2, endpoint="events"))
    written.append(logs.write("second"))
    await stage.arrived("logs", 2)
    written.append(logs.write("third"))

    await stage.arrived("logs", 3)
    await stage.until(lambda: stage.waiting("logs") == 0)
    assert workspace.ids_of("logs") == written


async def test_access_tokens_are_renewed_before_and_after_they_end(stage: Stage) -> None:
    workspace = await stage.open(access_token_lifetime_s=2)
    logs = await stage.logs("logs")
    await stage.start_collecting("logs")
    written = []
    for number in range(12):
        written.append(logs.write(f"line {number}"))
        await asyncio.sleep(0.3)
        if number == 6:
            workspace.tokens.expire_access_tokens()

    assert await stage.arrived("logs", 12) == written
    refused = [request for request in workspace.requests if request.http_status == 401]
    assert len(refused) <= 1


async def test_a_source_that_never_answers_holds_up_nobody_else(stage: Stage) -> None:
    await stage.open()
    silent = await stage.logs("silent")
    silent.latency_s = 60
    logs = await stage.logs("logs")
    await stage.start_collecting("silent", "logs", SOURCE_TIMEOUT_S="2")

    began = time.monotonic()
    line = logs.write("quick")

    assert await stage.arrived("logs", 1) == [line]
    assert time.monotonic() - began < 2
    await stage.until(
        lambda: "silent" in (stage.setting("silent").trouble or "") or stage.setting("silent").trouble
    )


async def test_one_poison_event_becomes_a_dead_letter_and_the_others_arrive(stage: Stage) -> None:
    workspace = await stage.open()
    logs = await stage.logs("logs")
    other = await stage.logs("other")
    workspace.acceptance.poison = lambda event: event.get("message") == "poison"
    await stage.start_collecting("logs", "other")

    ids = [logs.write("poison" if number == 13 else f"line {number}") for number in range(40)]
    line = other.write("of another setting")

    assert await stage.arrived("other", 1) == [line]
    assert await stage.arrived("logs", 39) == [*ids[:13], *ids[14:]]
    await stage.until(lambda: stage.waiting("logs") == 0)
    figures = stage.setting("logs").figures
    assert figures is not None
    assert (figures.collected, figures.delivered, figures.dead) == (40, 39, 1)
    [letter] = stage.storage.glob("org001/ws01/agent-1/s/*/dead/*.json")
    assert '"message":"poison"' in letter.read_text()


async def test_a_discarded_setting_is_noticed_inside_a_200_and_the_others_arrive(stage: Stage) -> None:
    workspace = await stage.open()
    logs = await stage.logs("logs")
    other = await stage.logs("other")
    await stage.start_collecting("logs", "other")
    await stage.until(lambda: stage.setting("logs").state == "collecting")
    await workspace.refuse()
    logs.write("for nobody")
    line = other.write("for somebody")
    await stage.until(lambda: stage.waiting("logs") == 1 and stage.waiting("other") == 1)

    workspace.discard("logs")
    await workspace.resume()

    assert await stage.arrived("other", 1) == [line]
    await stage.until(lambda: stage.waiting("logs") == 0)
    figures = stage.setting("logs").figures
    assert figures is not None
    assert (figures.delivered, figures.dead) == (0, 1)
    assert stage.setting("logs").state == "unknown"


async def test_a_stop_in_the_middle_of_a_slow_post_is_quick_and_doubles_nothing(stage: Stage) -> None:
    workspace = await stage.open()
    logs = await stage.logs("logs")
    await stage.start_collecting("logs")
    written = [logs.write("first")]
    await stage.arrived("logs", 1)
    workspace.faults.add(Fault.slow(after_s=30, endpoint="events", times=1))
    written.append(logs.write("second"))
    await stage.arrived("logs", 2)

    began = time.monotonic()
    await stage.stop()
    assert time.monotonic() - began < 3
    workspace.faults.clear()
    await stage.start()
    written.append(logs.write("third"))

    assert await stage.arrived("logs", 3) == written
    await stage.until(lambda: stage.waiting("logs") == 0)
    assert workspace.ids_of("logs") == written


async def test_a_foreign_writer_ahead_of_us_costs_no_event(stage: Stage) -> None:
    workspace = await stage.open()
    logs = await stage.logs("logs")
    future = int(time.time()) + 3600
    status, _ = workspace.acceptance.handle(
        b'{"events":[{"fetched_time":%d,"event_collection_settings_name":"logs",'
        b'"agent":{"name":"agent-1","version":"2.7.0"},"event":[{"id":"foreign"}]}]}' % future
    )
    assert status == 200
    await stage.start_collecting("logs")

    written = [logs.write("one"), logs.write("two")]

    await workspace.wait_for(lambda workspace: workspace.count("logs") >= 3, 10)
    assert [event["id"] for event in workspace.acceptance.events_of("logs")] == ["foreign", *written]
    assert all(event.group_time > future for event in workspace.acceptance.stored("logs")[1:])
