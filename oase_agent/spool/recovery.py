"""From a setting's directory to what its queue may believe.

R0 The epoch was claimed before anything is read: from then on a former owner knows that it is one (see claim.py).
R1 Sync the directory: what a killed process renamed may be visible without being durable, and must not be built
   on before it is (durability study 2.2).
R2 Take the newest checkpoint that is whole. If it is not the newest there was, treat everything as maybe sent.
R3 List the `out` files: drop what is settled, what a pack covers, and temporary files. Set aside what is damaged,
   after its whole batches were published again, and what a former owner committed after it was replaced.
R4 Apply the footers above the checkpoint's `replayed`.

Recovery may be repeated at any point: it changes nothing that a second run would read differently.
"""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from oase_agent.disk import TEMPORARY_PREFIX, Disk
from oase_agent.spool.batch_file import Damage, FileName, Footer, read_footer
from oase_agent.spool.id_run import PackedIds
from oase_agent.spool.ids_file import IdsName, read_ids
from oase_agent.spool.known_ids import KnownIds
from oase_agent.spool.salvage import rescue, set_aside
from oase_agent.spool.state import Checkpoint, StateName, read_checkpoint


@dataclass(frozen=True, slots=True)
class FileEntry:
    """A file of batches: its name, where its footer starts, its events and its last group time."""

    name: FileName
    size: int
    events: int
    group_time: int

    @classmethod
    def of(cls, name: FileName, footer: Footer) -> "FileEntry":
        """Return the entry of a file whose footer is known."""
        return cls(name, footer.size, footer.events, footer.group_time)


@dataclass(slots=True)
class Recovered:
    """What a directory tells.

    With `is_newest_lost` the checkpoint is not the newest there was, or there is none: everything that waits may have
    been sent. `settled_files` are files that the checkpoint calls settled but the one before does not: they are
    unlinked later. `troubles` are sentences for the operator, one for each thing that was set aside or is missing.
    """

    checkpoint: Checkpoint | None = None
    is_newest_lost: bool = False
    states: list[StateName] = field(default_factory=list)
    previous_settled: int = 0
    epoch: int = 1
    ids: KnownIds = field(default_factory=KnownIds)
    files: list[FileEntry] = field(default_factory=list)
    settled_files: list[FileName] = field(default_factory=list)
    bulks: list[str] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)


def recover(disk: Disk, directory: Path, epoch: int, troubles: list[str] | None = None) -> Recovered:
    """Read a setting's directory; raises OSError when the volume fails and NewerFormat.

    `epoch` is the claimed one, above all that is there. `troubles` takes sentences for the operator, also when this
    fails later.
    """
    disk.sync_directory(directory)
    names = disk.names(directory)
    for name in names:
        if name.startswith(TEMPORARY_PREFIX):
            discard(disk, directory / name)
    found = Recovered(epoch=epoch, troubles=[] if troubles is None else troubles)
    _read_states(disk, directory, names, found)
    footers = _read_files(disk, directory, names, found)
    _tell_holes(found)
    _replay(found, footers)
    _part_with_settled(found)
    _read_bulk_ids(disk, directory, names, found)
    return found


def discard(disk: Disk, path: Path) -> None:
    """Remove a file that is not needed any more; a directory of its name is not ours. Raises OSError."""
    with contextlib.suppress(IsADirectoryError):
        disk.unlink(path)


def highest_epoch(names: Iterable[str]) -> int:
    """Return the highest epoch in the names of a setting's files; 0 when there are none."""
    parsed = (StateName.parse(name) or FileName.parse(name) or IdsName.parse(name) for name in names)
    return max((name.epoch for name in parsed if name is not None), default=0)


def is_orphan(name: FileName, newest: StateName, checkpoint: Checkpoint) -> bool:
    """Tell whether a file came from a former owner after the epoch of the newest checkpoint began (invariant I10)."""
    return name.epoch < newest.epoch and name.last > checkpoint.seal


def _read_states(disk: Disk, directory: Path, names: Sequence[str], found: Recovered) -> None:
    generations = sorted(filter(None, map(StateName.parse, names)), reverse=True)
    whole: list[Checkpoint] = []
    for name in generations:
        try:
            with _no_directory():
                whole.append(read_checkpoint(disk, directory / str(name)))
        except Damage as damage:
            place = set_aside(disk, directory, str(name))
            found.troubles.append(f"checkpoint {name} could not be read: {damage}; it is kept as {place}")
        else:
            found.states.append(name)
    if not whole:
        found.is_newest_lost = bool(generations)
        return
    # There are two before anything is collected: where only one is left, the other one may have been newer.
    is_in_use = found.states[0].generation > 1 or any(map(FileName.parse, names))
    if len(generations) == 1 and is_in_use:
        found.is_newest_lost = True
        found.troubles.append(f"checkpoint {found.states[0]} stands alone: the other one is missing")
    found.is_newest_lost = found.is_newest_lost or found.states[0] != generations[0]
    found.checkpoint = whole[0]
    found.previous_settled = whole[1].settled if len(whole) > 1 else 0


def _read_files(disk: Disk, directory: Path, names: Sequence[str], found: Recovered) -> list[Footer]:
    settled = found.checkpoint.settled if found.checkpoint else 0
    whole: dict[FileName, Footer] = {}
    damaged: list[tuple[FileName, str]] = []
    for name in _packs_first(filter(None, map(FileName.parse, names))):
        if name.last <= settled:
            _drop_settled(disk, directory, name, found)
            continue
        if found.checkpoint and is_orphan(name, found.states[0], found.checkpoint):
            place = set_aside(disk, directory, str(name))
            found.troubles.append(
                f"file {name} came from a former owner after it was replaced: it was never sent; kept as {place}"
            )
            continue
        try:
            with _no_directory():
                whole[name] = read_footer(disk, directory / str(name), name)
        except Damage as damage:
            damaged.append((name, str(damage)))
    overlapping = _drop_covered(disk, directory, whole)
    damaged.extend((name, "some of its batches stand in another file, too") for name in overlapping)
    for name, trouble in damaged:
        # Published before the damaged file moves: killed in between, the next recovery finds the batches here.
        rescued = rescue(disk, directory, name, above=settled, taken=list(whole), epoch=found.epoch)
        place = set_aside(disk, directory, str(name))
        events = sum(footer.events for footer in rescued.values())
        found.troubles.append(
            f"file {name} could not be read: {trouble}; it is kept as {place}, and {events} events of it, which are "
            "whole, stay in the queue"
        )
        whole.update(rescued)
    in_order = sorted(whole.items(), key=lambda file: file[0].first)
    found.files = [FileEntry.of(name, footer) for name, footer in in_order]
    return [footer for _, footer in in_order]


def _packs_first(files: Iterable[FileName]) -> list[FileName]:
    """Order by first batch; of files with the same first one the widest, then the newest, leads."""
    return sorted(files, key=lambda name: (name.first, -name.last, -name.epoch))


def _drop_settled(disk: Disk, directory: Path, name: FileName, found: Recovered) -> None:
    # Only what both kept checkpoints call settled may go: the newest one may yet turn out damaged (I5).
    if name.last <= found.previous_settled:
        discard(disk, directory / str(name))
    else:
        found.settled_files.append(name)


def _drop_covered(disk: Disk, directory: Path, whole: dict[FileName, Footer]) -> list[FileName]:
    """Remove files whose batches stand in a wider one, which leads; return those of which only some do.

    These are not whole any more: a former owner packed late what the new one packed otherwise.
    """
    covered = 0
    overlapping = []
    for name in list(whole):
        if name.last <= covered:
            disk.unlink(directory / str(name))
            del whole[name]
        elif name.first <= covered:
            overlapping.append(name)
            del whole[name]
        covered = max(covered, name.last)
    return overlapping


def _tell_holes(found: Recovered) -> None:
    """Tell which batches are nowhere. Without a checkpoint nobody knows where the queue began."""
    covered = found.checkpoint.settled if found.checkpoint else None
    replayed = found.checkpoint.replayed if found.checkpoint else 0
    for file in found.files:
        if covered is not None and file.name.first > covered + 1:
            found.troubles.append(
                f"batches {covered + 1} to {file.name.first - 1} are missing from the volume"
            )
        covered = file.name.last
    if covered is not None and covered < replayed:
        found.troubles.append(f"batches {covered + 1} to {replayed} are missing from the volume")


def _replay(found: Recovered, footers: list[Footer]) -> None:
    checkpoint = found.checkpoint
    if checkpoint is None:
        if not footers:
            return
        # Batches without any checkpoint: it was lost. Nobody knows what was sent.
        checkpoint = Checkpoint(setting_name="", settled=footers[0].first - 1)
        if not found.is_newest_lost:
            found.troubles.append(
                "there is no checkpoint: everything that waits may have been delivered before"
            )
        found.is_newest_lost = True
    for footer in footers:
        if footer.last > checkpoint.replayed:
            checkpoint = after_footer(checkpoint, footer)
    if found.is_newest_lost:
        checkpoint = replace(checkpoint, sent_hi=max(checkpoint.sent_hi, checkpoint.replayed))
    found.checkpoint = checkpoint


def _part_with_settled(found: Recovered) -> None:
    """Let go of files that left by a later file's footer (see `requeue`)."""
    settled = found.checkpoint.settled if found.checkpoint else 0
    found.settled_files.extend(file.name for file in found.files if file.name.last <= settled)
    found.files = [file for file in found.files if file.name.last > settled]


@contextlib.contextmanager
def _no_directory() -> Iterator[None]:
    """Let a directory in the place of a file be damage like any other."""
    try:
        yield
    except IsADirectoryError as error:
        raise Damage("it is a directory") from error


def after_footer(checkpoint: Checkpoint, footer: Footer) -> Checkpoint:
    """Return what is true after a file. A rescued footer knows less: nothing ever goes back because of it."""
    event = footer.cursor.last_event
    is_rescued = not footer.cursor.last_fetched_time
    if footer.settled > checkpoint.settled:
        checkpoint = replace(checkpoint, settled=footer.settled, part_done=0, part_until=0)
    return replace(
        checkpoint,
        replayed=footer.last,
        # Not the larger one: the cursor follows the clock back when it was wrong.
        cursor_time=footer.cursor.last_fetched_time or checkpoint.cursor_time,
        cursor_event=checkpoint.cursor_event if event is None else event.decode(),
        cursor_bookmark=checkpoint.cursor_bookmark if is_rescued else footer.cursor.bookmark,
        group_time=max(checkpoint.group_time, footer.group_time),
        collected=max(checkpoint.collected, footer.collected),
        ids=checkpoint.ids + footer.ids,
        letters=checkpoint.letters + footer.letters,
        dead=checkpoint.dead - footer.revived,
    )


def _read_bulk_ids(disk: Disk, directory: Path, names: Sequence[str], found: Recovered) -> None:
    bulks = sorted(filter(None, map(IdsName.parse, names)))
    if found.checkpoint is not None and not found.states and bulks:
        # No checkpoint tells which one: the newest knows most.
        found.checkpoint = replace(found.checkpoint, ids_file=str(bulks[-1]))
    found.bulks = [str(name) for name in bulks]
    if found.checkpoint is None:
        return
    packed: list[PackedIds] = []
    bulk = found.checkpoint.ids_file
    if bulk and bulk not in names:
        found.troubles.append(f"known ids {bulk} are missing. {_AGAIN}")
    elif bulk:
        try:
            with _no_directory():
                packed.extend(read_ids(disk, directory / bulk))
        except Damage as damage:
            place = set_aside(disk, directory, bulk)
            found.troubles.append(f"known ids {bulk} could not be read: {damage}; kept as {place}. {_AGAIN}")
    found.ids.add([*packed, *found.checkpoint.ids])


_AGAIN = "What the source still reports will be collected once more."
