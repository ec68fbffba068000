"""`oase-agent settings`: the workspace's settings as a file for SETTINGS_FILE, and such a file checked."""

import asyncio
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from oase_agent import __version__
from oase_agent.app.build import SETTING_CHECKS, build_workspace, local_settings_file
from oase_agent.cli.checks.masking import Masker
from oase_agent.cli.checks.section import Section
from oase_agent.cli.checks.storage import TokenDisk, check_storage
from oase_agent.cli.main import EXIT_FAILED, EXIT_FINE
from oase_agent.cli.settings_text import SettingsText, settings_text
from oase_agent.cli.terminal import counted, printable
from oase_agent.config.groups import AgentConfig
from oase_agent.config.load import load_config
from oase_agent.disk import PRIVATE_FILE_MODE
from oase_agent.errors import AgentError
from oase_agent.model import AgentIdentity
from oase_agent.telemetry import Telemetry
from oase_agent.workspace.local_settings import why_not_whole
from oase_agent.workspace.secrets import SecretBox
from oase_agent.workspace.setting_row import NAME_COLUMN
from oase_agent.workspace.settings import folded

Row = Mapping[str, Any]

_FILE_OPTIONS = ("SETTINGS_FILE", "SETTINGS_FILE_MODE")


def export_settings(environment: Mapping[str, str], output: Path | None) -> int:
    """Write the workspace's settings as YAML, without their secrets, to a new file or to standard output.

    Returns 1 if a configured name is missing in the workspace; what there is was written all the same. Raises
    ConfigError and AgentError.
    """
    # Without the file that is yet to be made.
    config, _ = load_config({name: text for name, text in environment.items() if name not in _FILE_OPTIONS})
    names = config.collection.setting_names
    rows = list(_named(asyncio.run(_rows(config))))
    ids = config.workspace
    exported = settings_text(rows, ids.workspace_id, SecretBox(ids.organization_id, ids.workspace_id))
    if output is None:
        print(exported.text, end="")
    else:
        _write_new(output, exported.text)
        _tell(f"{counted(len(rows), 'setting')} written to {str(output)!r}.")
    _tell_secrets(exported)
    return _missing(names, rows)


def check_settings(file: Path, *, is_complete: bool) -> int:
    """Check a file for SETTINGS_FILE without asking anybody, and print a line for each setting.

    `is_complete` tells that it must do without the workspace's settings. Raises ConfigError with all faults.
    """
    local = local_settings_file(file, is_complete=is_complete)
    for row in local.settings.rows:
        why = why_not_whole(row, SETTING_CHECKS)
        verdict = "whole" if why is None else f"a part, for SETTINGS_FILE_MODE=merge: by itself, {why}"
        print(printable(f"{row[NAME_COLUMN]}: {verdict}"))
    for secret in local.settings.inline:
        print(printable(f"WARN {secret} stands in the file in plain text: put it into a file of its own."))
    print(f"{counted(len(local.settings.rows), 'setting')}, no faults.")
    return EXIT_FINE


async def _rows(config: AgentConfig) -> list[object]:
    storage = Section("storage", Masker(()))
    # As in `check`: the exchange may replace the refresh token, and the new one must not be lost.
    if config.credentials.refresh_token and not check_storage(config, storage):
        raise AgentError("\n".join(["the refresh token could not be kept:", *storage.lines()]))
    identity = AgentIdentity(config.agent.name, __version__)
    async with build_workspace(config, identity, Telemetry(), disk=TokenDisk()) as workspace:
        return await workspace.fetch_settings(config.collection.setting_names)


def _named(rows: Sequence[object]) -> Iterator[Row]:
    for row in rows:
        if isinstance(row, Mapping) and isinstance(row.get(NAME_COLUMN), str):
            yield row


def _write_new(path: Path, text: str) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE_FILE_MODE)
        with open(descriptor, "w", encoding="utf-8") as file:  # noqa: PTH123 - it is open already
            file.write(text)
    except FileExistsError:
        raise AgentError(f"{str(path)!r} exists already: remove it, or name another file.") from None
    except OSError as error:
        raise AgentError(f"{str(path)!r} cannot be written ({error.strerror}).") from error


def _tell_secrets(exported: SettingsText) -> None:
    if exported.secret_files:
        files = ", ".join(exported.secret_files)
        _tell(f"The secrets are left out: put each into the file that is named for it ({files}).")


def _missing(wanted: Sequence[str], rows: Sequence[Row]) -> int:
    known = {folded(row[NAME_COLUMN]) for row in rows}
    missing = [name for name in wanted if folded(name) not in known]
    for name in missing:
        _tell(f"{name!r} is unknown to the workspace, or discarded: check EVENT_COLLECTION_SETTINGS_NAMES.")
    return EXIT_FAILED if missing else EXIT_FINE


def _tell(text: str) -> None:
    print(printable(f"oase-agent: {text}"), file=sys.stderr)
