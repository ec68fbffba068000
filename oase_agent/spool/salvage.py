"""What happens to a file that cannot be read: it is kept in `bad/`, and its whole batches stay in the queue.

Nothing here is skipped silently: every step ends in a sentence for the operator (promise P6).
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from oase_agent.disk import Disk
from oase_agent.model import FIELD_EVENT_ID, Cursor
from oase_agent.spool.batch_file import (
    Batch,
    Damage,
    FileName,
    Footer,
    footer_line,
    is_footer,
    lines_of,
    parse_batch,
    parse_footer,
    whole_batch,
)
from oase_agent.spool.id_run import IdRun, PackedIds, key_of

BAD_DIRECTORY = "bad"


def set_aside(disk: Disk, directory: Path, name: str) -> str:
    """Move a file to `bad/` under a name that is free there, and return the new place; raises OSError."""
    bad = _bad_directory(disk, directory)
    target = _free_name(disk, bad, name)
    disk.rename(directory / name, bad / target)
    disk.sync_directory(bad)
    disk.sync_directory(directory)
    return f"{bad.name}/{target}"


def copy_aside(disk: Disk, directory: Path, name: str, content: bytes) -> str:
    """Keep a damaged piece of a file that otherwise stays in use, and return its place; raises OSError."""
    bad = _bad_directory(disk, directory)
    target = _free_name(disk, bad, name)
    disk.write_new(bad, target, [content])
    return f"{bad.name}/{target}"


def is_in_disorder(disk: Disk, path: Path, name: FileName, size: int) -> bool:
    """Tell whether whole batches of a file stand in another order than they came, or twice; raises OSError."""
    least_seq = name.first
    for _, line in lines_of(disk, path, 0, size):
        batch = whole_batch(line)
        if batch is None:
            continue
        if not least_seq <= batch.seq <= name.last:
            return True
        least_seq = batch.seq + 1
    return False


def rescue(
    disk: Disk, directory: Path, name: FileName, *, above: int, taken: Iterable[FileName], epoch: int
) -> dict[FileName, Footer]:
    """Publish the whole batches of a damaged file again, in order and under their own numbers.

    Left out are those up to `above` and those that stand in one of the `taken` files. Batches without a hole between
    them go into one file. If the damaged file's footer is whole, the last of these files ends with what it told;
    otherwise the cursor is lost, and the known ids are those of the batches. Raises NewerFormat and OSError.
    """
    path = directory / str(name)
    pieces, footer = _whole_pieces(disk, path, name)
    wanted = [
        piece
        for _, piece in sorted(pieces.items())
        if piece.seq > above and not any(file.first <= piece.seq <= file.last for file in taken)
    ]
    rescued: dict[FileName, Footer] = {}
    for run in _runs(wanted):
        is_last = run[-1] is wanted[-1]
        part = _footer_of(
            run, _ids_in(disk, path, run) if footer is None else (), footer if is_last else None
        )
        file = FileName(part.first, part.last, epoch)
        disk.write_new(directory, str(file), itertools.chain(_lines(disk, path, run), [footer_line(part)]))
        rescued[file] = part
    return rescued


@dataclass(frozen=True, slots=True)
class _Piece:
    """Where a whole batch stands in a damaged file, in bytes."""

    seq: int
    group_time: int
    count: int
    offset: int
    size: int


def _whole_pieces(disk: Disk, path: Path, name: FileName) -> tuple[dict[int, _Piece], Footer | None]:
    """Find the whole batches of a file by their numbers, and its footer, wherever they stand."""
    pieces: dict[int, _Piece] = {}
    footer: Footer | None = None
    offset = 0
    for line in _raw_lines(disk, path):
        try:
            if is_footer(line):
                found = parse_footer(line)
                footer = found if (found.first, found.last) == (name.first, name.last) else footer
            else:
                batch = parse_batch(line)
                if name.first <= batch.seq <= name.last:
                    # Of a repeated line the first one counts.
                    pieces.setdefault(
                        batch.seq, _Piece(batch.seq, batch.group_time, batch.count, offset, len(line))
                    )
        except Damage:
            pass
        offset += len(line)
    return pieces, footer


def _raw_lines(disk: Disk, path: Path) -> Iterator[bytes]:
    try:
        file = disk.open(path)
    except IsADirectoryError:
        return
    with file:
        yield from file


def _runs(pieces: Sequence[_Piece]) -> Iterator[list[_Piece]]:
    """Yield the pieces in runs without a hole."""
    run: list[_Piece] = []
    for piece in pieces:
        if run and piece.seq != run[-1].seq + 1:
            yield run
            run = []
        run.append(piece)
    if run:
        yield run


def _footer_of(run: Sequence[_Piece], ids: tuple[PackedIds, ...], told: Footer | None) -> Footer:
    group_time = max(piece.group_time for piece in run)
    known = told or Footer(0, 0, 0, 0, group_time, collected=0, cursor=Cursor(0), ids=ids)
    return replace(
        known,
        first=run[0].seq,
        last=run[-1].seq,
        events=sum(piece.count for piece in run),
        size=sum(piece.size for piece in run),
    )


def _lines(disk: Disk, path: Path, run: Iterable[_Piece]) -> Iterator[bytes]:
    for piece in run:
        with disk.open(path, piece.offset) as file:
            yield file.read(piece.size)


class _Identified(msgspec.Struct, rename={"event_id": FIELD_EVENT_ID}):
    """What is read of an event to know it again."""

    event_id: str | None = None


def _ids_in(disk: Disk, path: Path, run: Sequence[_Piece]) -> tuple[PackedIds, ...]:
    """Return the ids of the events in a run, as if they had been reported when they were collected."""
    ids = IdRun()
    for piece, line in zip(run, _lines(disk, path, run), strict=True):
        for event_id in _event_ids(parse_batch(line)):
            high, low = key_of(event_id)
            ids.high.append(high)
            ids.low.append(low)
            ids.hours.append(piece.group_time // 3600)
    return tuple(ids.packed())


def _event_ids(batch: Batch) -> list[str]:
    if batch.is_refused:
        return []
    try:
        events = msgspec.json.decode(batch.events, type=list[_Identified])
    except msgspec.MsgspecError:
        return []
    return [event.event_id for event in events if event.event_id is not None]


def _bad_directory(disk: Disk, directory: Path) -> Path:
    """Return the directory for what is set aside; where something else has its name, another one."""
    for number in itertools.count(1):
        bad = directory / (BAD_DIRECTORY if number == 1 else f"{BAD_DIRECTORY}.{number}")
        try:
            disk.make_directory(bad)
        except FileExistsError:
            continue
        return bad
    raise AssertionError("unreachable")


def _free_name(disk: Disk, directory: Path, name: str) -> str:
    taken = set(disk.names(directory))
    number = 1
    free = name
    while free in taken:
        number += 1
        free = f"{name}.{number}"
    return free
