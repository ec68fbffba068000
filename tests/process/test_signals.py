"""Signals to the real command: it stops in time with its batch settled (O1), and reloads its settings."""

import json
import signal
from dataclasses import replace

import pytest

from oase_agent.simulators.faults import Fault
from oase_agent.simulators.settings_table import setting_row
from oase_agent.simulators.sources import AlertmanagerSimulator
from oase_agent.simulators.workspace import WorkspaceSimulator
from tests.acceptance.stage import Stage
from tests.process.agent_process import AgentProcess
from tests.process.conftest import Children

STOPS_WITHIN_S = 3.0
# The question where the workspace stands is smaller than this, and an alert with such a text is larger.
TEXT_BYTES = 2_000


def fire(alerts: AlertmanagerSimulator, name: str) -> str:
    return alerts.fire({"alertname": name}, {"summary": "x" * TEXT_BYTES})


async def befall_next_batch(stage: Stage, fault: Fault) -> None:
    """Return when the next POST with an alert has arrived at the workspace, which commits the fault on it."""
    fault = replace(fault, endpoint="events", above_bytes=TEXT_BYTES)
    stage.workspace.faults.add(fault)
    await stage.until(lambda: fault not in stage.workspace.faults.pending)


def endpoints(workspace: WorkspaceSimulator) -> list[str]:
    return [request.endpoint for request in workspace.requests]


async def waiting(agent: AgentProcess, name: str) -> int:
    """Return how many events of a setting the agent says are waiting."""
    _, text = await agent.ask("/api/status")
    [figures] = [setting["figures"] for setting in json.loads(text)["settings"] if setting["name"] == name]
    return int(figures["waiting"])


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
async def test_a_stop_lets_the_post_under_way_be_answered_and_settles_it(
    stage: Stage, children: Children, name: str
) -> None:
    workspace = await stage.open()
    alert = fire(await stage.alerts("alerts"), "under way")
    agent = await children.start()
    await befall_next_batch(stage, Fault.slow(after_s=0.4))

    agent.send(signal.Signals[name])

    assert await agent.ended(STOPS_WITHIN_S) == 0
    assert agent.log("agent_stopping")[0]["why"] == name
    assert agent.log()[-1]["action"] == "agent_stopped"
    assert agent.stderr == ""
    assert workspace.ids_of("alerts") == [alert]
    # It is not even offered again.
    agent = await children.start()
    await agent.logged("settings_loaded")
    assert await waiting(agent, "alerts") == 0


@pytest.mark.parametrize(
    "fault",
    [Fault.slow(after_s=60), Fault.slow(before_s=4), Fault.slow(before_s=60)],
    ids=["stored, never answered", "stored after the process ended", "never stored"],
)
async def test_a_stop_during_a_post_that_does_not_end_is_in_time_and_the_batch_arrives_once(
    stage: Stage, children: Children, fault: Fault
) -> None:
    workspace = await stage.open()
    alerts = await stage.alerts("alerts")
    first = fire(alerts, "under way")
    agent = await children.start()
    await befall_next_batch(stage, fault)

    agent.send(signal.SIGTERM)

    assert await agent.ended(STOPS_WITHIN_S) == 0
    assert agent.stderr == ""
    agent = await children.start()
    assert await stage.arrived("alerts", 1) == [first]
    second = fire(alerts, "after the restart")
    assert await stage.arrived("alerts", 2) == [first, second]
    if fault.before_s == 4:
        # The workspace has processed the POST of the process that is gone, too.
        await workspace.wait_for(lambda workspace: any(request.fault for request in workspace.requests))
    assert workspace.ids_of("alerts") == [first, second]


async def test_a_stop_while_the_workspace_is_away_is_in_time_and_keeps_what_waits(
    stage: Stage, children: Children
) -> None:
    workspace = await stage.open()
    alerts = await stage.alerts("alerts")
    workspace.faults.add(Fault.status(503, times=None, endpoint="events"))
    alert = fire(alerts, "kept")
    agent = await children.start()
    await agent.logged("workspace_away")

    agent.send(signal.SIGTERM)

    assert await agent.ended(STOPS_WITHIN_S) == 0
    alerts.resolve(alert)
    workspace.faults.clear()
    await children.start()
    assert await stage.arrived("alerts", 1) == [alert]


async def test_sighup_takes_over_a_changed_setting_at_once(stage: Stage, children: Children) -> None:
    workspace = await stage.open()
    old = await stage.alerts("alerts")
    new = await stage.alerts("another name for a second source")
    before = fire(old, "at the old address")
    # Without the signal settings are asked for after 120 intervals of 3 seconds.
    agent = await children.start(ITERATION="120")
    assert await stage.arrived("alerts", 1) == [before]
    workspace.add_setting(setting_row("alerts", f"{new.url}/api/v2/alerts", EVENT_ID_KEY="fingerprint"))

    agent.send(signal.SIGHUP)

    loaded = await agent.logged("settings_loaded", times=2)
    assert (loaded["settings"], loaded["origin"]) == (2, "workspace")
    asked = len(old.requests)
    after = fire(new, "at the new address")
    assert await stage.arrived("alerts", 2) == [before, after]
    assert len(old.requests) <= asked + 1  # one may have been under way
    agent.send(signal.SIGTERM)
    assert await agent.ended(STOPS_WITHIN_S) == 0


async def test_sighup_without_a_change_disturbs_nothing(stage: Stage, children: Children) -> None:
    workspace = await stage.open()
    alerts = await stage.alerts("alerts")
    agent = await children.start()
    await agent.logged("settings_loaded")

    agent.send(signal.SIGHUP)

    await workspace.wait_for(lambda workspace: endpoints(workspace).count("settings") == 2)
    alert = fire(alerts, "as ever")
    assert await stage.arrived("alerts", 1) == [alert]
    assert len(agent.log("settings_loaded")) == 1
