"""From owner to owner of a setting, where each replica has a volume of its own (decision 16).

H1 A record that counts a batch is written to the claim after the batch was committed, and before it is sent. So a
   batch that no record counts was never sent, and its events are collected again by the next owner.
H2 Who takes a setting goes on from the record, unless it was the last to write it (see inheritance.py).
H3 The position that is found before anything is sent under a claim stands in the record before that: it tells those
   who were owners before what of theirs was stored.

Where replicas share a volume, or there is one agent alone, this is never begun and has no effect.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from oase_agent.errors import Reason, SpoolUnavailable
from oase_agent.spool.batch_file import Damage, NewerFormat
from oase_agent.spool.fence import OnTheWire, position_of, settle_stored
from oase_agent.spool.handover_record import MAX_IDS, Former, HandoverRecord, parse_record
from oase_agent.spool.inheritance import Volume, counted, lift, take_state
from oase_agent.spool.journal import Journal
from oase_agent.spool.opening import Opening
from oase_agent.spool.outgoing import DamagedLine
from oase_agent.spool.packing import PackLimits
from oase_agent.spool.queue_tools import QueueTools


@dataclass(frozen=True, slots=True)
class Inherited:
    """How a queue began under a claim; the numbers are events of this volume.

    `is_first` tells that no owner left a record. `kept` wait for delivery, `stored` were found to be delivered,
    `dropped` are collected again by others. With `is_unjudged` nobody can tell which of those that wait were
    delivered.
    """

    is_first: bool = False
    kept: int = 0
    stored: int = 0
    dropped: int = 0
    is_unjudged: bool = False

    @property
    def must_be_told(self) -> bool:
        """Whether a record is to be written before anything is done: the others know nothing of what is here."""
        return self.is_first or self.is_unjudged


@dataclass(frozen=True, slots=True)
class Place:
    """The last batch that left a queue, and the last one that came."""

    settled: int
    last: int


@dataclass(frozen=True, slots=True)
class _Told:
    """What of our record the others know."""

    epoch: int
    seq: int
    settled: int
    group_time: int
    cursor_time: int
    formers: tuple[Former, ...]

    @classmethod
    def of(cls, record: HandoverRecord) -> "_Told":
        return cls(
            record.epoch,
            record.seq,
            record.settled,
            record.group_time,
            record.cursor.last_fetched_time,
            record.formers,
        )


class Succession:
    """One queue's part in it. Blocks like the queue's methods, and raises SpoolUnavailable as they do.

    `new_name` draws the name by which the others know this queue, and that of a line of owners.
    """

    def __init__(
        self,
        opening: Opening,
        directory: Path,
        tools: QueueTools,
        wire: OnTheWire,
        keep_aside: Callable[[DamagedLine], None],
        *,
        new_name: Callable[[], str] = lambda: secrets.token_hex(8),
    ) -> None:
        self._opening = opening
        self._directory = directory
        self._tools = tools
        self._wire = wire
        self._keep_aside = keep_aside
        self._new_name = new_name
        self._epoch: int | None = None
        self._line = ""
        self._formers: tuple[Former, ...] = ()
        self._forgot = False
        self._told: _Told | None = None
        self._packable = 0
        self._others_may_send = False

    # -- taking over --------------------------------------------------------------------------------------

    def inherit(self, setting_name: str, epoch: int, text: str | None) -> Inherited:
        """Begin under the claim's `epoch` with the record in it, or None where there is none.

        Raises SpoolUnavailable also for a record that cannot be read: it may be a newer agent's.
        """
        record = None if text is None else _parsed(setting_name, text)
        with self._opening.use() as journal:
            home = self._home(journal)
            self._epoch, self._others_may_send = epoch, False
            if record is None:
                self._line, self._formers, self._forgot = self._new_name(), (), False
                self._told, self._packable = None, 0
                return Inherited(is_first=True, kept=journal.waiting.events)
            self._line, self._forgot = record.line, record.forgot
            if record.home == home and record.seq <= journal.checkpoint.replayed:
                self._formers = record.formers
                self._told, self._packable = _Told.of(record), record.seq
                return Inherited(kept=journal.waiting.events)
            former = counted(journal, record)
            volume = Volume(self._tools.disk, self._directory, self._tools.now())
            dropped = take_state(journal, volume, record, former)
        self._opening.forget()
        with self._opening.use() as journal:
            stored = self._judge(journal, former)
            lift(journal, record, is_judged=former is not None and former.found is not None)
            self._go_on(journal, record, home)
            kept = journal.waiting.events
        is_unjudged = former is None and kept > 0
        return Inherited(kept=kept, stored=stored, dropped=dropped, is_unjudged=is_unjudged)

    def _home(self, journal: Journal) -> str:
        """Return the name by which the others know this queue; it is durable before they are told."""
        if not journal.checkpoint.home:
            journal.save_twice(replace(journal.checkpoint, home=self._new_name()))
        return journal.checkpoint.home

    def _judge(self, journal: Journal, former: Former | None) -> int:
        """Let go what the position found after us proves stored; return how many events that were."""
        if former is None or not former.found:
            return 0
        position = position_of(journal, former.found, self._wire)
        if position.stored is None:
            return 0
        settle_stored(journal, position, position.stored, self._keep_aside)
        return position.events

    def _go_on(self, journal: Journal, record: HandoverRecord, home: str) -> None:
        others = [former for former in record.formers if former.home not in {home, record.home}]
        last = Former(record.home, record.epoch, record.seq)
        self._formers = (*others, *(() if record.home == home else (last,)))
        self._told = None
        self._packable = journal.checkpoint.replayed
        # Its last request may still be on its way; the workspace's fence is not atomic (contract 3.2).
        self._others_may_send = record.settled < record.seq

    # -- what the others are told -------------------------------------------------------------------------

    def due(self, *, max_cursor_lag_s: int | None = None) -> HandoverRecord | None:
        """Return the record to be written before anything is sent; None if the last one still says everything.

        With `max_cursor_lag_s` one is due also when only the cursor moved on, by more than that.
        """
        if self._epoch is None:
            return None
        with self._opening.use() as journal:
            if self._is_told(journal, max_cursor_lag_s):
                return None
            return self._record(journal, self._epoch)

    def is_due(self, *, max_cursor_lag_s: int | None = None) -> bool:
        """Tell whether a record is due, as far as memory knows. Never blocks."""
        journal = self._opening.journal
        return (
            self._epoch is not None and journal is not None and not self._is_told(journal, max_cursor_lag_s)
        )

    def last(self) -> HandoverRecord | None:
        """Return the record with which a setting is handed over; None where there is no succession."""
        if self._epoch is None:
            return None
        with self._opening.use() as journal:
            return self._record(journal, self._epoch)

    def told(self, record: HandoverRecord) -> None:
        """Take in that a record is written: what it counts may be sent."""
        with self._opening.use() as journal:
            if journal.checkpoint.line != record.line:
                # From now on the records tell of everything here; before that they told of nothing.
                journal.save(replace(journal.checkpoint, line=record.line))
            self._told = _Told.of(record)
            self._packable = max(self._packable, record.seq)

    def _is_told(self, journal: Journal, max_cursor_lag_s: int | None) -> bool:
        told, now = self._told, journal.checkpoint
        if told is None or (told.epoch, told.seq) != (self._epoch, now.replayed):
            return False
        lag_s = 0 if max_cursor_lag_s is None else now.cursor_time - told.cursor_time - max_cursor_lag_s
        return told.group_time == now.group_time + now.shift and told.formers == self._formers and lag_s <= 0

    def _record(self, journal: Journal, epoch: int) -> HandoverRecord:
        now = journal.checkpoint
        return HandoverRecord(
            line=self._line,
            home=now.home,
            epoch=epoch,
            seq=now.replayed,
            settled=now.settled,
            group_time=now.group_time + now.shift,
            cursor=journal.cursor,
            ids=tuple(journal.ids.newest(MAX_IDS).packed()),
            formers=self._formers,
            forgot=self._forgot,
        )

    @property
    def place(self) -> Place | None:
        """Where the queue stands, as far as memory knows. Never blocks."""
        journal = self._opening.journal
        return None if journal is None else Place(journal.checkpoint.settled, journal.checkpoint.replayed)

    # -- what the queue asks ------------------------------------------------------------------------------

    def position_found(self, latest: int | None) -> None:
        """Take in the workspace's group time: the first one under a claim is found before anything is sent (H3)."""
        self._others_may_send = False
        self._formers = tuple(
            replace(former, found=latest or 0) if former.found is None else former for former in self._formers
        )

    @property
    def others_may_send(self) -> bool:
        """Whether a request of the owner before us may still be on its way."""
        return self._others_may_send

    def packing(self, limits: PackLimits) -> PackLimits:
        """Return what may be packed: a pack must not join what others collect again with what they do not."""
        return limits if self._epoch is None else replace(limits, through=self._packable)


def _parsed(setting_name: str, text: str) -> HandoverRecord:
    try:
        return parse_record(text)
    except (Damage, NewerFormat) as error:
        raise SpoolUnavailable(
            f"What the last owner of setting {setting_name!r} left in its claim Lease cannot be used: {error}. "
            "Nobody takes the setting before that changes; where the annotation is removed, the next owner goes on "
            "with what its own volume has.",
            Reason.DAMAGED,
        ) from error
