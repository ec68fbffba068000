"""A file with settings: its secrets, its changes, and how it is laid over the workspace's rows."""

import os
from pathlib import Path

import pytest

from oase_agent.errors import ConfigError
from oase_agent.model import NO_SECRET, ConnectionMethod, Secret
from oase_agent.workspace.local_rows import laid_over
from oase_agent.workspace.settings import parse_settings
from tests.unit.local_settings_stage import BOX, WHOLE, faults_of, file_of, setting_of, theirs, write

# -- secrets ---------------------------------------------------------------------------------------------------

WITH_TOKEN = WHOLE.replace("METHOD_ID: 5", "METHOD_ID: 1") + "    AUTH_TOKEN_FILE: secrets/token\n"


def put(directory: Path, content: bytes) -> Path:
    path = directory / "secrets" / "token"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("content", [b"hunter2", b"hunter2\n", b"hunter2\r\n"])
def test_a_secret_file_is_beside_the_settings_file_and_may_end_with_a_line_break(
    tmp_path: Path, content: bytes
) -> None:
    put(tmp_path, content)
    file = file_of(write(tmp_path, WITH_TOKEN))
    assert setting_of(file).auth_token == Secret("hunter2")
    assert file.settings.inline == ()


def test_a_secret_may_stand_in_the_file_and_is_told_of(tmp_path: Path) -> None:
    file = file_of(
        write(tmp_path, WITH_TOKEN.replace("AUTH_TOKEN_FILE: secrets/token", "AUTH_TOKEN: hunter2"))
    )
    assert setting_of(file).auth_token == Secret("hunter2")
    assert file.settings.inline == ("AUTH_TOKEN of 'web'",)
    assert "hunter2" not in repr(file.settings)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "No such file or directory"),
        (b"", "it is empty"),
        (b"\n", "it is empty"),
        (b"\xff", "it is no UTF-8 text"),
        (b"x" * 65_537, "it is larger than 65536 bytes"),
    ],
)
def test_a_secret_file_that_cannot_be_used_is_a_fault(
    tmp_path: Path, content: bytes | None, reason: str
) -> None:
    if content is not None:
        put(tmp_path, content)
    assert faults_of(write(tmp_path, WITH_TOKEN)) == (
        "SETTINGS_FILE settings.yaml: line 8, settings[0].AUTH_TOKEN_FILE: "
        f"'secrets/token' cannot be read ({reason}).",
    )


# -- changes ---------------------------------------------------------------------------------------------------


def test_an_unchanged_file_is_not_read_again(tmp_path: Path) -> None:
    path = write(tmp_path, WHOLE)
    file = file_of(path)
    settings = file.settings
    os.utime(path, (1, 1))
    assert not file.refresh()
    assert file.settings is settings


def test_a_new_version_is_told_of_once(tmp_path: Path) -> None:
    file = file_of(write(tmp_path, WHOLE))
    write(tmp_path, WHOLE.replace("3600", "60"))
    assert file.refresh()
    assert setting_of(file).ttl_s == 60
    assert not file.refresh()


def test_a_new_version_that_says_the_same_is_none(tmp_path: Path) -> None:
    file = file_of(write(tmp_path, WHOLE))
    write(tmp_path, f"# a comment\n{WHOLE}")
    assert not file.refresh()


def test_another_secret_is_a_new_version(tmp_path: Path) -> None:
    put(tmp_path, b"hunter2")
    file = file_of(write(tmp_path, WITH_TOKEN))
    put(tmp_path, b"hunter3")
    assert file.is_new(file.fingerprint())
    assert file.refresh()
    assert setting_of(file).auth_token == Secret("hunter3")


def test_a_faulty_version_is_refused_once_and_the_last_good_one_stays(tmp_path: Path) -> None:
    path = write(tmp_path, WHOLE)
    file = file_of(path)
    path.unlink()
    with pytest.raises(ConfigError, match=r"cannot be read \(No such file"):
        file.refresh()
    assert not file.refresh()
    assert file.is_faulty
    assert setting_of(file).ttl_s == 3600
    write(tmp_path, WHOLE)
    assert not file.refresh()
    assert not file.is_faulty


def test_a_secret_file_that_comes_later_mends_a_faulty_version(tmp_path: Path) -> None:
    file = file_of(write(tmp_path, WHOLE))
    write(tmp_path, WITH_TOKEN)
    with pytest.raises(ConfigError):
        file.refresh()
    put(tmp_path, b"hunter2")
    assert file.refresh()
    assert setting_of(file).auth_token == Secret("hunter2")


# -- over the workspace's rows -----------------------------------------------------------------------------------


def test_a_field_of_the_file_wins_and_the_others_stay_the_workspaces(tmp_path: Path) -> None:
    text = "settings:\n  - EVENT_COLLECTION_SETTINGS_NAME: web\n    URL: https://here.example\n    PARAMETER: null\n"
    setting = setting_of(file_of(write(tmp_path, text), is_complete=False), theirs())
    assert (setting.id, setting.ttl_s, setting.auth_token) == ("id-web", 60, Secret("secret-token"))
    assert (setting.url, setting.parameter) == ("https://here.example", None)


def test_a_secret_of_the_file_replaces_the_encrypted_one(tmp_path: Path) -> None:
    text = "settings:\n  - EVENT_COLLECTION_SETTINGS_NAME: web\n    AUTH_TOKEN: {}\n"
    assert setting_of(
        file_of(write(tmp_path, text.format("x")), is_complete=False), theirs()
    ).auth_token == Secret("x")
    cleared = setting_of(
        file_of(write(tmp_path, text.format("null")), is_complete=False), theirs(CONNECTION_METHOD_ID="5")
    )
    assert cleared.auth_token == NO_SECRET


def test_a_name_only_in_the_file_is_added_and_a_name_only_in_the_workspace_stays(tmp_path: Path) -> None:
    file = file_of(write(tmp_path, WHOLE), is_complete=False)
    merged = laid_over([theirs("other")], file.settings.rows)
    answer = parse_settings(merged, BOX, ["other", "web"])
    assert [(setting.name, setting.id) for setting in answer.settings] == [("other", "id-web"), ("web", "")]


def test_names_are_compared_as_the_workspace_does_it_and_its_spelling_stays(tmp_path: Path) -> None:
    text = "settings:\n  - EVENT_COLLECTION_SETTINGS_NAME: WEB\n    TTL: 99\n"
    setting = setting_of(file_of(write(tmp_path, text), is_complete=False), theirs("Web "))
    assert (setting.name, setting.ttl_s) == ("Web ", 99)


def test_a_setting_that_the_workspace_leaves_to_somebody_else_is_collected_if_the_file_says_how(
    tmp_path: Path,
) -> None:
    setting = setting_of(
        file_of(write(tmp_path, WHOLE), is_complete=False), theirs(CONNECTION_METHOD_ID="99")
    )
    assert (setting.id, setting.connection_method) == ("id-web", ConnectionMethod.OPTIONAL)


def test_a_row_that_is_no_object_stays_what_it_is(tmp_path: Path) -> None:
    file = file_of(write(tmp_path, WHOLE), is_complete=False)
    assert laid_over([None, {"x": 1}], file.settings.rows)[:2] == [None, {"x": 1}]
