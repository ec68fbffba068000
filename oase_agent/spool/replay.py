"""Letting dead letters enter the queue again.

R1 The file that takes a letter's events names the letter, so that one rename revives it.
R2 Then the letter is removed, then its mark, then the checkpoint forgets its name. Killed in between, the name in
   the footer tells that the letter is in the queue already: it is removed, not revived.
R3 A letter that cannot be read loses its mark and stays; the others go on.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import orjson

from oase_agent.disk import Disk
from oase_agent.spool.batch_file import Damage
from oase_agent.spool.collection_file import CollectionFile
from oase_agent.spool.dead import (
    DeadLetter,
    LetterName,
    crc_of_events,
    marked_letters,
    read_letter,
    remove_letter,
    unmark,
)
from oase_agent.spool.journal import Journal
from oase_agent.spool.outgoing import DamagedLine, as_outgoing


@dataclass(frozen=True, slots=True)
class Replay:
    """What a replay needs: `new_file` begins a file at the end of the queue, `tell` takes a sentence of trouble."""

    disk: Disk
    directory: Path
    new_file: Callable[[], CollectionFile]
    tell: Callable[[str], None]

    def run(self, journal: Journal) -> int:
        """Revive every marked letter; return how many events those were. Raises OSError."""
        for text in journal.checkpoint.letters:
            # A power cut may have taken the mark of a letter whose events it left in the queue.
            if (name := LetterName.parse(text)) is not None:
                remove_letter(self.disk, self.directory, name)
        journal.forget_letters()
        revived = sum(self._replay(journal, name) for name in marked_letters(self.disk, self.directory))
        journal.forget_letters()
        return revived

    def _replay(self, journal: Journal, name: LetterName) -> int:
        if is_waiting(journal, name):
            return 0  # its events have not left the queue: the mark counts when they have
        try:
            letter = read_letter(self.disk, self.directory, name)
        except FileNotFoundError:
            unmark(self.disk, self.directory, name)
            return 0
        except (Damage, OSError) as error:
            # Reading failed, and only this letter is concerned: what is known of the queue is still true.
            why = error.strerror if isinstance(error, OSError) else error
            self.tell(f"letter {name} cannot enter the queue again: {why}; it stays in dead/")
            unmark(self.disk, self.directory, name)
            return 0
        self._revive(journal, letter)
        journal.confirm()
        remove_letter(self.disk, self.directory, name)
        return len(letter.events)

    def _revive(self, journal: Journal, letter: DeadLetter) -> None:
        file = self.new_file()
        try:
            if letter.is_refused:
                refused = map(orjson.loads, letter.events)
                file.add_refused((item["why"], item["event"]) for item in refused)
            else:
                file.add(letter.events)
            file.flush()
            # After the temporary file is there: a new owner removes it, so that it cannot be published late.
            journal.begin_writing()
            collected = journal.checkpoint.collected
            journal.adopt(*file.publish(journal.cursor, collected, letter=str(letter.name)))
        finally:
            file.abandon()


def is_waiting(journal: Journal, name: LetterName) -> bool:
    """Tell whether the events of a letter are in the queue itself, under the same numbers; raises OSError."""
    checkpoint = journal.checkpoint
    if (name.seq, name.first_event) < (checkpoint.settled + 1, checkpoint.part_done):
        return False
    for item in journal.waiting.read_as_they_stand():
        if isinstance(item, DamagedLine) or item[0].seq < name.seq:
            continue
        batch = as_outgoing(*item, shift=0)
        events = batch.split()[name.first_event : name.until_event] if batch.seq == name.seq else []
        return crc_of_events(events) == name.crc
    return False
