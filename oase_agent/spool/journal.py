"""What a setting's queue knows, in memory and on disk: its files, its checkpoint, its known ids.

The order of things is the promise: a file is published before memory counts it, a checkpoint is durable before a
file it settles is unlinked, the bulk of the ids is written before the checkpoint that names it. After any OSError
a journal is thrown away and opened anew from disk: memory that outlived a failed write may not be believed.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from oase_agent.disk import Disk
from oase_agent.model import Cursor
from oase_agent.spool import claim
from oase_agent.spool.batch_file import Batch, FileName, Footer, lines_of, whole_batch
from oase_agent.spool.id_run import packed_count
from oase_agent.spool.ids_file import IdsName, write_ids
from oase_agent.spool.known_ids import IdPolicy, Sighting
from oase_agent.spool.outgoing import DamagedLine, Outgoing, as_outgoing, part_of, read_batches
from oase_agent.spool.packing import pack_oldest
from oase_agent.spool.recovery import FileEntry, Recovered, after_footer, discard, recover
from oase_agent.spool.salvage import is_in_disorder, rescue, set_aside
from oase_agent.spool.state import Checkpoint, CheckpointFile

# Batches that may be sent before a checkpoint must raise `sent_hi` again: most POSTs then cost no extra write.
SENT_WINDOW = 64
# Ids since the last bulk stand in the checkpoint up to this number; beyond a tenth of all, a new bulk is cheaper.
_MAX_IDS_IN_CHECKPOINT = 2000


class Journal:
    """The open state of one setting's directory; made by `Journal.open`, used by one thread at a time."""

    def __init__(
        self, disk: Disk, directory: Path, found: Recovered, checkpoint: Checkpoint, sent_window: int
    ) -> None:
        self._disk = disk
        self._directory = directory
        self._sent_window = sent_window
        self._file = CheckpointFile(disk, directory, found.states, found.epoch)
        self._next_ids = 1
        # Also those that no checkpoint names: an owner that does not know yet that it was replaced may be about to.
        self._ids_files = found.bulks
        self._ids_are_stale = False
        self._settled_files = found.settled_files
        # What was there when this epoch began; what a former owner adds from now on does not count.
        checkpoint = replace(checkpoint, seal=checkpoint.replayed)
        self._durable = checkpoint
        self._is_sealed = False
        self.epoch = found.epoch
        # Sentences for the operator; who has told them clears the list.
        self.troubles = found.troubles
        # Files with holes between their batches whose order was looked at: packing beside a hole leaves such.
        self._in_order: set[FileName] = set()
        self.checkpoint = checkpoint
        self.ids = found.ids
        self.files = deque(found.files)
        self.head_offset = 0
        self.waiting_events = sum(file.events for file in found.files)

    @classmethod
    def open(
        cls,
        disk: Disk,
        directory: Path,
        setting_name: str,
        *,
        epoch: int,
        first_cursor_time: int,
        sent_window: int = SENT_WINDOW,
        troubles: list[str] | None = None,
    ) -> "Journal":
        """Recover a directory, or begin it: the cursor of a new setting is durable before anything is collected.

        `epoch` was claimed for this opening. `troubles` takes sentences for the operator, also when this fails later.
        Raises OSError and NewerFormat.
        """
        # The directory may be there and not durable: its maker may have been killed before it was synced.
        disk.sync_directory(directory.parent)
        found = recover(disk, directory, epoch, troubles)
        if found.checkpoint is None or not found.checkpoint.setting_name:
            begun = found.checkpoint or Checkpoint(setting_name, cursor_time=first_cursor_time)
            begun = replace(
                begun, setting_name=setting_name, cursor_time=begun.cursor_time or first_cursor_time
            )
            journal = cls(disk, directory, found, begun, sent_window)
            journal.save_twice(journal.checkpoint)
        else:
            journal = cls(disk, directory, found, found.checkpoint, sent_window)
        journal._find_head()
        return journal

    def _find_head(self) -> None:
        """Find where the first waiting batch stands, and count what waits."""
        if self.files and self._is_in_disorder(self.files[0]):
            self._mend(0)
        is_doubtful = False
        first_seq: int | None = None
        for item in read_batches(self._disk, self._directory, list(self.files)[:1], 0):
            if isinstance(item, DamagedLine):
                is_doubtful = True
                continue
            batch, _, end_offset = item
            if batch.seq > self.checkpoint.settled:
                first_seq = batch.seq
                break
            self.head_offset = end_offset
            self.waiting_events -= batch.count
        if first_seq != self.checkpoint.settled + 1 and not is_doubtful:
            # The batch that was sent in parts is gone; the one that is first now is whole.
            self.checkpoint = replace(self.checkpoint, part_done=0, part_until=0)
        self.waiting_events -= self.checkpoint.part_done
        self._balance(is_doubtful=is_doubtful)

    def _balance(self, *, is_doubtful: bool) -> None:
        """Let the totals add up again after damage; `is_doubtful` if the head has lines that cannot be counted."""
        checkpoint = self.checkpoint
        missing = checkpoint.collected - checkpoint.delivered - checkpoint.dead - self.waiting_events
        if self.troubles:
            # What was damaged cannot be counted one by one: it is what the totals miss, or what they never knew.
            self.checkpoint = replace(
                checkpoint,
                dead=checkpoint.dead + max(0, missing),
                collected=checkpoint.collected + max(0, -missing),
            )
            # At once and in both: the next life does not find the damage again.
            self.save_twice(self.checkpoint)
        elif is_doubtful:
            self.waiting_events += missing

    def read(self, *, beyond_part: bool = False) -> Iterator[Outgoing | DamagedLine]:
        """Yield the waiting batches in order, as they are sent now; of a batch that is sent in parts, the part.

        Nothing is sent together with a part. With `beyond_part` what follows it is yielded as well, because an older
        checkpoint may not know that it was sent.
        """
        checkpoint = self.checkpoint
        is_head = True
        for item in self._waiting():
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

    def _waiting(self) -> Iterator[tuple[Batch, FileName, int] | DamagedLine]:
        """Yield what waits, file by file; one whose batches are not in order is mended when it is met."""
        place, last_seq = 0, self.checkpoint.settled
        while place < len(self.files):
            file, offset = self.files[place], self.head_offset if place == 0 else 0
            expected = last_seq + 1 if offset else file.name.first
            for item in read_batches(self._disk, self._directory, [file], offset):
                if isinstance(item, DamagedLine):
                    yield item
                    continue
                batch = item[0]
                # A hole is rare, and may mean that what is missing stands further down.
                if batch.seq != expected and self._is_in_disorder(file):
                    self._mend_in_time(place)
                    break
                expected = batch.seq + 1
                if batch.seq > last_seq:
                    last_seq = batch.seq
                    yield item
            else:
                place += 1

    def _is_in_disorder(self, file: FileEntry) -> bool:
        if file.name not in self._in_order:
            if is_in_disorder(self._disk, self._directory / str(file.name), file.name, file.size):
                return True
            self._in_order.add(file.name)
        return False

    def _mend_in_time(self, place: int) -> None:
        """Mend a file while the queue is in use."""
        left = sum(file.events for file in self.files) - self.waiting_events
        self._mend(place)
        # What has left is of the head; a mended head holds only what waits, and a batch in parts as a whole.
        left = left if place else self.checkpoint.part_done
        self.waiting_events = sum(file.events for file in self.files) - left
        self._balance(is_doubtful=False)

    def _mend(self, place: int) -> None:
        """Put new files, with the whole batches in order, in the place of one that is set aside."""
        files = list(self.files)
        name, above = files[place].name, self.checkpoint.settled
        taken = [file.name for file in files if file.name != name]
        rescued = rescue(self._disk, self._directory, name, above=above, taken=taken, epoch=self.epoch)
        aside = set_aside(self._disk, self._directory, str(name))
        self.troubles.append(f"the batches of file {name} are not in order; it is kept as {aside}")
        files[place : place + 1] = [FileEntry.of(*file) for file in rescued.items()]
        self.files = deque(files)
        self.waiting_events = sum(file.events for file in files)
        self.head_offset = 0 if place == 0 else self.head_offset

    def leave(self, last: Outgoing, *, delivered: int = 0, dead: int = 0) -> None:
        """Let everything up to `last` leave the queue, durably; the numbers say in events where it went."""
        checkpoint = replace(
            self.checkpoint,
            delivered=self.checkpoint.delivered + delivered,
            dead=self.checkpoint.dead + dead,
            # Raised along with every checkpoint, so that most POSTs need no write before them.
            sent_hi=max(self.checkpoint.sent_hi, last.seq + self._sent_window),
        )
        if last.is_last_part:
            checkpoint = replace(checkpoint, settled=last.seq, part_done=0, part_until=0)
        else:
            # The next part is another group: its time must be above this one's if this one was stored.
            shift = checkpoint.shift + (1 if delivered else 0)
            # With the batch's own place: damage may have left a hole before it.
            checkpoint = replace(
                checkpoint, settled=last.seq - 1, part_done=last.until_event, part_until=0, shift=shift
            )
        self.checkpoint = checkpoint
        self.waiting_events -= delivered + dead
        self._pop_settled()
        if not self.files and self.waiting_events:
            # A damaged line said another number than it held.
            checkpoint = replace(self.checkpoint, dead=self.checkpoint.dead + self.waiting_events)
            self.checkpoint, self.waiting_events = checkpoint, 0
        # The file may have been packed since it was read: then the offset means nothing in the pack.
        if last.is_last_part and self.files and self.files[0].name == last.file:
            self.head_offset = last.end_offset
        if not last.is_last_part:
            self.save_twice(checkpoint)
        elif self._must_save(is_plain=bool(delivered) and not dead):
            self.save(checkpoint)

    def _must_save(self, *, is_plain: bool) -> bool:
        """Tell whether a checkpoint is due: not after every request while a backlog drains.

        Batches that were accepted but not noted durably are within `sent_hi`: after a crash the workspace's position
        settles them. Whatever else leaves is noted at once.
        """
        # Half the window, so that the checkpoint raises `sent_hi` before a request would have to.
        unsaved = self.checkpoint.settled - self._durable.settled
        return not is_plain or not self.files or unsaved >= self._sent_window // 2

    def skip(self, damaged: DamagedLine) -> None:
        """Let a damaged line at the head leave as dead.

        How many events it held is what is missing from the rest of its file: the line itself may say anything.
        """
        path = self._directory / str(damaged.file.name)
        settled = damaged.file.name.last
        left = sum(file.events for file in self.files if file.name != damaged.file.name)
        following = lines_of(self._disk, path, damaged.end_offset, damaged.file.size)
        for batch in filter(None, (whole_batch(line) for _, line in following)):
            settled = min(settled, batch.seq - 1)
            left += batch.count
        lost = max(0, self.waiting_events - left)
        checkpoint = replace(
            self.checkpoint,
            settled=max(settled, self.checkpoint.settled),
            part_done=0,
            part_until=0,
            dead=self.checkpoint.dead + lost,
        )
        self.save(checkpoint)
        self.waiting_events -= lost
        if self.files and self.files[0].name == damaged.file.name:
            self.head_offset = damaged.end_offset

    def adopt(self, name: FileName, footer: Footer, *, requeued: int = 0) -> None:
        """Count a file that has just been published; `requeued` events of it stood earlier in the queue."""
        self.files.append(FileEntry.of(name, footer))
        self.waiting_events += footer.events - requeued
        self.checkpoint = after_footer(self.checkpoint, footer)
        self._pop_settled()

    def save_cursor(self) -> None:
        """Make the checkpoint durable if anything in it changed since it last was."""
        if self.checkpoint != self._durable:
            self.save(self.checkpoint)

    def move_cursor(self, cursor: Cursor) -> None:
        """Move the cursor in memory; the next checkpoint makes it durable."""
        event = None if cursor.last_event is None else cursor.last_event.decode()
        self.checkpoint = replace(self.checkpoint, cursor_time=cursor.last_fetched_time, cursor_event=event)

    def note_ids(self, sighting: Sighting) -> None:
        """Let the next checkpoint hold ids that no file holds: those that a former agent knew."""
        if len(sighting.new):
            ids = self.checkpoint.ids + tuple(sighting.new.packed())
            self.checkpoint = replace(self.checkpoint, ids=ids)

    def may_send(self, last: Outgoing) -> bool:
        """Tell whether it is durable that batches up to `last` may be on the wire."""
        return last.seq <= self._durable.sent_hi

    def allow_sending(self, last: Outgoing) -> None:
        """Make durable that batches up to `last` may be on the wire, if that is not yet so."""
        if not self.may_send(last):
            self.save(replace(self.checkpoint, sent_hi=last.seq + self._sent_window))

    def forget_letters(self) -> None:
        """Forget, with the next checkpoint, the letters that were in the queue again and are removed by now."""
        if self.checkpoint.letters:
            self.save(replace(self.checkpoint, letters=()))

    def see(self, sighting: Sighting, policy: IdPolicy) -> None:
        """Note which ids a complete answer reported."""
        self._ids_are_stale = self.ids.absorb(sighting, policy) or self._ids_are_stale

    def confirm(self) -> None:
        """Return if this life still owns the setting; raises OwnershipLost and OSError."""
        claim.confirm(self._disk, self._directory, self.checkpoint.setting_name, self.epoch)

    def begin_writing(self) -> None:
        """Call before anything but a checkpoint is written: the seal must be durable before a file is committed."""
        if not self._is_sealed:
            self.save(self.checkpoint)
        self.confirm()

    def save(self, checkpoint: Checkpoint) -> None:
        """Make `checkpoint` durable, then remove the files that it and the one before it call settled.

        The first one of a life is saved twice: what a former owner saves late must not be one of the two kept.
        """
        if not self._is_sealed:
            self._is_sealed = True
            self.save(checkpoint)
        checkpoint = self._with_bulk(checkpoint)
        self._file.save(checkpoint)
        self.confirm()
        previous, self._durable = self._durable, checkpoint
        self.checkpoint = checkpoint
        self._pop_settled()
        # What both kept checkpoints call settled: the newest one may yet turn out damaged (invariant I5).
        self._unlink_settled(min(previous.settled, checkpoint.settled))
        self._unlink_ids(keep={checkpoint.ids_file, previous.ids_file})

    def pack(self) -> bool:
        """Merge a run of small files into one; return whether there was one. The head file is left alone."""
        packed = pack_oldest(self._disk, self._directory, list(self.files)[1:], self.epoch)
        if packed is None:
            return False
        entry, merged = packed
        place = self.files.index(merged[0])
        for file in merged:
            self.files.remove(file)
            self._in_order.discard(file.name)
        self.files.insert(place, entry)
        # Published first: killed in between, recovery finds the pack covering what is left of them.
        self.confirm()
        for file in merged:
            self._disk.unlink(self._directory / str(file.name))
        return True

    def save_twice(self, checkpoint: Checkpoint) -> None:
        """Save in both kept generations what must not be unknown if the newest one is lost."""
        self.save(checkpoint)
        self.save(checkpoint)

    def _with_bulk(self, checkpoint: Checkpoint) -> Checkpoint:
        pending = packed_count(checkpoint.ids)
        if not self._ids_are_stale and pending <= max(_MAX_IDS_IN_CHECKPOINT, len(self.ids) // 10):
            return checkpoint
        name = IdsName(self.epoch, self._next_ids)
        write_ids(self._disk, self._directory, name, self.ids)
        self._next_ids += 1
        self._ids_files.append(str(name))
        self._ids_are_stale = False
        return replace(checkpoint, ids_file=str(name), ids=())

    def _pop_settled(self) -> None:
        while self.files and self.files[0].name.last <= self.checkpoint.settled:
            name = self.files.popleft().name
            self._settled_files.append(name)
            self._in_order.discard(name)
            self.head_offset = 0

    def _unlink_settled(self, settled: int) -> None:
        kept: list[FileName] = []
        for name in self._settled_files:
            if name.last <= settled:
                discard(self._disk, self._directory / str(name))
            else:
                kept.append(name)
        self._settled_files = kept

    def _unlink_ids(self, keep: set[str]) -> None:
        for name in self._ids_files:
            if name not in keep:
                discard(self._disk, self._directory / name)
        self._ids_files = [name for name in self._ids_files if name in keep]
