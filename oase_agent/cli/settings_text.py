"""Rows of the workspace as the text of a SETTINGS_FILE, with a place for each secret and without the secrets."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml  # type: ignore[import-untyped]

from oase_agent.model import ConnectionMethod
from oase_agent.workspace.local_rows import FILE_SUFFIX, PLAIN_COLUMNS, SECRET_COLUMNS
from oase_agent.workspace.secrets import SecretBox, SecretUnreadable
from oase_agent.workspace.setting_row import DISCARDED_COLUMN, NAME_COLUMN

_HEAD = """\
# Event collection settings of workspace {workspace}, for SETTINGS_FILE: see docs/local-settings.md.
# The secrets are left out. URLs, headers, parameters and proxies are as they are in the workspace: if someone put a
# credential there, it is in this file.
"""
_NEEDED = "# Put each secret into its file, as text and nothing else; paths are relative to this file:\n"
# Of the workspace alone: they say nothing about what is collected.
_LEFT_OUT = frozenset({DISCARDED_COLUMN, "LAST_UPDATE_TIMESTAMP", "LAST_UPDATE_USER"})
_DIRECTORY = "secrets"
_UNSAFE = re.compile(r"[^\w.-]|^\.")
# What YAML takes for line breaks, too, or drops: only an escape in double quotes keeps it.
_BREAKS = re.compile("[\r\x85\u2028\u2029\ufeff]")
_MOST_CHARACTERS = 60  # of any script: 240 bytes and an ending still fit into the name of a file


@dataclass(frozen=True, slots=True)
class SettingsText:
    """The text, and the paths of the secret files that it names, relative to it."""

    text: str
    secret_files: tuple[str, ...]


def settings_text(rows: Sequence[Mapping[str, Any]], workspace_id: str, box: SecretBox) -> SettingsText:
    """Return the text for these rows of the workspace, each with a name."""
    files = _SecretFiles()
    entries = [_entry(row, box, files) for row in rows]
    needed = "".join(f"#   {path}: {what}\n" for path, what in files.meanings.items())
    head = _HEAD.format(workspace=_in_comment(workspace_id)) + (_NEEDED + needed if needed else "")
    return SettingsText(f"{head}{_dumped({'settings': entries})}", tuple(files.meanings))


class _SecretFiles:
    """Gives every secret a path of its own."""

    def __init__(self) -> None:
        self.meanings: dict[str, str] = {}
        self._taken: set[str] = set()

    def path(self, name: str, column: str) -> str:
        ending = column.lower().replace("_", "-")
        stem = _UNSAFE.sub("_", name)[:_MOST_CHARACTERS]
        path, number = f"{_DIRECTORY}/{stem}.{ending}", 1
        while path.casefold() in self._taken:  # two names may differ only by what a file's name cannot hold
            number += 1
            path = f"{_DIRECTORY}/{stem}-{number}.{ending}"
        self._taken.add(path.casefold())
        self.meanings[path] = f"{column} of {_in_comment(name)}"
        return path


def _entry(row: Mapping[str, Any], box: SecretBox, files: _SecretFiles) -> dict[str, Any]:
    entry: dict[str, Any] = {}
    for column in PLAIN_COLUMNS:
        value = row.get(column)
        if value is None or value == "" or column in _LEFT_OUT:
            continue
        is_flag = column == "RESPONSE_LIST_FLAG" and value in {"0", "1"}
        entry[column] = value == "1" if is_flag else value
    method = row.get("CONNECTION_METHOD_ID")
    for column in SECRET_COLUMNS:
        if method != ConnectionMethod.NO_AGENT and _is_set(row.get(column), box):
            entry[f"{column}{FILE_SUFFIX}"] = files.path(row[NAME_COLUMN], column)
    return entry


def _is_set(encrypted: object, box: SecretBox) -> bool:
    """Tell whether a secret is not empty; one that cannot be read may be needed."""
    try:
        return bool(box.decrypt(encrypted))
    except SecretUnreadable:
        return encrypted is not None


def _in_comment(text: str) -> str:
    return repr(text)


class _Text(str):
    """A text that is written in quotes, so that no reader takes it for something else."""

    __slots__ = ()


class _Dumper(yaml.SafeDumper):  # type: ignore[misc]
    """Writes texts in quotes, or line by line where they have several."""


def _represent(dumper: Any, text: _Text) -> Any:
    style = '"' if _BREAKS.search(text) else "|" if "\n" in text else "'"
    return dumper.represent_scalar("tag:yaml.org,2002:str", str(text), style=style)


_Dumper.add_representer(_Text, _represent)


def _dumped(document: Mapping[str, Any]) -> str:
    quoted = {key: list(map(_quoted, entries)) for key, entries in document.items()}
    text: str = yaml.dump(quoted, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=2**31)
    return text


def _quoted(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {column: _Text(value) if isinstance(value, str) else value for column, value in entry.items()}
