"""Defects D10 to D12, D15 and D30 of the reference (contract section 11): outages, tokens, backlog, clock."""

import asyncio
import time
from pathlib import Path

import orjson
import pytest

from oase_agent.app.agent_directory import agent_directory
from oase_agent.app.build import build_spool
from oase_agent.model import Cursor, Setting
from oase_agent.schedule import scheduler as scheduler_module
from oase_agent.schedule.scheduler import Scheduler
from oase_agent.simulators.faults import Fault
from oase_agent.telemetry import Telemetry
from tests.acceptance.stage import Stage
from tests.acceptance.steps import collecting, polls, waits
from tests.unit.source_servers import GET_SETTING


async def test_reference_defect_10_collecting_survives_an_outage_and_a_start_within_it(stage: Stage) -> None:
    """The reference begins every run with a token call, and dies before it polls while the workspace is away."""
    workspace = await stage.open()
    logs = await stage.logs("logs")
    await stage.start()
    await collecting(stage, "logs")
    await workspace.refuse()
    written = [logs.write("before the restart")]
    await waits(stage, "logs", 1)
    await stage.stop()

    await stage.start()
    written.append(logs.write("after the restart"))
    await waits(stage, "logs", 2)
    await workspace.resume()

    assert await stage.arrived("logs", 2) == written


async def test_reference_defect_10_a_first_start_without_the_workspace_begins_when_it_comes(
    stage: Stage,
) -> None:
    """The reference ends its run, and its container starts the next one, again and again."""
    workspace = await stage.open()
    logs = await stage.logs("logs")
    await workspace.refuse()
    agent = await stage.start()
    await stage.until(lambda: "cannot be reached" in "".join(agent.status().unready))

    await workspace.resume()
    await collecting(stage, "logs")
    line = logs.write("the first that was asked for")

    assert await stage.arrived("logs", 1) == [line]
    assert agent.status().is_ready


async def test_reference_defect_11_access_tokens_of_a_short_life_are_renewed_in_time(stage: Stage) -> None:
    """The reference takes one token for a run and does not look at its end: every later call fails with 401."""
    workspace = await stage.open(access_token_lifetime_s=1)
    logs = await stage.logs("logs")
    await stage.start()
    await collecting(stage, "logs")

    written = []
    while len(workspace.tokens.exchanges) < 3:
        written.append(logs.write("while tokens end"))
        await stage.arrived("logs", len(written))
        await asyncio.sleep(0.1)

    assert workspace.ids_of("logs") == written
    # In time means before a request is refused; one may be, where the machine is slow.
    assert [request.http_status for request in workspace.requests].count(401) <= 1


async def test_reference_defect_11_a_token_that_is_refused_is_renewed_at_once(stage: Stage) -> None:
    """The reference does not react to a 401 before the next run."""
    workspace = await stage.open()
    logs = await stage.logs("logs")
    await stage.start()
    await collecting(stage, "logs")
    written = [logs.write("with the first token")]
    await stage.arrived("logs", 1)

    workspace.tokens.expire_access_tokens()
    written.append(logs.write("with the second"))

    assert await stage.arrived("logs", 2) == written
    assert [request.http_status for request in workspace.requests].count(401) == 1
    assert len(workspace.tokens.exchanges) == 2


@pytest.mark.parametrize(
    ("credentials", "grant_types"),
    [
        ({"EXASTRO_REFRESH_TOKEN": "refresh-token"}, {"refresh_token"}),
        # As compose passes them: the refresh token is there, and empty.
        ({"EXASTRO_REFRESH_TOKEN": "", "EXASTRO_USERNAME": "user", "EXASTRO_PASSWORD": "pass"}, set()),
    ],
    ids=["refresh token", "user and password"],
)
async def test_reference_defect_12_no_start_asks_for_an_offline_session(
    stage: Stage, credentials: dict[str, str], grant_types: set[str]
) -> None:
    """The reference, given user and password by compose, makes an offline session and a row of it in every run."""
    workspace = await stage.open(username="user", password="pass")
    stage.environment |= credentials
    logs = await stage.logs("logs")
    for count in (1, 2):
        await stage.start()
        await collecting(stage, "logs")
        logs.write("whoever asks")
        await stage.arrived("logs", count)
        await stage.stop()

    assert {exchange.grant_type for exchange in workspace.tokens.exchanges} == grant_types
    assert not any("offline_access" in exchange.scope for exchange in workspace.tokens.exchanges)


async def test_reference_defect_15_a_backlog_leaves_in_requests_of_bounded_size(stage: Stage) -> None:
    """The reference puts everything that waits into one request, and tries it again in every cycle."""
    workspace = await stage.open()
    logs = await stage.logs("logs")
    await stage.start(MAX_POST_BYTES="300 KiB")
    await collecting(stage, "logs")
    workspace.faults.add(Fault.status(503, endpoint="events", times=None))
    began = time.monotonic()
    logs.fill(3000, 1000)
    await waits(stage, "logs", 3000)
    await polls(logs, 4)

    attempts = len([request for request in workspace.requests if request.http_status == 503])
    # The wait before the first repetition is at least a second, before later ones longer.
    assert attempts <= 1 + (time.monotonic() - began)
    workspace.faults.clear()

    assert await stage.arrived("logs", 3000) == [str(number) for number in range(1, 3001)]
    sizes = [request.body_bytes for request in workspace.requests if request.endpoint == "events"]
    assert max(sizes) <= 300 * 1024
    assert sum(sizes) > 3_000_000


async def test_reference_defect_30_alerts_arrive_although_the_clock_went_back_an_hour(stage: Stage) -> None:
    """The reference goes by the wall clock alone: until it has caught up, everything is refused, and lost."""
    workspace = await stage.open()
    alerts = await stage.alerts("alerts")
    fired = [alerts.fire({"alertname": "before"})]
    in_an_hour = int(time.time()) + 3600
    keep_as_if_collected(stage, fired[0], at=in_an_hour)

    await stage.start()
    for count in (2, 3):
        fired.append(alerts.fire({"alertname": f"after, {count}"}))
        await stage.arrived("alerts", count)

    assert workspace.ids_of("alerts") == fired
    times = [stored.group_time for stored in workspace.acceptance.stored("alerts")]
    assert times == [in_an_hour, in_an_hour + 1, in_an_hour + 2]


def keep_as_if_collected(stage: Stage, event_id: str, *, at: int) -> None:
    """Leave one event on the volume, as an agent does whose clock shows `at` (epoch seconds)."""
    config = stage.config()
    spool = build_spool(config, Telemetry())
    assert spool.try_own()
    queue = spool.queue("alerts")
    sighting = queue.sighting()
    assert sighting.is_new(event_id)
    with queue.collecting(at) as file:
        file.add([orjson.dumps({"fingerprint": event_id, "_exastro_oase_event_id": event_id})])
        queue.commit(file, Cursor(at), sighting)
    spool.close()
    assert list(Path(agent_directory(config)).glob("s/*/out.*"))


async def test_reference_defect_30_collecting_goes_on_when_the_clock_goes_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The reference knows the wall clock alone; a job that waits for a time of day would wait an hour longer."""
    monkeypatch.setattr(scheduler_module, "_CLOCK_CHECK_S", 0.05)
    wall_s, chance = [1_700_003_600.0], [0.999]
    collected = asyncio.Event()

    async def collect(setting: Setting) -> None:
        collected.set()

    scheduler = Scheduler(
        collect,
        Telemetry(),
        interval_s=3600,
        now=lambda: wall_s[0],
        monotonic=lambda: 0.0,
        random=lambda: chance[0],
    )
    scheduler.apply([GET_SETTING])
    running = asyncio.create_task(scheduler.run())
    try:
        await asyncio.sleep(0.2)
        assert not collected.is_set()
        wall_s[0] -= 3600
        chance[0] = 0.0
        await asyncio.wait_for(collected.wait(), 10)
    finally:
        running.cancel()
        await asyncio.wait({running})
