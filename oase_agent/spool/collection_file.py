"""One collection on its way to disk: events become batches in a file that is published as a whole, or not at all.

The file grows under a temporary name while the answer is read, so that a collection of any size takes the memory
of one batch. One rename commits it: the events, the cursor after them and the ids that are known from now on.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from oase_agent.disk import Disk, NewFile
from oase_agent.model import Cursor
from oase_agent.spool.batch_file import FileName, Footer, batch_line, footer_pieces, refused_line
from oase_agent.spool.compression import Compression
from oase_agent.spool.id_run import PackedIds


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """What one batch, that is one group of a POST, holds at most; a larger event is a batch of its own.

    Big enough to be cheap, small enough for a gateway that allows 1 MiB, and for memory (design section 5). A little
    below 256 KiB, so that two of them with their group heads fit the 512 KiB of a POST. `size_bytes` is of the events
    as they are posted, whatever `compression` makes of them on disk.
    """

    events: int = 1000
    size_bytes: int = 250 * 1024
    compression: Compression = field(default_factory=Compression)


@dataclass(frozen=True, slots=True)
class Start:
    """Where a collection's file begins: its first batch number, first group time, and the epoch of the writer.

    `waiting_bytes` are those of the files that wait before it: beyond a limit its batches are compressed.
    """

    seq: int
    group_time: int
    epoch: int
    waiting_bytes: int = 0


class CollectionFile:
    """Collects events into batches; nothing is written before the first batch is full or the file is published.

    Batches of refused events carry no group time, because they are never posted. Raises OSError.
    """

    def __init__(self, disk: Disk, directory: Path, start: Start, limits: BatchLimits) -> None:
        self._disk = disk
        self._directory = directory
        self.start = start
        self._limits = limits
        self._compresses = limits.compression.is_due(start.waiting_bytes)
        self._file: NewFile | None = None
        self._next_seq = start.seq
        self._next_time = start.group_time
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._refused: list[tuple[str, str]] = []
        self._refused_bytes = 0
        self.events = 0
        self.refused = 0

    @property
    def last_seq(self) -> int:
        """The number of the last batch written."""
        return self._next_seq - 1

    @property
    def group_time(self) -> int:
        """The last group time given to a batch, or the one before the first."""
        return self._next_time - 1

    @property
    def batches(self) -> int:
        """How many batches were written."""
        return self._next_seq - self.start.seq

    @property
    def size_bytes(self) -> int:
        """How many bytes were written."""
        return self._file.size_bytes if self._file else 0

    def begin_group(self, group_time: int) -> None:
        """Give what is added from now on a batch of its own, of this group time if that is above the last one."""
        self.flush()
        self._next_time = max(self._next_time, group_time)

    def add(self, events: Iterable[bytes]) -> None:
        """Take events as JSON objects, exactly as they are to be posted."""
        for event in events:
            if self._pending and self._pending_bytes + len(event) > self._limits.size_bytes:
                self._flush()
            self._pending.append(event)
            self._pending_bytes += len(event) + 1
            if len(self._pending) >= self._limits.events:
                self._flush()

    def add_refused(self, refused: Iterable[tuple[str, str]]) -> None:
        """Take events that the workspace cannot store: pairs of the reason and the event's text."""
        for why, text in refused:
            self._refused.append((why, text))
            self._refused_bytes += len(text)
            if len(self._refused) >= self._limits.events or self._refused_bytes >= self._limits.size_bytes:
                self._flush_refused()

    def flush(self) -> None:
        """Write what is still pending."""
        if self._pending:
            self._flush()
        if self._refused:
            self._flush_refused()

    def publish(
        self,
        cursor: Cursor,
        collected: int,
        *,
        ids: tuple[PackedIds, ...] = (),
        letter: str | None = None,
        settled: int = 0,
    ) -> tuple[FileName, Footer]:
        """Commit everything written; when this returns, it is on disk under its name (promise P1).

        `letter` is the dead letter whose events these are; `settled` is the last batch that these stand for again.
        """
        assert self._file is not None
        name = FileName(self.start.seq, self.last_seq, self.start.epoch)
        footer = Footer(
            first=name.first,
            last=name.last,
            events=self.events + self.refused,
            size=self._file.size_bytes,
            group_time=self.group_time,
            collected=collected,
            cursor=cursor,
            ids=ids,
            letters=() if letter is None else (letter,),
            revived=0 if letter is None else self.events + self.refused,
            settled=settled,
        )
        for piece in footer_pieces(footer):
            self._file.write(piece)
        self._file.publish(str(name))
        self._file = None
        return name, footer

    def abandon(self) -> None:
        """Forget what was not published; nothing of it will ever be seen. May be called again."""
        if self._file is not None:
            self._file.abandon()
            self._file = None

    def _flush(self) -> None:
        compress = self._compresses and self._pending_bytes >= self._limits.compression.min_batch_bytes
        self._write(batch_line(self._next_seq, self._next_time, self._pending, compress=compress))
        self.events += len(self._pending)
        self._next_time += 1
        self._pending = []
        self._pending_bytes = 0

    def _flush_refused(self) -> None:
        self._write(refused_line(self._next_seq, self._refused))
        self.refused += len(self._refused)
        self._refused = []
        self._refused_bytes = 0

    def _write(self, line: bytes) -> None:
        if self._file is None:
            self._file = NewFile(self._disk, self._directory)
        self._file.write(line)
        self._next_seq += 1
