"""Where the workspace stands, seen from a queue: which waiting batches it may have stored already.

The workspace stores a group only if its time is above the last one stored for (setting, agent name), and names
that time in a refusal (contract 3.2). With one writer, a time that is the time of a batch that may have been sent
proves that everything up to that batch was stored. Any other time that is not below ours is a foreign writer's,
or the volume is older than the workspace's history (durability study 2.3).
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


def position_of(journal: Journal, latest: int, *, maybe_through: int) -> Position:
    """Judge the workspace's group time `latest`; batches up to `maybe_through` may have been sent."""
    first_time = events = refused = 0
    damaged: list[DamagedLine] = []
    for item in journal.read(beyond_part=True):
        if isinstance(item, DamagedLine):
            damaged.append(item)
        elif item.is_refused:
            refused += item.count
        elif item.group_time > latest:
            break
        else:
            first_time = first_time or item.group_time
            events += item.count
            if item.group_time == latest and item.seq <= maybe_through:
                return Position(stored=item, events=events, refused=refused, damaged=tuple(damaged))
    return Position(is_foreign=bool(first_time), first_time=first_time)


def move_above(journal: Journal, position: Position, latest: int) -> None:
    """Move the waiting batches' times durably so that the oldest is just above `latest`; raises OSError."""
    checkpoint = journal.checkpoint
    journal.save_twice(replace(checkpoint, shift=checkpoint.shift + latest + 1 - position.first_time))
