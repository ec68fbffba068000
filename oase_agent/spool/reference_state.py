"""Taking over from the reference agent: its cursors, known ids and unsent events become queues, once.

    <STORAGE_PATH>/<organization>/<workspace>/sqlite/ag_oase_<AGENT_NAME>     the old file (contract section 9)
    <STORAGE_PATH>/<organization>/<workspace>/<AGENT_NAME>/reference-state.json     written when all is taken over

Of each setting everything comes over with one commit, so that it is there as a whole or not at all. Killed before the
marker is written, the next start begins again, and passes over the settings that are there: a known id of its own
tells. The old file stays as it is.

A *generation* of the reference, the events of one collection, becomes one or more batches with its fetched time as
group time. The reference may have posted it without learning of the answer, and where HOSTNAME was AGENT_NAME (in
compose it is), it did so under our name: the workspace's position then tells that the batches are there already.
"""

import json
import stat
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from oase_agent.disk import Disk
from oase_agent.model import FIELD_EVENT_ID, FIELD_NOT_AVAILABLE, Cursor
from oase_agent.spool.collection_file import CollectionFile
from oase_agent.spool.id_run import key_of
from oase_agent.spool.known_ids import Sighting
from oase_agent.spool.queue import SettingQueue
from oase_agent.spool.spool import Spool

if TYPE_CHECKING:
    from oase_agent.spool.reference_database import ReferenceDatabase, ReferenceEvent

MARKER_NAME = "reference-state.json"
# Known from the commit that takes a setting over; no source reports such an id.
_TAKEN_ID = "taken over from the reference agent"

FaultOf = Callable[[Any], str | None]
"""Tells what the workspace could not store in a parsed JSON value, or None."""


@dataclass(frozen=True, slots=True)
class Imported:
    """What came over for one setting: its cursor in epoch seconds, events to deliver, and ids not to collect again.

    `unreadable` counts unsent events that cannot be delivered as they are: they become dead letters.
    """

    setting: str
    cursor_time: int
    unsent_events: int
    known_ids: int
    unreadable: int


def reference_file(workspace_directory: Path, agent_name: str) -> Path:
    """Return where the reference agent kept its state; `workspace_directory` holds all agents of a workspace."""
    return workspace_directory / "sqlite" / f"ag_oase_{agent_name}"


def take_over(
    spool: Spool, disk: Disk, directory: Path, old_file: Path, *, fault_of: FaultOf
) -> tuple[Imported, ...]:
    """Import `old_file` into the spool at `directory`, unless that was done before; return what was imported.

    Raises SpoolUnavailable and OSError when the old state is there but cannot be taken over: then nothing must be
    collected, or its cursors would be lost.
    """
    if not _has_content(old_file):
        return ()
    # A marker that is visible need not be durable yet: see recovery.py.
    disk.sync_directory(directory)
    if MARKER_NAME in disk.names(directory):
        return ()
    # Imported late: SQLite costs memory, and is needed once in the life of a volume.
    from oase_agent.spool.reference_database import opened  # noqa: PLC0415

    with opened(old_file, directory) as database:
        imported = tuple(_take_setting(spool, database, name, fault_of) for name in database.setting_names())
        document = {
            "taken_from": old_file.name,
            "settings": [asdict(setting) for setting in imported],
            "unsent_events_without_setting": database.nameless_events(),
        }
    disk.write_new(directory, MARKER_NAME, [orjson.dumps(document, option=orjson.OPT_INDENT_2), b"\n"])
    return imported


def _has_content(old_file: Path) -> bool:
    """Tell whether there is a state; an empty file is what the reference leaves when it never got to work."""
    try:
        status = old_file.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return stat.S_ISREG(status.st_mode) and status.st_size > 0


def _take_setting(spool: Spool, database: "ReferenceDatabase", name: str, fault_of: FaultOf) -> Imported:
    queue = spool.queue(name)
    cursor_time = _cursor_time(queue, database.cursor_time(name))
    sighting = queue.sighting()
    is_first = sighting.is_new(_TAKEN_ID)
    with queue.collecting(0) as file:
        taking = _Taking(file, sighting, fault_of, is_only_counted=not is_first)
        for event in database.events(name):
            taking.take(event)
        sighting.new = sighting.new.in_order()
        if is_first:
            queue.commit(file, Cursor(cursor_time, taking.newest), sighting)
    if taking.unsent:
        queue.former_agent_may_have_sent()
    queue.checkpoint()
    # Less the one that is ours.
    known_ids = len(sighting.new) + sum(map(sum, sighting.reported)) - 1
    return Imported(name, cursor_time, taking.unsent, known_ids, taking.unreadable)


def _cursor_time(queue: SettingQueue, old_time: int | None) -> int:
    """Return where collecting goes on: where the reference stopped, unless this queue has collected by itself."""
    own_time = queue.read_cursor().last_fetched_time
    figures = queue.figures()
    if old_time is None or (figures is not None and figures.collected):
        return own_time
    # The cursor of a queue without events is the time of its first start: a later one is an error of a clock.
    return min(old_time, own_time)


class _Taking:
    """Takes the events of one setting, oldest first; with `is_only_counted` they are in the queue already."""

    def __init__(
        self, file: CollectionFile, sighting: Sighting, fault_of: FaultOf, *, is_only_counted: bool
    ) -> None:
        self._file = file
        self._sighting = sighting
        self._fault_of = fault_of
        self._is_only_counted = is_only_counted
        self._generation = -1
        # Rows of this generation that were seen, as hashes: a row that is there twice is one event.
        self._seen: set[tuple[int, int]] = set()
        self._newest_rank: tuple[int, int, str] | None = None
        self.newest: bytes | None = None
        self.unsent = 0
        self.unreadable = 0

    def take(self, row: "ReferenceEvent") -> None:
        """Note the ids of an event, and put it into the file if it was not sent."""
        if row.fetched_time != self._generation:
            self._begin_generation(row.fetched_time)
        event, fault = _parsed(row.text, self._fault_of)
        ids = [row.row_id] if row.row_id is not None else []
        if event is not None and event.get(FIELD_EVENT_ID) is not None:
            ids.append(str(event[FIELD_EVENT_ID]))
        # Both: the column holds `message_id` where the event has one (defect D6).
        are_new = [self._sighting.is_new(_encodable(event_id)) for event_id in ids]
        text = b"" if event is None or fault is not None else orjson.dumps(event)
        if event is not None and text and FIELD_NOT_AVAILABLE not in event:
            self._note_newest(ids[-1] if ids else "", text)
        is_known = not all(are_new) and not self._is_only_counted
        if not row.is_sent and not is_known and self._is_first_sight(row):
            self._keep(text, fault, row.text)

    def _begin_generation(self, fetched_time: int) -> None:
        self._generation = fetched_time
        self._seen.clear()
        self._newest_rank = None
        self._file.begin_group(fetched_time)

    def _is_first_sight(self, row: "ReferenceEvent") -> bool:
        key = key_of(f"{row.row_id} {row.text}")
        is_first = key not in self._seen
        self._seen.add(key)
        return is_first

    def _keep(self, text: bytes, fault: str | None, original: str) -> None:
        self.unsent += fault is None
        self.unreadable += fault is not None
        if self._is_only_counted:
            return
        if fault is None:
            self._file.add([text])
        else:
            self._file.add_refused([(fault, _encodable(original))])

    def _note_newest(self, event_id: str, text: bytes) -> None:
        rank = _rank(event_id)
        if self._newest_rank is None or rank >= self._newest_rank:
            self._newest_rank, self.newest = rank, text


def _parsed(text: str, fault_of: FaultOf) -> tuple[dict[str, Any] | None, str | None]:
    """Return an event, and what keeps it from being delivered.

    Not by orjson: the reference wrote NaN and integers of any length, and events with those have ids, too.
    """
    try:
        event = json.loads(text)
    except (ValueError, RecursionError):
        return None, "the former agent's event is not JSON"
    if not isinstance(event, dict):
        return None, "the former agent's event is not a JSON object"
    return event, fault_of(event)


def _encodable(text: str) -> str:
    """Escape halves of surrogate pairs, as the collector does."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")


def _rank(event_id: str) -> tuple[int, int, str]:
    """Order ids as the collector does: numbers by value, other texts above them."""
    if event_id.isdigit() and event_id.isascii():
        digits = event_id.lstrip("0")
        return 0, len(digits), digits
    return 1, 0, event_id
