"""`oase-agent settings`: the workspace's settings as a file, without secrets, and such a file checked."""

import json
import stat
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from oase_agent.app.build import local_settings_file
from oase_agent.cli.settings_text import settings_text
from oase_agent.simulators.settings_table import setting_row
from oase_agent.workspace.secrets import SecretBox
from oase_agent.yaml_file import parse_yaml
from tests.integration.cli_stage import CliStage, Terminal

BOX = SecretBox("org001", "ws01")

# What a JSON answer can hold.
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


async def exported(stage: CliStage, terminal: Terminal, file: Path, *, code: int = 0) -> str:
    printed = await terminal.run(stage.environment, "settings", "export", "--output", str(file))
    assert printed.code == code, printed.err
    return file.read_text(encoding="utf-8")


async def test_an_export_names_a_file_for_each_secret_and_holds_none(
    stage: CliStage, terminal: Terminal, tmp_path: Path
) -> None:
    stage.add("web/日本", "https://a.example", CONNECTION_METHOD_ID="1", AUTH_TOKEN="hunter2")
    stage.add("web:日本", "https://b.example", CONNECTION_METHOD_ID="2", USERNAME="me", PASSWORD="hunter3")
    stage.add("open", "https://c.example")
    file = tmp_path / "settings.yaml"

    printed = await terminal.run(stage.environment, "settings", "export", "--output", str(file))

    assert printed.code == 0
    text = file.read_text(encoding="utf-8")
    assert "hunter" not in text + printed.out + printed.err
    assert "#   secrets/web_日本.auth-token: AUTH_TOKEN of 'web/日本'\n" in text
    assert "#   secrets/web_日本.password: PASSWORD of 'web:日本'\n" in text
    assert "secrets/web_日本.auth-token, secrets/web_日本.password" in printed.err
    assert text.count("_FILE: '") == 2
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


async def test_secret_files_of_names_that_differ_little_are_different(
    stage: CliStage, terminal: Terminal
) -> None:
    for name in ("a/b", "a:b", "A b"):
        stage.add(name, "https://a.example", CONNECTION_METHOD_ID="1", AUTH_TOKEN="x")
    printed = await terminal.run(stage.environment, "settings", "export")
    entries = parse_yaml(printed.out.encode()).content["settings"]  # type: ignore[index]
    files = [setting["AUTH_TOKEN_FILE"].casefold() for setting in entries]
    assert len(set(files)) == 3


async def test_an_export_passes_the_check_once_its_secret_files_are_there(
    stage: CliStage, terminal: Terminal, tmp_path: Path
) -> None:
    stage.add_zabbix("zabbix", CONNECTION_METHOD_ID="1", AUTH_TOKEN="hunter2")
    stage.add("somebody's", "", CONNECTION_METHOD_ID="99", REQUEST_METHOD_ID=None)
    file = tmp_path / "settings.yaml"
    await exported(stage, terminal, file)

    before = await terminal.run({}, "settings", "check", str(file), "--mode", "only")
    assert before.code == 2
    assert "settings[0].AUTH_TOKEN_FILE: 'secrets/zabbix.auth-token' cannot be read" in before.err
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "zabbix.auth-token").write_text("hunter2")
    after = await terminal.run({}, "settings", "check", str(file), "--mode", "only")
    assert (after.code, after.out) == (0, "zabbix: whole\nsomebody's: whole\n2 settings, no faults.\n")


async def test_a_name_that_the_workspace_does_not_know_is_told_and_the_others_are_written(
    stage: CliStage, terminal: Terminal, tmp_path: Path
) -> None:
    stage.add("web", "https://a.example")
    stage.name("missing")
    file = tmp_path / "settings.yaml"
    printed = await terminal.run(stage.environment, "settings", "export", "--output", str(file))
    assert printed.code == 1
    assert "'missing' is unknown to the workspace" in printed.err
    assert local_settings_file(file, is_complete=True).settings.names == ("web",)


async def test_an_export_replaces_no_file(stage: CliStage, terminal: Terminal, tmp_path: Path) -> None:
    stage.add("web", "https://a.example")
    file = tmp_path / "settings.yaml"
    file.write_text("mine")
    printed = await terminal.run(stage.environment, "settings", "export", "--output", str(file))
    assert printed.code == 1
    assert "exists already" in printed.err
    assert file.read_text() == "mine"


async def test_an_export_works_before_the_file_of_the_configuration_is_there(
    stage: CliStage, terminal: Terminal, tmp_path: Path
) -> None:
    stage.add("web", "https://a.example")
    file = tmp_path / "settings.yaml"
    stage.environment["SETTINGS_FILE"] = str(file)
    await exported(stage, terminal, file)


async def test_an_export_without_a_workspace_fails(
    stage: CliStage, terminal: Terminal, tmp_path: Path
) -> None:
    stage.add("web", "https://a.example")
    stage.workspace.maintenance = True
    file = tmp_path / "settings.yaml"
    printed = await terminal.run(stage.environment, "settings", "export", "--output", str(file))
    assert printed.code == 1
    assert "maintenance" in printed.err
    assert not file.exists()


async def test_a_check_tells_parts_from_whole_settings_and_every_fault(
    terminal: Terminal, tmp_path: Path
) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("settings:\n- EVENT_COLLECTION_SETTINGS_NAME: web\n  PASSWORD: hunter2\n")
    printed = await terminal.run({}, "settings", "check", str(file))
    assert printed.code == 0
    assert printed.out.startswith(
        "web: a part, for SETTINGS_FILE_MODE=merge: by itself, CONNECTION_METHOD_ID"
    )
    assert "WARN PASSWORD of 'web' stands in the file" in printed.out
    assert "hunter2" not in printed.out
    file.write_text("settings:\n- EVENT_COLLECTION_SETTINGS_NAME: web\n  TTL: 1\n  TTTL: 1\n")
    faulty = await terminal.run({}, "settings", "check", str(file))
    assert faulty.code == 2
    assert faulty.err.count("settings[0].") == 2


@settings(deadline=None)
@given(texts=st.lists(TEXTS, min_size=4, max_size=4))
def test_whatever_the_workspace_holds_is_read_back_as_it_was(texts: list[str]) -> None:
    header, parameter, note, name = texts
    row = setting_row(f"x{name}", "https://a.example", REQUEST_HEADER=header, PARAMETER=parameter, NOTE=note)
    content = parse_yaml(settings_text([row], "ws01", BOX).text.encode()).content
    (entry,) = content["settings"]  # type: ignore[index]
    given_by_row = {column: row[column] for column in ("REQUEST_HEADER", "PARAMETER", "NOTE", "TTL", "URL")}
    assert {column: entry[column] for column in given_by_row} == given_by_row
    assert entry["EVENT_COLLECTION_SETTINGS_NAME"] == f"x{name}"
    assert entry["RESPONSE_LIST_FLAG"] is True
    assert json.dumps(entry)
