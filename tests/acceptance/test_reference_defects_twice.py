"""Defects D5 to D7, D21 and D22 of the reference (contract section 11): what arrived twice, or for ever."""

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import pytest

from tests.acceptance.sources import DocumentSource
from tests.acceptance.stage import Stage
from tests.acceptance.steps import collecting, polls


@pytest.mark.parametrize("key", ["r[]", "r[*]", "r[?id]", "r[].{id: id}"])
async def test_reference_defect_05_known_events_under_a_projection_are_not_sent_again(
    stage: Stage, key: str
) -> None:
    """The reference removes known events from a copy, so a projection brings them anew with every poll."""
    await stage.open()
    document = {"r": [{"id": "7"}, {"id": "8"}]}
    async with DocumentSource(document) as source:
        stage.add("projected", source.url, RESPONSE_KEY=key, EVENT_ID_KEY="id")
        await stage.start()
        await stage.arrived("projected", 2)
        await polls(source, 4)

        document["r"].append({"id": "9"})
        source.say(document)

        assert await stage.arrived("projected", 3) == ["7", "8", "9"]
        await polls(source, 3)
        assert stage.workspace.ids_of("projected") == ["7", "8", "9"]


async def test_reference_defect_06_a_message_id_does_not_hide_the_event_id(stage: Stage) -> None:
    """The reference stores a top-level `message_id` as the id: the event is never known, or not even stored."""
    await stage.open()
    events: list[dict[str, Any]] = [
        {"id": "1", "message_id": "<1@mail.example.com>"},
        {"id": "2", "message_id": 17},
        {"id": "3", "message_id": ["no", "text"]},
    ]
    async with DocumentSource(events) as source:
        stage.add("messages", source.url, EVENT_ID_KEY="id")
        await stage.start()
        await stage.arrived("messages", 3)
        await polls(source, 5)

    assert stage.workspace.ids_of("messages") == ["1", "2", "3"]
    stored = stage.workspace.acceptance.events_of("messages")
    assert [event["message_id"] for event in stored] == [event["message_id"] for event in events]


async def test_reference_defect_07_alerts_that_stay_active_are_sent_once_however_they_came(
    stage: Stage,
) -> None:
    """The reference knows the ids of two batches only: A and B, then C, then D, and all fire again for ever."""
    await stage.open()
    alerts = await stage.alerts("alerts")
    await stage.start()
    fired = [alerts.fire({"alertname": name}) for name in "AB"]
    await stage.arrived("alerts", 2)
    for count, name in enumerate("CD", start=3):
        fired.append(alerts.fire({"alertname": name}))
        await stage.arrived("alerts", count)

    await polls(alerts, 8)

    assert sorted(stage.workspace.ids_of("alerts")) == sorted(fired)
    assert stage.workspace.ids_of("alerts")[2:] == fired[2:]


async def test_reference_defect_07_alerts_that_stay_active_are_known_after_a_restart(stage: Stage) -> None:
    """The reference knows the ids of two batches only, in every life."""
    await stage.open()
    alerts = await stage.alerts("alerts")
    await stage.start()
    fired = []
    for count, name in enumerate("ABCD", start=1):
        fired.append(alerts.fire({"alertname": name}))
        await stage.arrived("alerts", count)
    await stage.stop()

    await stage.start()
    await polls(alerts, 4)

    assert stage.workspace.ids_of("alerts") == fired


async def test_reference_defect_21_the_agents_name_survives_a_restart_in_another_pod(stage: Stage) -> None:
    """The reference sends HOSTNAME, which every restart of a pod changes: the workspace cannot tell repeats."""
    workspace = await stage.open()
    logs = await stage.logs("logs")
    for count, pod in enumerate(("agent-5d8f-abcde", "agent-5d8f-fghij"), start=1):
        await stage.start(HOSTNAME=pod)
        await collecting(stage, "logs")
        logs.write(f"collected in {pod}")
        await stage.arrived("logs", count)
        await stage.stop()

    assert [stored.agent_name for stored in workspace.acceptance.stored("logs")] == ["agent-1", "agent-1"]
    assert [agent_name for _, agent_name in workspace.acceptance.progress] == ["agent-1"]


async def test_reference_defect_22_a_second_agent_on_the_same_volume_stands_by(stage: Stage) -> None:
    """The reference lets two replicas, or old and new pod of an update, share a file: duplicates, and losses."""
    await stage.open()
    alerts = await stage.alerts("alerts")
    await stage.start()
    fired = [alerts.fire({"alertname": "before"})]
    await stage.arrived("alerts", 1)

    second = Stage(AsyncExitStack(), stage.storage)
    second.workspace, second.environment = stage.workspace, stage.environment
    takes_over = asyncio.create_task(second.start())
    try:
        await stage.until(
            lambda: second.agent is not None and "standby" in "".join(second.agent.status().unready)
        )
        fired.append(alerts.fire({"alertname": "while two agents run"}))
        await stage.arrived("alerts", 2)
        await polls(alerts, 3)
        await stage.stop()
        await takes_over
        fired.append(alerts.fire({"alertname": "after the first has gone"}))
        await stage.arrived("alerts", 3)
        await polls(alerts, 3)
    finally:
        takes_over.cancel()
        await second.close()

    assert stage.workspace.ids_of("alerts") == fired
