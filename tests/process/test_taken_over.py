"""A frozen agent whose lock was lost: another one takes over, and the first one ends by itself when it thaws."""

import signal

from tests.acceptance.stage import Stage
from tests.process.conftest import Children


async def test_a_frozen_agent_that_lost_its_lock_ends_when_it_thaws_and_every_event_arrives_once(
    stage: Stage, children: Children
) -> None:
    await stage.open()
    alerts = await stage.alerts("alerts")
    frozen = await children.start()
    fired = [alerts.fire({"alertname": "of the first"})]
    await stage.arrived("alerts", 1)
    frozen.send(signal.SIGSTOP)
    # As a partition on a network volume does: the lock is free, and its holder does not know.
    [lock] = stage.storage.rglob(".lock")
    lock.unlink()

    second = await children.start()
    await second.logged("agent_started")
    fired.append(alerts.fire({"alertname": "of the second"}))
    await stage.arrived("alerts", 2)
    frozen.send(signal.SIGCONT)
    fired.append(alerts.fire({"alertname": "of both"}))

    assert await frozen.ended() == 1
    [told] = frozen.log("spool_taken_over")
    assert "another process has taken over" in told["message"].lower()
    assert frozen.log("task_failed") == []
    assert await stage.arrived("alerts", 3) == fired
    assert await second.unready() == ""
