"""Two agents on one volume: one works, the other waits, says so, and takes over."""

import signal

from tests.acceptance.stage import Stage
from tests.process.agent_process import AgentProcess
from tests.process.conftest import Children

# A look every second, and room for a loaded machine.
TAKES_OVER_WITHIN_S = 3.0


async def standby(children: Children) -> AgentProcess:
    """Start an agent beside one that works; return when it waits."""
    agent = await children.start()
    await agent.logged("standing_by")
    return agent


async def test_a_second_agent_waits_says_so_and_takes_over_after_a_kill(
    stage: Stage, children: Children
) -> None:
    workspace = await stage.open()
    alerts = await stage.alerts("alerts")
    first = await children.start()
    fired = [alerts.fire({"alertname": "of the first"})]
    await stage.arrived("alerts", 1)
    second = await standby(children)

    assert await first.unready() == ""
    assert await second.unready() == "standby: another agent owns this spool\n"
    assert (await second.ask("/healthz"))[0] == 200
    assert second.log("agent_started") == []

    asked = len(workspace.requests)
    await first.kill()
    killed_at = workspace.clock()
    fired.append(alerts.fire({"alertname": "after the kill"}))
    await second.logged("agent_started")
    assert workspace.clock() - killed_at < TAKES_OVER_WITHIN_S
    assert await stage.arrived("alerts", 2) == fired
    assert await second.unready() == ""
    # Nothing was asked for while it waited: its first request is for a token of its own.
    assert workspace.requests[asked].endpoint == "token"


async def test_a_standby_stops_at_once_and_leaves_the_working_agent_alone(
    stage: Stage, children: Children
) -> None:
    await stage.open()
    alerts = await stage.alerts("alerts")
    first = await children.start()
    await first.logged("agent_started")
    second = await standby(children)

    second.send(signal.SIGTERM)

    assert await second.ended(TAKES_OVER_WITHIN_S) == 0
    assert second.stderr == ""
    alert = alerts.fire({"alertname": "still collected"})
    assert await stage.arrived("alerts", 1) == [alert]
