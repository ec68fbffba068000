"""What a setting's queue knows, in memory and on disk: its checkpoint, what waits, its known ids.

The order of things is the promise: a file is published before memory counts it, a checkpoint is durable before a
file it settles is unlinked, the bulk of the ids is written before the checkpoint that names it. After any OSError
a journal is thrown away and opened anew from disk: memory that outlived a failed write may not be believed.

What waits is in waiting.py, where the known ids stand on disk in id_bulks.py.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from oase_agent.disk import Disk
from oase_agent.model import Cursor
from oase_agent.spool import claim
from oase_agent.spool.batch_file import FileName, Footer
from oase_agent.spool.id_bulks import IdBulks
from oase_agent.spool.known_ids import IdPolicy, Sighting
from oase_agent.spool.outgoing import DamagedLine, Outgoing
from oase_agent.spool.packing import PackLimits
from oase_agent.spool.recovery import Recovered, after_footer, discard, recover
from oase_agent.spool.state import Checkpoint, CheckpointFile
from oase_agent.spool.waiting import Waiting

# Batches that may be sent before a checkpoint must raise `sent_hi` again: most POSTs then cost no extra write.
SENT_WINDOW = 64


class Journal:
    """The open state of one setting's directory; made by `Journal.open`, used by one thread at a time."""

    def __init__(
        self, disk: Disk, directory: Path, found: Recovered, checkpoint: Checkpoint, sent_window: int
    ) -> None:
        self._disk = disk
        self._directory = directory
        self._sent_window = sent_window
        self._file = CheckpointFile(disk, directory, found.states, found.epoch)
        self._bulks = IdBulks(disk, directory, found.epoch, found.ids, found.bulks)
        self._settled_files = found.settled_files
        # What was there when this epoch began; what a former owner adds from now on does not count.
        checkpoint = replace(checkpoint, seal=checkpoint.replayed)
        self._durable = checkpoint
        self._is_sealed = False
        self.epoch = found.epoch
        # Sentences for the operator; who has told them clears the list.
        self.troubles = found.troubles
        self.checkpoint = checkpoint
        self.ids = found.ids
        self.waiting = Waiting(
            disk,
            directory,
            found.files,
            found.epoch,
            troubles=self.troubles,
            when_mended=self._count_damage,
        )

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

    @property
    def cursor(self) -> Cursor:
        """The cursor as it is now, durable or not."""
        return self.checkpoint.cursor

    # -- what waits ---------------------------------------------------------------------------------------

    def _find_head(self) -> None:
        """Find where the first waiting batch stands, and count what waits."""
        head = self.waiting.find_head(self.checkpoint.settled)
        if head.seq != self.checkpoint.settled + 1 and not head.is_doubtful:
            # The batch that was sent in parts is gone; the one that is first now is whole.
            self.checkpoint = replace(self.checkpoint, part_done=0, part_until=0)
        self.waiting.events -= self.checkpoint.part_done
        if self.troubles:
            self._count_damage()
        elif head.is_doubtful:
            self.waiting.events += self._missing_events()

    def _count_damage(self) -> None:
        """Let the totals add up again after damage, which cannot be counted one by one.

        It is what the totals miss, or what they never knew.
        """
        missing = self._missing_events()
        checkpoint = replace(
            self.checkpoint,
            dead=self.checkpoint.dead + max(0, missing),
            collected=self.checkpoint.collected + max(0, -missing),
        )
        # At once and in both: the next life does not find the damage again.
        self.save_twice(checkpoint)

    def _missing_events(self) -> int:
        checkpoint = self.checkpoint
        return checkpoint.collected - checkpoint.delivered - checkpoint.dead - self.waiting.events

    def read(self, *, beyond_part: bool = False) -> Iterator[Outgoing | DamagedLine]:
        """Yield the waiting batches in order, as they are sent now; see `Waiting.read`. Raises OSError."""
        return self.waiting.read(self.checkpoint, beyond_part=beyond_part)

    def adopt(self, name: FileName, footer: Footer, *, requeued: int = 0) -> None:
        """Count a file that has just been published; `requeued` events of it stood earlier in the queue."""
        self.waiting.append(name, footer, requeued=requeued)
        self.checkpoint = self._bulks.relieved(after_footer(self.checkpoint, footer), footer.ids)
        self._part_with_settled()

    def pack(self, limits: PackLimits) -> bool:
        """Merge a run of small files into one; return whether there was one."""
        if len(self.waiting.files) <= limits.start_files:
            return False
        # Before and after: a pack by an owner that was replaced would overlap those of the new one.
        self.confirm()
        merged = self.waiting.pack(limits)
        if not merged:
            return False
        # Published first: killed in between, recovery finds the pack covering what is left of them.
        self.confirm()
        for name in merged:
            self._disk.unlink(self._directory / str(name))
        return True

    # -- what leaves --------------------------------------------------------------------------------------

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
        self.waiting.events -= delivered + dead
        self._part_with_settled()
        if not self.waiting.files and self.waiting.events:
            # A damaged line said another number than it held.
            checkpoint = replace(self.checkpoint, dead=self.checkpoint.dead + self.waiting.events)
            self.checkpoint, self.waiting.events = checkpoint, 0
        if last.is_last_part:
            self.waiting.move_head(last.file, last.end_offset)
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
        return not is_plain or not self.waiting.files or unsaved >= self._sent_window // 2

    def skip(self, damaged: DamagedLine) -> None:
        """Let a damaged line at the head leave as dead.

        How many events it held is what is missing from the rest of its file: the line itself may say anything.
        """
        settled, left = self.waiting.without(damaged)
        lost = max(0, self.waiting.events - left)
        checkpoint = replace(
            self.checkpoint,
            settled=max(settled, self.checkpoint.settled),
            part_done=0,
            part_until=0,
            dead=self.checkpoint.dead + lost,
        )
        self.save(checkpoint)
        self.waiting.events -= lost
        self.waiting.move_head(damaged.file.name, damaged.end_offset)

    # -- what the next checkpoint will hold --------------------------------------------------------------

    def move_cursor(self, cursor: Cursor) -> None:
        """Move the cursor in memory; the next checkpoint makes it durable."""
        self.checkpoint = self.checkpoint.with_cursor(cursor)

    def note_ids(self, sighting: Sighting) -> None:
        """Let the next checkpoint hold ids that no file holds: those that a former agent knew."""
        if len(sighting.new):
            ids = self.checkpoint.ids + tuple(sighting.new.packed())
            self.checkpoint = replace(self.checkpoint, ids=ids)

    def see(self, sighting: Sighting, policy: IdPolicy) -> None:
        """Note which ids a complete answer reported."""
        self._bulks.see(sighting, policy)

    def renew_ids(self) -> None:
        """Let the next checkpoint hold all known ids anew: some of those that stand in older ones were forgotten."""
        self.checkpoint = replace(self.checkpoint, ids=())
        self._bulks.renew()

    # -- on disk -----------------------------------------------------------------------------------------

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
            # As it was saved: it may name a new bulk.
            checkpoint = self.checkpoint
        checkpoint = self._bulks.with_bulk(checkpoint)
        self._file.save(checkpoint)
        self.confirm()
        previous, self._durable = self._durable, checkpoint
        self.checkpoint = checkpoint
        self._part_with_settled()
        # What both kept checkpoints call settled: the newest one may yet turn out damaged (invariant I5).
        self._unlink_settled(min(previous.settled, checkpoint.settled))
        self._bulks.unlink_all_but({checkpoint.ids_file, previous.ids_file})

    def save_twice(self, checkpoint: Checkpoint) -> None:
        """Save in both kept generations what must not be unknown if the newest one is lost."""
        self.save(checkpoint)
        self.save(self.checkpoint)

    def save_cursor(self) -> None:
        """Make the checkpoint durable if anything in it changed since it last was."""
        if self.checkpoint != self._durable:
            self.save(self.checkpoint)

    def forget_letters(self) -> None:
        """Forget, with the next checkpoint, the letters that were in the queue again and are removed by now."""
        if self.checkpoint.letters:
            self.save(replace(self.checkpoint, letters=()))

    def may_send(self, last: Outgoing) -> bool:
        """Tell whether it is durable that batches up to `last` may be on the wire."""
        return last.seq <= self._durable.sent_hi

    def allow_sending(self, last: Outgoing) -> None:
        """Make durable that batches up to `last` may be on the wire, if that is not yet so."""
        if not self.may_send(last):
            self.save(replace(self.checkpoint, sent_hi=last.seq + self._sent_window))

    def _part_with_settled(self) -> None:
        self._settled_files.extend(self.waiting.part_with(self.checkpoint.settled))

    def _unlink_settled(self, settled: int) -> None:
        for name in (name for name in self._settled_files if name.last <= settled):
            discard(self._disk, self._directory / str(name))
        self._settled_files = [name for name in self._settled_files if name.last > settled]
