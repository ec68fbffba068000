"""From a setting's directory to what its queue may believe.

R1 Sync the directory: what a killed process renamed may be visible without being durable, and must not be built
   on before it is (durability study 2.2).
R2 Take the newest checkpoint that is whole. If it is not the newest there was, treat everything as maybe sent.
R3 List the `out` files: drop what is settled, what a pack covers, and temporary files. Set aside what is damaged.
R4 Apply the footers above the checkpoint's `replayed`.

Recovery may be repeated at any point: it changes nothing that a second run would read differently.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from oase_agent.disk import TEMPORARY_PREFIX, Disk
from oase_agent.spool.batch_file import Damage, FileName, Footer, read_footer
from oase_agent.spool.id_run import PackedIds
from oase_agent.spool.ids_file import IdsName, read_ids
from oase_agent.spool.known_ids import KnownIds
from oase_agent.spool.salvage import rescue, set_aside
from oase_agent.spool.state import Checkpoint, StateName, read_checkpoint

# Higher than any batch number: "every batch may have been sent".
EVERYTHING = 2**62


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

    `settled_files` are files that the checkpoint calls settled but the one before does not: they are unlinked
    later. `troubles` are sentences for the operator, one for each thing that was set aside or is missing.
    """

    checkpoint: Checkpoint | None = None
    states: list[StateName] = field(default_factory=list)
    previous_settled: int = 0
    epoch: int = 1
    ids: KnownIds = field(default_factory=KnownIds)
    files: list[FileEntry] = field(default_factory=list)
    settled_files: list[FileName] = field(default_factory=list)
    ids_files: frozenset[str] = frozenset()
    troubles: list[str] = field(default_factory=list)


def recover(disk: Disk, directory: Path) -> Recovered:
    """Read a setting's directory; raises OSError when the volume fails and NewerFormat."""
    disk.sync_directory(directory)
    names = disk.names(directory)
    for name in names:
        if name.startswith(TEMPORARY_PREFIX):
            disk.unlink(directory / name)
    found = Recovered(epoch=1 + _highest_epoch(names))
    _read_states(disk, directory, names, found)
    footers = _read_files(disk, directory, names, found)
    _replay(found, footers)
    _part_with_settled(found)
    _read_bulk_ids(disk, directory, names, found)
    return found


def _highest_epoch(names: Iterable[str]) -> int:
    parsed = (StateName.parse(name) or FileName.parse(name) or IdsName.parse(name) for name in names)
    return max((name.epoch for name in parsed if name is not None), default=0)


def _read_states(disk: Disk, directory: Path, names: Sequence[str], found: Recovered) -> None:
    generations = sorted(filter(None, map(StateName.parse, names)), reverse=True)
    whole: list[Checkpoint] = []
    for name in generations:
        try:
            whole.append(read_checkpoint(disk, directory / str(name)))
        except Damage as damage:
            place = set_aside(disk, directory, str(name))
            found.troubles.append(f"checkpoint {name} could not be read: {damage}; it is kept as {place}")
            if not whole:
                found.previous_settled = -1
        else:
            found.states.append(name)
    if whole:
        is_newest_lost = found.previous_settled < 0
        found.checkpoint = replace(whole[0], sent_hi=EVERYTHING) if is_newest_lost else whole[0]
        found.previous_settled = whole[1].settled if len(whole) > 1 else 0
        found.ids_files = frozenset(checkpoint.ids_file for checkpoint in whole)


def _read_files(disk: Disk, directory: Path, names: Sequence[str], found: Recovered) -> list[Footer]:
    settled = found.checkpoint.settled if found.checkpoint else 0
    covered = settled
    footers: list[Footer] = []
    for name in _packs_first(filter(None, map(FileName.parse, names))):
        if name.last <= settled:
            _drop_settled(disk, directory, name, found)
        elif name.last <= covered:
            _drop_covered(disk, directory, name, found)
        else:
            whole = _read_file(disk, directory, name, covered, found)
            if whole is None:
                continue
            kept, footer = whole
            if kept.first > covered + 1 and (footers or found.checkpoint):
                found.troubles.append(
                    f"batches {covered + 1} to {kept.first - 1} are missing from the volume"
                )
            covered = kept.last
            found.files.append(FileEntry.of(kept, footer))
            footers.append(footer)
    replayed = found.checkpoint.replayed if found.checkpoint else 0
    if covered < replayed:
        found.troubles.append(f"batches {covered + 1} to {replayed} are missing from the volume")
    return footers


def _packs_first(files: Iterable[FileName]) -> list[FileName]:
    """Order by first batch; of files with the same first one the widest, then the newest, leads."""
    return sorted(files, key=lambda name: (name.first, -name.last, -name.epoch))


def _drop_settled(disk: Disk, directory: Path, name: FileName, found: Recovered) -> None:
    # Only what both kept checkpoints call settled may go: the newest one may yet turn out damaged (I5).
    if name.last <= found.previous_settled:
        disk.unlink(directory / str(name))
    else:
        found.settled_files.append(name)


def _drop_covered(disk: Disk, directory: Path, name: FileName, found: Recovered) -> None:
    """Remove a file whose batches stand in a wider one; a damaged one, whose batches were rescued, is kept."""
    try:
        read_footer(disk, directory / str(name), name)
    except Damage as damage:
        place = set_aside(disk, directory, str(name))
        found.troubles.append(f"file {name} could not be read: {damage}; it is kept as {place}")
    else:
        disk.unlink(directory / str(name))


def _read_file(
    disk: Disk, directory: Path, name: FileName, covered: int, found: Recovered
) -> tuple[FileName, Footer] | None:
    try:
        return name, read_footer(disk, directory / str(name), name)
    except Damage as damage:
        # Published before the damaged file moves: killed in between, the next recovery finds the batches here.
        rescued = rescue(disk, directory, name, above=covered, epoch=found.epoch)
        place = set_aside(disk, directory, str(name))
        kept = f"{rescued[1].events} events of it are whole and stay" if rescued else "nothing of it is whole"
        found.troubles.append(f"file {name} could not be read: {damage}; it is kept as {place}, {kept}")
        return rescued


def _replay(found: Recovered, footers: list[Footer]) -> None:
    checkpoint = found.checkpoint
    if checkpoint is None:
        if not footers:
            return
        # Batches without any checkpoint: the first one was lost. Nobody knows what was sent.
        checkpoint = Checkpoint(setting_name="", settled=footers[0].first - 1, sent_hi=EVERYTHING)
    for footer in footers:
        if footer.last > checkpoint.replayed:
            checkpoint = after_footer(checkpoint, footer)
    found.checkpoint = checkpoint


def _part_with_settled(found: Recovered) -> None:
    """Let go of files that left by a later file's footer (see `requeue`)."""
    settled = found.checkpoint.settled if found.checkpoint else 0
    found.settled_files.extend(file.name for file in found.files if file.name.last <= settled)
    found.files = [file for file in found.files if file.name.last > settled]


def after_footer(checkpoint: Checkpoint, footer: Footer) -> Checkpoint:
    """Return what is true after a file. A rescued footer knows less: nothing ever goes back because of it."""
    event = footer.cursor.last_event
    if footer.settled > checkpoint.settled:
        checkpoint = replace(checkpoint, settled=footer.settled, part_done=0, part_until=0)
    return replace(
        checkpoint,
        replayed=footer.last,
        # Not the larger one: the cursor follows the clock back when it was wrong.
        cursor_time=footer.cursor.last_fetched_time or checkpoint.cursor_time,
        cursor_event=checkpoint.cursor_event if event is None else event.decode(),
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
        found.ids_files = frozenset({str(bulks[-1])})
    # The older checkpoint's bulk stays beside the newest one's: it may yet be needed.
    for name in bulks:
        if found.states and str(name) not in found.ids_files:
            disk.unlink(directory / str(name))
    if found.checkpoint is None:
        return
    packed: list[PackedIds] = []
    bulk = found.checkpoint.ids_file
    if bulk and bulk not in names:
        found.troubles.append(f"known ids {bulk} are missing. {_AGAIN}")
    elif bulk:
        try:
            packed.extend(read_ids(disk, directory / bulk))
        except Damage as damage:
            place = set_aside(disk, directory, bulk)
            found.troubles.append(f"known ids {bulk} could not be read: {damage}; kept as {place}. {_AGAIN}")
    found.ids.add([*packed, *found.checkpoint.ids])


_AGAIN = "What the source still reports will be collected once more."
