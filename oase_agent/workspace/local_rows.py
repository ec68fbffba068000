"""One setting of a file becomes a row like the workspace's, with all its faults told at once (contract section 4).

Such a row holds only what the file gives, in the workspace's own types, except for secrets: they are `Secret`s in
plain text, where those of the workspace are encrypted texts. Nothing here can write a `Secret` anywhere.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from oase_agent.errors import SettingRejected
from oase_agent.model import NO_SECRET, RequestMethod, Secret
from oase_agent.workspace.setting_row import NAME_COLUMN, check_column
from oase_agent.workspace.settings import folded

SECRET_COLUMNS = ("AUTH_TOKEN", "PASSWORD", "SECRET_ACCESS_KEY")
# In the order of the workspace's form.
PLAIN_COLUMNS = (
    "EVENT_COLLECTION_SETTINGS_ID",
    NAME_COLUMN,
    "CONNECTION_METHOD_ID",
    "REQUEST_METHOD_ID",
    "URL",
    "PORT",
    "REQUEST_HEADER",
    "PROXY",
    "USERNAME",
    "MAILBOXNAME",
    "ACCESS_KEY_ID",
    "PARAMETER",
    "RESPONSE_LIST_FLAG",
    "RESPONSE_KEY",
    "EVENT_ID_KEY",
    "TTL",
    "NOTE",
    "DISUSE_FLAG",
    "LAST_UPDATE_TIMESTAMP",
    "LAST_UPDATE_USER",
)
FILE_SUFFIX = "_FILE"
_SECRET_FILES = {f"{column}{FILE_SUFFIX}": column for column in SECRET_COLUMNS}
_KNOWN = (*PLAIN_COLUMNS, *SECRET_COLUMNS, *_SECRET_FILES)

_INTEGER_COLUMNS = ("PORT", "TTL")
_TEMPLATE = re.compile(r"\{\{.*?\}\}|\{%.*?%\}", re.DOTALL)
_SHOWN_CHARACTERS = 60

Row = Mapping[str, Any]
ReadSecret = Callable[[str], Secret]
"""Returns what the file of a name holds; raises ValueError with the reason, OSError."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with a file at a place, a way of keys and positions from its top."""

    place: tuple[str | int, ...]
    text: str


@dataclass(slots=True)
class ReadRow:
    """What came of one setting of a file; `inline` are the secrets that stand in it in plain text."""

    row: dict[str, Any] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    inline: list[str] = field(default_factory=list)


def read_row(entry: object, place: tuple[str | int, ...], read_secret: ReadSecret) -> ReadRow:
    """Return the row of `entry`, which stands at `place`, and everything that is wrong with it. Raises nothing."""
    read = ReadRow()
    if not isinstance(entry, Mapping):
        read.faults.append(Fault(place, "it is not a mapping of fields"))
        return read
    for column, value in entry.items():
        try:
            _read_column(read, entry, column, value, read_secret)
        except (SettingRejected, ValueError) as error:
            read.faults.append(Fault((*place, column), str(error).removesuffix(".")))
    if NAME_COLUMN not in entry:
        read.faults.append(Fault(place, f"{NAME_COLUMN} is missing"))
    return read


def standalone(row: Row) -> dict[str, Any]:
    """Return a row with every column of the workspace, for a setting that only the file tells of."""
    return dict.fromkeys(PLAIN_COLUMNS) | dict.fromkeys(SECRET_COLUMNS, NO_SECRET) | dict(row)


def laid_over(rows: Sequence[object], local: Sequence[Row]) -> list[object]:
    """Return the workspace's rows with what the file gives for the same name, then the rows that only it has.

    Names are compared as the workspace does it, and its spelling stays: events are labelled with it.
    """
    by_name = {folded(row[NAME_COLUMN]): row for row in local}
    merged: list[object] = []
    for row in rows:
        name = row.get(NAME_COLUMN) if isinstance(row, Mapping) else None
        own = by_name.pop(folded(name), None) if isinstance(name, str) else None
        merged.append({**row, **own, NAME_COLUMN: name} if own and isinstance(row, Mapping) else row)
    return [*merged, *map(standalone, by_name.values())]


def _read_column(read: ReadRow, entry: Row, column: str, value: object, read_secret: ReadSecret) -> None:
    """Put one field into the row; raises SettingRejected or ValueError with what is wrong with it."""
    secret = _SECRET_FILES.get(column)
    if secret is not None:
        if secret in entry:
            raise ValueError(f"{secret} is given too: remove one of them")
        read.row[secret] = _secret_of_file(value, read_secret)
    elif column in SECRET_COLUMNS:
        read.row[column] = _plain_secret(value)
        if value:
            read.inline.append(column)
    elif column in PLAIN_COLUMNS:
        read.row[column] = _converted(column, value)
        if value is not None or column == NAME_COLUMN:
            check_column(read.row, column)
    else:
        raise ValueError(_unknown(column))


def _unknown(column: str) -> str:
    matches = get_close_matches(column.upper(), _KNOWN, n=1)
    hint = f": did you mean {matches[0]}?" if matches else ": see docs/local-settings.md"
    return f"there is no such field{hint}"


def _secret_of_file(value: object, read_secret: ReadSecret) -> Secret:
    if not isinstance(value, str) or not value:
        raise ValueError("it is not the path of a file")
    shown = repr(value if len(value) <= _SHOWN_CHARACTERS else f"{value[:_SHOWN_CHARACTERS]}…")
    try:
        return read_secret(value)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ValueError(f"{shown} cannot be read ({reason or 'it is no path'})") from None


def _plain_secret(value: object) -> Secret:
    if value is None:
        return NO_SECRET
    if not isinstance(value, str):
        raise ValueError("it is not a text: put it in quotes")  # noqa: TRY004 - of the file, not of the program
    return Secret(value)


def _converted(column: str, value: object) -> object:
    """Return a value as the workspace would give it; raises ValueError."""
    if value is None:
        return None
    if column in {"RESPONSE_LIST_FLAG", "DISUSE_FLAG"}:
        return _flag(value)
    if column in {"CONNECTION_METHOD_ID", "REQUEST_METHOD_ID"}:
        return _method_id(column, value)
    if column in {"REQUEST_HEADER", "PARAMETER"} and not isinstance(value, str):
        return _json_text(column, value)
    if column not in _INTEGER_COLUMNS and not isinstance(value, str):
        raise ValueError("it is not a text: put it in quotes")
    if isinstance(value, str) and (column == NAME_COLUMN and not value.strip()):
        raise ValueError("it is empty")
    return value


def _flag(value: object) -> str:
    if isinstance(value, bool) or (isinstance(value, int) and value in {0, 1}):
        return "1" if value else "0"
    if value in ("0", "1"):
        return str(value)
    raise ValueError("it is not true or false")


def _method_id(column: str, value: object) -> str:
    method_id = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(method_id, str):
        raise ValueError("it is not an id")  # noqa: TRY004
    if column == "REQUEST_METHOD_ID" and method_id not in [method.value for method in RequestMethod]:
        raise ValueError(f"{column} {method_id[:20]!r} is not known to this agent")
    return method_id


def _json_text(column: str, value: object) -> str:
    if not isinstance(value, dict | list) or (column == "REQUEST_HEADER" and isinstance(value, list)):
        kinds = "a text or a mapping" if column == "REQUEST_HEADER" else "a text, a mapping or a list"
        raise ValueError(f"it is not {kinds}")
    text = next(_altered_templates(value), None)
    if text is not None:
        raise ValueError(
            "a template in it holds a quote, a backslash or a line break, which JSON would alter: give the whole "
            "field as one text"
        )
    return json.dumps(value, ensure_ascii=False)


def _altered_templates(value: object) -> Iterator[str]:
    """Yield every template in the texts of a value that would not be the same inside of a JSON text."""
    if isinstance(value, str):
        yield from (
            found
            for found in _TEMPLATE.findall(value)
            if json.dumps(found, ensure_ascii=False) != f'"{found}"'
        )
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _altered_templates(key)
            yield from _altered_templates(item)
    elif isinstance(value, list):
        for item in value:
            yield from _altered_templates(item)
