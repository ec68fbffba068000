"""The dispatcher of the deliverer sleeps no longer than until the next setting is due, however the clock falls."""

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path

from oase_agent.app.build import build_spool, build_workspace
from oase_agent.deliver.deliverer import Chances, Deliverer
from oase_agent.model import AgentIdentity, Cursor
from oase_agent.telemetry import Telemetry
from tests.acceptance.stage import Stage

NOW_S = 1_700_000_000


def clock_of_strides(stride_s: float) -> Callable[[], float]:
    """Return a clock that goes on by so much whenever it is read, and stands still in between."""
    read = 0

    def clock() -> float:
        nonlocal read
        read += 1
        return read * stride_s

    return clock


async def test_a_setting_that_becomes_due_between_two_readings_of_the_clock_is_delivered(
    tmp_path: Path,
) -> None:
    async with contextlib.AsyncExitStack() as stack:
        stage = Stage(stack, tmp_path)
        await stage.open()
        stage.add("alerts", "http://127.0.0.1:9/")
        config, telemetry = stage.config(), Telemetry()
        spool = build_spool(config, telemetry)
        queue = spool.queue("alerts")
        with queue.collecting(NOW_S) as file:
            file.add([b'{"_exastro_oase_event_id":"one"}'])
            queue.commit(file, Cursor(NOW_S), queue.sighting())
        # An earlier life may have had it under way, so that this one waits for a second before it asks.
        queue.before_sending(queue.peek(1)[-1])

        spool = build_spool(config, telemetry)
        spool.open_existing()
        identity = AgentIdentity("agent-1", "1.0")
        workspace = await stack.enter_async_context(build_workspace(config, identity, telemetry))

        async def reload_settings() -> None:
            pass

        deliverer = Deliverer(
            spool,
            workspace,
            identity,
            telemetry,
            max_post_bytes=2**20,
            # 0.4 s: the second ends between two readings of one pass, with all that are made at present.
            chances=Chances(lambda: NOW_S, clock_of_strides(0.4), lambda: 0.0),
            reload_settings=reload_settings,
        )
        running = asyncio.create_task(deliverer.run())
        try:
            await stage.workspace.wait_for(lambda workspace: workspace.count("alerts") == 1, 5)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
