"""How full the volume may get: collecting pauses before the disk is full, and resumes when there is room again.

A poller can stop asking: the source is the buffer then, and nothing that is kept is ever dropped (promise P7). A
reserve file is given up first when the disk is full after all, because draining needs space too: every settled
batch is a new checkpoint.
"""

import contextlib
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from oase_agent.disk import Disk
from oase_agent.errors import Reason, SpoolUnavailable

# Enough for the checkpoints of a few hundred settings, and for their known ids (durability study section 3).
RESERVE_BYTES = 4 * 1024 * 1024
RESERVE_NAME = "reserve.bin"
_DEFAULT_SHARE_OF_VOLUME = 0.8
# Collecting resumes a little below the limit, or it would pause and resume with every batch.
_RESUME_BELOW = 0.95
_RESUME_FREE = 1.1


@dataclass(frozen=True, slots=True)
class SpoolLimits:
    """`max_bytes` of waiting files (None: 80 % of the volume) and the free space that must stay, in bytes."""

    max_bytes: int | None
    min_free_bytes: int


@dataclass(frozen=True, slots=True)
class VolumeSpace:
    """The size of a volume and what an unprivileged process may still use of it, in bytes."""

    total_bytes: int
    free_bytes: int


def space_of(directory: Path) -> VolumeSpace:
    """Ask the volume; raises OSError."""
    status = os.statvfs(directory)
    return VolumeSpace(status.f_blocks * status.f_frsize, status.f_bavail * status.f_frsize)


class Admission:
    """Decides whether a collection may begin. With hysteresis; safe to ask from any thread."""

    def __init__(
        self, limits: SpoolLimits, used_bytes: Callable[[], int], space: Callable[[], VolumeSpace]
    ) -> None:
        self._limits = limits
        self._used_bytes = used_bytes
        self._space = space
        self._lock = threading.Lock()
        self.pause: str | None = None

    def check(self) -> None:
        """Raise SpoolUnavailable with the limit that was reached, and keep raising until there is clearly room.

        Raises it as well when the volume does not tell how full it is.
        """
        with self._lock:
            try:
                self.pause = self._reached_limit()
            except OSError as error:
                self.pause = f"The volume behind STORAGE_PATH cannot be used ({error.strerror})."
                raise SpoolUnavailable(self.pause, Reason.DISK) from error
        if self.pause is not None:
            raise SpoolUnavailable(self.pause, Reason.SPOOL_FULL)

    def _reached_limit(self) -> str | None:
        space = self._space()
        max_bytes = self._limits.max_bytes or int(space.total_bytes * _DEFAULT_SHARE_OF_VOLUME)
        min_free = self._limits.min_free_bytes
        is_paused = self.pause is not None
        used = self._used_bytes()
        if used >= max_bytes * (_RESUME_BELOW if is_paused else 1):
            return (
                f"The spool holds {used} bytes and may hold {max_bytes}: collecting waits until batches are "
                "delivered (SPOOL_MAX_BYTES)."
            )
        if space.free_bytes < min_free * (_RESUME_FREE if is_paused else 1):
            return (
                f"The volume has {space.free_bytes} bytes free and must keep {min_free}: collecting waits until "
                "there is room (SPOOL_MIN_FREE_BYTES)."
            )
        return None


class Reserve:
    """A file of real bytes that is deleted when the disk is full, so that the backlog can still drain."""

    def __init__(self, disk: Disk, directory: Path) -> None:
        self._disk = disk
        self._directory = directory

    def release(self) -> None:
        """Give the space up; trouble is left to the operation that needed it."""
        with contextlib.suppress(OSError):
            self._disk.unlink(self._directory / RESERVE_NAME)

    def restore(self, free_bytes: int) -> None:
        """Write the file again if it is missing and there is room for it twice over; raises OSError."""
        if free_bytes > 2 * RESERVE_BYTES and RESERVE_NAME not in self._disk.names(self._directory):
            # Another replica may have been faster.
            with contextlib.suppress(FileExistsError):
                # Not zeros: a volume that compresses would keep no space for those.
                self._disk.write_new(self._directory, RESERVE_NAME, [os.urandom(RESERVE_BYTES)])
