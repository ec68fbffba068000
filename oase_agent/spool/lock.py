"""The lock on an agent's directory: held by the one process that owns it, or by all replicas that share it.

The lock is on a file of its own that is never renamed; the kernel frees it when the process ends. Replicas that share
the settings hold it together, so that an agent that wants the directory for itself waits for the last of them.
"""

import errno
import fcntl
import os
from pathlib import Path

from oase_agent.disk import Disk

LOCK_NAME = ".lock"


class DirectoryLock:
    """Not held at first. Its methods raise OSError."""

    def __init__(self, disk: Disk, directory: Path) -> None:
        self._disk = disk
        self._directory = directory
        self._descriptor: int | None = None

    def acquire(self) -> bool:
        """Take the directory for this process; return False while others have it, True if it is ours already."""
        if self._descriptor is not None:
            return True
        self._disk.make_directory(self._directory)
        descriptor = os.open(self._directory / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        except OSError:
            os.close(descriptor)
            raise
        self._descriptor = descriptor
        return True

    def share(self) -> bool:
        """Let other replicas in, or join those that are there.

        Returns False while an agent has it that does not share.
        """
        if self._descriptor is None:
            self._disk.make_directory(self._directory)
            self._descriptor = os.open(
                self._directory / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
            )
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            self.release()
            return False
        return True

    def release(self) -> None:
        """Let go."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def check_place(self) -> None:
        """Raise OSError when what is at our path is not the directory whose lock we hold: its volume is gone."""
        if self._descriptor is None:
            return
        held, there = os.fstat(self._descriptor), (self._directory / LOCK_NAME).stat()
        if not os.path.samestat(held, there):
            raise OSError(errno.ESTALE, "Another volume is in the place of the spool")
