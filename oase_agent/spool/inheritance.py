"""How a queue goes on from another owner's record: what of its own batches counts, and under which times.

A1 What no record of ours counted was never sent, and is collected again by who came after us: it leaves the queue.
   The first checkpoint seals the queue before it, so that it stays out whatever a power cut brings back. What cannot
   be collected again, because it came back from `dead/` or from a refusal, goes to `dead/`, marked to come back.
A2 What was counted stays, unless the position that the first owner after us found proves it stored.
A3 What stays goes behind everything that others may have sent: its times are lifted above theirs.
A4 Cursor, known ids and the last group time are the record's from then on.

Both steps may be repeated after a crash at any point: the record is the same until we write our own, which is after
them and before anything is sent (decision 16).
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from oase_agent.disk import Disk
from oase_agent.spool.batch_file import Footer, read_footer
from oase_agent.spool.dead import DeadLetter, DeathCertificate, bury, mark_for_replay
from oase_agent.spool.handover_record import Former, HandoverRecord
from oase_agent.spool.id_run import IdRun
from oase_agent.spool.journal import Journal
from oase_agent.spool.outgoing import DamagedLine, as_outgoing, read_batches
from oase_agent.spool.recovery import FileEntry, discard


@dataclass(frozen=True, slots=True)
class Volume:
    """The setting's directory on its disk, and the time in epoch seconds."""

    disk: Disk
    directory: Path
    now_s: float


def counted(journal: Journal, record: HandoverRecord) -> Former | None:
    """Return what the record says of this volume; None if it tells nothing of what waits here.

    Of a volume that never wrote a record under this line of owners, no batch was ever counted.
    """
    home, line = journal.checkpoint.home, journal.checkpoint.line
    if record.home == home:
        # It is more than the volume remembers: an older copy of it was restored.
        return Former(home, record.epoch, record.seq)
    if record.line != line and journal.waiting.files:
        return None
    found = record.former(home)
    if found is None and record.forgot and journal.waiting.files:
        return None
    return found or Former(home, 0, 0, 0)


def take_state(journal: Journal, volume: Volume, record: HandoverRecord, former: Former | None) -> int:
    """Let the queue go on from `record`, durably; return how many events left it because others collect them again.

    `former` is what the record says of this volume; without it everything that waits stays, and the others must be
    told before anything else is done. The journal is of no use afterwards: it is to be recovered from disk. Raises
    OSError.
    """
    checkpoint = journal.checkpoint
    kept = checkpoint.replayed
    if former is not None:
        kept = max(min(former.seq, kept), checkpoint.settled)
    # A file is told of as a whole, so it is surplus as a whole, also if its first batches went to `dead/` unsent.
    told = kept if former is None else former.seq
    surplus = [file for file in journal.waiting.files if file.name.first > told]
    footers = [read_footer(volume.disk, volume.directory / str(file.name), file.name) for file in surplus]
    revived = sum(map(partial(_revive_later, journal, volume), surplus, footers))
    is_empty = len(surplus) == len(journal.waiting.files)
    dropped = journal.waiting.events if is_empty else sum(footer.events for footer in footers)
    dropped -= revived
    # Batch numbers that the others know of are not given again, also on a volume that forgot them.
    last = kept if former is None else max(kept, former.seq)
    journal.ids.forget(IdRun.unpacked(group for footer in footers for group in footer.ids))
    journal.ids.add(record.ids)
    journal.renew_ids()
    journal.move_cursor(record.cursor)
    journal.save_twice(
        replace(
            journal.checkpoint,
            settled=last if is_empty else checkpoint.settled,
            replayed=last,
            seal=last,
            line=checkpoint.line if former is None else record.line,
            collected=checkpoint.collected - dropped,
            dead=checkpoint.dead + revived,
        )
    )
    for file in surplus:
        discard(volume.disk, volume.directory / str(file.name))
    return dropped


def _revive_later(journal: Journal, volume: Volume, file: FileEntry, footer: Footer) -> int:
    """Bury what is in the queue for the second time, marked to come back; return how many events that were."""
    if not footer.letters and not footer.settled:
        return 0
    events = 0
    for item in read_batches(volume.disk, volume.directory, [file], 0):
        if isinstance(item, DamagedLine):
            continue  # recovery set the file aside if it found this; nothing of the line can be kept
        batch = as_outgoing(*item, shift=0)
        if batch.seq <= journal.checkpoint.settled:
            continue
        why = DeathCertificate("ownership_lost", "comes back by itself", 0, volume.now_s)
        letter = DeadLetter(
            journal.checkpoint.setting_name, batch.seq, 0, batch.split(), why, batch.is_refused
        )
        bury(volume.disk, volume.directory, letter)
        mark_for_replay(volume.disk, volume.directory, letter.name)
        events += batch.count
    return events


def lift(journal: Journal, record: HandoverRecord, *, is_judged: bool) -> None:
    """Let what waits, and what comes, have group times above those of the record, durably. Raises OSError.

    Unless it `is_judged` whether what waits was stored, that keeps its times: nobody sent anything since, or the
    workspace's position will tell.
    """
    checkpoint = journal.checkpoint
    if not journal.waiting.files:
        given = max(checkpoint.group_time + checkpoint.shift, record.group_time)
        journal.save_twice(replace(checkpoint, group_time=given, shift=0, lifted=0))
        return
    first = next(_posted(journal), None)
    if is_judged and first is not None and first <= record.group_time:
        up = record.group_time + 1 - first
        checkpoint = replace(checkpoint, shift=checkpoint.shift + up, lifted=checkpoint.lifted + up)
    missing = max(0, record.group_time - checkpoint.group_time - checkpoint.shift)
    journal.save_twice(replace(checkpoint, group_time=checkpoint.group_time + missing))


def _posted(journal: Journal) -> Iterator[int]:
    """Yield the group times of the waiting batches that will be posted, as they are sent."""
    for item in journal.read():
        if not isinstance(item, DamagedLine) and not item.is_refused:
            yield item.group_time
