"""`oase-agent check --record`: one collection saved for a bug report, and extracted again from there."""

import json
import stat
from pathlib import Path

import pytest
from aiohttp import web

from oase_agent.simulators.sources import LogPageSimulator
from tests.integration.cli_stage import CliStage, Terminal


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def recording(directory: Path) -> dict[str, object]:
    document = json.loads((directory / "recording.json").read_bytes())
    assert isinstance(document, dict)
    return document


class Body:
    """A source's answer with any body."""

    def __init__(self, body: bytes, status: int = 200) -> None:
        self._body = body
        self._status = status

    async def send(self, request: web.Request) -> web.StreamResponse:
        headers = {"Set-Cookie": "session=of-the-source", "X-RateLimit-Remaining": "41"}
        return web.Response(
            body=self._body, status=self._status, content_type="application/json", headers=headers
        )


# -- what is saved ----------------------------------------------------------------------------------------


async def test_a_recording_holds_the_collection_for_nobody_else_to_read(
    stage: CliStage, terminal: Terminal, tmp_path: Path
) -> None:
    stage.add_zabbix("web-01")
    directory = tmp_path / "report"
    before = stage.stored()
    printed = await terminal.run(stage.environment, "check", "--record", str(directory))
    assert printed.code == 0
    assert stage.stored() == before
    assert f"recorded      in '{directory}': read it before you pass it on" in printed.out
    names = {"recording.json", "setting.json", "answer-001.body", "events.jsonl", "report.txt"}
    assert contents(directory).keys() == names
    assert {stat.S_IMODE((directory / name).stat().st_mode) for name in names} == {0o600}
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    facts = recording(directory)
    assert facts["setting_name"] == "web-01"
    assert facts["result"] == {
        "new": 1,
        "known": 0,
        "known_ids": [],
        "not_available": [],
        "set_aside": [],
        "newest_event_id": "1001",
    }
    assert json.loads((directory / "setting.json").read_bytes())["RESPONSE_KEY"] == "result"
    assert json.loads((directory / "answer-001.body").read_bytes())["result"][0]["eventid"] == "1001"
    assert json.loads((directory / "events.jsonl").read_bytes())["_exastro_oase_event_id"] == "1001"
    assert (directory / "report.txt").read_text() in printed.out.replace("\n  recorded", "\n\n  recorded")


async def test_of_the_headers_of_an_answer_only_harmless_ones_are_saved(
    stage: CliStage, terminal: Terminal, tmp_path: Path
) -> None:
    async with LogPageSimulator() as source:
        source.odd_answer = Body(b"[]")
        stage.add("logs", f"{source.url}/logs")
        await terminal.run(stage.environment, "check", "--record", str(tmp_path / "report"))
    facts = json.loads((tmp_path / "report" / "recording.json").read_bytes())
    (exchange,) = facts["exchanges"]
    assert exchange["status"] == 200
    assert exchange["headers"]["Content-Type"] == "application/json"
    assert exchange["headers"]["X-RateLimit-Remaining"] == "41"
    assert exchange["headers"]["Set-Cookie"] == "********"
    assert 0 < exchange["connected_s"] < exchange["first_byte_s"]


async def test_a_check_that_failed_is_recorded_as_far_as_it_came(
    stage: CliStage, terminal: Terminal, tmp_path: Path
) -> None:
    async with LogPageSimulator() as source:
        source.odd_answer = Body(b"no", status=401)
        stage.add("logs", f"{source.url}/logs")
        printed = await terminal.run(stage.environment, "check", "--record", str(tmp_path / "refused"))
        source.odd_answer = Body(b"<html>")
        await terminal.run(stage.environment, "check", "--record", str(tmp_path / "html"))
    assert printed.code == 1
    facts = json.loads((tmp_path / "refused" / "recording.json").read_bytes())
    assert [exchange["status"] for exchange in facts["exchanges"]] == [401]
    assert facts["answers"] == []
    assert "check the credentials of the setting" in (tmp_path / "refused" / "report.txt").read_text()
    again = await terminal.run({}, "check", "--offline", str(tmp_path / "refused"))
    assert again.code == 1
    assert again.failures[0].startswith("There is no answer to extract: ")
    assert (tmp_path / "html" / "answer-001.body").read_bytes() == b"<html>"


async def test_an_answer_in_utf_16_is_saved_in_utf_8(
    stage: CliStage, terminal: Terminal, tmp_path: Path
) -> None:
    async with LogPageSimulator() as source:
        source.odd_answer = Body('[{"id": "ö canary-in-16"}]'.encode("utf-16"))
        stage.add("logs", f"{source.url}/logs", PASSWORD="canary-in-16", EVENT_ID_KEY="id")
        await terminal.run(stage.environment, "check", "--record", str(tmp_path / "report"))
    assert (tmp_path / "report" / "answer-001.body").read_text("utf-8-sig") == '[{"id": "ö ********"}]'


async def test_a_secret_that_is_too_short_to_be_found_is_warned_of(
    stage: CliStage, terminal: Terminal, tmp_path: Path
) -> None:
    url = f"{stage.zabbix.url.replace('//', '//me:xyz@')}/api_jsonrpc.php"
    stage.add_zabbix("web-01", PASSWORD="abc", URL=url)
    printed = await terminal.run(stage.environment, "check", "--record", str(tmp_path / "report"))
    assert "//me:********@" in (tmp_path / "report" / "setting.json").read_text()
    assert "WARN          a secret of this setting has fewer than 4 characters" in printed.out


# -- where it is saved ------------------------------------------------------------------------------------


async def test_a_recording_is_written_into_a_new_or_empty_directory_only(
    stage: CliStage, terminal: Terminal, tmp_path: Path
) -> None:
    stage.add_zabbix("web-01")
    used = tmp_path / "used"
    used.mkdir()
    (used / "kept").write_text("kept")
    file = tmp_path / "file"
    file.write_text("kept")
    for directory, why in (
        (used, "is not empty"),
        (file, "cannot be used (File exists)"),
        (tmp_path / "no" / "where", "cannot be used (No such file or directory)"),
        (stage.storage / "report", "is within STORAGE_PATH"),
    ):
        printed = await terminal.run(stage.environment, "check", "--record", str(directory))
        assert printed.code == 2, printed.out
        assert printed.out == ""
        assert why in printed.err
    assert contents(used) == {"kept": b"kept"}
    assert not stage.workspace.requests
    assert not stage.zabbix.requests
    assert list(stage.storage.iterdir()) == []
    empty = tmp_path / "empty"
    empty.mkdir()
    assert (await terminal.run(stage.environment, "check", "--record", str(empty))).code == 0


async def test_a_recording_is_of_one_setting(stage: CliStage, terminal: Terminal, tmp_path: Path) -> None:
    stage.add_zabbix("web-01")
    stage.add_zabbix("web-02")
    directory = tmp_path / "report"
    printed = await terminal.run(stage.environment, "check", "--record", str(directory))
    assert printed.code == 2
    assert "--record is about one setting: name it. Configured: 'web-01', 'web-02'." in printed.err
    assert not directory.exists()
    assert (await terminal.run(stage.environment, "check", "web-02", "--record", str(directory))).code == 0
    assert recording(directory)["setting_name"] == "web-02"


async def test_a_recording_that_cannot_be_written_is_a_failure_of_the_check(
    stage: CliStage, terminal: Terminal, tmp_path: Path
) -> None:
    directory = tmp_path / "report"

    class Unplug:
        """Takes the directory away while the source is asked."""

        async def send(self, request: web.Request) -> web.StreamResponse:
            directory.rmdir()
            return web.json_response([{"id": 1}])

    async with LogPageSimulator() as source:
        source.odd_answer = Unplug()
        stage.add("logs", f"{source.url}/logs", EVENT_ID_KEY="id")
        printed = await terminal.run(stage.environment, "check", "--record", str(directory))
    assert printed.code == 1
    (failure,) = printed.failures
    assert failure.startswith(f"The recording in '{directory}' is not complete (No such file or directory): ")
    assert "events        1 new" in printed.out


# -- and again --------------------------------------------------------------------------------------------


async def recorded(stage: CliStage, terminal: Terminal, tmp_path: Path) -> Path:
    stage.add_zabbix("web-01")
    directory = tmp_path / "report"
    assert (await terminal.run(stage.environment, "check", "--record", str(directory))).code == 0
    return directory


async def test_a_recording_is_extracted_again_without_configuration_or_network(
    stage: CliStage, terminal: Terminal, tmp_path: Path
) -> None:
    directory = await recorded(stage, terminal, tmp_path)
    asked = len(stage.zabbix.requests), len(stage.workspace.requests)
    for place in (directory, directory / "recording.json"):
        printed = await terminal.run({}, "check", "--offline", str(place))
        assert printed.code == 0, printed.err
        assert "setting from  setting.json of the recording, made 20" in printed.out
        assert "events        1 new, 0 already known\n" in printed.out
        assert 'new           1001: {"eventid": "1001"' in printed.out
        assert "newest event 1001" in printed.out
    assert (len(stage.zabbix.requests), len(stage.workspace.requests)) == asked


async def test_a_recorded_setting_may_be_changed_and_tried(
    stage: CliStage, terminal: Terminal, tmp_path: Path
) -> None:
    directory = await recorded(stage, terminal, tmp_path)
    file = directory / "setting.json"
    file.write_text(file.read_text().replace('"RESPONSE_KEY": "result"', '"RESPONSE_KEY": "results"'))
    printed = await terminal.run({}, "check", "--offline", str(directory))
    assert printed.code == 1
    assert "RESPONSE_KEY leads to nothing in the answer" in printed.failures[0]
    file.write_text(file.read_text().replace('"TTL": 3600', '"TTL": 1'))
    printed = await terminal.run({}, "check", "--offline", str(directory))
    assert printed.code == 2
    assert "cannot be used: TTL is not between 10 and 2147483647" in printed.err


async def test_a_recorded_answer_is_a_plain_answer_too(
    stage: CliStage, terminal: Terminal, tmp_path: Path
) -> None:
    directory = await recorded(stage, terminal, tmp_path)
    stage.add_zabbix("web-02", RESPONSE_KEY="elsewhere")
    file = directory / "answer-001.body"
    printed = await terminal.run(stage.environment, "check", "web-02", "--offline", str(file))
    assert "setting 'web-02'" in printed.out
    assert "RESPONSE_KEY leads to nothing" in printed.failures[0]


async def test_a_recording_remembers_which_ids_were_known(
    stage: CliStage, terminal: Terminal, tmp_path: Path
) -> None:
    directory = await recorded(stage, terminal, tmp_path)
    file = directory / "recording.json"
    file.write_text(file.read_text().replace('"known_ids": []', '"known_ids": ["1001"]'))
    printed = await terminal.run({}, "check", "--offline", str(directory))
    assert "events        0 new, 1 already known\n" in printed.out


async def test_a_recording_is_not_of_another_setting(
    stage: CliStage, terminal: Terminal, tmp_path: Path
) -> None:
    directory = await recorded(stage, terminal, tmp_path)
    assert (await terminal.run({}, "check", "web-01", "--offline", str(directory))).code == 0
    printed = await terminal.run({}, "check", "web-02", "--offline", str(directory))
    assert printed.code == 2
    assert "the recording is of setting 'web-01': leave the name out" in printed.err


async def test_an_answer_beyond_the_limit_is_cut_and_not_extracted(
    stage: CliStage, terminal: Terminal, tmp_path: Path
) -> None:
    directory = tmp_path / "report"
    async with LogPageSimulator() as source:
        source.fill(1700, 10_000)
        stage.add("logs", f"{source.url}/logs?limit=5000", RESPONSE_KEY="lines", EVENT_ID_KEY="id")
        printed = await terminal.run(stage.environment, "check", "--record", str(directory))
    assert printed.code == 0
    assert "WARN          answer-001.body holds only the first 16.0 MiB of the answer" in printed.out
    assert (directory / "answer-001.body").stat().st_size == 16 * 1024 * 1024
    again = await terminal.run({}, "check", "--offline", str(directory))
    assert again.code == 1
    assert "lacks the last" in again.failures[0]


@pytest.mark.parametrize(
    "damage",
    [
        lambda directory: (directory / "recording.json").unlink(),
        lambda directory: (directory / "recording.json").write_text("[]"),
        lambda directory: (directory / "recording.json").write_text('{"format": 2}'),
        lambda directory: (directory / "recording.json").write_text('{"format": 1, "began": 1}'),
        lambda directory: (directory / "setting.json").write_text("{"),
        lambda directory: (directory / "setting.json").write_text("{}"),
        lambda directory: (directory / "answer-001.body").unlink(),
    ],
)
async def test_a_damaged_recording_is_told_and_ends_with_2(
    stage: CliStage, terminal: Terminal, tmp_path: Path, damage: "object"
) -> None:
    directory = await recorded(stage, terminal, tmp_path)
    assert callable(damage)
    damage(directory)
    printed = await terminal.run({}, "check", "--offline", str(directory))
    assert printed.code == 2
    assert str(directory) in printed.err


async def test_a_recording_leads_to_no_file_outside_of_it(
    stage: CliStage, terminal: Terminal, tmp_path: Path
) -> None:
    directory = await recorded(stage, terminal, tmp_path)
    (tmp_path / "secret.json").write_text('{"result": [{"eventid": "stolen"}]}')
    file = directory / "recording.json"
    file.write_text(file.read_text().replace("answer-001.body", "../secret.json"))
    printed = await terminal.run({}, "check", "--offline", str(directory))
    assert printed.code == 2
    assert "stolen" not in printed.out
