"""Settings in a file of this host, by a running agent: instead of the workspace's and over them."""

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from oase_agent.cli.settings import export_settings
from oase_agent.errors import ConfigError
from oase_agent.simulators.log_page import LogPageSimulator
from oase_agent.simulators.loopback import Reply
from tests.acceptance.sources import DocumentSource
from tests.acceptance.stage import PATIENCE_S, Stage
from tests.acceptance.steps import collecting, polls

NAME = "EVENT_COLLECTION_SETTINGS_NAME"
NAMES = "EVENT_COLLECTION_SETTINGS_NAMES"
ID_LABEL = "_exastro_event_collection_settings_id"


class TokenSource(DocumentSource):
    """Notes with which tokens it was asked."""

    def __init__(self, document: Any) -> None:
        super().__init__(document)
        self.tokens: set[str] = set()

    def content(self, request: web.Request, body: bytes) -> Reply:
        self.tokens.add(request.headers.get("Authorization", ""))
        return super().content(request, body)


def write(directory: Path, *settings: dict[str, Any]) -> Path:
    """Write a settings file; JSON is YAML, too."""
    path = directory / "settings.yaml"
    path.write_text(json.dumps({"settings": settings}))
    return path


def logs_setting(name: str, source: LogPageSimulator, **columns: Any) -> dict[str, Any]:
    return {
        NAME: name,
        "CONNECTION_METHOD_ID": 5,
        "REQUEST_METHOD_ID": 1,
        "URL": f"{source.url}/logs",
        "PARAMETER": {"since": "{{ EXASTRO_LAST_FETCHED_TIMESTAMP }}"},
        "RESPONSE_LIST_FLAG": True,
        "RESPONSE_KEY": "lines",
        "EVENT_ID_KEY": "id",
        "TTL": 600,
        **columns,
    }


def asked_for_settings(stage: Stage) -> int:
    return sum(request.endpoint == "settings" for request in stage.workspace.requests)


async def test_a_collector_knows_only_a_file_and_a_workspace_to_post_to(stage: Stage, tmp_path: Path) -> None:
    await stage.open()
    source = await stage.logs("web", CONNECTION_METHOD_ID="99")
    del stage.environment[NAMES]
    file = write(tmp_path, logs_setting("web", source))

    await stage.start_collecting("web", SETTINGS_FILE=str(file), SETTINGS_FILE_MODE="only")
    line = source.write("a line")

    assert await stage.arrived("web", 1) == [line]
    assert asked_for_settings(stage) == 0
    (stored,) = stage.workspace.acceptance.events_of("web")
    known = stage.workspace.settings.find("web")
    assert known is not None
    assert stored[ID_LABEL] == known.id, "the workspace fills in the id that the file does not tell"
    assert stage.agent is not None
    assert stage.agent.status().is_ready


async def test_the_configured_names_select_from_a_file_that_is_all_there_is(
    stage: Stage, tmp_path: Path
) -> None:
    await stage.open()
    source = await stage.logs("web")
    stage.environment[NAMES] = "web,missing"
    file = write(tmp_path, logs_setting("web", source), logs_setting("other", source))

    agent = await stage.start_collecting("web", SETTINGS_FILE=str(file), SETTINGS_FILE_MODE="only")

    assert [(setting.name, setting.state) for setting in agent.status().settings] == [
        ("web", "collecting"),
        ("missing", "unknown"),
    ]


async def test_what_the_file_says_is_laid_over_the_workspaces_settings(stage: Stage, tmp_path: Path) -> None:
    await stage.open()
    source = await stage.logs("web", URL="http://127.0.0.1:9/nobody", TTL=60)
    added = await stage.logs("added")
    stage.environment[NAMES] = "web"
    file = write(tmp_path, {NAME: "WEB", "URL": f"{source.url}/logs"}, logs_setting("added", added))

    await stage.start_collecting("web", "added", SETTINGS_FILE=str(file))
    line, other_line = source.write("a line"), added.write("a line")

    assert await stage.arrived("web", 1) == [line]
    assert await stage.arrived("added", 1) == [other_line]
    (stored,) = stage.workspace.acceptance.events_of("web")
    assert stored["_exastro_end_time"] - stored["_exastro_fetched_time"] == 60, "the workspace's own TTL"


async def test_a_new_version_is_used_at_once_on_request_and_a_faulty_one_is_not(
    stage: Stage, tmp_path: Path
) -> None:
    await stage.open()
    source = await stage.logs("web")
    other = await stage.logs("other")
    file = write(tmp_path, logs_setting("web", source))
    agent = await stage.start_collecting(
        "web", SETTINGS_FILE=str(file), SETTINGS_FILE_MODE="only", **{NAMES: ""}
    )

    file.write_text("settings: [")
    agent.reload_settings()
    await stage.until(lambda: not agent.status().is_ready)
    assert (
        agent.status().unready[0].startswith("settings file: SETTINGS_FILE settings.yaml: line 1, column 12")
    )
    await polls(source, 2)

    write(tmp_path, logs_setting("other", other))
    agent.reload_settings()
    await collecting(stage, "other")
    assert agent.status().unready == ()
    assert stage.setting("web").state == "left"
    line = other.write("a line")
    assert await stage.arrived("other", 1) == [line]


async def test_a_faulty_file_stops_the_start_with_every_fault(stage: Stage, tmp_path: Path) -> None:
    await stage.open()
    source = await stage.logs("web")
    file = write(tmp_path, logs_setting("web", source, TTL=1, COLOUR="red"))

    with pytest.raises(ConfigError) as caught:
        await stage.start(SETTINGS_FILE=str(file))
    assert len(caught.value.faults) == 2


async def test_plain_secrets_are_never_on_the_volume(stage: Stage, tmp_path: Path) -> None:
    await stage.open()
    (tmp_path / "token").write_text("of-this-host\n")
    file = write(tmp_path, {NAME: "web", "AUTH_TOKEN_FILE": "token", "PASSWORD": "also-of-this-host"})
    async with TokenSource([{"id": "1"}]) as source:
        columns = {"CONNECTION_METHOD_ID": "1", "AUTH_TOKEN": "of-the-workspace", "EVENT_ID_KEY": "id"}
        stage.add("web", source.url, **columns)
        await stage.start_collecting("web", SETTINGS_FILE=str(file))
        assert await stage.arrived("web", 1) == ["1"]
        await stage.stop()
        assert source.tokens == {"Bearer of-this-host"}

    kept = b"".join(path.read_bytes() for path in stage.storage.rglob("*") if path.is_file())
    assert b"EVENT_COLLECTION_SETTINGS_NAME" in kept, "the workspace's rows are kept for a start without it"
    assert b"of-this-host" not in kept


async def test_without_the_workspace_its_last_good_settings_and_the_file_go_together(
    stage: Stage, tmp_path: Path
) -> None:
    await stage.open()
    source = await stage.logs("web", URL="http://127.0.0.1:9/nobody")
    file = write(tmp_path, {NAME: "web", "URL": f"{source.url}/logs"})
    await stage.start_collecting("web", SETTINGS_FILE=str(file))
    await stage.stop()
    stage.workspace.maintenance = True

    agent = await stage.start_collecting("web", SETTINGS_FILE=str(file))
    moved = await stage.logs("moved")
    write(tmp_path, {NAME: "web", "URL": f"{moved.url}/logs"})
    agent.reload_settings()
    await polls(moved, 2)
    line = moved.write("a line")
    await stage.until(lambda: stage.waiting("web") == 1)
    stage.workspace.maintenance = False
    assert await stage.arrived("web", 1) == [line]


async def test_what_is_exported_collects_the_same_without_the_workspaces_settings(
    stage: Stage, tmp_path: Path
) -> None:
    await stage.open()
    alerts = await stage.alerts("alerts")
    zabbix = await stage.zabbix("zabbix")
    alerts.fire({"alertname": "DiskFull"})
    zabbix.raise_problem("too hot")
    async with TokenSource([{"id": "1"}]) as source:
        columns = {"CONNECTION_METHOD_ID": "1", "AUTH_TOKEN": "hunter2", "EVENT_ID_KEY": "id"}
        stage.add("token", source.url, **columns)
        names = ("alerts", "zabbix", "token")
        await stage.start()
        await stage.workspace.wait_for(lambda workspace: all(map(workspace.count, names)), PATIENCE_S)
        await stage.stop()
        first = {name: list(map(comparable, stage.workspace.acceptance.events_of(name))) for name in names}

        file = tmp_path / "settings.yaml"
        with ThreadPoolExecutor(1) as thread:  # the stopped agent took the loop's own with it
            loop = asyncio.get_running_loop()
            assert await loop.run_in_executor(thread, export_settings, stage.environment, file) == 0
        (tmp_path / "secrets").mkdir()
        (tmp_path / "secrets" / "token.auth-token").write_text("hunter2\n")
        source.tokens.clear()
        asked = asked_for_settings(stage)
        del stage.environment[NAMES]
        await stage.start(
            SETTINGS_FILE=str(file),
            SETTINGS_FILE_MODE="only",
            AGENT_NAME="agent-2",
            STORAGE_PATH=str(tmp_path / "storage-2"),
        )
        for name in names:
            await stage.arrived(name, 2)
        await stage.stop()

    assert asked_for_settings(stage) == asked
    assert source.tokens == {"Bearer hunter2"}
    for name in names:
        events = list(map(comparable, stage.workspace.acceptance.events_of(name)))
        assert events == first[name] * 2


def comparable(event: dict[str, Any]) -> dict[str, Any]:
    """Return an event without what differs from one collection and one agent to the next."""
    changing = {"_exastro_fetched_time", "_exastro_end_time", "_exastro_agent_name"}
    return {key: value for key, value in event.items() if key not in changing}
