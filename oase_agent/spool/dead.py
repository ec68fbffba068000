"""Dead letters: what the workspace will never accept, kept as it was, with the reason.

    dead/<seq>.<first event>.json

The name follows from what is kept, so that a crash between keeping and settling writes the same letter again
instead of a second one.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson

from oase_agent.disk import Disk

DEAD_DIRECTORY = "dead"
FORMAT_VERSION = 1


@dataclass(frozen=True, slots=True)
class DeathCertificate:
    """Why something will never be delivered: a stable reason, the workspace's words, attempts, and epoch seconds."""

    reason: str
    answer: str
    attempts: int
    buried_at: float


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """What is buried: JSON values as they stood in the spool, from event `first_event` of batch `seq`."""

    setting_name: str
    seq: int
    first_event: int
    events: Sequence[bytes]
    certificate: DeathCertificate

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
        "events": [orjson.Fragment(event) for event in letter.events],
    }
    disk.write_new(folder, letter.name, [orjson.dumps(document), b"\n"])
