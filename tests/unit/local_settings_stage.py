"""Settings files of a test: written, read, and what comes of them."""

from pathlib import Path
from typing import Any

import pytest

from oase_agent.app.build import SETTING_CHECKS
from oase_agent.errors import ConfigError
from oase_agent.model import Setting
from oase_agent.workspace.local_rows import laid_over
from oase_agent.workspace.local_settings import LocalSettingsFile
from oase_agent.workspace.secrets import SecretBox
from oase_agent.workspace.settings import SettingsAnswer, parse_settings

BOX = SecretBox("org001", "ws01")
ENCRYPTED_TOKEN = "AAECAwQFBgcICQoLDA0OD0k7TmhbF6SH1aFXTJV4KYo="  # secret-token
WHOLE = """
settings:
  - EVENT_COLLECTION_SETTINGS_NAME: web
    CONNECTION_METHOD_ID: 5
    REQUEST_METHOD_ID: 1
    URL: https://source.example/api
    TTL: 3600
"""


def write(directory: Path, text: str) -> Path:
    """Write a settings file, in place of the one before."""
    path = directory / "settings.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def file_of(path: Path, *, is_complete: bool = True) -> LocalSettingsFile:
    file = LocalSettingsFile(path, is_complete=is_complete, checks=SETTING_CHECKS)
    file.refresh()
    return file


def faults_of(path: Path, *, is_complete: bool = True) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        file_of(path, is_complete=is_complete)
    return caught.value.faults


def answer_of(file: LocalSettingsFile, *rows: object) -> SettingsAnswer:
    merged = laid_over(rows, file.settings.rows)
    return parse_settings(merged, BOX, file.settings.names, checks=SETTING_CHECKS)


def setting_of(file: LocalSettingsFile, *rows: object) -> Setting:
    answer = answer_of(file, *rows)
    assert answer.disabled == ()
    (setting,) = answer.settings
    return setting


def theirs(name: str = "web", **columns: Any) -> dict[str, Any]:
    """A row as the workspace sends it."""
    return {
        "EVENT_COLLECTION_SETTINGS_ID": "id-web",
        "EVENT_COLLECTION_SETTINGS_NAME": name,
        "CONNECTION_METHOD_ID": "1",
        "REQUEST_METHOD_ID": "1",
        "URL": "https://workspace.example/api",
        "AUTH_TOKEN": ENCRYPTED_TOKEN,
        "PARAMETER": '{"a": 1}',
        "TTL": 60,
    } | columns
