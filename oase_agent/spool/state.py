"""The checkpoint of a setting: one small TinyDB document, written under a new name each time.

    state.<epoch>.<generation>.json      the newest two are kept

    {"checkpoint":{"1":{…}},"written_as":"state.000001.0000000007.json"}
    #crc32=9a0b1c2d

TinyDB's own storage overwrites its file in place and truncates it after the sync; killed in between it leaves
broken JSON, and on SMB it cannot be renamed over (durability study, sections 0 and 1.2). `GenerationStorage` keeps
TinyDB's document and obeys the spool's rule instead: a new file, synced, renamed to a new name, directory synced.
"""

import contextlib
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import orjson
from tinydb import TinyDB
from tinydb.storages import Storage
from tinydb.table import Document

from oase_agent.disk import Disk
from oase_agent.model import Cursor
from oase_agent.spool.batch_file import FORMAT_VERSION, Damage, NewerFormat
from oase_agent.spool.id_run import PackedIds

_NAME = re.compile(r"state\.(\d{6,})\.(\d{10,})\.json")
_CRC_LINE_BYTES = len("\n#crc32=00000000\n")
_TABLE = "checkpoint"
_DOCUMENT_ID = 1
_WRITTEN_AS = "written_as"
KEPT_GENERATIONS = 2


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a setting's queue must remember; file footers with a `seq` above `replayed` are applied on top of it.

    `settled` is the last batch that left the queue; of the next one `part_done` events left and the part up to
    event `part_until` is the one that may be on the wire (0 = the batch is not sent in parts). `group_time` is
    the last one given to a batch, `shift` is added to it when sending. Batches up to `sent_hi` may have been on
    the wire. `seal` is the last batch that was there when this epoch began (see claim.py). `home` names the queue
    among those that other volumes hold of the setting, `line` the line of owners whose records it was told of, and
    `lifted` is the part of `shift` that puts it behind what they sent (see succession.py). `ids_file` names the bulk
    of the known ids, `ids` those since then. `letters` are dead letters that are in the queue again and not yet
    removed. `collected`, `delivered` and `dead` count events since the beginning.
    """

    setting_name: str
    setting_id: str = ""
    settled: int = 0
    part_done: int = 0
    part_until: int = 0
    replayed: int = 0
    cursor_time: int = 0
    cursor_event: str | None = None
    cursor_bookmark: str | None = None
    group_time: int = 0
    shift: int = 0
    sent_hi: int = 0
    seal: int = 0
    home: str = ""
    line: str = ""
    lifted: int = 0
    ids_file: str = ""
    ids: tuple[PackedIds, ...] = ()
    letters: tuple[str, ...] = ()
    collected: int = 0
    delivered: int = 0
    dead: int = 0
    v: int = FORMAT_VERSION

    @property
    def cursor(self) -> Cursor:
        """The cursor that the fields beginning with `cursor_` hold."""
        event = None if self.cursor_event is None else self.cursor_event.encode()
        return Cursor(self.cursor_time, event, self.cursor_bookmark)

    def with_cursor(self, cursor: Cursor) -> "Checkpoint":
        """Return this checkpoint with another cursor."""
        return replace(
            self,
            cursor_time=cursor.last_fetched_time,
            cursor_event=None if cursor.last_event is None else cursor.last_event.decode(),
            cursor_bookmark=cursor.bookmark,
        )


_FIELD_NAMES = tuple(field.name for field in fields(Checkpoint))


@dataclass(frozen=True, slots=True, order=True)
class StateName:
    """The numbers in the name of a checkpoint; the highest is the newest."""

    epoch: int
    generation: int

    def __str__(self) -> str:
        return f"state.{self.epoch:06}.{self.generation:010}.json"

    @classmethod
    def parse(cls, name: str) -> "StateName | None":
        """Return the numbers, or None for a name of another kind."""
        match = _NAME.fullmatch(name)
        return cls(*map(int, match.groups())) if match else None


class GenerationStorage(Storage):
    """A TinyDB storage whose every write is a new generation; reading is from memory once it has written.

    `found` are the generations that are on disk already.
    """

    def __init__(self, disk: Disk, directory: Path, found: Sequence[StateName], epoch: int) -> None:
        self._disk = disk
        self._directory = directory
        self._kept = sorted(found)
        self._next = StateName(epoch, 1 + max((name.generation for name in found), default=0))
        self._document: dict[str, dict[str, Any]] | None = None

    def read(self) -> dict[str, dict[str, Any]] | None:
        """Return the document of the last write; None makes TinyDB start an empty one."""
        return self._document

    def write(self, data: Mapping[str, Mapping[str, Any]]) -> None:
        """Keep `data` durably as the next generation, then drop what is older than the newest two."""
        # With its own name: a copy under a higher one would be taken for the newest.
        document = {**data, _WRITTEN_AS: str(self._next)}
        self._disk.write_new(self._directory, str(self._next), [_with_crc(orjson.dumps(document))])
        self._document = {table: dict(rows) for table, rows in data.items()}
        self._kept.append(self._next)
        self._next = StateName(self._next.epoch, self._next.generation + 1)
        while len(self._kept) > KEPT_GENERATIONS:
            # The rest is only weight: a failure here must not make a durable write look failed.
            with contextlib.suppress(OSError):
                self._disk.unlink(self._directory / str(self._kept.pop(0)))


class CheckpointFile:
    """Saves the checkpoint of one setting. After an OSError it is not used again: recovery opens a new one."""

    def __init__(self, disk: Disk, directory: Path, found: Sequence[StateName], epoch: int) -> None:
        self._database = TinyDB(
            storage=lambda: GenerationStorage(disk, directory, found, epoch),
        )
        self._table = self._database.table(_TABLE, cache_size=0)
        self._has_document = False

    def save(self, checkpoint: Checkpoint) -> None:
        """Return when `checkpoint` is on disk; raises OSError."""
        # Not `upsert`: it writes an empty table first when there is no document yet, and every write is durable.
        if self._has_document:
            self._table.update(_fields(checkpoint), doc_ids=[_DOCUMENT_ID])
        else:
            self._table.insert(Document(_fields(checkpoint), doc_id=_DOCUMENT_ID))
            self._has_document = True


def read_checkpoint(disk: Disk, path: Path) -> Checkpoint:
    """Read one generation; raises Damage, NewerFormat and OSError."""
    content = disk.read(path)
    body, tail = content[:-_CRC_LINE_BYTES], content[-_CRC_LINE_BYTES:]
    if tail != b"\n#crc32=%08x\n" % zlib.crc32(body):
        raise Damage("a checksum does not match")
    try:
        content_as_json: dict[str, Any] = orjson.loads(body)
        document: dict[str, Any] = content_as_json[_TABLE][str(_DOCUMENT_ID)]
        if document["v"] != FORMAT_VERSION:
            raise NewerFormat(document["v"])
        if content_as_json[_WRITTEN_AS] != path.name:
            raise Damage("it was written under another name")
        # Checkpoints of before there was a seal: nobody else wrote then.
        document.setdefault("seal", document["replayed"])
        document.setdefault("cursor_bookmark", None)
        # And of before queues of one setting could stand on several volumes.
        document.setdefault("home", "")
        document.setdefault("line", "")
        document.setdefault("lifted", 0)
        known = {name: document[name] for name in _FIELD_NAMES}
    except (ValueError, KeyError, TypeError) as error:
        raise Damage("a field is missing") from error
    ids = tuple((hour, keys) for hour, keys in known["ids"])
    return Checkpoint(**{**known, "ids": ids, "letters": tuple(known["letters"])})


def _fields(checkpoint: Checkpoint) -> dict[str, Any]:
    # Not `asdict`: it copies deeply, and the ids of a checkpoint are many.
    return {name: getattr(checkpoint, name) for name in _FIELD_NAMES}


def _with_crc(body: bytes) -> bytes:
    return b"%b\n#crc32=%08x\n" % (body, zlib.crc32(body))
