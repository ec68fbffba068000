"""Defects D20, D24, D25, D27, D33 and D34 of the reference (contract section 11): how it runs and what it tells."""

import os
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

import aiohttp
import pytest

import oase_agent
from oase_agent.app.agent import Agent
from oase_agent.simulators.loopback import RequestRecord
from oase_agent.simulators.settings_table import setting_row
from tests.acceptance.stage import Stage
from tests.acceptance.steps import collecting, polls, waits

REPOSITORY = Path(oase_agent.__file__).parents[1]


async def test_reference_defect_20_twenty_slow_sources_are_polled_side_by_side(stage: Stage) -> None:
    """The reference polls one source after the other: each of these would be asked every ten seconds and more."""
    await stage.open()
    first = await stage.logs("slow-00")
    first.latency_s = 0.5
    names = [f"slow-{number:02}" for number in range(20)]
    for name in names[1:]:
        stage.add(name, f"{first.url}/logs?of={name}", RESPONSE_KEY="lines", EVENT_ID_KEY="id")
    began = time.monotonic()
    await stage.start(interval_s=0.6)

    await first.wait_for(lambda source: min(asked(source.requests, name) for name in names[1:]) >= 3, 20)

    # One after the other, three rounds take thirty seconds.
    assert time.monotonic() - began < 10


def asked(requests: Iterable[RequestRecord], name: str) -> int:
    return sum(request.path.endswith(name) for request in requests)


async def test_reference_defect_24_a_changed_setting_is_taken_up_without_a_restart(stage: Stage) -> None:
    """The reference reads settings once a run; who cannot wait deletes a file inside the container."""
    workspace = await stage.open()
    before = await stage.logs("before")
    after = await stage.logs("after")
    stage.environment["EVENT_COLLECTION_SETTINGS_NAMES"] = "before"
    await stage.start(interval_s=0.05)
    await collecting(stage, "before")
    await polls(before, 2)

    workspace.add_setting(
        setting_row("before", f"{after.url}/logs", RESPONSE_KEY="lines", EVENT_ID_KEY="id", TTL=60)
    )
    line = after.write("of the new address")

    assert await stage.arrived("before", 1) == [line]
    event = workspace.acceptance.events_of("before")[0]
    assert event["_exastro_end_time"] == event["_exastro_fetched_time"] + 60


async def test_reference_defect_24_an_empty_answer_is_neither_kept_nor_final(stage: Stage) -> None:
    """The reference keeps an empty answer for a whole run and collects nothing meanwhile."""
    workspace = await stage.open()
    logs = await stage.logs("logs")
    await stage.start(interval_s=0.05)
    await collecting(stage, "logs")
    row = workspace.settings.active_rows(["logs"])[0]
    workspace.discard("logs")
    await stage.until(lambda: stage.setting("logs").state == "unknown")
    await stage.stop()

    await workspace.refuse()
    await stage.start(interval_s=0.05)
    line = logs.write("collected by the last good settings of the volume")
    await waits(stage, "logs", 1)
    workspace.add_setting({**row, "DISUSE_FLAG": "0"})
    await workspace.resume()

    assert await stage.arrived("logs", 1) == [line]
    await collecting(stage, "logs")


@pytest.fixture
def new_york(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Put the process into a zone with daylight saving time."""
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("new_york")
async def test_reference_defect_25_the_end_of_an_event_does_not_depend_on_daylight_saving_time(
    stage: Stage,
) -> None:
    """The reference adds the TTL to a local time: across a change of the clocks it is an hour off."""
    await stage.open()
    now = int(time.time())
    ttl_s = next(
        days * 86_400
        for days in range(2, 366)
        if time.localtime(now + days * 86_400).tm_gmtoff != time.localtime(now).tm_gmtoff
    )
    logs = await stage.logs("logs", TTL=ttl_s)
    await stage.start()
    await collecting(stage, "logs")

    logs.write("lives until the other half of the year")
    await stage.arrived("logs", 1)

    event = stage.workspace.acceptance.events_of("logs")[0]
    assert event["_exastro_end_time"] - event["_exastro_fetched_time"] == ttl_s


@pytest.mark.parametrize("event", [True, False], ids=["with an event", "while nothing happens"])
async def test_reference_defect_27_readiness_says_that_the_refresh_token_ended(
    stage: Stage, event: bool
) -> None:
    """The reference has no probe; with an ended refresh token it goes round and round, quietly."""
    workspace = await stage.open()
    logs = await stage.logs("logs")
    agent = await stage.start(interval_s=0.05)
    await collecting(stage, "logs")
    await stage.until(lambda: agent.status().is_ready)
    assert await answer_at(agent, "/readyz") == (200, "ready\n")

    workspace.tokens.revoke_refresh_tokens()
    if event:
        logs.write("for a workspace that does not know us any more")
    await stage.until(lambda: not agent.status().is_ready)

    status, text = await answer_at(agent, "/readyz")
    assert status == 503
    assert "refresh token expired or revoked" in text
    assert "EXASTRO_REFRESH_TOKEN" in text
    assert (await answer_at(agent, "/healthz"))[0] == 200
    assert "oase_agent_ready 0.0" in (await answer_at(agent, "/metrics"))[1]


async def answer_at(agent: Agent, door: str) -> tuple[int, str]:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{agent.admin_port}{door}") as answer,
    ):
        return answer.status, await answer.text()


def test_reference_defect_27_a_wrong_configuration_ends_the_start_with_all_faults(tmp_path: Path) -> None:
    """The reference goes round with one log line an interval when an id is wrong, and names one fault at most."""
    environment = {
        "PATH": os.environ.get("PATH", ""),
        "EXASTRO_URL": "no address",
        "EXASTRO_ORGANIZATION_ID": "not/an/id",
        "EXASTRO_WORKSPACE_ID": "ws01",
        "EXECUTE_INTERVAL": "often",
        "EXASTRO_REFRESH_TOKEN": "canary",
        "STORAGE_PATH": str(tmp_path / "storage"),
    }
    ended = subprocess.run(
        [sys.executable, "-m", "oase_agent", "run"],
        env=environment,
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert ended.returncode == 2
    for name in (
        "EXASTRO_URL",
        "EXASTRO_ORGANIZATION_ID",
        "EXECUTE_INTERVAL",
        "EVENT_COLLECTION_SETTINGS_NAMES",
    ):
        assert name in ended.stderr
    assert "canary" not in ended.stderr + ended.stdout
    assert not (tmp_path / "storage").exists()


async def test_reference_defect_33_nothing_is_started_or_written_while_nothing_happens(stage: Stage) -> None:
    """The reference starts a new process for each run, and rewrites its whole database at the end of it."""
    workspace = await stage.open()
    logs = await stage.logs("logs")
    await stage.start(interval_s=0.05)
    await collecting(stage, "logs")
    logs.write("the only one")
    await stage.arrived("logs", 1)
    await waits(stage, "logs", 0)
    logs.clear()
    await polls(logs, 2)

    before = traces_on(stage.storage)
    asked_for_settings = [request.endpoint for request in workspace.requests].count("settings")
    # Beyond the cycles of a run: the settings are read again meanwhile.
    await workspace.wait_for(
        lambda workspace: (
            [request.endpoint for request in workspace.requests].count("settings") > asked_for_settings + 1
        )
    )
    await polls(logs, 2)

    assert traces_on(stage.storage) == before
    assert child_processes() == []
    assert len(workspace.tokens.exchanges) == 1


def traces_on(storage: Path) -> dict[str, tuple[int, int, int]]:
    """Return what writing changes: directories tell of every name that came or went, also of temporary ones."""
    status = {str(path): path.stat() for path in [storage, *storage.rglob("*")]}
    return {path: (seen.st_ino, seen.st_mtime_ns, seen.st_size) for path, seen in status.items()}


def child_processes() -> list[str]:
    tasks = Path("/proc/self/task")
    return [child for task in tasks.iterdir() for child in (task / "children").read_text().split()]


async def test_reference_defect_34_the_version_in_a_post_is_that_of_the_package(stage: Stage) -> None:
    """The reference says 2.7.0 in an image that is tagged 2.7.1."""
    await stage.open()
    logs = await stage.logs("logs")
    await stage.start()
    await collecting(stage, "logs")

    logs.write("with a version")
    await stage.arrived("logs", 1)

    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    event = stage.workspace.acceptance.events_of("logs")[0]
    assert event["_exastro_agent_version"] == oase_agent.__version__ == project["version"]
