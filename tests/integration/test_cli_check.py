"""`oase-agent check` over real sockets, against the simulators."""

import json
import os
import re
import ssl
import zlib
from pathlib import Path

import pytest
from aiohttp import web

from oase_agent.disk import Disk
from oase_agent.model import Cursor
from oase_agent.simulators.settings_table import setting_row
from oase_agent.simulators.sources import LogPageSimulator, ZabbixSimulator
from oase_agent.spool.known_ids import IdPolicy
from oase_agent.spool.queue import QueueTools, SettingQueue
from oase_agent.spool.spool import setting_directory
from oase_agent.telemetry import Telemetry
from oase_agent.workspace.last_good import LastGoodSettings
from tests.integration.cli_stage import ZABBIX_COLUMNS, CliStage, Terminal, cli_stage
from tests.unit.source_servers import Authority


def agent_directory(stage: CliStage) -> Path:
    return stage.storage / "org001" / "ws01" / "agent-1"


def a_queue(stage: CliStage, name: str) -> SettingQueue:
    """Return the queue as the agent opens it."""
    directory = agent_directory(stage) / "s" / setting_directory(name)
    tools = QueueTools(Disk(), IdPolicy(retention_h=168), lambda: 1_700_000_000.0, Telemetry())
    return SettingQueue(directory, name, tools)


def keep(queue: SettingQueue, event_id: str, fetched_time: int) -> None:
    """Commit one event, as a collection at `fetched_time` does."""
    sighting = queue.sighting()
    assert sighting.is_new(event_id)
    with queue.collecting(fetched_time) as file:
        file.add([json.dumps({"eventid": event_id}).encode()])
        queue.commit(file, Cursor(fetched_time), sighting)


class Body:
    """A source's answer with any body."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    async def send(self, request: web.Request) -> web.StreamResponse:
        return web.Response(body=self._body, content_type="application/json")


# -- all is well ------------------------------------------------------------------------------------------


async def test_check_of_a_healthy_agent_says_so_and_ends_with_0(stage: CliStage, terminal: Terminal) -> None:
    stage.add_zabbix("web-01")
    printed = await terminal.run(stage.environment, "check")
    assert printed.failures == []
    assert printed.code == 0
    assert printed.err == ""
    assert printed.out.endswith("\nEverything is fine.\n")
    assert f"STORAGE_PATH '{stage.storage}': file system" in printed.section("storage")
    assert "1 collectable setting from the workspace" in printed.section("workspace 'ws01'")


async def test_check_shows_the_request_the_answer_and_what_it_would_yield(
    stage: CliStage, terminal: Terminal
) -> None:
    stage.add_zabbix("web-01")
    section = (await terminal.run(stage.environment, "check")).section("setting 'web-01'")
    assert f"request       POST {stage.zabbix.url}/api_jsonrpc.php\n" in section
    assert "header        Content-Type: application/json-rpc\n" in section
    assert f"parameter     {ZABBIX_COLUMNS['PARAMETER']}\n" in section
    assert "now, because the spool has none yet" in section
    assert "status 200, application/json, " in section
    assert "events        1 new, 0 already known\n" in section
    assert "exchange      POST http://127.0.0.1:" in section
    assert "labels        _exastro_event_collection_settings_name=web-01, " in section
    assert 'new           1001: {"eventid": "1001", ' in section
    assert ", newest event 1001\n" in section


async def test_check_posts_nothing_and_writes_nothing(stage: CliStage, terminal: Terminal) -> None:
    stage.add_zabbix("web-01")
    before = stage.stored()
    assert (await terminal.run(stage.environment, "check")).code == 0
    assert {record.endpoint for record in stage.workspace.requests} == {"token", "settings"}
    assert stage.stored() == before


async def test_check_keeps_large_answers_out_of_the_storage(stage: CliStage, terminal: Terminal) -> None:
    stage.zabbix.fill(200, 5_000)
    stage.add_zabbix("web-01")
    # Files without a name leave no trace in a folder, but a folder that is missing cannot take one.
    missing = {**stage.environment, "STORAGE_PATH": str(stage.storage / "missing")}
    printed = await terminal.run(missing, "check")
    assert printed.code == 0
    assert "events        201 new" in printed.section("setting")


async def test_check_begins_where_the_spool_stands_and_leaves_it_alone(
    stage: CliStage, terminal: Terminal
) -> None:
    stage.zabbix.raise_problem("another one")
    stage.add_zabbix("web-01")
    # Not closed: the cursor is only in the file of the collection, as while the agent runs.
    keep(a_queue(stage, "web-01"), "1001", 1_700_000_007)
    before = stage.stored()
    section = (await terminal.run(stage.environment, "check")).section("setting 'web-01'")
    assert "cursor        1700000007 (" in section
    assert "from the spool" in section
    assert "events        1 new, 1 already known\n" in section
    assert "new           1002: {" in section
    assert "known         1001: collected before" in section
    assert stage.stored() == before


async def test_check_takes_the_checkpoint_before_one_that_is_damaged(
    stage: CliStage, terminal: Terminal
) -> None:
    stage.add_zabbix("web-01")
    queue = a_queue(stage, "web-01")
    keep(queue, "1001", 1_700_000_007)
    queue.checkpoint()
    max(stage.storage.rglob("state.*")).write_bytes(b"torn")
    printed = await terminal.run(stage.environment, "check")
    assert printed.code == 0
    assert "cursor        1700000007 (" in printed.section("setting 'web-01'")


async def test_check_does_not_begin_at_a_file_that_a_former_owner_committed_too_late(
    stage: CliStage, terminal: Terminal
) -> None:
    stage.add_zabbix("web-01")
    former = a_queue(stage, "web-01")
    keep(former, "900", 1_700_000_007)
    keep(former, "1001", 1_700_000_099)
    late = max(stage.storage.rglob("out.*"))
    kept = late.read_bytes()
    late.unlink()
    keep(a_queue(stage, "web-01"), "901", 1_700_000_050)
    late.write_bytes(kept)
    section = (await terminal.run(stage.environment, "check")).section("setting 'web-01'")
    assert "cursor        1700000050 (" in section
    assert "events        1 new, 0 already known\n" in section


async def test_check_does_not_guess_at_the_spool_of_a_newer_agent(
    stage: CliStage, terminal: Terminal
) -> None:
    stage.add_zabbix("web-01")
    keep(a_queue(stage, "web-01"), "1001", 1_700_000_007)
    body = b'{"checkpoint":{"1":{"v":99}}}'
    max(stage.storage.rglob("state.*")).write_bytes(b"%b\n#crc32=%08x\n" % (body, zlib.crc32(body)))
    printed = await terminal.run(stage.environment, "check")
    (failure,) = printed.failures
    assert failure.startswith("The spool of setting 'web-01' cannot be read (written in format 99 by a newer")
    assert not stage.zabbix.requests


async def test_check_of_a_named_setting_is_not_about_the_others(stage: CliStage, terminal: Terminal) -> None:
    stage.add_zabbix("web-01")
    stage.add_zabbix("web-02", TTL=1)
    stage.name("nowhere")
    printed = await terminal.run(stage.environment, "check", "web-01")
    assert printed.code == 0
    assert "setting 'web-01'" in printed.out
    assert "web-02" not in printed.out
    assert "nowhere" not in printed.out


async def test_check_passes_over_a_setting_that_somebody_else_posts_for(
    stage: CliStage, terminal: Terminal
) -> None:
    stage.add("pushed", "", CONNECTION_METHOD_ID="99")
    printed = await terminal.run(stage.environment, "check")
    assert printed.code == 0
    assert "skipped       'pushed': CONNECTION_METHOD_ID 99" in printed.out


async def test_check_stores_a_rotated_refresh_token_for_the_agent(tmp_path: Path, terminal: Terminal) -> None:
    async with cli_stage(tmp_path / "storage", rotate_refresh_token=True) as stage:
        stage.add_zabbix("web-01")
        assert (await terminal.run(stage.environment, "check")).code == 0
        # The configured token is void now: only the stored one can be exchanged.
        assert (await terminal.run(stage.environment, "check")).code == 0
        assert [exchange.http_status for exchange in stage.workspace.tokens.exchanges] == [200, 200]
        files = [path for path in stage.storage.rglob("*") if path.is_file()]
    assert {path.name.partition(".")[0] for path in files} == {"token"}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
async def test_a_token_that_root_stores_belongs_to_the_owner_of_the_storage(
    tmp_path: Path, terminal: Terminal
) -> None:
    async with cli_stage(tmp_path / "storage", rotate_refresh_token=True) as stage:
        stage.add_zabbix("web-01")
        os.chown(stage.storage, 12_345, 12_346)
        assert (await terminal.run(stage.environment, "check")).code == 0
        owners = {(path.stat().st_uid, path.stat().st_gid) for path in stage.storage.rglob("*")}
    assert owners == {(12_345, 12_346)}


# -- what is wrong ----------------------------------------------------------------------------------------


async def test_check_names_the_configured_settings_when_it_is_asked_for_another(
    stage: CliStage, terminal: Terminal
) -> None:
    stage.add_zabbix("web-01")
    stage.add_zabbix("ウェブ")
    printed = await terminal.run(stage.environment, "check", "web-99")
    assert printed.code == 2
    assert printed.out == ""
    assert "does not name 'web-99'. Configured: 'web-01', 'ウェブ'." in printed.err
    assert not stage.workspace.requests


async def test_check_of_a_wrong_configuration_ends_with_2(stage: CliStage, terminal: Terminal) -> None:
    stage.add_zabbix("web-01")
    del stage.environment["EXASTRO_URL"]
    printed = await terminal.run(stage.environment, "check")
    assert printed.code == 2
    assert "EXASTRO_URL is not set" in printed.err


async def test_check_shows_the_warnings_of_the_configuration(stage: CliStage, terminal: Terminal) -> None:
    stage.add_zabbix("web-01")
    printed = await terminal.run({**stage.environment, "ITERATION": "500"}, "check")
    assert printed.code == 0
    assert "WARN          ITERATION is 500, more than allowed: 120 is used." in printed.section(
        "configuration"
    )


async def test_check_tells_that_the_refresh_token_is_wrong(stage: CliStage, terminal: Terminal) -> None:
    stage.add_zabbix("web-01")
    printed = await terminal.run({**stage.environment, "EXASTRO_REFRESH_TOKEN": "wrong-token"}, "check")
    assert printed.code == 1
    assert printed.failures == [
        "refresh token expired or revoked: issue a new one and set EXASTRO_REFRESH_TOKEN"
    ]
    assert "The sources are not checked" in printed.out
    assert printed.out.endswith("1 problem found: see FAIL above.\n")


async def test_check_logs_in_with_a_password_too(tmp_path: Path, terminal: Terminal) -> None:
    async with cli_stage(tmp_path / "storage", username="agent", password="pass-word") as stage:
        stage.add_zabbix("web-01")
        del stage.environment["EXASTRO_REFRESH_TOKEN"]
        login = {"EXASTRO_USERNAME": "agent", "EXASTRO_PASSWORD": "pass-word"}
        good = await terminal.run(stage.environment | login, "check")
        bad = await terminal.run(stage.environment | login | {"EXASTRO_PASSWORD": "wrong-word"}, "check")
    assert (good.code, bad.code) == (0, 1)
    assert len(bad.failures) == 1
    assert "wrong-word" not in bad.out


async def test_check_uses_the_settings_of_the_volume_without_the_workspace(
    stage: CliStage, terminal: Terminal
) -> None:
    row = setting_row("web-01", f"{stage.zabbix.url}/api_jsonrpc.php", **ZABBIX_COLUMNS)
    stage.name("web-01")
    Disk().make_directory(agent_directory(stage))
    LastGoodSettings(Disk(), agent_directory(stage)).save([row])
    await stage.workspace.refuse()
    printed = await terminal.run(stage.environment, "check")
    assert printed.code == 1
    (failure,) = printed.failures
    assert "the workspace cannot be reached: check EXASTRO_URL and the network" in failure
    assert "1 collectable setting from the volume" in printed.out
    assert "events        1 new" in printed.section("setting 'web-01'")


async def test_check_of_settings_in_a_file_asks_whether_the_workspace_knows_them(
    stage: CliStage, terminal: Terminal, tmp_path: Path
) -> None:
    rows = []
    for name in ("known", "stranger"):
        row = setting_row(name, f"{stage.zabbix.url}/api_jsonrpc.php", **ZABBIX_COLUMNS)
        rows.append({column: value for column, value in row.items() if value not in (None, "")})
    stage.workspace.add_setting(setting_row("known", "https://elsewhere.example"))
    file = tmp_path / "settings.yaml"
    file.write_text(json.dumps({"settings": rows}))
    environment = {**stage.environment, "SETTINGS_FILE": str(file), "SETTINGS_FILE_MODE": "only"}
    printed = await terminal.run(environment, "check")
    assert printed.code == 0, printed.out
    section = printed.section("workspace")
    assert "2 collectable settings from SETTINGS_FILE" in section
    assert "WARN          'stranger' is unknown to the workspace" in section
    assert "'known' is unknown" not in section
    assert printed.out.count("events        1 new") == 2
    assert "'stranger'" not in (await terminal.run(environment, "check", "known")).out


async def test_check_of_more_settings_than_a_host_may_be_asked_for_leaves_some_out(
    stage: CliStage, terminal: Terminal
) -> None:
    for number in range(4):
        stage.add_zabbix(f"web-{number}")
    printed = await terminal.run({**stage.environment, "SOURCE_REQUESTS_PER_MINUTE": "2"}, "check")
    assert printed.code == 0
    assert printed.out.count("can be collected") == len(stage.zabbix.requests) < 4
    assert "SOURCE_REQUESTS_PER_MINUTE is used up: check this setting alone." in printed.out


async def test_check_fails_for_an_unknown_name_and_a_disabled_setting_and_checks_the_rest(
    stage: CliStage, terminal: Terminal
) -> None:
    stage.add_zabbix("web-01")
    stage.add_zabbix("short-lived", TTL=1)
    stage.name("nowhere")
    printed = await terminal.run(stage.environment, "check")
    assert printed.code == 1
    assert printed.failures == [
        "'nowhere' is unknown to the workspace, or discarded: check EVENT_COLLECTION_SETTINGS_NAMES.",
        "'short-lived' is disabled: TTL is not between 10 and 2147483647.",
    ]
    assert "can be collected" in printed.section("setting 'web-01'")
    assert printed.out.endswith("2 problems found: see FAIL above.\n")


async def test_check_of_a_source_that_is_down_fails_for_that_one_alone(
    stage: CliStage, terminal: Terminal
) -> None:
    async with ZabbixSimulator() as gone:
        stage.add("down", f"{gone.url}/api_jsonrpc.php", **ZABBIX_COLUMNS)
        origin = gone.url.removeprefix("http://")
    stage.add_zabbix("web-01")
    printed = await terminal.run(stage.environment, "check")
    assert printed.code == 1
    (failure,) = printed.failures
    assert failure.startswith(f"{origin} cannot be reached (")
    assert "FAIL" in printed.section("setting 'down'")
    assert "can be collected" in printed.section("setting 'web-01'")


async def test_check_of_an_untrusted_source_names_the_two_remedies(
    stage: CliStage, terminal: Terminal, tmp_path: Path
) -> None:
    tls = Authority(tmp_path).server_context("127.0.0.1")
    assert isinstance(tls, ssl.SSLContext)
    source = LogPageSimulator()
    await source.start(tls=tls)
    try:
        stage.add("logs", f"{source.url}/logs")
        printed = await terminal.run(stage.environment, "check")
        insecure = {**stage.environment, "TLS_INSECURE_HOSTS": "127.0.0.1"}
        listed = await terminal.run(insecure, "check")
    finally:
        await source.stop()
    (failure,) = printed.failures
    assert printed.code == 1
    assert "is not trusted" in failure
    assert "set SOURCE_CA_FILE, or list the host in TLS_INSECURE_HOSTS" in failure
    assert not any("is not trusted" in text for text in listed.failures)


async def test_check_explains_a_wrong_response_key(stage: CliStage, terminal: Terminal) -> None:
    stage.add_zabbix("web-01", RESPONSE_KEY="results")
    printed = await terminal.run(stage.environment, "check")
    assert printed.code == 1
    assert printed.failures == [
        "1 event not available, 'RESPONSE_KEY not found': RESPONSE_KEY leads to nothing in the answer: it is "
        "misspelt, or the source answered with an error document."
    ]
    (cursor,) = re.findall(r"cursor +(\d+) .*, now, because", printed.out)
    assert re.search(
        rf"next cursor +{cursor} .*, as before, because RESPONSE_KEY leads to nothing", printed.out
    )


async def test_check_explains_a_wrong_event_id_key_with_the_number_of_events(
    stage: CliStage, terminal: Terminal
) -> None:
    stage.zabbix.raise_problem("another one")
    stage.add_zabbix("web-01", EVENT_ID_KEY="event_id")
    (failure,) = (await terminal.run(stage.environment, "check")).failures
    assert failure.startswith("2 events not available, 'EVENT_ID_KEY not found': ")


async def test_check_tells_which_events_the_workspace_could_not_store(
    stage: CliStage, terminal: Terminal
) -> None:
    async with LogPageSimulator() as source:
        source.odd_answer = Body(b'{"lines":[{"id":1,"x":99999999999999999999},{"id":2}]}')
        stage.add("logs", f"{source.url}/logs", RESPONSE_KEY="lines", EVENT_ID_KEY="id")
        printed = await terminal.run(stage.environment, "check")
    assert printed.failures == [
        "1 event would be set aside as dead, because the workspace cannot store it: it has an integer beyond "
        "signed 64 bit."
    ]
    assert "events        1 new" in printed.out


async def test_check_of_a_broken_template_sends_nothing(stage: CliStage, terminal: Terminal) -> None:
    stage.add_zabbix("web-01", PARAMETER="{{ 1 / 0 }}")
    printed = await terminal.run(stage.environment, "check")
    assert printed.failures == [
        "PARAMETER of setting 'web-01' cannot be rendered in line 1: it divides by zero."
    ]
    assert not stage.zabbix.requests


async def test_check_of_a_storage_that_is_a_file_asks_neither_token_nor_sources(
    stage: CliStage, terminal: Terminal, tmp_path: Path
) -> None:
    stage.add_zabbix("web-01")
    file = tmp_path / "file"
    file.write_text("")
    printed = await terminal.run({**stage.environment, "STORAGE_PATH": str(file)}, "check")
    assert printed.code == 1
    assert printed.failures[0].startswith(f"STORAGE_PATH is '{file}', which is not a folder")
    assert "STORAGE_PATH could not keep the new one" in printed.failures[1]
    assert not stage.workspace.tokens.exchanges


async def test_check_does_not_make_a_storage_that_is_missing(stage: CliStage, terminal: Terminal) -> None:
    stage.add_zabbix("web-01")
    missing = stage.storage / "missing"
    printed = await terminal.run({**stage.environment, "STORAGE_PATH": str(missing)}, "check")
    assert printed.code == 0
    assert f"STORAGE_PATH '{missing}' does not exist yet" in printed.section("storage")
    assert not missing.exists()


async def test_check_tells_that_the_volume_is_too_full(stage: CliStage, terminal: Terminal) -> None:
    stage.add_zabbix("web-01")
    printed = await terminal.run({**stage.environment, "SPOOL_MIN_FREE_BYTES": "900000 TiB"}, "check")
    (failure,) = printed.failures
    assert "SPOOL_MIN_FREE_BYTES" in failure
