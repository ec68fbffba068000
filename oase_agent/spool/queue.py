"""The ordered queue of one setting: what is collected goes in at one end, what is settled leaves at the other.

The promises, each with a test of its number (design section 4):

P1  What `commit` returned for is on disk, file and directory synced.
P2  Batches leave in the order they came.
P3  A batch leaves only because the workspace has it (`settle`), or because it went to `dead/` (`bury`).
P4  Until then the oldest batch stays the oldest, also after a restart.
P5  The cursor never runs ahead of the batches on disk: both are in one file, committed by one rename.
P6  A damaged file neither blocks the queue nor is deleted.
P7  The spool stays within its limits; reaching them stops collecting, never drops what is kept (see limits.py).

Crash table: killed before the rename of a collection's file, nothing was kept and the source is asked again;
after it, everything was. Killed after the workspace stored a batch and before the checkpoint, the batch is one
that *may have been sent*: the workspace's position tells whether it has it (contract 3.2, consequence 8).

Every method may block on the volume: call them from a thread. They raise SpoolUnavailable.
"""

import errno
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from oase_agent.disk import Disk
from oase_agent.errors import OwnershipLost, Reason, SpoolUnavailable
from oase_agent.model import Cursor
from oase_agent.spool.batch_file import Damage, NewerFormat
from oase_agent.spool.claim import claim, confirm
from oase_agent.spool.collection_file import BatchLimits, CollectionFile, Start
from oase_agent.spool.dead import (
    DeadLetter,
    DeathCertificate,
    bury,
    tidy,
)
from oase_agent.spool.fence import move_above, position_of
from oase_agent.spool.journal import SENT_WINDOW, Journal
from oase_agent.spool.known_ids import IdPolicy, Sighting
from oase_agent.spool.outgoing import DamagedLine, Outgoing
from oase_agent.spool.recovery import highest_epoch
from oase_agent.spool.replay import Replay, is_waiting
from oase_agent.spool.salvage import copy_aside
from oase_agent.telemetry import Telemetry

# The newest event is remembered for templates; a larger one would weigh on every checkpoint.
MAX_LAST_EVENT_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Kept:
    """What a commit kept: events that wait, events that the workspace cannot store, batches."""

    events: int
    refused: int
    batches: int


@dataclass(frozen=True, slots=True)
class QueueFigures:
    """The accounting of a queue in events: `collected` = `delivered` + `waiting` + `dead` (promise O3)."""

    collected: int
    delivered: int
    waiting: int
    dead: int
    waiting_bytes: int
    files: int
    known_ids: int
    oldest_group_time: int | None


@dataclass(frozen=True, slots=True)
class QueueTools:
    """What every queue of a spool shares.

    `on_full` is called when the volume has no space left. `sent_window` is how many batches may be sent before a
    checkpoint must raise what may be on the wire. `check_place` raises OSError when the directory is not the one that
    is owned: a queue must not begin anew in the empty place of a volume that is gone. `on_taken_over` is called when
    another process was found to own a setting; the queue is of no use from then on.
    """

    disk: Disk
    policy: IdPolicy
    now: Callable[[], float]
    telemetry: Telemetry
    on_full: Callable[[], None] = lambda: None
    batches: BatchLimits = field(default_factory=BatchLimits)
    sent_window: int = SENT_WINDOW
    check_place: Callable[[], None] = lambda: None
    on_taken_over: Callable[[OwnershipLost], None] = lambda _error: None


class SettingQueue:
    """The queue of one setting; see the module's text."""

    def __init__(self, directory: Path, setting_name: str, tools: QueueTools) -> None:
        self.setting_name = setting_name
        self._directory = directory
        self._tools = tools
        self._lock = threading.RLock()
        self._journal: Journal | None = None
        # Batches up to this number may be stored without our knowing: nothing was heard since they were sent.
        self._maybe_through = 0
        # Batches up to this number were in a request that was not answered: it may still arrive, however late.
        self._sent_through = 0
        # The epoch of the last opening; who comes after it has taken over.
        self._epoch: int | None = None
        self._lost: OwnershipLost | None = None
        self._position_is_known = False

    # -- collecting ---------------------------------------------------------------------------------------

    def open(self) -> None:
        """Recover the queue from disk, if it is not open."""
        with self._opened():
            pass

    def begin_collection(self, setting_id: str) -> Cursor:
        """Return where the next collection starts.

        `setting_id` is how the workspace names the setting in a refusal; it is durable with the next checkpoint.
        """
        with self._opened() as journal:
            if setting_id != journal.checkpoint.setting_id:
                journal.checkpoint = replace(journal.checkpoint, setting_id=setting_id)
            return self.read_cursor()

    def read_cursor(self) -> Cursor:
        """Return the cursor as it is now."""
        with self._opened() as journal:
            event = journal.checkpoint.cursor_event
            return Cursor(journal.checkpoint.cursor_time, None if event is None else event.encode())

    def exact_ids(self) -> list[str]:
        """Return the known ids that are kept as text (decimal ones), for templates."""
        with self._opened() as journal:
            return list(journal.ids.exact_ids())

    def sighting(self) -> Sighting:
        """Begin to note which ids an answer reports."""
        with self._opened() as journal:
            return journal.ids.sighting(int(self._tools.now() // 3600))

    @contextmanager
    def collecting(self, fetched_time: int, *, expected_bytes: int = 0) -> Iterator[CollectionFile]:
        """Give a file for a collection's events; it is forgotten unless `commit` publishes it.

        Group times lie in the past interval where they can: the last of k batches gets `fetched_time`, unless
        that would not be above the last one given. k is guessed from `expected_bytes`.
        """
        with self._opened() as journal:
            batches = 1 + expected_bytes // self._tools.batches.size_bytes
            first_time = max(journal.checkpoint.group_time + 1, fetched_time - batches + 1)
            file = self._new_file(journal, first_time)
        try:
            yield file
        except OSError as error:
            # Only the temporary file is concerned: what the queue knows of the disk is still true.
            raise self._failed(error) from error
        finally:
            file.abandon()

    def _new_file(self, journal: Journal, first_time: int) -> CollectionFile:
        waiting_bytes = sum(file.size for file in journal.files)
        start = Start(journal.checkpoint.replayed + 1, first_time, journal.epoch, waiting_bytes)
        return CollectionFile(self._tools.disk, self._directory, start, self._tools.batches)

    def commit(self, file: CollectionFile, cursor: Cursor, sighting: Sighting) -> Kept:
        """Keep a collection durably, with the cursor after it (promises P1, P5). An empty one writes nothing."""
        with self._opened() as journal:
            event = cursor.last_event
            if event is None or len(event) > MAX_LAST_EVENT_BYTES:
                cursor = replace(cursor, last_event=self.read_cursor().last_event)
            file.flush()
            _check_place(file, sighting, journal)
            if file.batches:
                journal.begin_writing()
                collected = journal.checkpoint.collected + file.events + file.refused
                journal.adopt(*file.publish(cursor, collected, ids=tuple(sighting.new.packed())))
            else:
                # Only in memory until the next checkpoint: an empty window asked for again stays empty.
                journal.move_cursor(cursor)
                journal.note_ids(sighting)
            journal.see(sighting, self._tools.policy)
            return Kept(file.events, file.refused, file.batches)

    # -- delivering ---------------------------------------------------------------------------------------

    @property
    def has_waiting(self) -> bool:
        """Whether a batch waits, as far as memory knows; a queue that is not open may have some."""
        journal = self._journal
        return journal is None or bool(journal.files)

    @property
    def setting_id(self) -> str:
        """The setting's id in the workspace, as the last collection told it; empty before the first one."""
        with self._opened() as journal:
            return journal.checkpoint.setting_id

    @property
    def position_is_known(self) -> bool:
        """Whether the workspace's position was learned in this life; before that nothing may be sent."""
        return self._position_is_known

    @property
    def may_have_been_sent(self) -> bool:
        """Whether the oldest waiting batch may have reached the workspace without our knowing."""
        with self._opened() as journal:
            return self._maybe_through > journal.checkpoint.settled and bool(journal.files)

    def peek(self, max_bytes: int, overhead_bytes: int = 0) -> list[Outgoing]:
        """Return the oldest batches up to `max_bytes`, at least one; a refused one or a part stands alone.

        `overhead_bytes` is counted for each batch beside its events.
        """
        with self._opened() as journal:
            while isinstance(chosen := _choose(journal, max_bytes, overhead_bytes), DamagedLine):
                self._set_aside(journal, chosen)
            return chosen

    def _set_aside(self, journal: Journal, damaged: DamagedLine) -> None:
        self._keep_aside(damaged)
        journal.skip(damaged)

    def _keep_aside(self, damaged: DamagedLine) -> None:
        name = f"{damaged.file.name}.{damaged.end_offset}"
        place = copy_aside(self._tools.disk, self._directory, name, damaged.line)
        self._tools.telemetry.spool_damaged(
            self.setting_name,
            f"a batch in {damaged.file.name} could not be read: {damaged.trouble}; it is kept as {place}, and "
            f"said to hold {damaged.claimed_events} events",
        )

    def before_sending(self, last: Outgoing) -> None:
        """Note durably that batches up to `last` may be on the wire from now on (invariant I8).

        After that, and after the commit of the batches, nobody else may own the setting (I9): raises OwnershipLost.
        """
        with self._opened() as journal:
            journal.allow_sending(last)
            journal.confirm()

    def answer_lost(self, last: Outgoing) -> None:
        """Note that what was sent up to `last` may have been stored: only the workspace's position can tell."""
        self._maybe_through = max(self._maybe_through, last.seq)
        self._sent_through = max(self._sent_through, last.seq)

    def former_agent_may_have_sent(self) -> None:
        """Note durably that everything that waits may be on the wire: a former agent of our name had it."""
        with self._opened() as journal:
            through = journal.checkpoint.replayed
            journal.save(replace(journal.checkpoint, sent_hi=max(journal.checkpoint.sent_hi, through)))
            self._maybe_through = max(self._maybe_through, through)
            self._sent_through = max(self._sent_through, through)
            self._position_is_known = False

    def doubt_position(self) -> None:
        """Let the position be asked for again before anything more is sent."""
        self._position_is_known = False

    def settle(self, sent: Sequence[Outgoing]) -> int:
        """Let the oldest batches leave as delivered; return how many events that were."""
        with self._opened() as journal:
            events = sum(outgoing.count for outgoing in sent)
            journal.leave(sent[-1], delivered=events)
            return events

    def bury(self, outgoing: Outgoing, reason: str, *, answer: str, attempts: int) -> int:
        """Move the oldest batch, or part, to `dead/`, then let it leave; return how many events that were."""
        with self._opened() as journal:
            certificate = DeathCertificate(reason, answer, attempts, self._tools.now())
            letter = DeadLetter(
                self.setting_name,
                outgoing.seq,
                outgoing.first_event,
                outgoing.split(),
                certificate,
                outgoing.is_refused,
            )
            journal.begin_writing()
            bury(self._tools.disk, self._directory, letter)
            journal.leave(outgoing, dead=outgoing.count)
            return outgoing.count

    def narrow(self, outgoing: Outgoing, events: int) -> None:
        """Send next only the first `events` of a batch, or part, that was certainly not stored."""
        with self._opened() as journal:
            # With the batch's own place: damage may have left a hole before it.
            checkpoint = replace(journal.checkpoint, settled=outgoing.seq - 1, part_done=outgoing.first_event)
            journal.save_twice(replace(checkpoint, part_until=outgoing.first_event + events))

    def requeue(self, refused: Sequence[Outgoing]) -> None:
        """Move the oldest batches, which were certainly not stored, to the end, because later ones were stored.

        Needed when a foreign writer's time falls between ours: order cannot be kept, but nothing may be lost. One
        rename does both, so that they are in the queue once, whatever happens.
        """
        with self._opened() as journal:
            journal.begin_writing()
            checkpoint = journal.checkpoint
            file = self._new_file(journal, checkpoint.group_time + 1)
            for outgoing in refused:
                file.add(outgoing.split())
            file.flush()
            name, footer = file.publish(self.read_cursor(), checkpoint.collected, settled=refused[-1].seq)
            journal.adopt(name, footer, requeued=sum(outgoing.count for outgoing in refused))

    def learn_position(self, latest: int | None) -> bool:
        """Take in the latest group time that the workspace has for this setting; None = it has none.

        What it proves stored is settled. Returns False if the time is a foreign writer's: then the waiting
        batches' times were moved above it, durably.
        """
        with self._opened() as journal:
            is_foreign = False
            if latest is not None:
                position = position_of(
                    journal, latest, maybe_through=self._maybe_through, sent_through=self._sent_through
                )
                is_foreign = position.is_foreign
                if position.stored is not None:
                    for damaged in position.damaged:
                        self._keep_aside(damaged)
                    lost = sum(damaged.claimed_events for damaged in position.damaged)
                    dead = position.refused + lost
                    journal.leave(position.stored, delivered=position.events, dead=dead)
                    self._tools.telemetry.fence_resolved(self.setting_name, position.events)
                elif is_foreign:
                    move_above(journal, position, latest)
            self._maybe_through = 0
            self._position_is_known = True
            return not is_foreign

    def owns(self, latest: int) -> bool:
        """Tell whether `latest` is the group time of a batch that an unanswered request held."""
        with self._opened() as journal:
            position = position_of(
                journal, latest, maybe_through=self._maybe_through, sent_through=self._sent_through
            )
            return position.stored is not None

    # -- dead letters -------------------------------------------------------------------------------------

    def replay(self) -> int:
        """Let the letters that an operator marked enter the queue again; return how many events those were.

        The file that takes a letter's events names it, so that a crash before its removal revives nothing twice.
        """
        with self._opened() as journal:
            replay = Replay(
                self._tools.disk,
                self._directory,
                new_file=lambda: self._new_file(journal, journal.checkpoint.group_time + 1),
                read_cursor=self.read_cursor,
                tell=lambda trouble: self._tools.telemetry.spool_damaged(self.setting_name, trouble),
            )
            return replay.run(journal)

    # -- upkeep -------------------------------------------------------------------------------------------

    def pack(self) -> bool:
        """Merge a run of small waiting files into one; return whether there was one."""
        with self._opened() as journal:
            return journal.pack()

    def checkpoint(self) -> None:
        """Make the cursor of empty collections durable, if there were any; called when the agent stops."""
        with self._opened() as journal:
            journal.save_cursor()

    def figures(self) -> QueueFigures | None:
        """Return the accounting from memory; None while the queue is not open. Never blocks."""
        journal = self._journal
        if journal is None:
            return None
        checkpoint, files = journal.checkpoint, list(journal.files)
        return QueueFigures(
            collected=checkpoint.collected,
            delivered=checkpoint.delivered,
            waiting=journal.waiting_events,
            dead=checkpoint.dead,
            waiting_bytes=sum(file.size for file in files),
            files=len(files),
            known_ids=len(journal.ids),
            oldest_group_time=files[0].group_time if files else None,
        )

    @contextmanager
    def _opened(self) -> Iterator[Journal]:
        """Give the open journal, recovered from disk if need be; any trouble of the volume forgets it again."""
        with self._lock:
            if self._lost is not None:
                raise self._lost
            try:
                if self._journal is None:
                    self._journal = self._recovered()
                yield self._journal
                self._tell_troubles(self._journal)
            except OwnershipLost as error:
                self._journal, self._lost = None, error
                self._tools.on_taken_over(error)
                raise
            except OSError as error:
                self._journal = None
                raise self._failed(error) from error
            except (NewerFormat, Damage) as error:
                self._journal = None
                raise SpoolUnavailable(
                    f"The spool of setting {self.setting_name!r} cannot be used: {error}.", Reason.DAMAGED
                ) from error

    def _tell_troubles(self, journal: Journal) -> None:
        """Tell what was found damaged while the queue was in use."""
        for trouble in journal.troubles:
            self._tools.telemetry.spool_damaged(self.setting_name, trouble)
        journal.troubles.clear()

    def _failed(self, error: OSError) -> SpoolUnavailable:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            self._tools.on_full()
        return SpoolUnavailable(
            f"The volume failed for setting {self.setting_name!r}: {error.strerror or error}. "
            "Check the volume behind STORAGE_PATH.",
            Reason.DISK,
        )

    def _recovered(self) -> Journal:
        self._tools.check_place()
        epoch = self._claimed()
        troubles: list[str] = []
        try:
            journal = Journal.open(
                self._tools.disk,
                self._directory,
                self.setting_name,
                epoch=epoch,
                first_cursor_time=int(self._tools.now()),
                sent_window=self._tools.sent_window,
                troubles=troubles,
            )
        finally:
            # Also when it failed after something was set aside: the next attempt finds nothing to tell.
            for trouble in troubles:
                self._tools.telemetry.spool_damaged(self.setting_name, trouble)
        # The window reaches beyond what there was to send.
        self._maybe_through = min(journal.checkpoint.sent_hi, journal.checkpoint.replayed)
        self._sent_through = max(self._sent_through, self._maybe_through)
        self._position_is_known = False
        self._tidy_letters(journal)
        journal.troubles.clear()
        return journal

    def _claimed(self) -> int:
        """Claim the epoch of this opening."""
        disk, directory = self._tools.disk, self._directory
        if self._epoch is not None:
            # Opening again after trouble must not take the setting from who took it over meanwhile.
            confirm(disk, directory, self.setting_name, self._epoch)
        disk.make_directory(directory)
        # Known from here on, whatever fails after it: our own claim must not look like somebody else's.
        self._epoch = claim(disk, directory, above=highest_epoch(disk.names(directory)))
        return self._epoch

    def _tidy_letters(self, journal: Journal) -> None:
        disk, directory = self._tools.disk, self._directory
        # An older checkpoint may call waiting what had left as a letter: after damage no letter is given up.
        is_sure = not journal.troubles
        tidy(
            disk,
            directory,
            lambda name: is_sure and is_waiting(journal, disk, directory, name),
            before_removing=journal.begin_writing,
        )


def _check_place(file: CollectionFile, sighting: Sighting, journal: Journal) -> None:
    """Refuse a file whose batch numbers, or ids, are not those of the queue any more.

    `requeue` and `replay` give numbers away, and after an error the queue was recovered.
    """
    is_in_place = (file.start.seq, file.start.epoch) == (journal.checkpoint.replayed + 1, journal.epoch)
    if not is_in_place or not sighting.is_of(journal.ids):
        raise SpoolUnavailable(
            "The spool moved on while this collection was read; it is asked for again at the next interval.",
            Reason.DISK,
        )


def _choose(journal: Journal, max_bytes: int, overhead_bytes: int) -> list[Outgoing] | DamagedLine:
    chosen: list[Outgoing] = []
    total = 0
    for item in journal.read():
        if isinstance(item, DamagedLine):
            return chosen or item
        total += len(item.events) + overhead_bytes
        if chosen and (total > max_bytes or item.is_refused):
            break
        chosen.append(item)
        if item.is_refused or not item.is_last_part:
            break
    return chosen
