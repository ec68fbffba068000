"""Everything that can happen to the bytes of one file of a spool.

A `Case` is one change behind the agent's back; it knows which lines are not whole any more, and therefore what may be
lost.
"""

import json
import random
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from oase_agent.spool.spool import SETTINGS_DIRECTORY
from tests.crash.images import HOME, BlockDisk, Image
from tests.crash.world import DIRECTORY

_GARBAGE_BYTES = 64
_OURS = re.compile(
    r"out\.\d{10,}-\d{10,}\.\d{6,}\.jsonl|state\.\d{6,}\.\d{10,}\.json|seen\.\d{6,}\.\d{10,}\.txt|tmp\..*"
)


@dataclass(frozen=True, slots=True)
class Case:
    """One thing that happened to the files at `path`, and what of them is not as it was.

    `before` and `after` are the content of the file, None where there is none; of a directory both are None.
    """

    kind: str
    path: Path
    before: bytes | None
    after: bytes | None
    is_directory: bool = False

    @property
    def file_kind(self) -> str:
        """What the file is: `out`, `state`, `seen`, `dead`, `tmp` or `other`."""
        if self.path.parent.name == "dead":
            return "dead"
        is_ours = self.path.parent == HOME and _OURS.fullmatch(self.path.name)
        return self.path.name.split(".")[0] if is_ours else "other"

    @property
    def hurt_lines(self) -> list[bytes]:
        """Return the lines that the file had and does not have any more."""
        left = set((self.after or b"").splitlines(keepends=True))
        return [line for line in (self.before or b"").splitlines(keepends=True) if line not in left]

    @property
    def strange_lines(self) -> list[bytes]:
        """Return the lines that are in the file and never were written there."""
        written = set((self.before or b"").splitlines(keepends=True))
        return [line for line in (self.after or b"").splitlines(keepends=True) if line not in written]

    def apply(self, disk: BlockDisk) -> None:
        """Let it happen."""
        if self.is_directory:
            disk.put(self.path / "inner", b"not ours")
        else:
            disk.put(self.path, self.after)


def draw_cases(image: Image, chance: random.Random, count: int) -> Iterator[Case]:
    """Yield `count` cases of an image; kinds of files and of damage come equally often."""
    by_kind: dict[str, list[Path]] = {}
    for path in image.files:
        if not path.is_relative_to(DIRECTORY / SETTINGS_DIRECTORY) or path.is_relative_to(HOME):
            by_kind.setdefault(Case("", path, None, None).file_kind, []).append(path)
    drawn = 0
    while drawn < count:
        # Half of all in the files that hold events.
        kind = "out" if "out" in by_kind and chance.random() < 0.5 else chance.choice(sorted(by_kind))
        path = chance.choice(sorted(by_kind[kind]))
        case = chance.choice(_DAMAGES)(path, image.files[path], chance)
        if case is not None and _is_new(case, image):
            drawn += 1
            yield case


def _changed(kind: str, path: Path, before: bytes, after: bytes | bytearray | None) -> Case:
    return Case(kind, path, before, None if after is None else bytes(after))


def _flip(path: Path, content: bytes, chance: random.Random) -> Case | None:
    return _at_random("flip a bit", path, content, chance, lambda byte: byte ^ (1 << chance.randrange(8)))


def _set(path: Path, content: bytes, chance: random.Random) -> Case | None:
    return _at_random(
        "change a byte", path, content, chance, lambda _byte: chance.choice(b'\x00\n"{}[],:09 \xff')
    )


def _at_random(
    kind: str, path: Path, content: bytes, chance: random.Random, change: Callable[[int], int]
) -> Case | None:
    if not content:
        return None
    damaged = bytearray(content)
    place = chance.randrange(len(damaged))
    damaged[place] = change(damaged[place])
    return _changed(kind, path, content, damaged)


def _truncate(path: Path, content: bytes, chance: random.Random) -> Case | None:
    ends = [place + 1 for place, byte in enumerate(content) if byte == ord("\n")]
    # At the end of a line, too: then what is left looks whole.
    cut = (
        chance.choice(ends[:-1])
        if len(ends) > 1 and chance.random() < 0.5
        else chance.randrange(len(content) + 1)
    )
    return _changed("truncate", path, content, content[:cut])


def _zero(path: Path, content: bytes, chance: random.Random) -> Case | None:
    size = chance.choice((1, 16, 64, 512, len(content)))
    start = chance.randrange(len(content) + 1)
    end = min(len(content), start + size)
    return _changed("zero a block", path, content, content[:start] + bytes(end - start) + content[end:])


def _empty(path: Path, content: bytes, chance: random.Random) -> Case | None:
    return _changed("empty", path, content, b"")


def _delete(path: Path, content: bytes, chance: random.Random) -> Case | None:
    return _changed("delete", path, content, None)


def _append(path: Path, content: bytes, chance: random.Random) -> Case | None:
    lines = content.splitlines(keepends=True) or [b"x"]
    tail = chance.choice(
        (b"\n", b"\0" * 16, chance.randbytes(_GARBAGE_BYTES), chance.choice(lines), lines[-1][:9])
    )
    return _changed("append", path, content, content + tail)


def _swap(path: Path, content: bytes, chance: random.Random) -> Case | None:
    lines = content.splitlines(keepends=True)
    if len(lines) < 2:
        return None
    first, second = chance.sample(range(len(lines)), 2)
    lines[first], lines[second] = lines[second], lines[first]
    return _changed("swap lines", path, content, b"".join(lines))


def _repeat(path: Path, content: bytes, chance: random.Random) -> Case | None:
    lines = content.splitlines(keepends=True)
    if len(lines) < 2:
        return None
    lines[chance.randrange(len(lines))] = chance.choice(lines)
    return _changed("a line over another", path, content, b"".join(lines))


def _copy(path: Path, content: bytes, chance: random.Random) -> Case | None:
    name = _other_name(path.name, chance)
    return None if name is None else Case("copy to another name", path.with_name(name), None, content)


def _other_name(name: str, chance: random.Random) -> str | None:
    kind, *parts = name.split(".")
    epoch_up, far = chance.choice((1, 7, 900_000)), chance.choice((1, 3, 10**9))
    if kind == "out" and len(parts) == 3:
        first, last = map(int, parts[0].split("-"))
        epoch = int(parts[1]) + epoch_up * chance.choice((0, 1))
        shift, widen = chance.choice(((0, 0), (far, far), (0, far), (1, 0)))
        return f"out.{first + shift:010}-{max(first + shift, last + widen):010}.{epoch:06}.jsonl"
    if kind in {"state", "seen"} and len(parts) == 3:
        epoch, generation = int(parts[0]) + epoch_up * chance.choice((0, 1)), int(parts[1])
        generation = max(1, generation + chance.choice((far, -1)))
        return f"{kind}.{epoch:06}.{generation:010}.{parts[2]}"
    return None


def _foreign(path: Path, content: bytes, chance: random.Random) -> Case | None:
    name = chance.choice(
        (
            "notes.txt",
            ".nfs000000000000000a",
            "OUT.0000000001-0000000002.000001.JSONL",
            "out.1-2.1.jsonl",
            "state.json",
            "tmp.1.0",
            "tmp.77.5",
            "seen.000001.0000009999.txt",
            "out.0000099999-0000099999.000001.jsonl",
            "state.000001.0000099999.json",
        )
    )
    return Case("foreign file", HOME / name, None, chance.choice((b"", b"hello\n", chance.randbytes(200))))


def _foreign_directory(path: Path, content: bytes, chance: random.Random) -> Case | None:
    name = chance.choice(
        (
            "lost+found",
            "tmp.1.0",
            "seen.000001.0000009999.txt",
            "out.0000000001-0000000002.000009.jsonl",
            "out.0000099999-0000099999.000001.jsonl",
            "state.000001.0000099999.json",
        )
    )
    return Case("foreign directory", HOME / name, None, None, is_directory=True)


def _newer(path: Path, content: bytes, chance: random.Random) -> Case | None:
    """Let the file be one of the next version: it is sealed as it should be."""
    kind = path.name.split(".")[0]
    if kind == "out":
        *lines, footer = content.splitlines(keepends=True)
        sealed = footer[: footer.rindex(b',"crc":')].replace(b'{"v":1,', b'{"v":2,', 1)
        return _changed(
            "newer", path, content, b"".join(lines) + b'%b,"crc":"%08x"}\n' % (sealed, zlib.crc32(sealed))
        )
    if kind == "state":
        document = json.loads(content[: content.rindex(b"\n#crc32=")])
        document["checkpoint"]["1"]["v"] = 2
        body = json.dumps(document).encode()
        return _changed("newer", path, content, b"%b\n#crc32=%08x\n" % (body, zlib.crc32(body)))
    return None


_DAMAGES: Sequence[Callable[[Path, bytes, random.Random], Case | None]] = (
    *[_flip] * 4,
    *[_set] * 3,
    *[_truncate] * 3,
    *[_zero] * 3,
    _empty,
    *[_delete] * 2,
    *[_append] * 2,
    *[_swap] * 2,
    _repeat,
    *[_copy] * 3,
    _foreign,
    _foreign_directory,
    _newer,
)


def _is_new(case: Case, image: Image) -> bool:
    if case.before is None:
        return case.path not in image.files
    return case.after != case.before
