"""The batches that wait: files in order, and where in the first of them the oldest batch stands.

What is in the files is read when it is wanted; memory holds an entry a file. A file whose batches are not in order is
mended when that is met: new files with its whole batches, in order, take its place.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from oase_agent.disk import Disk
from oase_agent.spool.batch_file import Batch, FileName, Footer, lines_of, whole_batch
from oase_agent.spool.outgoing import DamagedLine, Outgoing, as_outgoing, part_of, read_batches
from oase_agent.spool.packing import PackLimits, pack_oldest
from oase_agent.spool.recovery import FileEntry
from oase_agent.spool.salvage import is_in_disorder, rescue, set_aside
from oase_agent.spool.state import Checkpoint


@dataclass(frozen=True, slots=True)
class Head:
    """What stands first: the number of the first waiting batch of the first file, or None where that has none.

    With `is_doubtful` there are lines before it that cannot be read, so that nobody knows how many events they hold.
    """

    seq: int | None
    is_doubtful: bool


class Waiting:
    """The waiting batches of one setting; used by one thread at a time. Every method may raise OSError.

    `events` counts what waits, without the part of the first batch that has left; `size_bytes` is what the files'
    batches take on disk. `troubles` takes a sentence for the
    operator for each file that was mended; `when_mended` is called when that happened while the queue was in use.
    """

    def __init__(
        self,
        disk: Disk,
        directory: Path,
        files: Sequence[FileEntry],
        epoch: int,
        *,
        troubles: list[str],
        when_mended: Callable[[], None],
    ) -> None:
        self._disk = disk
        self._directory = directory
        self._epoch = epoch
        self._troubles = troubles
        self._when_mended = when_mended
        # Files with holes between their batches whose order was looked at: packing beside a hole leaves such.
        self._in_order: set[FileName] = set()
        self._head_offset = 0
        self.files = deque(files)
        self.events = sum(file.events for file in files)
        self.size_bytes = sum(file.size for file in files)

    # -- reading ------------------------------------------------------------------------------------------

    def find_head(self, settled: int) -> Head:
        """Find where the first batch above `settled` stands, and stop counting those before it."""
        if self.files and self._is_in_disorder(self.files[0]):
            self._mend(0, settled)
        is_doubtful = False
        for item in read_batches(self._disk, self._directory, list(self.files)[:1], 0):
            if isinstance(item, DamagedLine):
                is_doubtful = True
                continue
            batch, _, end_offset = item
            if batch.seq > settled:
                return Head(batch.seq, is_doubtful)
            self._head_offset = end_offset
            self.events -= batch.count
        return Head(None, is_doubtful)

    def read(self, checkpoint: Checkpoint, *, beyond_part: bool = False) -> Iterator[Outgoing | DamagedLine]:
        """Yield the batches in order, as they are sent now; of a batch that is sent in parts, the part.

        Nothing is sent together with a part. With `beyond_part` what follows it is yielded as well, because an older
        checkpoint may not know that it was sent.
        """
        is_head = True
        for item in self._batches(checkpoint):
            if isinstance(item, DamagedLine):
                yield item
                continue
            whole = as_outgoing(*item, checkpoint.shift)
            # The first one that waits, whatever its number: damage may have left a hole before it.
            if is_head and (checkpoint.part_done or checkpoint.part_until):
                part = part_of(whole, checkpoint.part_done, checkpoint.part_until or whole.batch_events)
                yield part
                if not beyond_part:
                    return
                if not part.is_last_part:
                    yield part_of(whole, part.until_event, whole.batch_events)
            else:
                yield whole
            is_head = False

    def read_as_they_stand(self) -> Iterator[tuple[Batch, FileName, int] | DamagedLine]:
        """Yield (batch, its file, offset after it), or a damaged line, and mend nothing."""
        return read_batches(self._disk, self._directory, list(self.files), self._head_offset)

    def _batches(self, checkpoint: Checkpoint) -> Iterator[tuple[Batch, FileName, int] | DamagedLine]:
        """Yield what waits, file by file; one whose batches are not in order is mended when it is met."""
        place, last_seq = 0, checkpoint.settled
        while place < len(self.files):
            file, offset = self.files[place], self._head_offset if place == 0 else 0
            expected = last_seq + 1 if offset else file.name.first
            for item in read_batches(self._disk, self._directory, [file], offset):
                if isinstance(item, DamagedLine):
                    yield item
                    continue
                batch = item[0]
                # A hole is rare, and may mean that what is missing stands further down.
                if batch.seq != expected and self._is_in_disorder(file):
                    self._mend_in_time(place, checkpoint)
                    break
                expected = batch.seq + 1
                if batch.seq > last_seq:
                    last_seq = batch.seq
                    yield item
            else:
                place += 1

    # -- order --------------------------------------------------------------------------------------------

    def _is_in_disorder(self, file: FileEntry) -> bool:
        if file.name not in self._in_order:
            if is_in_disorder(self._disk, self._directory / str(file.name), file.name, file.size):
                return True
            self._in_order.add(file.name)
        return False

    def _mend_in_time(self, place: int, checkpoint: Checkpoint) -> None:
        """Mend a file while the queue is in use."""
        left = sum(file.events for file in self.files) - self.events
        self._mend(place, checkpoint.settled)
        # What has left is of the head; a mended head holds only what waits, and a batch in parts as a whole.
        left = left if place else checkpoint.part_done
        self.events = sum(file.events for file in self.files) - left
        self._when_mended()

    def _mend(self, place: int, settled: int) -> None:
        """Put new files, with the whole batches in order, in the place of one that is set aside."""
        files = list(self.files)
        name = files[place].name
        taken = [file.name for file in files if file.name != name]
        rescued = rescue(self._disk, self._directory, name, above=settled, taken=taken, epoch=self._epoch)
        aside = set_aside(self._disk, self._directory, str(name))
        self._troubles.append(f"the batches of file {name} are not in order; it is kept as {aside}")
        files[place : place + 1] = [FileEntry.of(*file) for file in rescued.items()]
        self.files = deque(files)
        self.events = sum(file.events for file in files)
        self.size_bytes = sum(file.size for file in files)
        self._head_offset = 0 if place == 0 else self._head_offset

    # -- coming and leaving -------------------------------------------------------------------------------

    def append(self, name: FileName, footer: Footer, *, requeued: int = 0) -> None:
        """Count a file that has just been published; `requeued` events of it stood earlier in the queue."""
        self.files.append(FileEntry.of(name, footer))
        self.events += footer.events - requeued
        self.size_bytes += footer.size

    def part_with(self, settled: int) -> list[FileName]:
        """Let the files go whose batches are settled up to the last; return their names."""
        gone: list[FileName] = []
        while self.files and self.files[0].name.last <= settled:
            file = self.files.popleft()
            gone.append(file.name)
            self.size_bytes -= file.size
            self._in_order.discard(file.name)
            self._head_offset = 0
        return gone

    def move_head(self, file: FileName, end_offset: int) -> None:
        """Go on behind what ended at `end_offset` of `file`, if that is still the first one.

        It may have been packed since it was read: then the offset means nothing in the pack.
        """
        if self.files and self.files[0].name == file:
            self._head_offset = end_offset

    def without(self, damaged: DamagedLine) -> tuple[int, int]:
        """Return which batch is the last to settle with a damaged line at the head, and how many events wait then."""
        path = self._directory / str(damaged.file.name)
        settled = damaged.file.name.last
        events = sum(file.events for file in self.files if file.name != damaged.file.name)
        following = lines_of(self._disk, path, damaged.end_offset, damaged.file.size)
        for batch in filter(None, (whole_batch(line) for _, line in following)):
            settled = min(settled, batch.seq - 1)
            events += batch.count
        return settled, events

    # -- packing ------------------------------------------------------------------------------------------

    def pack(self, limits: PackLimits) -> list[FileName]:
        """Merge a run of small files into one; return those it stands for. The first file is left alone."""
        packed = pack_oldest(self._disk, self._directory, list(self.files)[1:], self._epoch, limits)
        if packed is None:
            return []
        entry, merged = packed
        place = self.files.index(merged[0])
        for file in merged:
            self.files.remove(file)
            self._in_order.discard(file.name)
        self.files.insert(place, entry)
        self.size_bytes += entry.size - sum(file.size for file in merged)
        return [file.name for file in merged]
