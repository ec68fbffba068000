"""What a queue tells of itself in numbers."""

from dataclasses import dataclass

from oase_agent.spool.journal import Journal


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


def figures_of(journal: Journal) -> QueueFigures:
    """Return the accounting from memory; never blocks, and may be asked for while another thread works."""
    checkpoint, waiting = journal.checkpoint, journal.waiting
    files = list(waiting.files)
    return QueueFigures(
        collected=checkpoint.collected,
        delivered=checkpoint.delivered,
        waiting=waiting.events,
        dead=checkpoint.dead,
        waiting_bytes=journal.waiting.size_bytes,
        files=len(files),
        known_ids=len(journal.ids),
        oldest_group_time=files[0].group_time if files else None,
    )
