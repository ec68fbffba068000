"""Where the workspace stands, seen from a queue: which waiting batches it may have stored already.

The workspace stores a group only if its time is above the last one stored for (setting, agent name), and names
that time in a refusal (contract 3.2). With one writer, a time that is the time of a batch that may have been sent
proves that everything up to that batch was stored. So does a time that only a lost batch can have: it falls where
damage left a hole. Any other time that is not below ours is a foreign writer's, or the volume is older than the
workspace's history (durability study 2.3).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from oase_agent.spool.journal import Journal
from oase_agent.spool.outgoing import DamagedLine, Outgoing
from oase_agent.spool.state import Checkpoint


@dataclass(slots=True)
class OnTheWire:
    """What may have reached the workspace without our knowing, as far as one process remembers.

    Batches up to `maybe_through` may be stored: nothing was heard since they were sent. Batches up to `sent_through`
    were in a request that was not answered: it may still arrive, however late. `position_is_known` tells whether the
    workspace's position was learned since the queue was opened; before that nothing may be sent.
    """

    maybe_through: int = 0
    sent_through: int = 0
    position_is_known: bool = False

    def opened(self, checkpoint: Checkpoint) -> None:
        """Begin with what a checkpoint says may be on the wire; its window reaches beyond what there was to send."""
        self.maybe_through = 0
        self.unanswered(min(checkpoint.sent_hi, checkpoint.replayed))
        self.position_is_known = False

    def unanswered(self, through: int) -> None:
        """Note that batches up to `through` were sent, and no answer came."""
        self.maybe_through = max(self.maybe_through, through)
        self.sent_through = max(self.sent_through, through)

    def learned(self) -> None:
        """Note that the position was taken in: it says of everything sent so far whether it is stored."""
        self.maybe_through = 0
        self.position_is_known = True


@dataclass(frozen=True, slots=True)
class Position:
    """What a group time of the workspace means for the waiting batches.

    `stored` is the last batch it proves stored, `events` are the posted events up to it, `refused` those that are
    never posted, and `damaged` the lines between. `is_foreign` tells that the time is not below ours although it is
    nobody's we know; `first_time` is then the time of our oldest batch.
    """

    stored: Outgoing | None = None
    events: int = 0
    refused: int = 0
    damaged: tuple[DamagedLine, ...] = ()
    is_foreign: bool = False
    first_time: int = 0


def position_of(journal: Journal, latest: int, wire: OnTheWire) -> Position:
    """Judge the workspace's group time `latest`; raises OSError.

    A position that was asked for says nothing about a request that is still on its way, so the time of a batch that
    was sent stays ours for good. A time that no batch has tells of one that is lost only for batches that were sent
    since the position was last asked for.
    """
    found = Position()
    refused = 0
    damaged: list[DamagedLine] = []
    last: Outgoing | None = None
    # Whether a batch after `last` is lost: its time is known to nobody but the workspace.
    is_hole = False
    last_seq = journal.checkpoint.settled
    for item in journal.read(beyond_part=True):
        if isinstance(item, DamagedLine):
            damaged.append(item)
            continue
        is_hole = is_hole or item.seq > last_seq + 1
        last_seq = item.seq
        if item.is_refused:
            refused += item.count
            continue
        if item.group_time > latest:
            break
        last, is_hole = item, False
        events, first_time = found.events + item.count, found.first_time or item.group_time
        found = Position(item, events, refused, tuple(damaged), first_time=first_time)
        if item.group_time == latest and item.seq <= wire.sent_through:
            return found
    else:
        given = journal.checkpoint.group_time + journal.checkpoint.shift
        is_hole = is_hole or (last_seq < journal.checkpoint.replayed and latest <= given)
    if last is not None and is_hole and last.group_time < latest and last.seq < wire.maybe_through:
        # Between the times of the batches beside the hole: the time of one of those that are lost.
        return found
    return Position(is_foreign=last is not None, first_time=found.first_time)


def is_ours(journal: Journal, latest: int, wire: OnTheWire) -> bool:
    """Tell whether `latest` proves a waiting batch stored; raises OSError."""
    return position_of(journal, latest, wire).stored is not None


def settle_stored(
    journal: Journal, position: Position, stored: Outgoing, keep_aside: Callable[[DamagedLine], None]
) -> None:
    """Let what a position proves stored leave the queue. Raises OSError."""
    for damaged in position.damaged:
        keep_aside(damaged)
    lost = sum(damaged.claimed_events for damaged in position.damaged)
    journal.leave(stored, delivered=position.events, dead=position.refused + lost)


def take_in(
    journal: Journal, latest: int | None, wire: OnTheWire, keep_aside: Callable[[DamagedLine], None]
) -> Position:
    """Act on the workspace's latest group time, or on that it has none, and return what it meant. Raises OSError.

    What it proves stored leaves the queue, after `keep_aside` took the damaged lines between. Of a foreign writer's
    time the waiting batches' times are moved above it, durably.
    """
    position = Position() if latest is None else position_of(journal, latest, wire)
    if position.stored is not None:
        settle_stored(journal, position, position.stored, keep_aside)
    elif latest is not None and position.is_foreign:
        checkpoint = journal.checkpoint
        journal.save_twice(replace(checkpoint, shift=checkpoint.shift + latest + 1 - position.first_time))
    wire.learned()
    return position
