"""Packing: a long run of small files becomes one, because a million files are a problem of their own.

One event a file made 4 GB of 0.6 GB and took 92 s to recover (durability study 1.5). Lines are copied as they are,
so packing changes no batch, no group time and no order; only the footers become one.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from oase_agent.disk import Disk
from oase_agent.spool.batch_file import FileName, Footer, footer_line, read_footer
from oase_agent.spool.recovery import FileEntry

# Packing starts when this many files wait, takes runs of at least 16, and stops at 1 MiB, which is what the
# deliverer reads at most twice (durability study section 8).
PACK_ABOVE_FILES = 256
_MIN_RUN_FILES = 16
_MAX_PACK_BYTES = 1024 * 1024


def pack_oldest(
    disk: Disk, directory: Path, files: Sequence[FileEntry], epoch: int
) -> tuple[FileEntry, list[FileEntry]] | None:
    """Publish the oldest run of small files as one; return its entry and the files it stands for.

    Returns None when there is no run worth it. Raises OSError and Damage; nothing was changed then.
    """
    if len(files) < PACK_ABOVE_FILES:
        return None
    run = _oldest_run(files)
    if len(run) < _MIN_RUN_FILES:
        return None
    footers = [read_footer(disk, directory / str(file.name), file.name) for file in run]
    name = FileName(run[0].name.first, run[-1].name.last, epoch)
    footer = _merged(footers)
    disk.write_new(directory, str(name), _content(disk, directory, run, footer))
    return FileEntry.of(name, footer), list(run)


def _oldest_run(files: Sequence[FileEntry]) -> list[FileEntry]:
    run: list[FileEntry] = []
    total = 0
    for file in files:
        if total + file.size > _MAX_PACK_BYTES:
            if len(run) >= _MIN_RUN_FILES:
                break
            run, total = [], 0
            continue
        run.append(file)
        total += file.size
    return run


def _merged(footers: Sequence[Footer]) -> Footer:
    return replace(
        footers[-1],
        first=footers[0].first,
        events=sum(footer.events for footer in footers),
        size=sum(footer.size for footer in footers),
        group_time=max(footer.group_time for footer in footers),
        collected=max(footer.collected for footer in footers),
        ids=tuple(group for footer in footers for group in footer.ids),
        letters=tuple(letter for footer in footers for letter in footer.letters),
        revived=sum(footer.revived for footer in footers),
        settled=max(footer.settled for footer in footers),
    )


def _content(disk: Disk, directory: Path, run: Sequence[FileEntry], footer: Footer) -> Iterator[bytes]:
    for file in run:
        yield disk.read(directory / str(file.name))[: file.size]
    yield footer_line(footer)
