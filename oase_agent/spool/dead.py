"""Dead letters: what the workspace will never accept, kept as it was, with the reason.

    dead/<seq>.<first event>-<event after the last>.<crc>.json     kept until an operator decides
    replay/<the same name>                                         empty: the letter is to enter the queue again

The name follows from what is kept, so that a crash between keeping and settling writes the same letter again
instead of a second one. A letter is never renamed or changed. An operator's command may look at letters, mark them
and remove them while the agent that owns the spool is running; only that agent lets them enter the queue.
"""

import re
import zlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import msgspec
import orjson

from oase_agent.disk import TEMPORARY_PREFIX, Disk
from oase_agent.spool.batch_file import Damage

DEAD_DIRECTORY = "dead"
REPLAY_DIRECTORY = "replay"
FORMAT_VERSION = 1

_NAME = re.compile(r"(\d{10,})\.(\d{4,})-(\d{4,})\.([0-9a-f]{8})\.json")


@dataclass(frozen=True, slots=True, order=True)
class LetterName:
    """What the name of a letter tells: its batch, which events of it, and the CRC-32 of these as a JSON array."""

    seq: int
    first_event: int
    until_event: int
    crc: int

    def __str__(self) -> str:
        return f"{self.seq:010}.{self.first_event:04}-{self.until_event:04}.{self.crc:08x}.json"

    @classmethod
    def parse(cls, name: str) -> "LetterName | None":
        """Return what a file name tells, or None for a name of another kind."""
        match = _NAME.fullmatch(name)
        if match is None:
            return None
        seq, first_event, until_event, crc = match.groups()
        return cls(int(seq), int(first_event), int(until_event), int(crc, 16))


@dataclass(frozen=True, slots=True)
class DeathCertificate:
    """Why something will never be delivered: a stable reason, the workspace's words, attempts, and epoch seconds."""

    reason: str
    answer: str
    attempts: int
    buried_at: float


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """What is buried: JSON values byte by byte as they stood in the spool, from event `first_event` of batch `seq`.

    With `is_refused` each value tells a reason and the text of an event that never was in a POST.
    """

    setting_name: str
    seq: int
    first_event: int
    events: Sequence[bytes]
    certificate: DeathCertificate
    is_refused: bool = False

    @property
    def name(self) -> LetterName:
        """The letter's name."""
        return LetterName(
            self.seq, self.first_event, self.first_event + len(self.events), crc_of_events(self.events)
        )


class _Document(msgspec.Struct):
    """A letter as it stands in its file; the events stay raw, so that nothing of them is written anew."""

    v: int
    setting: str
    seq: int
    first_event: int
    reason: str
    answer: str
    attempts: int
    buried_at: float
    refused: bool
    events: list[msgspec.Raw]


def crc_of_events(events: Sequence[bytes]) -> int:
    """Return the CRC-32 of events as the JSON array in which they stand in a batch."""
    return zlib.crc32(b"[%b]" % b",".join(events))


# -- what the owner of the spool does -----------------------------------------------------------------------


def bury(disk: Disk, directory: Path, letter: DeadLetter) -> None:
    """Keep a letter durably; one that is kept already stays as it is. Raises OSError."""
    folder = directory / DEAD_DIRECTORY
    # Made here, not by who marks letters: the owner of the spool must be able to write in it.
    disk.make_directory(directory / REPLAY_DIRECTORY)
    disk.make_directory(folder)
    if _is_there(disk, folder / str(letter.name)):
        return
    document = {
        "v": FORMAT_VERSION,
        "setting": letter.setting_name,
        "seq": letter.seq,
        "first_event": letter.first_event,
        **asdict(letter.certificate),
        "refused": letter.is_refused,
        "events": [orjson.Fragment(event) for event in letter.events],
    }
    disk.write_new(folder, str(letter.name), [orjson.dumps(document), b"\n"])


def tidy(
    disk: Disk,
    directory: Path,
    is_waiting: Callable[[LetterName], bool],
    before_removing: Callable[[], None] = lambda: None,
) -> None:
    """Remove what a killed process left: temporary files, and letters whose events are still in the queue.

    Those were written, but the checkpoint that lets the events leave was not: they are sent once more, and may be
    accepted this time. A former owner that only froze may yet write that checkpoint, so `before_removing` makes sure
    that it would not count. Raises OSError.
    """
    for place in (directory / DEAD_DIRECTORY, directory / REPLAY_DIRECTORY):
        for name in disk.names(place):
            if name.startswith(TEMPORARY_PREFIX):
                disk.unlink(place / name)
    waiting = [letter for letter in letter_names(disk, directory) if is_waiting(letter)]
    if waiting:
        before_removing()
    for letter in waiting:
        remove_letter(disk, directory, letter)


# -- what anybody may do ------------------------------------------------------------------------------------


def letter_names(disk: Disk, directory: Path) -> list[LetterName]:
    """Return the names of the letters of a setting, oldest first; raises OSError."""
    return _names_in(disk, directory / DEAD_DIRECTORY)


def marked_letters(disk: Disk, directory: Path) -> list[LetterName]:
    """Return the letters that an operator wants in the queue again, oldest first; raises OSError."""
    return _names_in(disk, directory / REPLAY_DIRECTORY)


def read_letter(disk: Disk, directory: Path, name: LetterName) -> DeadLetter:
    """Read a letter; raises Damage and OSError."""
    try:
        document = msgspec.json.decode(disk.read(directory / DEAD_DIRECTORY / str(name)), type=_Document)
    except ValueError as error:
        raise Damage(f"letter {name} cannot be read") from error
    if document.v != FORMAT_VERSION:
        raise Damage(f"letter {name} is of version {document.v}")
    letter = DeadLetter(
        setting_name=document.setting,
        seq=document.seq,
        first_event=document.first_event,
        events=[bytes(event) for event in document.events],
        certificate=DeathCertificate(document.reason, document.answer, document.attempts, document.buried_at),
        is_refused=document.refused,
    )
    if letter.name != name:
        raise Damage(f"letter {name} does not hold what its name says")
    return letter


def mark_for_replay(disk: Disk, directory: Path, name: LetterName) -> None:
    """Ask the agent that owns the spool to let a letter enter the queue again; raises OSError."""
    folder = directory / REPLAY_DIRECTORY
    disk.make_directory(folder)
    try:
        disk.write_new(folder, str(name), [])
    except FileExistsError:
        # It is visible, but who made it may have been killed before it was durable.
        disk.sync_directory(folder)


def unmark(disk: Disk, directory: Path, name: LetterName) -> None:
    """Forget that a letter is to enter the queue again; raises OSError."""
    folder = directory / REPLAY_DIRECTORY
    disk.unlink(folder / str(name))
    disk.sync_directory(folder)


def remove_letter(disk: Disk, directory: Path, name: LetterName) -> None:
    """Remove a letter for good, and its mark after it: a mark alone does no harm. Raises OSError."""
    folder = directory / DEAD_DIRECTORY
    disk.unlink(folder / str(name))
    disk.sync_directory(folder)
    unmark(disk, directory, name)


def _names_in(disk: Disk, folder: Path) -> list[LetterName]:
    return sorted(filter(None, map(LetterName.parse, disk.names(folder))))


def _is_there(disk: Disk, path: Path) -> bool:
    # Not by listing: a setting that became unknown with a long backlog has very many letters.
    try:
        disk.open(path).close()
    except FileNotFoundError:
        return False
    return True
