"""The table of event collection settings that a simulated workspace holds (contract section 4)."""

import uuid
from dataclasses import dataclass
from typing import Any

Row = dict[str, Any]

SECRET_COLUMNS = ("AUTH_TOKEN", "PASSWORD", "SECRET_ACCESS_KEY")

_NAME = "EVENT_COLLECTION_SETTINGS_NAME"
_ID = "EVENT_COLLECTION_SETTINGS_ID"


@dataclass(frozen=True, slots=True)
class KnownSetting:
    """What accepting events needs to know of a setting. `ttl_s` is in seconds."""

    id: str
    name: str
    ttl_s: int
    discarded: bool


def setting_row(name: str, url: str, **columns: Any) -> Row:
    """Return a full row as the workspace keeps it: a GET without authentication, a list, one hour to live.

    `columns` replace columns by their names in contract section 4; secrets are given in plain text. The id is
    made from the name, so that it is the same in every process.

    Raises:
        ValueError: a column does not exist.

    """
    row: Row = {
        _ID: str(uuid.uuid5(uuid.NAMESPACE_URL, name)),
        _NAME: name,
        "CONNECTION_METHOD_ID": "5",
        "REQUEST_METHOD_ID": "1",
        "URL": url,
        "PORT": None,
        "REQUEST_HEADER": None,
        "PROXY": None,
        "AUTH_TOKEN": "",
        "USERNAME": None,
        "PASSWORD": "",
        "MAILBOXNAME": None,
        "ACCESS_KEY_ID": None,
        "SECRET_ACCESS_KEY": "",
        "PARAMETER": None,
        "RESPONSE_LIST_FLAG": "1",
        "RESPONSE_KEY": None,
        "EVENT_ID_KEY": None,
        "TTL": 3600,
        "NOTE": None,
        "DISUSE_FLAG": "0",
        "LAST_UPDATE_TIMESTAMP": "2026-01-01T00:00:00.000000Z",
        "LAST_UPDATE_USER": "simulator",
    }
    unknown = columns.keys() - row.keys()
    if unknown:
        raise ValueError(f"A setting has no column {', '.join(sorted(unknown))}; see contract section 4.")
    return row | columns


class SettingsTable:
    """The rows of one workspace in the order in which they were added; names are unique."""

    def __init__(self) -> None:
        self._rows: dict[str, Row] = {}

    def add(self, row: Row) -> None:
        """Add a row, or replace the one of the same name."""
        self._rows[row[_NAME]] = dict(row)

    def discard(self, name: str) -> None:
        """Mark a setting as discarded: it is no longer handed out, its events are refused by text 499-01827."""
        self._rows[name]["DISUSE_FLAG"] = "1"

    def rename(self, old: str, new: str) -> None:
        """Give a setting another name; its id stays."""
        row = self._rows.pop(old)
        self._rows[new] = row | {_NAME: new}

    def remove(self, name: str) -> None:
        """Forget a setting altogether; its name is unknown from now on."""
        del self._rows[name]

    def active_rows(self, names: list[str]) -> list[Row]:
        """Return the rows with one of these names that are not discarded, each once, in table order."""
        wanted = set(names)
        return [row for name, row in self._rows.items() if name in wanted and row["DISUSE_FLAG"] == "0"]

    def find(self, name: str) -> KnownSetting | None:
        """Return the setting of a name, also when it is discarded."""
        row = self._rows.get(name)
        return None if row is None else _known(row)

    def find_by_id(self, setting_id: str) -> KnownSetting | None:
        """Return the setting of an id, also when it is discarded."""
        return next((_known(row) for row in self._rows.values() if row[_ID] == setting_id), None)


def _known(row: Row) -> KnownSetting:
    return KnownSetting(row[_ID], row[_NAME], int(row["TTL"]), row["DISUSE_FLAG"] == "1")
