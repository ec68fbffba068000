"""Where the workspace stands, seen from a queue: which waiting batches it may have stored already.

The workspace stores a group only if its time is above the last one stored for (setting, agent name), and names
that time in a refusal (contract 3.2). With one writer, a time that is the time of a batch that may have been sent
proves that everything up to that batch was stored. So does a time that only a lost batch can have: it falls where
damage left a hole. Any other time that is not below ours is a foreign writer's, or the volume is older than the
workspace's history (durability study 2.3).
"""

from dataclasses import dataclass, replace

from oase_agent.spool.journal import Journal
from oase_agent.spool.outgoing import DamagedLine, Outgoing


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


def position_of(journal: Journal, latest: int, *, maybe_through: int, sent_through: int) -> Position:
    """Judge the workspace's group time `latest`.

    Batches up to `sent_through` were in a request that nobody saw answered. A position that was asked for says
    nothing about a request that is still on its way, so an equal time stays ours for good. Batches up to
    `maybe_through` were in one since the position was last asked for: only for these a time that no batch has tells
    of one that is lost.
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
        if item.group_time == latest and item.seq <= sent_through:
            return found
    else:
        given = journal.checkpoint.group_time + journal.checkpoint.shift
        is_hole = is_hole or (last_seq < journal.checkpoint.replayed and latest <= given)
    if last is not None and is_hole and last.group_time < latest and last.seq < maybe_through:
        # Between the times of the batches beside the hole: the time of one of those that are lost.
        return found
    return Position(is_foreign=last is not None, first_time=found.first_time)


def move_above(journal: Journal, position: Position, latest: int) -> None:
    """Move the waiting batches' times durably so that the oldest is just above `latest`; raises OSError."""
    checkpoint = journal.checkpoint
    journal.save_twice(replace(checkpoint, shift=checkpoint.shift + latest + 1 - position.first_time))
