"""The one door to the volume: every system call that keeps something goes through `Disk`.

The rule of the spool (design section 5) is that a name is written once: a temporary file is written, synced and
closed, then renamed to a name that did not exist, then its directory is synced. Nothing is ever renamed over,
because SMB refuses it while somebody has the target open, and because a late writer could undo newer state.

Tests put another `Disk` in this place to stop, fail or forget at every single call.
"""

import contextlib
import errno
import itertools
import os
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

PRIVATE_FILE_MODE = 0o600
PRIVATE_DIRECTORY_MODE = 0o700
TEMPORARY_PREFIX = "tmp."

# Old NFS and SMB clients answer these for fsync of a directory, whose operations they already do in step with
# the server. No other error is ever ignored (durability study 1.2).
_DIRECTORY_SYNC_NOT_NEEDED = {errno.EINVAL, errno.ENOTSUP}


class Disk:
    """System calls of the spool, one method each, and `write_new`, which is all that is built on them.

    Every method raises OSError as the system reports it.
    """

    def create(self, path: Path, mode: int = PRIVATE_FILE_MODE) -> int:
        """Create a file that must not exist and return its descriptor."""
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)

    def write(self, descriptor: int, data: bytes | memoryview) -> None:
        """Write all of `data`, however often the system takes only a part."""
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(descriptor, rest) :]

    def sync(self, descriptor: int) -> None:
        """Return when the file's data is on disk. After an error it must not be asked again: see durability 1.3."""
        os.fsync(descriptor)

    def close(self, descriptor: int) -> None:
        """Close; NFS reports late write errors here."""
        os.close(descriptor)

    def rename(self, source: Path, target: Path) -> None:
        """Rename within a directory to a name that does not exist; raises FileExistsError when it does."""
        # One writer owns the names of its epoch, so nothing can slip in between the look and the rename.
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
        source.rename(target)

    def unlink(self, path: Path) -> None:
        """Remove a name; a name that is gone already is fine."""
        path.unlink(missing_ok=True)

    def sync_directory(self, directory: Path) -> None:
        """Return when the names in `directory` are on disk."""
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        except OSError as error:
            if error.errno not in _DIRECTORY_SYNC_NOT_NEEDED:
                raise
        finally:
            os.close(descriptor)

    def make_directory(self, directory: Path) -> None:
        """Create `directory` and what is missing above it, and sync every parent that changed."""
        missing = list(itertools.takewhile(lambda path: not path.is_dir(), [directory, *directory.parents]))
        for path in reversed(missing):
            path.mkdir(mode=PRIVATE_DIRECTORY_MODE, exist_ok=True)
            self.sync_directory(path.parent)

    def names(self, directory: Path) -> list[str]:
        """List a directory, sorted; a directory that does not exist has no names."""
        try:
            return sorted(os.listdir(directory))
        except FileNotFoundError:
            return []

    def open(self, path: Path, offset: int = 0) -> BinaryIO:
        """Open a file for reading from `offset`. On NFS the opening is what makes the newest content visible."""
        file = path.open("rb")
        file.seek(offset)
        return file

    def read(self, path: Path, offset: int = 0) -> bytes:
        """Return all bytes from `offset`."""
        with self.open(path, offset) as file:
            return file.read()

    def size(self, path: Path) -> int:
        """Return the length of a file in bytes."""
        with self.open(path) as file:
            return file.seek(0, os.SEEK_END)

    def write_new(
        self, directory: Path, name: str, chunks: Iterable[bytes], *, mode: int = PRIVATE_FILE_MODE
    ) -> None:
        """Write a whole file under a new name; when this returns, file and name are on disk."""
        file = NewFile(self, directory, mode)
        try:
            for chunk in chunks:
                file.write(chunk)
            file.publish(name)
        except BaseException:
            file.abandon()
            raise


class NewFile:
    """A file that grows under a temporary name until `publish` gives it its own, or `abandon` removes it."""

    _numbers = itertools.count()

    def __init__(self, disk: Disk, directory: Path, mode: int = PRIVATE_FILE_MODE) -> None:
        self._disk = disk
        self._directory = directory
        self._descriptor: int | None = None
        while self._descriptor is None:
            # In a container every process may be number 1: a name that an earlier life left is passed over.
            self._path = directory / f"{TEMPORARY_PREFIX}{os.getpid()}.{next(self._numbers)}"
            with contextlib.suppress(FileExistsError):
                self._descriptor = disk.create(self._path, mode)
        self.size_bytes = 0

    def write(self, data: bytes) -> None:
        """Append `data`."""
        assert self._descriptor is not None
        self._disk.write(self._descriptor, data)
        self.size_bytes += len(data)

    def publish(self, name: str) -> None:
        """Sync, close, rename to `name`, sync the directory: in this order, each checked before the next."""
        assert self._descriptor is not None
        self._disk.sync(self._descriptor)
        descriptor, self._descriptor = self._descriptor, None
        self._disk.close(descriptor)
        self._disk.rename(self._path, self._directory / name)
        self._disk.sync_directory(self._directory)

    def abandon(self) -> None:
        """Remove what was written. Trouble here is left to recovery, which removes temporary files."""
        with contextlib.suppress(OSError):
            if self._descriptor is not None:
                descriptor, self._descriptor = self._descriptor, None
                self._disk.close(descriptor)
        with contextlib.suppress(OSError):
            self._disk.unlink(self._path)
