"""Dead letters: what the workspace will never accept, kept as it was, with the reason.

    dead/<seq>.<first event>.json          kept until an operator decides
    dead/<seq>.<first event>.replay.json   to enter the queue again, by the agent that owns the spool

The name follows from what is kept, so that a crash between keeping and settling writes the same letter again
instead of a second one.
"""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import msgspec
import orjson

from oase_agent.disk import Disk
from oase_agent.spool.batch_file import Damage

DEAD_DIRECTORY = "dead"
FORMAT_VERSION = 1

_REPLAY = ".replay.json"
_NAME = re.compile(r"\d{10,}\.\d{4,}(\.replay)?\.json")


@dataclass(frozen=True, slots=True)
class DeathCertificate:
    """Why something will never be delivered: a stable reason, the workspace's words, attempts, and epoch seconds."""

    reason: str
    answer: str
    attempts: int
    buried_at: float


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """What is buried: JSON values as they stood in the spool, from event `first_event` of batch `seq`.

    With `is_refused` each value tells a reason and the text of an event that never was in a POST.
    """

    setting_name: str
    seq: int
    first_event: int
    events: Sequence[bytes]
    certificate: DeathCertificate
    is_refused: bool = False

    @property
    def name(self) -> str:
        """The letter's file name."""
        return f"{self.seq:010}.{self.first_event:04}.json"


def bury(disk: Disk, directory: Path, letter: DeadLetter) -> None:
    """Keep a letter durably; one that is kept already stays as it is. Raises OSError."""
    folder = directory / DEAD_DIRECTORY
    disk.make_directory(folder)
    if letter.name in disk.names(folder):
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
    disk.write_new(folder, letter.name, [orjson.dumps(document), b"\n"])


def letter_names(disk: Disk, directory: Path) -> list[str]:
    """Return the names of the letters of a setting, those to be replayed included."""
    return [name for name in disk.names(directory / DEAD_DIRECTORY) if _NAME.fullmatch(name)]


def read_letter(disk: Disk, directory: Path, name: str) -> DeadLetter:
    """Read a letter; raises Damage and OSError."""
    try:
        document: dict[str, Any] = msgspec.json.decode(disk.read(directory / DEAD_DIRECTORY / name))
        if document["v"] != FORMAT_VERSION:
            raise Damage(f"letter {name} is of version {document['v']!r}")
        return DeadLetter(
            setting_name=document["setting"],
            seq=document["seq"],
            first_event=document["first_event"],
            events=[orjson.dumps(event) for event in document["events"]],
            certificate=DeathCertificate(
                document["reason"], document["answer"], document["attempts"], document["buried_at"]
            ),
            is_refused=document["refused"],
        )
    except (ValueError, KeyError, TypeError) as error:
        raise Damage(f"letter {name} cannot be read") from error


def is_to_be_replayed(name: str) -> bool:
    """Tell whether an operator asked for a letter to enter the queue again."""
    return name.endswith(_REPLAY)


def mark_for_replay(disk: Disk, directory: Path, name: str) -> None:
    """Ask the agent that owns the spool to let a letter enter the queue again; raises OSError."""
    folder = directory / DEAD_DIRECTORY
    if not is_to_be_replayed(name):
        disk.rename(folder / name, folder / name.replace(".json", _REPLAY))
        disk.sync_directory(folder)


def remove_letter(disk: Disk, directory: Path, name: str) -> None:
    """Remove a letter for good; raises OSError."""
    disk.unlink(directory / DEAD_DIRECTORY / name)
    disk.sync_directory(directory / DEAD_DIRECTORY)
