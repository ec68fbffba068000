"""Reading the waiting batches from the head of the queue, in order, a few at a time, as many as one POST takes."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from oase_agent.disk import Disk
from oase_agent.model import FIELD_SETTING_NAME
from oase_agent.spool.batch_file import Batch, Damage, FileName, claimed_count, lines_of, parse_batch
from oase_agent.spool.recovery import FileEntry


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A batch, or a part of one, as it is sent.

    `events` is a JSON array; of a part it holds the events from `first_event` up to `until_event` of the batch,
    which has `batch_events` in all. `group_time` includes the queue's shift. `end_offset` is where the batch's
    line ends in `file`, which packing may replace at any time. A refused batch is not posted: its array holds reasons
    and texts.
    """

    seq: int
    group_time: int
    events: bytes
    first_event: int
    until_event: int
    batch_events: int
    file: FileName
    end_offset: int
    is_refused: bool = False

    @property
    def count(self) -> int:
        """How many events this sends."""
        return self.until_event - self.first_event

    @property
    def is_last_part(self) -> bool:
        """Whether the batch leaves the queue with this."""
        return self.until_event == self.batch_events

    def split(self) -> list[bytes]:
        """Return the JSON text of every event, exactly as it stands."""
        return [bytes(raw) for raw in msgspec.json.decode(self.events, type=list[msgspec.Raw])]


@dataclass(frozen=True, slots=True)
class DamagedLine:
    """A line that cannot be read, or several in a row, and where the file goes on after them."""

    file: FileEntry
    line: bytes
    end_offset: int
    trouble: str

    @property
    def claimed_events(self) -> int:
        """How many events the line says it holds; 0 when it does not even say that."""
        return claimed_count(self.line)


def read_batches(
    disk: Disk, directory: Path, files: Iterable[FileEntry], head_offset: int
) -> Iterator[tuple[Batch, FileName, int] | DamagedLine]:
    """Yield (batch, its file, offset after it) from the head on, damaged lines as such. Raises OSError."""
    offset = head_offset
    for file in files:
        damaged: DamagedLine | None = None
        for end_offset, line in lines_of(disk, directory / str(file.name), offset, file.size):
            try:
                batch = parse_batch(line)
            except Damage as damage:
                # A line may have been broken in two: what belongs together is set aside together.
                before = damaged.line if damaged else b""
                damaged = DamagedLine(file, before + line, end_offset, str(damage))
                continue
            if damaged is not None:
                yield damaged
                damaged = None
            yield batch, file.name, end_offset
        if damaged is not None:
            yield damaged
        offset = 0


def choose(
    batches: Iterable[Outgoing | DamagedLine], max_bytes: int, overhead_bytes: int
) -> list[Outgoing] | DamagedLine:
    """Return what goes together into one POST: the first batches up to `max_bytes`, at least one.

    A refused batch or a part stands alone. A damaged line is returned when it is the very first.
    """
    chosen: list[Outgoing] = []
    total = 0
    for item in batches:
        if isinstance(item, DamagedLine):
            return chosen or item
        total += len(item.events) + overhead_bytes
        if chosen and (total > max_bytes or item.is_refused):
            break
        chosen.append(item)
        if item.is_refused or not item.is_last_part:
            break
    return chosen


def setting_name_of(disk: Disk, path: Path) -> str | None:
    """Return the setting that the first whole batch of a file is labelled with, or None. Raises OSError."""
    with disk.open(path) as file:
        for line in file:
            try:
                batch = parse_batch(line)
                first = None if batch.is_refused else next(iter(msgspec.json.decode(batch.events)), None)
            except (Damage, ValueError):
                continue
            name = first.get(FIELD_SETTING_NAME) if isinstance(first, dict) else None
            if isinstance(name, str):
                return name
    return None


def as_outgoing(batch: Batch, file: FileName, end_offset: int, shift: int) -> Outgoing:
    """Return a whole batch as it is sent."""
    return Outgoing(
        seq=batch.seq,
        group_time=batch.group_time + shift,
        events=batch.events,
        first_event=0,
        until_event=batch.count,
        batch_events=batch.count,
        file=file,
        end_offset=end_offset,
        is_refused=batch.is_refused,
    )


def part_of(whole: Outgoing, first_event: int, until_event: int) -> Outgoing:
    """Return the part of a batch from one event up to another."""
    events = whole.split()[first_event:until_event]
    return Outgoing(
        seq=whole.seq,
        group_time=whole.group_time,
        events=b"[%b]" % b",".join(events),
        first_event=first_event,
        until_event=until_event,
        batch_events=whole.batch_events,
        file=whole.file,
        end_offset=whole.end_offset,
    )
