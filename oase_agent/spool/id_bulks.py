"""Where the known ids stand on disk: most in a file of their own, the bulk, and in the checkpoint what came since.

A bulk is written before the checkpoint that names it, and stays as long as one of the two kept checkpoints does.
"""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from oase_agent.disk import Disk
from oase_agent.spool.id_run import PackedIds, packed_count
from oase_agent.spool.ids_file import IdsName, write_ids
from oase_agent.spool.known_ids import IdPolicy, KnownIds, Sighting
from oase_agent.spool.recovery import discard
from oase_agent.spool.state import Checkpoint

# Ids since the last bulk stand in the checkpoint up to this number; beyond a tenth of all, a new bulk is cheaper.
_MAX_IDS_IN_CHECKPOINT = 2000


class IdBulks:
    """The bulks of one setting. `found` are the names of those on disk, also of those that no checkpoint names.

    An owner that does not know yet that it was replaced may be about to name one.
    """

    def __init__(
        self, disk: Disk, directory: Path, epoch: int, known: KnownIds, found: Iterable[str]
    ) -> None:
        self._disk = disk
        self._directory = directory
        self._epoch = epoch
        self._known = known
        self._files = list(found)
        self._next_generation = 1
        self._is_stale = False

    def see(self, sighting: Sighting, policy: IdPolicy) -> None:
        """Note which ids a complete answer reported; the next bulk is due at once if that changed older ones."""
        self._is_stale = self._known.absorb(sighting, policy) or self._is_stale

    def renew(self) -> None:
        """Let the next checkpoint make a bulk: known ids were changed that stand in an older one."""
        self._is_stale = True

    def relieved(self, checkpoint: Checkpoint, fresh: Iterable[PackedIds]) -> Checkpoint:
        """Return `checkpoint` without its ids if so many are `fresh` in it that the next one makes a bulk anyway.

        Those of a large answer are megabytes as text. They must be among the known ids before the next checkpoint is
        saved; until then the footers on disk have them.
        """
        if packed_count(fresh) <= _MAX_IDS_IN_CHECKPOINT or not self._is_due(checkpoint):
            return checkpoint
        self._is_stale = True
        return replace(checkpoint, ids=())

    def _is_due(self, checkpoint: Checkpoint) -> bool:
        pending = packed_count(checkpoint.ids)
        return self._is_stale or pending > max(_MAX_IDS_IN_CHECKPOINT, len(self._known) // 10)

    def with_bulk(self, checkpoint: Checkpoint) -> Checkpoint:
        """Return `checkpoint` as it is to be saved: with a new bulk written, if one is due. Raises OSError."""
        if not self._is_due(checkpoint):
            return checkpoint
        name = IdsName(self._epoch, self._next_generation)
        write_ids(self._disk, self._directory, name, self._known)
        self._next_generation += 1
        self._files.append(str(name))
        self._is_stale = False
        return replace(checkpoint, ids_file=str(name), ids=())

    def unlink_all_but(self, kept: set[str]) -> None:
        """Remove the bulks that no kept checkpoint names; raises OSError."""
        for name in self._files:
            if name not in kept:
                discard(self._disk, self._directory / name)
        self._files = [name for name in self._files if name in kept]
