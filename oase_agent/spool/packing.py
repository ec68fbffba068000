"""Packing: a long run of small files becomes one, because a million files are a problem of their own.

One event a file made 4 GB of 0.6 GB and took 92 s to recover (durability study 1.5). Lines are copied as they are,
so packing changes no batch, no group time and no order; only the footers become one.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from oase_agent.disk import Disk
from oase_agent.spool.batch_file import FileName, Footer, footer_pieces, read_footer
from oase_agent.spool.recovery import FileEntry


@dataclass(frozen=True, slots=True)
class PackLimits:
    """When packing begins and what it takes.

    It starts when `start_files` wait, takes runs of at least `run_files`, and stops at `size_bytes`, which is what
    the deliverer reads at most twice (durability study section 8). Batches after `through` are left alone.
    """

    start_files: int = 256
    run_files: int = 16
    size_bytes: int = 1024 * 1024
    through: int | None = None


def pack_oldest(
    disk: Disk, directory: Path, files: Sequence[FileEntry], epoch: int, limits: PackLimits
) -> tuple[FileEntry, list[FileEntry]] | None:
    """Publish the oldest run of small files as one; return its entry and the files it stands for.

    Returns None when there is no run worth it. Raises OSError and Damage; nothing was changed then.
    """
    if limits.through is not None:
        files = [file for file in files if file.name.last <= limits.through]
    if len(files) < limits.start_files:
        return None
    run = _oldest_run(files, limits)
    if len(run) < limits.run_files:
        return None
    footers = [read_footer(disk, directory / str(file.name), file.name) for file in run]
    name = FileName(run[0].name.first, run[-1].name.last, epoch)
    footer = _merged(footers)
    disk.write_new(directory, str(name), _content(disk, directory, run, footer))
    return FileEntry.of(name, footer), list(run)


def _oldest_run(files: Sequence[FileEntry], limits: PackLimits) -> list[FileEntry]:
    run: list[FileEntry] = []
    total = 0
    for file in files:
        if total + file.size > limits.size_bytes:
            if len(run) >= limits.run_files:
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
    yield from footer_pieces(footer)
