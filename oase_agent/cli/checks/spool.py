"""Where the agent stands with a setting, read from its spool without changing anything there.

The agent may be running: it writes new files and removes old ones while we look. Recovery proper would remove files
and begin a new epoch, so it is not used here; what is read is what recovery would make of it if nothing is damaged.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from oase_agent.disk import Disk
from oase_agent.errors import Reason, SpoolUnavailable
from oase_agent.model import Cursor
from oase_agent.spool.batch_file import Damage, FileName, NewerFormat, read_footer
from oase_agent.spool.ids_file import read_ids
from oase_agent.spool.known_ids import KnownIds
from oase_agent.spool.recovery import after_footer, is_orphan
from oase_agent.spool.spool import SETTINGS_DIRECTORY, setting_directory
from oase_agent.spool.state import Checkpoint, StateName, read_checkpoint

# A running agent replaces its checkpoint at most a few times a second; each look takes milliseconds.
_LOOKS = 5


@dataclass(frozen=True, slots=True)
class Position:
    """The cursor of a setting and the ids that are not collected again; `is_new` if the spool knows no cursor."""

    cursor: Cursor
    known: KnownIds
    is_new: bool


def read_position(agent_directory: Path, setting_name: str, *, now_s: float) -> Position:
    """Return where the next collection of a setting starts; a new one starts at `now_s`, epoch seconds.

    Raises SpoolUnavailable.
    """
    directory = agent_directory / SETTINGS_DIRECTORY / setting_directory(setting_name)
    for _ in range(_LOOKS):
        try:
            return _read(Disk(), directory, now_s)
        except FileNotFoundError:
            continue  # the agent has just replaced what we were about to read
        except (OSError, NewerFormat) as error:
            why = error.strerror if isinstance(error, OSError) else str(error)
            raise SpoolUnavailable(
                f"The spool of setting {setting_name!r} cannot be read ({why}): run the command as the user of "
                "the agent, and with its version.",
                Reason.DISK,
            ) from error
    raise SpoolUnavailable(
        f"The spool of setting {setting_name!r} changes too fast to be read: try again.", Reason.DISK
    )


def _read(disk: Disk, directory: Path, now_s: float) -> Position:
    names = disk.names(directory)
    newest = _newest_whole(disk, directory, names)
    if newest is None:
        return Position(Cursor(int(now_s)), KnownIds(), is_new=True)
    state, checkpoint = newest
    for name in sorted(filter(None, map(FileName.parse, names)), key=lambda name: (name.first, -name.last)):
        if name.last > checkpoint.replayed and not is_orphan(name, state, checkpoint):
            checkpoint = _with_file(disk, directory, name, checkpoint)
    cursor = replace(checkpoint.cursor, last_fetched_time=checkpoint.cursor_time or int(now_s))
    return Position(cursor, _known_ids(disk, directory, names, checkpoint), is_new=False)


def _newest_whole(disk: Disk, directory: Path, names: Sequence[str]) -> tuple[StateName, Checkpoint] | None:
    for name in sorted(filter(None, map(StateName.parse, names)), reverse=True):
        try:
            return name, read_checkpoint(disk, directory / str(name))
        except Damage:
            continue
    return None


def _with_file(disk: Disk, directory: Path, name: FileName, checkpoint: Checkpoint) -> Checkpoint:
    try:
        return after_footer(checkpoint, read_footer(disk, directory / str(name), name))
    except Damage:
        return checkpoint


def _known_ids(disk: Disk, directory: Path, names: Sequence[str], checkpoint: Checkpoint) -> KnownIds:
    known = KnownIds()
    known.add(checkpoint.ids)
    if checkpoint.ids_file in names:
        with suppress(Damage):  # the agent goes on without them as well
            known.add(read_ids(disk, directory / checkpoint.ids_file))
    return known
