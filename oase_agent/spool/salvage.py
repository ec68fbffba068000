"""What happens to a file that cannot be read: it is kept in `bad/`, and its whole batches stay in the queue.

Nothing here is skipped silently: every step ends in a sentence for the operator (promise P6).
"""

from pathlib import Path

from oase_agent.disk import Disk
from oase_agent.model import Cursor
from oase_agent.spool.batch_file import Batch, Damage, FileName, Footer, footer_line, parse_batch

BAD_DIRECTORY = "bad"


def set_aside(disk: Disk, directory: Path, name: str) -> str:
    """Move a file to `bad/` under a name that is free there, and return the new place; raises OSError."""
    bad = directory / BAD_DIRECTORY
    disk.make_directory(bad)
    target = _free_name(disk, bad, name)
    disk.rename(directory / name, bad / target)
    disk.sync_directory(bad)
    disk.sync_directory(directory)
    return f"{BAD_DIRECTORY}/{target}"


def copy_aside(disk: Disk, directory: Path, name: str, content: bytes) -> str:
    """Keep a damaged piece of a file that otherwise stays in use, and return its place; raises OSError."""
    bad = directory / BAD_DIRECTORY
    disk.make_directory(bad)
    target = _free_name(disk, bad, name)
    disk.write_new(bad, target, [content])
    return f"{BAD_DIRECTORY}/{target}"


def rescue(
    disk: Disk, directory: Path, name: FileName, *, above: int, epoch: int
) -> tuple[FileName, Footer] | None:
    """Publish the whole batches of a damaged file with a number above `above` again, under their own numbers.

    The footer of the new file tells no cursor and no known ids: those of the damaged file are lost, so the
    source is asked again for what the file held. Returns None when no batch is whole; raises OSError.
    """
    whole = [
        (batch, line)
        for batch, line in _whole_batches(disk, directory / str(name))
        if name.first <= batch.seq <= name.last and batch.seq > above
    ]
    if not whole:
        return None
    rescued = FileName(whole[0][0].seq, whole[-1][0].seq, epoch)
    footer = Footer(
        first=rescued.first,
        last=rescued.last,
        events=sum(batch.count for batch, _ in whole),
        size=sum(len(line) for _, line in whole),
        group_time=max(batch.group_time for batch, _ in whole),
        collected=0,
        cursor=Cursor(0),
    )
    disk.write_new(directory, str(rescued), [*(line for _, line in whole), footer_line(footer)])
    return rescued, footer


def _whole_batches(disk: Disk, path: Path) -> list[tuple[Batch, bytes]]:
    found: list[tuple[Batch, bytes]] = []
    with disk.open(path) as file:
        for line in file:
            try:
                batch = parse_batch(line)
            except Damage:
                continue
            # A repeated or reordered line is damage too; the first reading of a number counts.
            if not found or batch.seq > found[-1][0].seq:
                found.append((batch, line))
    return found


def _free_name(disk: Disk, directory: Path, name: str) -> str:
    taken = set(disk.names(directory))
    number = 1
    free = name
    while free in taken:
        number += 1
        free = f"{name}.{number}"
    return free
