"""Batches on this volume of settings that another replica owns, or nobody: found without opening their queues."""

from pathlib import Path

from oase_agent.disk import Disk
from oase_agent.spool.batch_file import Damage, FileName, NewerFormat
from oase_agent.spool.state import StateName, read_checkpoint


def has_leftovers(disk: Disk, directory: Path) -> bool:
    """Tell whether batches wait in a setting's directory, as far as names and a checkpoint tell. Raises OSError.

    Writes nothing, and may say so of batches that turn out to be delivered, or another's: opening tells.
    """
    names = disk.names(directory)
    files = [file for file in map(FileName.parse, names) if file is not None]
    if not files:
        return False
    for state in sorted(filter(None, map(StateName.parse, names)), reverse=True):
        try:
            settled = read_checkpoint(disk, directory / str(state)).settled
        except (Damage, NewerFormat):
            continue
        return any(file.last > settled for file in files)
    return True
