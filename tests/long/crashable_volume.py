"""A real ext4 volume whose power can be cut: a journal is replayed, and what never reached the device is gone.

    <directory>/cow.img      btrfs, mounted at <directory>/cow by a loop device
    <directory>/cow/N.img    ext4, mounted at <directory>/volume by a second one; after each cut N is one more

A power cut is a copy of the ext4 image that shares its blocks (`cp --reflink`): btrfs takes it at one moment, like
a snapshot of the device. What the kernel still holds in its page cache, data and journal alike, is not in it. What
it handed to the device is, even if no flush followed: the cut of a disk that loses nothing it was given, which is
milder than a disk with a cache of its own.
"""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

_COW_BYTES = 2 * 1024**3
_EXT4_BYTES = 128 * 1024**2
_NEEDED = ("mkfs.btrfs", "mkfs.ext4", "mount", "umount", "losetup")
# A process that was killed may hold a volume for a moment longer, in seconds.
_BUSY_S = 10.0

HOW_TO_GET = (
    "Power cuts need root, loop devices, btrfs and ext4: as root on Debian, "
    "`apt-get install btrfs-progs e2fsprogs`."
)


class CannotCutPower(Exception):
    """This machine has no loop devices, tools or rights for it; the message says what is missing."""


class CrashableVolume:
    """One ext4 volume; made by `open_volume`, which also takes everything apart again."""

    def __init__(self, images: Path, mount_point: Path) -> None:
        self._images = images
        self._number = 0
        self.mount_point = mount_point

    @property
    def _image(self) -> Path:
        return self._images / f"{self._number}.img"

    def make(self) -> None:
        """Create the first image and mount it."""
        _make_sparse(self._image, _EXT4_BYTES)
        _run("mkfs.ext4", "-q", str(self._image))
        self.mount()

    def snapshot(self) -> Path:
        """Copy what the device holds at this moment; nothing is written for it."""
        copy = self._images / f"{self._number + 1}.img"
        _run("cp", "--reflink=always", str(self._image), str(copy))
        return copy

    def go_on_with(self, copy: Path) -> None:
        """Mount a copy in place of the volume; nobody may have a file of the volume open."""
        self.unmount()
        self._image.unlink()
        self._number += 1
        assert copy == self._image
        self.mount()

    def cut(self) -> None:
        """Cut the power and come back, for when nobody uses the volume."""
        self.go_on_with(self.snapshot())

    def mount(self) -> None:
        """Mount the present image; the kernel replays its journal."""
        _run("mount", "-o", "loop", str(self._image), str(self.mount_point))

    def unmount(self) -> None:
        """Unmount, if mounted; the loop device goes with the mount."""
        _unmount(self.mount_point)


@contextmanager
def open_volume(directory: Path) -> Iterator[CrashableVolume]:
    """Build a volume below `directory`; raises CannotCutPower. Everything is unmounted at the end."""
    _check_this_machine()
    cow, mount_point = directory / "cow", directory / "volume"
    cow.mkdir(parents=True)
    mount_point.mkdir()
    with ExitStack() as stack:
        cow_image = directory / "cow.img"
        _make_sparse(cow_image, _COW_BYTES)
        stack.callback(cow_image.unlink)
        stack.callback(_unmount, cow)
        stack.callback(_unmount, mount_point)
        volume = CrashableVolume(cow, mount_point)
        try:
            _run("mkfs.btrfs", "-q", str(cow_image))
            _run("mount", "-o", "loop", str(cow_image), str(cow))
            volume.make()
        except subprocess.CalledProcessError as error:
            raise CannotCutPower(
                f"{error.cmd[0]} failed here: {error.stderr.strip()}. {HOW_TO_GET}"
            ) from error
        yield volume


def _check_this_machine() -> None:
    missing = [tool for tool in _NEEDED if shutil.which(tool) is None]
    if os.geteuid() != 0 or missing:
        raise CannotCutPower(f"Not root, or missing: {', '.join(missing) or 'nothing'}. {HOW_TO_GET}")


def _make_sparse(path: Path, size_bytes: int) -> None:
    path.touch(0o600)
    os.truncate(path, size_bytes)


def _unmount(mount_point: Path) -> None:
    deadline_s = time.monotonic() + _BUSY_S
    while mount_point.is_mount():
        try:
            _run("umount", str(mount_point))
        except subprocess.CalledProcessError:
            if time.monotonic() > deadline_s:
                raise
            time.sleep(0.05)


def _run(*command: str) -> None:
    """Run a tool to its end. Not awaited: while the power goes, the simulators stand still as well."""
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
