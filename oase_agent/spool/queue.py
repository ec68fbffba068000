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

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path

from oase_agent.model import Cursor
from oase_agent.spool.accounting import QueueFigures, figures_of
from oase_agent.spool.collecting import Kept, commit, start_after
from oase_agent.spool.collection_file import CollectionFile
from oase_agent.spool.dead import DeadLetter, DeathCertificate, bury
from oase_agent.spool.fence import OnTheWire, is_ours, take_in
from oase_agent.spool.journal import Journal
from oase_agent.spool.known_ids import Sighting
from oase_agent.spool.opening import Opening
from oase_agent.spool.outgoing import DamagedLine, Outgoing, choose
from oase_agent.spool.queue_tools import QueueTools
from oase_agent.spool.replay import Replay
from oase_agent.spool.salvage import copy_aside
from oase_agent.spool.succession import Succession

__all__ = ["Kept", "QueueFigures", "QueueTools", "SettingQueue"]


class SettingQueue:
    """The queue of one setting; see the module's text."""

    def __init__(self, directory: Path, setting_name: str, tools: QueueTools, epoch_floor: int = 0) -> None:
        self.setting_name = setting_name
        self._directory = directory
        self._tools = tools
        self._wire = OnTheWire()
        self._opening = Opening(directory, setting_name, tools, self._wire, epoch_floor)
        self.succession = Succession(self._opening, directory, tools, self._wire, self._keep_aside)

    # -- collecting ---------------------------------------------------------------------------------------

    def open(self) -> None:
        """Recover the queue from disk, if it is not open."""
        with self._opened():
            pass

    def begin_collection(self, setting_id: str) -> Cursor:
        """Return where the next collection starts.

        `setting_id` is how the workspace names the setting in a refusal; it is durable with the next checkpoint.
        Empty, because nobody told it, it leaves the one that was learned before.
        """
        with self._opened() as journal:
            if setting_id and setting_id != journal.checkpoint.setting_id:
                journal.checkpoint = replace(journal.checkpoint, setting_id=setting_id)
            return journal.cursor

    def read_cursor(self) -> Cursor:
        """Return the cursor as it is now."""
        with self._opened() as journal:
            return journal.cursor

    def exact_ids(self) -> list[str]:
        """Return the known ids that are kept as text (decimal ones), for templates."""
        with self._opened() as journal:
            return list(journal.ids.exact_ids())

    def sighting(self, *, begins: bool = True, ends: bool = True) -> Sighting:
        """Begin to note which ids an answer reports: see `KnownIds.sighting` for several of one collection."""
        with self._opened() as journal:
            return journal.ids.sighting(int(self._tools.now() // 3600), begins=begins, ends=ends)

    @contextmanager
    def collecting(self, fetched_time: int, *, expected_bytes: int = 0) -> Iterator[CollectionFile]:
        """Give a file for a collection's events; it is forgotten unless `commit` publishes it.

        Group times lie in the past interval where they can: the last of k batches gets `fetched_time`, unless
        that would not be above the last one given. k is guessed from `expected_bytes`.
        """
        with self._opened() as journal:
            batches = 1 + expected_bytes // self._tools.batches.size_bytes
            file = self._new_file(journal, fetched_time - batches + 1)
        try:
            yield file
        except OSError as error:
            # Only the temporary file is concerned: what the queue knows of the disk is still true.
            raise self._opening.failure(error, may_use_reserve=False) from error
        finally:
            file.abandon()

    def _new_file(self, journal: Journal, first_time: int = 0) -> CollectionFile:
        start = start_after(journal, first_time)
        return CollectionFile(self._tools.disk, self._directory, start, self._tools.batches)

    def commit(self, file: CollectionFile, cursor: Cursor, sighting: Sighting) -> Kept:
        """Keep a collection durably, with the cursor after it (promises P1, P5). An empty one writes nothing."""
        with self._opened(may_use_reserve=False) as journal:
            kept = commit(journal, file, cursor, sighting, self._tools.policy)
            self._note_commit()
            return kept

    # -- delivering ---------------------------------------------------------------------------------------

    @property
    def has_waiting(self) -> bool:
        """Whether a batch waits, as far as memory knows; a queue that is not open may have some."""
        journal = self._opening.journal
        return journal is None or bool(journal.waiting.files)

    @property
    def changed_at_s(self) -> float:
        """When something was last committed or found here, in seconds of the tools' monotonic clock."""
        return self._opening.changed_at_s

    @property
    def setting_id(self) -> str:
        """The setting's id in the workspace, as the last collection told it; empty before the first one."""
        with self._opened() as journal:
            return journal.checkpoint.setting_id

    @property
    def position_is_known(self) -> bool:
        """Whether the workspace's position was learned in this life; before that nothing may be sent."""
        return self._wire.position_is_known

    @property
    def may_have_been_sent(self) -> bool:
        """Whether the oldest waiting batch, or one of the owner before us, may have arrived without our knowing."""
        with self._opened() as journal:
            is_unknown = self._wire.maybe_through > journal.checkpoint.settled and bool(journal.waiting.files)
            return is_unknown or self.succession.others_may_send

    def peek(self, max_bytes: int, overhead_bytes: int = 0) -> list[Outgoing]:
        """Return the oldest batches up to `max_bytes`, at least one; a refused one or a part stands alone.

        `overhead_bytes` is counted for each batch beside its events.
        """
        with self._opened() as journal:
            while isinstance(chosen := choose(journal.read(), max_bytes, overhead_bytes), DamagedLine):
                self._keep_aside(chosen)
                journal.skip(chosen)
            return chosen

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
        self._wire.unanswered(last.seq)

    def former_agent_may_have_sent(self) -> None:
        """Note durably that everything that waits may be on the wire: a former agent of our name had it."""
        with self._opened() as journal:
            through = journal.checkpoint.replayed
            journal.save(replace(journal.checkpoint, sent_hi=max(journal.checkpoint.sent_hi, through)))
            self._wire.unanswered(through)
            self._wire.position_is_known = False

    def doubt_position(self) -> None:
        """Let the position be asked for again before anything more is sent."""
        self._wire.position_is_known = False

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
            file = self._new_file(journal)
            for outgoing in refused:
                file.add(outgoing.split())
            file.flush()
            # After the temporary file is there: a new owner removes it, so that it cannot be published late.
            journal.begin_writing()
            name, footer = file.publish(journal.cursor, journal.checkpoint.collected, settled=refused[-1].seq)
            journal.adopt(name, footer, requeued=sum(outgoing.count for outgoing in refused))
            self._note_commit()

    def learn_position(self, latest: int | None) -> bool:
        """Take in the latest group time that the workspace has for this setting; None = it has none.

        What it proves stored is settled. Returns False if the time is a foreign writer's: then the waiting
        batches' times were moved above it, durably.
        """
        with self._opened() as journal:
            self.succession.position_found(latest)
            position = take_in(journal, latest, self._wire, self._keep_aside)
            if position.stored is not None:
                self._tools.telemetry.fence_resolved(self.setting_name, position.events)
            return not position.is_foreign

    def owns(self, latest: int) -> bool:
        """Tell whether `latest` is the group time of a batch that an unanswered request held."""
        with self._opened() as journal:
            return is_ours(journal, latest, self._wire)

    # -- dead letters -------------------------------------------------------------------------------------

    def replay(self) -> int:
        """Let the letters that an operator marked enter the queue again; return how many events those were.

        The file that takes a letter's events names it, so that a crash before its removal revives nothing twice.
        """
        with self._opened(may_use_reserve=False) as journal:
            replay = Replay(
                self._tools.disk,
                self._directory,
                new_file=lambda: self._new_file(journal),
                tell=lambda trouble: self._tools.telemetry.spool_damaged(self.setting_name, trouble),
            )
            replayed = replay.run(journal)
            self._note_commit()
            return replayed

    # -- upkeep -------------------------------------------------------------------------------------------

    def pack(self) -> bool:
        """Merge a run of small waiting files into one; return whether there was one."""
        with self._opened(may_use_reserve=False) as journal:
            return journal.pack(self.succession.packing(self._tools.packing))

    def checkpoint(self) -> None:
        """Make the cursor of empty collections durable, if there were any; called when the agent stops."""
        with self._opened() as journal:
            journal.save_cursor()

    def let_go(self, *, save: bool) -> None:
        """Use the queue no more here; see `Opening.let_go`."""
        self._opening.let_go(save=save)

    def figures(self) -> QueueFigures | None:
        """Return the accounting from memory; None while the queue is not open. Never blocks."""
        journal = self._opening.journal
        return None if journal is None else figures_of(journal)

    def _note_commit(self) -> None:
        self._opening.changed_at_s = self._tools.monotonic()

    def _opened(self, *, may_use_reserve: bool = True) -> AbstractContextManager[Journal]:
        return self._opening.use(may_use_reserve=may_use_reserve)
