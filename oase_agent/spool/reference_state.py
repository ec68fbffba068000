"""Taking over from the reference agent: its SQLite state becomes queues, once (contract section 9).

    <STORAGE_PATH>/<organization>/<workspace>/sqlite/ag_oase_<AGENT_NAME>

Cursors, known ids and unsent events come over, in order. The old file is only read, from a copy, because opening it
in place could roll its journal back. A marker beside the new spool tells what was done; interrupted before it, the
import begins again, and finds by their ids the events that it has already.
"""

import contextlib
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson

from oase_agent.disk import Disk
from oase_agent.errors import Reason, SpoolUnavailable
from oase_agent.model import FIELD_EVENT_ID, FIELD_NOT_AVAILABLE, Cursor
from oase_agent.spool.queue import SettingQueue
from oase_agent.spool.spool import Spool

MARKER_NAME = "reference-state.json"
_TABLES = frozenset({"events", "sent_timestamp", "last_fetched_time"})


@dataclass(frozen=True, slots=True)
class Imported:
    """What came over for one setting: its cursor in epoch seconds, events to deliver, and ids not to collect again.

    `unreadable` counts unsent events that are no JSON objects: they become dead letters.
    """

    setting: str
    cursor_time: int
    unsent_events: int
    known_ids: int
    unreadable: int


def reference_file(organization_directory: Path, agent_name: str) -> Path:
    """Return where the reference agent kept its state; `organization_directory` is that of the workspace."""
    return organization_directory / "sqlite" / f"ag_oase_{agent_name}"


def take_over(spool: Spool, disk: Disk, directory: Path, old_file: Path) -> tuple[Imported, ...]:
    """Import `old_file` into the spool at `directory`, unless that was done before; return what was imported.

    Raises SpoolUnavailable when the old state is there but cannot be read: then nothing must be collected, or its
    cursors would be lost.
    """
    if MARKER_NAME in disk.names(directory) or not old_file.is_file():
        return ()
    try:
        with _copy_of(old_file, directory) as database:
            imported = tuple(_take_setting(spool, database, name) for name in _names(database))
    except sqlite3.Error as error:
        raise SpoolUnavailable(
            f"The state of the former agent, {old_file.name}, cannot be read ({type(error).__name__}). Move the file "
            "away to start without it; its cursors and unsent events would not come over.",
            Reason.DAMAGED,
        ) from error
    document = {"taken_from": old_file.name, "settings": [asdict(setting) for setting in imported]}
    disk.write_new(directory, MARKER_NAME, [orjson.dumps(document, option=orjson.OPT_INDENT_2), b"\n"])
    return imported


@contextlib.contextmanager
def _copy_of(old_file: Path, directory: Path) -> Iterator[sqlite3.Connection]:
    with tempfile.TemporaryDirectory(dir=directory, prefix="tmp.reference.") as folder:
        for suffix in ("", "-journal", "-wal"):
            source = old_file.with_name(old_file.name + suffix)
            if source.is_file():
                shutil.copyfile(source, Path(folder) / f"state{suffix}")
        with contextlib.closing(sqlite3.connect(Path(folder) / "state")) as database:
            tables = {
                name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            }
            if not tables.issuperset(_TABLES):
                raise sqlite3.DatabaseError("tables are missing")
            yield database


def _names(database: sqlite3.Connection) -> list[str]:
    rows = database.execute(
        "SELECT event_collection_settings_name FROM last_fetched_time"
        " UNION SELECT event_collection_settings_name FROM events"
    )
    return sorted({name for (name,) in rows if isinstance(name, str) and name})


def _take_setting(spool: Spool, database: sqlite3.Connection, name: str) -> Imported:
    queue = spool.queue(name)
    sighting = queue.sighting()
    cursor_time = _cursor_time(database, name, queue)
    newest: bytes | None = None
    unsent = unreadable = 0
    with queue.collecting(cursor_time) as file:
        for row_id, text, is_sent in _rows(database, name):
            event = _event(text)
            # Serial ids are remembered here, too: a second, interrupted import must not add events again.
            is_new = sighting.is_new(str((event or {}).get(FIELD_EVENT_ID) or row_id))
            if row_id is not None:
                sighting.is_new(row_id)
            line = text.replace("\n", " ").encode("utf-8", "backslashreplace")
            if event is not None and FIELD_NOT_AVAILABLE not in event:
                newest = line
            if is_sent or not is_new:
                continue
            if event is None:
                unreadable += 1
                file.add_refused([("the former agent's event is not a JSON object", text)])
            else:
                unsent += 1
                file.add([line])
        queue.commit(file, Cursor(cursor_time, newest), sighting)
        queue.checkpoint()
    return Imported(name, cursor_time, unsent, len(sighting.new), unreadable)


def _cursor_time(database: sqlite3.Connection, name: str, queue: SettingQueue) -> int:
    rows = database.execute(
        "SELECT MAX(last_fetched_time) FROM last_fetched_time WHERE event_collection_settings_name = ?",
        (name,),
    )
    (time,) = rows.fetchone()
    return int(time) if time is not None else queue.read_cursor().last_fetched_time


def _rows(database: sqlite3.Connection, name: str) -> Iterator[tuple[str | None, str, bool]]:
    """Yield (id, event as JSON, whether it was sent), oldest first."""
    yield from (
        (None if row_id is None else str(row_id), str(text), bool(is_sent))
        for row_id, text, is_sent in database.execute(
            "SELECT id, event, sent_flag FROM events WHERE event_collection_settings_name = ?"
            " ORDER BY fetched_time, rowid",
            (name,),
        )
    )


def _event(text: str) -> Mapping[str, object] | None:
    try:
        event = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return event if isinstance(event, dict) else None
