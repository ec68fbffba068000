"""The format of an `out` file: batches as JSON lines, and a footer that makes the collection whole.

    out.<first>-<last>.<epoch>.jsonl

    {"seq":5,"ft":1700000010,"n":2,"ev":[{…},{…}],"crc":"9a0b1c2d"}
    {"seq":6,"ft":1700000011,"n":90,"raw":63210,"z":"<base64>","crc":"…"}
    {"seq":7,"ft":0,"n":1,"refused":[{"why":"…","event":"…"}],"crc":"…"}
    {"v":1,"first":5,"last":7,"events":93,"size":1234,"ft":1700000011,"collected":142,
     "cursor":{"time":1700000009,"event":{…}},"ids":[[482000,"<base64>"]],"letters":[],"revived":0,"settled":0,"crc":"…"}

A batch is numbered by `seq`, without gaps within a setting. `ft` is its group time before the queue's shift;
`ev` is the JSON array exactly as it goes into the POST, so that delivering never decodes it; `z` is the same array
compressed (compression.py), and `raw` the length of the array in bytes. A `refused` batch holds events that the
workspace cannot store, as text, because they may not be valid JSON; it is never posted.

The footer tells the state after the whole file: the cursor, the new known ids, the last group time and how many
events were ever collected. `size` is where the footer starts. A file without a valid footer does not count.
`crc` is CRC-32 over the bytes before `,"crc":`, so every line stays JSON and nothing is serialized again to check.
"""

import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from oase_agent.disk import Disk
from oase_agent.model import Cursor
from oase_agent.spool.compression import deflated, inflated
from oase_agent.spool.id_run import PackedIds

FORMAT_VERSION = 1

_CRC_TAIL_BYTES = len(',"crc":"00000000"}\n')
_BATCH_HEAD = re.compile(rb'\{"seq":(\d+),"ft":(\d+),"n":(\d+),(?:"(ev|refused)"|"raw":(\d{1,9}),"z"):')
_FOOTER_START = b'{"v":'
_NAME = re.compile(r"out\.(\d{10,})-(\d{10,})\.(\d{6,})\.jsonl")
# A footer is usually a few hundred bytes; the first look at a file's end takes this much.
_FOOTER_LOOK_BYTES = 8 * 1024
_FOOTER_PIECE_BYTES = 100 * 1024


class Damage(Exception):
    """A line or file that is not what was once written; the text says what is wrong, without content."""


class NewerFormat(Exception):
    """A file of a newer version of this agent: it is left untouched, and its setting is not worked on."""

    def __init__(self, version: object) -> None:
        super().__init__(f"written in format {version!r} by a newer agent; this one knows {FORMAT_VERSION}")


@dataclass(frozen=True, slots=True)
class FileName:
    """The three numbers of an `out` file's name."""

    first: int
    last: int
    epoch: int

    def __str__(self) -> str:
        return f"out.{self.first:010}-{self.last:010}.{self.epoch:06}.jsonl"

    @classmethod
    def parse(cls, name: str) -> "FileName | None":
        """Return the numbers, or None for a name of another kind."""
        match = _NAME.fullmatch(name)
        return cls(*map(int, match.groups())) if match else None


@dataclass(frozen=True, slots=True)
class Batch:
    """One line of an `out` file. `events` is a JSON array; with `is_refused` it is a list of reasons and texts."""

    seq: int
    group_time: int
    count: int
    events: bytes
    is_refused: bool = False


@dataclass(frozen=True, slots=True)
class Footer:
    """What is true after a file: see the module's text. `ids` pairs an epoch hour with packed id keys in base64.

    `letters` are dead letters whose events are in this file again, and `revived` how many events those are. Batches
    up to `settled` left the queue with this file, because it holds their events again; 0 = none did.
    """

    first: int
    last: int
    events: int
    size: int
    group_time: int
    collected: int
    cursor: Cursor
    ids: tuple[PackedIds, ...] = ()
    letters: tuple[str, ...] = ()
    revived: int = 0
    settled: int = 0


def batch_line(seq: int, group_time: int, events: Sequence[bytes], *, compress: bool = False) -> bytes:
    """Return the line of a batch of events; with `compress` it is compressed if that gains enough."""
    head = b'{"seq":%d,"ft":%d,"n":%d' % (seq, group_time, len(events))
    if compress:
        array = b"[%b]" % b",".join(events)
        compressed = deflated(array)
        if compressed is not None:
            return _sealed(b'%b,"raw":%d,"z":"%b"' % (head, len(array), compressed))
    return _sealed(b"".join((head, b',"ev":[', b",".join(events), b"]")))


def refused_line(seq: int, refused: Sequence[tuple[str, str]]) -> bytes:
    """Return the line of events that are not posted: pairs of the reason and the event's text."""
    items = orjson.dumps([{"why": why, "event": text} for why, text in refused])
    return _sealed(b'{"seq":%d,"ft":0,"n":%d,"refused":%b' % (seq, len(refused), items))


def footer_line(footer: Footer) -> bytes:
    """Return the last line of a file."""
    return b"".join(footer_pieces(footer))


def footer_pieces(footer: Footer) -> Iterator[bytes]:
    """Yield the last line of a file in pieces of some 100 KiB: the ids of a very large collection are megabytes."""
    event = footer.cursor.last_event
    head: dict[str, Any] = {
        "v": FORMAT_VERSION,
        "first": footer.first,
        "last": footer.last,
        "events": footer.events,
        "size": footer.size,
        "ft": footer.group_time,
        "collected": footer.collected,
        "cursor": {
            "time": footer.cursor.last_fetched_time,
            "event": None if event is None else orjson.Fragment(event),
        },
    }
    if footer.cursor.bookmark is not None:
        head["cursor"]["bookmark"] = footer.cursor.bookmark
    tail = {"letters": footer.letters, "revived": footer.revived, "settled": footer.settled}
    piece = orjson.dumps(head)[:-1] + b',"ids":['
    crc = 0
    for number, group in enumerate(footer.ids):
        piece += (b"," if number else b"") + orjson.dumps(group)
        if len(piece) >= _FOOTER_PIECE_BYTES:
            crc = zlib.crc32(piece, crc)
            yield piece
            piece = b""
    piece += b"]," + orjson.dumps(tail)[1:-1]
    yield b'%b,"crc":"%08x"}\n' % (piece, zlib.crc32(piece, crc))


def parse_batch(line: bytes) -> Batch:
    """Read a batch line; raises Damage."""
    sealed = _unsealed(line)
    match = _BATCH_HEAD.match(sealed)
    if not match:
        raise Damage("a line is not a batch")
    seq, group_time, count, kind, raw_bytes = match.groups()
    body = sealed[match.end() :]
    events = body if raw_bytes is None else _inflated(body, int(raw_bytes))
    return Batch(int(seq), int(group_time), int(count), events, kind == b"refused")


def whole_batch(line: bytes) -> Batch | None:
    """Return the batch of a line, or None when the line is damaged."""
    try:
        return parse_batch(line)
    except Damage:
        return None


def claimed_count(line: bytes) -> int:
    """Return how many events a damaged line says it holds; 0 when it does not even say that."""
    match = _BATCH_HEAD.match(line)
    return int(match.group(3)) if match else 0


def is_footer(line: bytes) -> bool:
    """Tell whether a line begins as a footer does."""
    return line.startswith(_FOOTER_START)


def parse_footer(line: bytes) -> Footer:
    """Read a footer line; raises Damage and NewerFormat."""
    sealed = _unsealed(line)
    try:
        document: dict[str, Any] = orjson.loads(sealed + b"}")
        if document["v"] != FORMAT_VERSION:
            raise NewerFormat(document["v"])
        event, bookmark = document["cursor"]["event"], document["cursor"].get("bookmark")
        return Footer(
            first=document["first"],
            last=document["last"],
            events=document["events"],
            size=document["size"],
            group_time=document["ft"],
            collected=document["collected"],
            cursor=Cursor(
                document["cursor"]["time"], None if event is None else orjson.dumps(event), bookmark
            ),
            ids=tuple((hour, keys) for hour, keys in document["ids"]),
            letters=tuple(document["letters"]),
            revived=document["revived"],
            settled=document["settled"],
        )
    except (ValueError, KeyError, TypeError) as error:
        raise Damage("the footer lacks a field") from error


def read_footer(disk: Disk, path: Path, name: FileName) -> Footer:
    """Read the footer of a file and check it against name and length; raises Damage, NewerFormat, OSError."""
    size = disk.size(path)
    look = _FOOTER_LOOK_BYTES
    while True:
        tail = disk.read(path, max(0, size - look))
        if not tail.endswith(b"\n"):
            raise Damage("the file does not end with a line")
        start = tail.rfind(b"\n", 0, -1) + 1
        if start or look >= size:
            break
        look *= 8
    footer = parse_footer(tail[start:])
    if footer.size != size - (len(tail) - start):
        raise Damage("the footer tells another length")
    if (footer.first, footer.last) != (name.first, name.last):
        raise Damage("the footer tells other numbers than the name")
    return footer


def lines_of(disk: Disk, path: Path, start: int, end: int) -> Iterator[tuple[int, bytes]]:
    """Yield (offset after the line, line) from `start` to the footer at `end`; raises OSError."""
    with disk.open(path, start) as file:
        offset = start
        while offset < end:
            line = file.readline(end - offset)
            if not line:
                return
            offset += len(line)
            yield offset, line


def _inflated(quoted: bytes, size: int) -> bytes:
    try:
        return inflated(quoted[1:-1], size)
    except ValueError as error:
        raise Damage(f"a compressed batch is not what it says: {error}") from error


def _sealed(line: bytes) -> bytes:
    return b'%b,"crc":"%08x"}\n' % (line, zlib.crc32(line))


def _unsealed(line: bytes) -> bytes:
    sealed, tail = line[:-_CRC_TAIL_BYTES], line[-_CRC_TAIL_BYTES:]
    if tail != b',"crc":"%08x"}\n' % zlib.crc32(sealed):
        raise Damage("a checksum does not match")
    return sealed
