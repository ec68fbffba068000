"""A collection enters the queue: where its file begins, and what its commit counts."""

from dataclasses import dataclass, replace

from oase_agent.errors import Reason, SpoolUnavailable
from oase_agent.model import Cursor
from oase_agent.spool.collection_file import CollectionFile, Start
from oase_agent.spool.journal import Journal
from oase_agent.spool.known_ids import IdPolicy, Sighting

# The newest event is remembered for templates; a larger one would weigh on every checkpoint.
MAX_LAST_EVENT_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Kept:
    """What a commit kept: events that wait, events that the workspace cannot store, batches."""

    events: int = 0
    refused: int = 0
    batches: int = 0

    def __add__(self, other: "Kept") -> "Kept":
        return Kept(self.events + other.events, self.refused + other.refused, self.batches + other.batches)


def start_after(journal: Journal, first_time: int) -> Start:
    """Return where a file at the end of the queue begins; its first group time is above the last one given."""
    # What was lifted above other owners' times comes back in the shift: the clock's time is to be sent.
    first_time = max(journal.checkpoint.group_time + 1, first_time - journal.checkpoint.lifted)
    return Start(journal.checkpoint.replayed + 1, first_time, journal.epoch, journal.waiting.size_bytes)


def commit(
    journal: Journal, file: CollectionFile, cursor: Cursor, sighting: Sighting, policy: IdPolicy
) -> Kept:
    """Keep a collection durably, with the cursor after it (promises P1, P5). An empty one writes nothing.

    Raises OSError, and SpoolUnavailable if the queue moved on since the file was begun.
    """
    event = cursor.last_event
    if event is None or len(event) > MAX_LAST_EVENT_BYTES:
        cursor = replace(cursor, last_event=journal.cursor.last_event)
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
    journal.see(sighting, policy)
    return Kept(file.events, file.refused, file.batches)


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
