"""`oase-agent check --offline` with a plain file: what a setting makes of it, without asking any source."""

import json
from pathlib import Path

import pytest

from oase_agent.disk import Disk
from oase_agent.model import Cursor
from oase_agent.simulators.settings_table import setting_row
from oase_agent.spool.known_ids import IdPolicy
from oase_agent.spool.queue import QueueTools, SettingQueue
from oase_agent.spool.spool import setting_directory
from oase_agent.telemetry import Telemetry
from oase_agent.workspace.last_good import LastGoodSettings
from tests.integration.cli_stage import ZABBIX_COLUMNS, CliStage, Terminal

ANSWER = {"result": [{"eventid": "7", "name": "disk is full"}, {"eventid": "8", "name": "disk is empty"}]}


@pytest.fixture
def saved(tmp_path: Path) -> str:
    file = tmp_path / "saved.json"
    file.write_text(json.dumps(ANSWER))
    return str(file)


def agent_directory(stage: CliStage) -> Path:
    return stage.storage / "org001" / "ws01" / "agent-1"


def keep_settings(stage: CliStage, **columns: str) -> None:
    """Keep a setting on the volume, as an agent that runs does."""
    row = setting_row("web-01", f"{stage.zabbix.url}/api_jsonrpc.php", **{**ZABBIX_COLUMNS, **columns})
    stage.name("web-01")
    Disk().make_directory(agent_directory(stage))
    LastGoodSettings(Disk(), agent_directory(stage)).save([row])


def know(stage: CliStage, event_id: str) -> None:
    """Let the spool of web-01 have collected an event."""
    tools = QueueTools(Disk(), IdPolicy(retention_h=168), lambda: 1_700_000_000.0, Telemetry())
    queue = SettingQueue(agent_directory(stage) / "s" / setting_directory("web-01"), "web-01", tools)
    sighting = queue.sighting()
    assert sighting.is_new(event_id)
    with queue.collecting(1_700_000_007) as file:
        file.add([b"{}"])
        queue.commit(file, Cursor(1_700_000_007), sighting)


async def test_offline_takes_the_setting_from_the_volume_and_asks_nobody(
    stage: CliStage, terminal: Terminal, saved: str
) -> None:
    keep_settings(stage)
    know(stage, "7")
    before = stage.stored()
    printed = await terminal.run(stage.environment, "check", "web-01", "--offline", saved)
    assert printed.code == 0
    assert "setting from  the settings that the agent last kept on the volume\n" in printed.out
    assert "answer        saved.json: " in printed.out
    assert "cursor        1700000007 (" in printed.out
    assert "events        1 new, 1 already known\n" in printed.out
    assert 'new           8: {"eventid": "8", "name": "disk is empty"}\n' in printed.out
    assert "newest event 8" in printed.out
    assert not stage.zabbix.requests
    assert not stage.workspace.requests
    assert stage.stored() == before


async def test_offline_asks_the_workspace_for_a_setting_that_this_host_does_not_know(
    stage: CliStage, terminal: Terminal, saved: str
) -> None:
    stage.add_zabbix("web-01")
    printed = await terminal.run(stage.environment, "check", "--offline", saved)
    assert printed.code == 0
    assert "setting from  the workspace\n" in printed.out
    assert "events        2 new, 0 already known\n" in printed.out
    assert not stage.zabbix.requests


async def test_offline_takes_the_setting_from_a_file_of_settings(
    stage: CliStage, terminal: Terminal, saved: str, tmp_path: Path
) -> None:
    file = tmp_path / "settings.yaml"
    row = {
        "EVENT_COLLECTION_SETTINGS_NAME": "web-02",
        "CONNECTION_METHOD_ID": "5",
        "REQUEST_METHOD_ID": "1",
        "URL": stage.zabbix.url,
        "RESPONSE_LIST_FLAG": "1",
        "RESPONSE_KEY": "result",
        "EVENT_ID_KEY": "eventid",
        "TTL": 60,
    }
    file.write_text(json.dumps({"settings": [row]}))
    environment = {**stage.environment, "SETTINGS_FILE": str(file), "SETTINGS_FILE_MODE": "only"}
    printed = await terminal.run(environment, "check", "web-02", "--offline", saved)
    assert printed.code == 0
    assert "setting from  SETTINGS_FILE\n" in printed.out
    assert "events        2 new, 0 already known\n" in printed.out
    assert not stage.workspace.requests


async def test_offline_fails_for_what_the_setting_makes_of_the_answer(
    stage: CliStage, terminal: Terminal, saved: str
) -> None:
    keep_settings(stage, EVENT_ID_KEY="event_id")
    printed = await terminal.run(stage.environment, "check", "web-01", "--offline", saved)
    assert printed.code == 1
    (failure,) = printed.failures
    assert failure.startswith("2 events not available, 'EVENT_ID_KEY not found': ")


async def test_offline_extracts_although_the_request_could_not_be_rendered(
    stage: CliStage, terminal: Terminal, saved: str
) -> None:
    keep_settings(stage, PARAMETER="{{ 1 / 0 }}")
    printed = await terminal.run(stage.environment, "check", "web-01", "--offline", saved)
    assert printed.code == 1
    assert "PARAMETER of setting 'web-01' cannot be rendered" in printed.failures[0]
    assert "events        2 new" in printed.out


@pytest.mark.parametrize("content", ["", "<html>", '{"result": [{"eventid": "7"}'])
async def test_offline_fails_for_a_file_that_is_no_json(
    stage: CliStage, terminal: Terminal, tmp_path: Path, content: str
) -> None:
    keep_settings(stage)
    file = tmp_path / "saved.json"
    file.write_text(content)
    printed = await terminal.run(stage.environment, "check", "web-01", "--offline", str(file))
    assert printed.code == 1
    assert "did not answer with JSON" in printed.failures[0]


async def test_offline_maps_a_large_file(stage: CliStage, terminal: Terminal, tmp_path: Path) -> None:
    keep_settings(stage)
    file = tmp_path / "saved.json"
    file.write_text(json.dumps({"result": [{"eventid": str(n), "x": "y" * 900} for n in range(2000)]}))
    printed = await terminal.run(stage.environment, "check", "web-01", "--offline", str(file))
    assert printed.code == 0
    assert "events        2000 new" in printed.out


async def test_offline_of_a_file_that_is_missing_ends_with_2(
    stage: CliStage, terminal: Terminal, tmp_path: Path
) -> None:
    keep_settings(stage)
    printed = await terminal.run(stage.environment, "check", "web-01", "--offline", str(tmp_path / "gone"))
    assert printed.code == 2
    assert "is no file: give one with the answer of a source, or a recording" in printed.err


async def test_offline_with_a_file_needs_to_know_which_setting_is_meant(
    stage: CliStage, terminal: Terminal, saved: str
) -> None:
    stage.add_zabbix("web-01")
    stage.add_zabbix("web-02")
    printed = await terminal.run(stage.environment, "check", "--offline", saved)
    assert printed.code == 2
    assert (
        "--offline with a file is about one setting: name it. Configured: 'web-01', 'web-02'." in printed.err
    )


async def test_offline_tells_why_a_setting_cannot_be_found(
    stage: CliStage, terminal: Terminal, saved: str
) -> None:
    stage.name("nowhere")
    stage.add_zabbix("short-lived", TTL=1)
    gone = await terminal.run(stage.environment, "check", "nowhere", "--offline", saved)
    assert gone.code == 1
    assert gone.failures == [
        "'nowhere' is not a setting that is collected, as far as the workspace tells: check its name."
    ]
    disabled = await terminal.run(stage.environment, "check", "short-lived", "--offline", saved)
    assert disabled.failures == ["'short-lived' is disabled: TTL is not between 10 and 2147483647."]
    await stage.workspace.refuse()
    alone = await terminal.run(stage.environment, "check", "nowhere", "--offline", saved)
    assert alone.failures[0].startswith("The setting is not on this host, and the workspace cannot tell it: ")
