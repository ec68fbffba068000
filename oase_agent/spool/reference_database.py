"""Reading the reference agent's SQLite file (contract section 9.2); the only place that knows SQLite.

    events(event_collection_settings_name, id, event, fetched_time, sent_flag)
    last_fetched_time(event_collection_settings_name, last_fetched_time)
    sent_timestamp(…)     says nothing that `events` does not

The file is only read, and copied first: opening it in place could roll its journal back. Locks are not used if they
can be avoided: on a network volume they may hang, and nobody else knows the copy. No column is trusted to have its
declared type.

Import this module late: SQLite costs memory, and is needed once in the life of a volume.
"""

import contextlib
import math
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oase_agent.errors import Reason, SpoolUnavailable

_TABLES = frozenset({"events", "sent_timestamp", "last_fetched_time"})
# What belongs to the state of a database: an unfinished transaction stands in its journal, a finished one may stand
# in its write-ahead log.
_COPIED_SUFFIXES = ("", "-journal", "-wal")
_COPY_PREFIX = "reference-copy."
_COPY_NAME = "state"
# A time beyond the year 2242 is no time; the group times after it must stay 64-bit integers.
_TIME_LIMIT = 2**33


@dataclass(frozen=True, slots=True)
class ReferenceEvent:
    """A row of `events`: `text` should be a JSON object. `fetched_time` is 0 when the row has no usable one."""

    row_id: str | None
    text: str
    fetched_time: int
    is_sent: bool


class ReferenceDatabase:
    """The state of a reference agent; any method may raise sqlite3.Error."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def setting_names(self) -> list[str]:
        """Return every setting that has a cursor or events, configured or not, in the order of their names."""
        rows = self._connection.execute(
            "SELECT event_collection_settings_name FROM last_fetched_time"
            " UNION SELECT event_collection_settings_name FROM events"
        )
        return sorted({name for (name,) in rows if isinstance(name, str) and name})

    def nameless_events(self) -> int:
        """Return how many unsent events belong to no setting: nobody could deliver them."""
        rows = self._connection.execute("SELECT event_collection_settings_name, sent_flag FROM events")
        return sum(not (isinstance(name, str) and name) and not _is_sent(flag) for name, flag in rows)

    def cursor_time(self, setting_name: str) -> int | None:
        """Return the latest last fetched time of a setting, or None when there is no usable one."""
        rows = self._connection.execute(
            "SELECT last_fetched_time FROM last_fetched_time WHERE event_collection_settings_name = ?",
            (setting_name,),
        )
        return max((_time(value) for (value,) in rows), default=0) or None

    def events(self, setting_name: str) -> Iterator[ReferenceEvent]:
        """Yield the events of a setting by fetched time, and of one time as they were stored."""
        # Only the keys are sorted: all events of a long outage would not fit the memory.
        keys = self._connection.execute(
            "SELECT rowid FROM events WHERE event_collection_settings_name = ? ORDER BY fetched_time, rowid",
            (setting_name,),
        )
        for key in keys:
            row = self._connection.execute(
                "SELECT id, event, fetched_time, sent_flag FROM events WHERE rowid = ?", key
            ).fetchone()
            row_id, event, fetched_time, sent_flag = row
            yield ReferenceEvent(
                None if row_id is None else _text(row_id),
                _text(event),
                _time(fetched_time),
                _is_sent(sent_flag),
            )


@contextlib.contextmanager
def opened(old_file: Path, directory: Path) -> Iterator[ReferenceDatabase]:
    """Give the database in a copy below `directory`, which is removed afterwards.

    Raises SpoolUnavailable, also for trouble while the block reads, and OSError.
    """
    for leftover in directory.glob(f"{_COPY_PREFIX}*"):
        shutil.rmtree(leftover, ignore_errors=True)
    try:
        with tempfile.TemporaryDirectory(
            dir=directory, prefix=_COPY_PREFIX, ignore_cleanup_errors=True
        ) as folder:
            _copy(old_file, Path(folder))
            with contextlib.closing(_connect(Path(folder) / _COPY_NAME)) as connection:
                _check(connection)
                yield ReferenceDatabase(connection)
    except sqlite3.Error as error:
        raise SpoolUnavailable(
            f"The state of the former agent, sqlite/{old_file.name}, cannot be read ({type(error).__name__}): its "
            "cursors and unsent events would be lost. Repair it, or move it away to start without it.",
            Reason.DAMAGED,
        ) from error


def _copy(old_file: Path, folder: Path) -> None:
    sources = [old_file.with_name(old_file.name + suffix) for suffix in _COPIED_SUFFIXES]
    before = list(map(_trace, sources))
    try:
        for source, suffix in zip(sources, _COPIED_SUFFIXES, strict=True):
            with contextlib.suppress(FileNotFoundError):
                shutil.copyfile(source, folder / f"{_COPY_NAME}{suffix}")
    except OSError as error:
        raise SpoolUnavailable(
            f"The state of the former agent, sqlite/{old_file.name}, cannot be copied ({error.strerror}): check "
            "its owner and rights, and the room on the volume behind STORAGE_PATH.",
            Reason.DISK,
        ) from error
    if list(map(_trace, sources)) != before:
        raise SpoolUnavailable(
            f"The state of the former agent, sqlite/{old_file.name}, changed while it was read: stop the former "
            "agent.",
            Reason.DISK,
        )


def _trace(path: Path) -> tuple[int, int] | None:
    """Return what writing to a file changes, or None when there is no file."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_mtime_ns, status.st_size


def _connect(path: Path) -> sqlite3.Connection:
    locking = "" if _has_write_ahead_log(path) else "&nolock=1"
    connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=rw{locking}", uri=True)
    connection.text_factory = _decoded
    # Without shared memory, which a write-ahead log needs otherwise and a network volume may not have.
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    # The container's root file system is read-only: there may be no place for temporary files.
    connection.execute("PRAGMA temp_store = MEMORY")
    return connection


def _has_write_ahead_log(path: Path) -> bool:
    """Tell whether a database is in the mode that cannot do without locks (SQLite file format, section 1.3.3)."""
    with path.open("rb") as file:
        return file.read(20)[18:] == b"\2\2"


def _check(connection: sqlite3.Connection) -> None:
    """Look at the whole file before anything of it is believed; raises sqlite3.DatabaseError."""
    found = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if not found.issuperset(_TABLES):
        raise sqlite3.DatabaseError("a table is missing")
    if connection.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
        raise sqlite3.DatabaseError("the file is damaged")


def _decoded(raw: bytes) -> str:
    return raw.decode("utf-8", "backslashreplace")


def _text(value: Any) -> str:
    return _decoded(value) if isinstance(value, bytes) else str(value)


def _time(value: Any) -> int:
    """Return epoch seconds, or 0 for what is none."""
    if not isinstance(value, int | float) or not math.isfinite(value):
        return 0
    return int(value) if 0 < value < _TIME_LIMIT else 0


def _is_sent(flag: Any) -> bool:
    """Tell whether a row counts as sent; what is not clearly so is sent again rather than lost."""
    return isinstance(flag, int | float) and bool(flag)
