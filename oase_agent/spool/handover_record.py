"""What the next owner of a setting needs, as a text that fits an annotation; for replicas with volumes of their own.

    {"v":1,"line":"77e0…","home":"4f1c…","epoch":3,"seq":17,"settled":16,"ft":1700000123,
     "cursor":{"time":1700000100,"event":{…},"bookmark":"…"},
     "ids":{"n":812,"z":"<base64>"},
     "formers":[{"home":"9be0…","epoch":2,"seq":9,"found":1700000042}],"forgot":false}

The record of an owner is its commit to the others (decision 16): a batch that no record counted was never sent. It
never takes more than `MAX_RECORD_BYTES`. The known ids get what the rest leaves them, the ones last reported first;
then an event, or a bookmark, that is larger than its own bound stays behind.

`z` is zlib of three columns, little-endian: 32-bit hours, then the two 64-bit numbers of each key, sorted by the
first number, of which the first column holds differences.
"""

import base64
import operator
import sys
import zlib
from array import array
from dataclasses import dataclass, replace
from itertools import accumulate, chain
from typing import Annotated, Any

import msgspec
import orjson

from oase_agent.model import Cursor
from oase_agent.spool.batch_file import Damage, NewerFormat
from oase_agent.spool.id_run import IdRun, PackedIds

FORMAT_VERSION = 1
# All annotations of an object may take 256 KiB; every replica that watches is sent each record.
MAX_RECORD_BYTES = 32 * 1024
MAX_EVENT_BYTES = 8 * 1024
MAX_BOOKMARK_BYTES = 8 * 1024
# Most volumes that are remembered; of more than these, what the oldest left behind cannot be judged.
MAX_FORMERS = 32
# Decimal ids take two to four bytes each, hashes about twenty; more than this would not fit.
MAX_IDS = 12_000

_ID_BYTES = 4 + 8 + 8
_WORD = 2**64


@dataclass(frozen=True, slots=True)
class Former:
    """A volume whose replica owned the setting, up to its batch `seq` that the others were told of.

    `found` is the workspace's group time before anybody else sent anything: 0 = it had none, None = nobody asked yet.
    """

    home: str
    epoch: int
    seq: int
    found: int | None = None


@dataclass(frozen=True, slots=True)
class HandoverRecord:
    """The state of a setting as its last owner told it.

    `line` names all owners since somebody began without a record. `home` names the volume of the owner, `epoch` is
    that of its claim. Batches up to `seq` were committed there, those up to `settled` had left the queue.
    `group_time` is the last one given to a batch, as it is sent. `ids` are known ids with the epoch hours of their
    last report. `formers` are the volumes of owners before this one who wrote a record; with `forgot` there were more
    than are remembered.
    """

    line: str
    home: str
    epoch: int
    seq: int
    settled: int
    group_time: int
    cursor: Cursor
    ids: tuple[PackedIds, ...] = ()
    formers: tuple[Former, ...] = ()
    forgot: bool = False

    def former(self, home: str) -> Former | None:
        """Return what is known of what a volume has left behind; None if nothing is."""
        return next((former for former in self.formers if former.home == home), None)

    def text(self) -> str:
        """Return the record within its bounds: what is too large is left out, see the module's text."""
        bounded = _without_large(self)
        known = IdRun.unpacked(bounded.ids).in_order()
        wanted = min(len(known), MAX_IDS)
        while True:
            text = _written(bounded, newest_of(known, wanted))
            if len(text) <= MAX_RECORD_BYTES or not wanted:
                return text.decode()
            wanted = min(wanted - 1, wanted * MAX_RECORD_BYTES // len(text))


class _Cursor(msgspec.Struct):
    time: int
    event: msgspec.Raw = msgspec.Raw(b"null")
    bookmark: str | None = None


class _Ids(msgspec.Struct):
    n: Annotated[int, msgspec.Meta(ge=0, le=MAX_IDS)]
    z: str


class _Former(msgspec.Struct):
    home: Annotated[str, msgspec.Meta(max_length=64)]
    epoch: int
    seq: int
    found: int | None = None


class _Record(msgspec.Struct):
    v: int
    line: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    home: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    epoch: Annotated[int, msgspec.Meta(ge=0)]
    seq: Annotated[int, msgspec.Meta(ge=0)]
    settled: Annotated[int, msgspec.Meta(ge=0)]
    ft: Annotated[int, msgspec.Meta(ge=0)]
    cursor: _Cursor
    ids: _Ids
    formers: Annotated[list[_Former], msgspec.Meta(max_length=MAX_FORMERS)]
    forgot: bool


class _Version(msgspec.Struct):
    v: int


def parse_record(text: str) -> HandoverRecord:
    """Read a record; raises Damage, and NewerFormat for one of a newer agent."""
    try:
        version = msgspec.json.decode(text, type=_Version).v
        if version != FORMAT_VERSION:
            raise NewerFormat(version)
        found = msgspec.json.decode(text, type=_Record)
        ids = tuple(_unpacked(found.ids).packed())
        event = bytes(found.cursor.event)
        # msgspec only looked for where it ends; it goes into files that must stay JSON.
        orjson.loads(event)
    except (ValueError, zlib.error) as error:
        raise Damage("it is not what an agent writes") from error
    cursor = Cursor(found.cursor.time, None if event == b"null" else event, found.cursor.bookmark)
    formers = tuple(Former(item.home, item.epoch, item.seq, item.found) for item in found.formers)
    return HandoverRecord(
        line=found.line,
        home=found.home,
        epoch=found.epoch,
        seq=found.seq,
        settled=found.settled,
        group_time=found.ft,
        cursor=cursor,
        ids=ids,
        formers=formers,
        forgot=found.forgot,
    )


def newest_of(known: IdRun, wanted: int) -> IdRun:
    """Return those `wanted` ids that were reported last; all if there are no more."""
    surplus = len(known) - wanted
    if surplus <= 0:
        return known
    hours = sorted(known.hours)
    oldest = hours[surplus]
    # Of the oldest hour that stays, as many go as must.
    return known.kept(bytes(len(known)), oldest, surplus - hours.index(oldest))


def _without_large(record: HandoverRecord) -> HandoverRecord:
    cursor = record.cursor
    if cursor.last_event is not None and len(cursor.last_event) > MAX_EVENT_BYTES:
        cursor = replace(cursor, last_event=None)
    if cursor.bookmark is not None and len(orjson.dumps(cursor.bookmark)) > MAX_BOOKMARK_BYTES:
        cursor = replace(cursor, bookmark=None)
    latest = sorted(record.formers, key=lambda former: former.epoch)[-MAX_FORMERS:]
    forgot = record.forgot or len(latest) < len(record.formers)
    return replace(record, cursor=cursor, formers=tuple(latest), forgot=forgot)


def _written(record: HandoverRecord, ids: IdRun) -> bytes:
    event = record.cursor.last_event
    document: dict[str, Any] = {
        "v": FORMAT_VERSION,
        "line": record.line,
        "home": record.home,
        "epoch": record.epoch,
        "seq": record.seq,
        "settled": record.settled,
        "ft": record.group_time,
        "cursor": {
            "time": record.cursor.last_fetched_time,
            "event": None if event is None else orjson.Fragment(event),
            "bookmark": record.cursor.bookmark,
        },
        "ids": {"n": len(ids), "z": _packed(ids)},
        "formers": record.formers,
        "forgot": record.forgot,
    }
    return orjson.dumps(document)


def _packed(ids: IdRun) -> str:
    before = chain((0,), ids.high)
    steps = array("Q", (step % _WORD for step in map(operator.sub, ids.high, before)))
    columns = b"".join(map(_little_endian, (ids.hours, steps, ids.low)))
    return base64.b64encode(zlib.compress(columns, 6)).decode("ascii")


def _unpacked(ids: _Ids) -> IdRun:
    size = ids.n * _ID_BYTES
    inflating = zlib.decompressobj()
    columns = inflating.decompress(base64.b64decode(ids.z, validate=True), size + 1)
    if len(columns) != size:
        raise ValueError("another number of ids than it says")
    hours = _array("I", columns[: 4 * ids.n])
    steps = _array("Q", columns[4 * ids.n : 12 * ids.n])
    high = array("Q", (number % _WORD for number in accumulate(steps)))
    return IdRun(high, _array("Q", columns[12 * ids.n :]), hours).in_order()


def _little_endian(numbers: "array[int]") -> bytes:
    if sys.byteorder == "big":
        numbers = numbers[:]
        numbers.byteswap()
    return numbers.tobytes()


def _array(kind: str, column: bytes) -> "array[int]":
    numbers = array(kind, column)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers
