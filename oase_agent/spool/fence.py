"""Where the workspace stands, seen from a queue: which waiting batches it may have stored already.

The workspace stores a group only if its time is above the last one stored for (setting, agent name), and names
that time in a refusal (contract 3.2). With one writer, a time that is the time of a batch that may have been sent
proves that everything up to that batch was stored. Any other time that is not below ours is a foreign writer's,
or the volume is older than the workspace's history (durability study 2.3).
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from oase_agent.spool.journal import Journal
from oase_agent.spool.outgoing import DamagedLine, Outgoing


@dataclass(frozen=True, slots=True)
class Position:
    """What a group time of the workspace means for the waiting batches.

    `stored` is the last batch it proves stored and `events` the events up to it. `is_foreign` tells that the time
    is not below ours although it is nobody's we know; `first_time` is then the time of our oldest batch.
    """

    stored: Outgoing | None = None
    events: int = 0
    is_foreign: bool = False
    first_time: int = 0


def position_of(journal: Journal, latest: int, *, maybe_through: int) -> Position:
    """Judge the workspace's group time `latest`; batches up to `maybe_through` may have been sent."""
    first_time = 0
    events = 0
    for outgoing in _posted_kind(journal):
        if outgoing.group_time > latest:
            break
        first_time = first_time or outgoing.group_time
        events += outgoing.count
        if outgoing.group_time == latest and outgoing.seq <= maybe_through:
            return Position(stored=outgoing, events=events)
    return Position(is_foreign=bool(first_time), first_time=first_time)


def move_above(journal: Journal, position: Position, latest: int) -> None:
    """Move the waiting batches' times durably so that the oldest is just above `latest`; raises OSError."""
    checkpoint = journal.checkpoint
    journal.save(replace(checkpoint, shift=checkpoint.shift + latest + 1 - position.first_time))


def _posted_kind(journal: Journal) -> Iterator[Outgoing]:
    for outgoing in journal.read():
        if not isinstance(outgoing, DamagedLine) and not outgoing.is_refused:
            yield outgoing
