"""The bulk of a setting's known ids as a file; the checkpoint names it and carries what came since.

seen.<epoch>.<generation>.txt

{"hour":482000,"ids":"<base64 of 16-byte keys>"}
#crc32=9a0b1c2d
"""

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from itertools import islice
from pathlib import Path

import orjson

from oase_agent.disk import Disk
from oase_agent.spool.batch_file import Damage
from oase_agent.spool.id_run import PackedIds
from oase_agent.spool.known_ids import KnownIds

_NAME = re.compile(r"seen\.(\d{6,})\.(\d{10,})\.txt")
_CRC_LINE_BYTES = len("#crc32=00000000\n")


@dataclass(frozen=True, slots=True, order=True)
class IdsName:
    """The numbers in the name of a bulk file."""

    epoch: int
    generation: int

    def __str__(self) -> str:
        return f"seen.{self.epoch:06}.{self.generation:010}.txt"

    @classmethod
    def parse(cls, name: str) -> "IdsName | None":
        """Return the numbers, or None for a name of another kind."""
        match = _NAME.fullmatch(name)
        return cls(*map(int, match.groups())) if match else None


def write_ids(disk: Disk, directory: Path, name: IdsName, ids: KnownIds) -> None:
    """Write all known ids as a new file; raises OSError."""
    disk.write_new(directory, str(name), _lines(ids))


def read_ids(disk: Disk, path: Path) -> Iterator[PackedIds]:
    """Return the packed ids by hour, to be taken one by one; raises Damage and OSError at once."""
    content = disk.read(path)
    body = memoryview(content)[:-_CRC_LINE_BYTES]
    if content[len(body) :] != b"#crc32=%08x\n" % zlib.crc32(body):
        raise Damage("a checksum does not match")
    # Line by line: at a start the content, its lines and their texts would otherwise stand in memory together.
    return map(_parsed, islice(BytesIO(content), content.count(b"\n", 0, len(body))))


def _parsed(line: bytes) -> PackedIds:
    row = orjson.loads(line)
    return row["hour"], row["ids"]


def _lines(ids: KnownIds) -> Iterator[bytes]:
    crc = 0
    for hour, packed in ids.packed():
        line = orjson.dumps({"hour": hour, "ids": packed}) + b"\n"
        crc = zlib.crc32(line, crc)
        yield line
    yield b"#crc32=%08x\n" % crc
