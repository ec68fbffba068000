"""What kind of volume a directory is on, and what that means for the spool's promises.

The spool needs three things of its volume: what was synced is there after a power cut, the volume outlives the
container, and one process at a time owns the directory. Not every file system gives all of them, and none says so
when it is mounted; so the agent tells it once when it starts, and `check` before that (durability study 1.2).
"""

import contextlib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from oase_agent.disk import TEMPORARY_PREFIX, Disk

UNKNOWN = "unknown"

_MOUNTS = Path("/proc/self/mountinfo")  # proc_pid_mountinfo(5)
_OCTAL = re.compile(r"\\([0-7]{3})")
# The field before the separator that holds the mount point; the type is the first one after it.
_MOUNT_POINT_FIELD = 4
# One page: what a small checkpoint costs.
_MEASURED_BYTES = 4096

_LOST_WITH = {
    "tmpfs": "is kept in memory and lost at a reboot",
    "ramfs": "is kept in memory and lost at a reboot",
    "overlay": "is part of the container and lost with it",
}
_LOCKS_ON_THE_HOST_ONLY = {
    "nfs": "NFS",
    "nfs4": "NFS",
    "cifs": "SMB",
    "smb3": "SMB",
}
_FUSE = "fuse"


@dataclass(frozen=True, slots=True)
class VolumeKind:
    """The file system of a directory, by the kernel's name for it (`ext4`, `nfs4`, `fuse.s3fs` …).

    `fsync_s` is how long a small file took to reach the disk, in seconds; None when that was not, or could not be,
    measured. Unless `keeps_promises`, waiting events do not survive what a volume should survive. `warning` is a
    sentence for the operator, or None when there is nothing to say.
    """

    file_system: str
    keeps_promises: bool
    warning: str | None
    fsync_s: float | None = None


def volume_of(directory: Path, disk: Disk, monotonic: Callable[[], float]) -> VolumeKind:
    """Return the kind of volume of a directory that is ours, with one fsync measured there; never raises."""
    kind = kind_of_volume(directory)
    # A full volume must not keep the agent from starting: delivering is what makes room.
    with contextlib.suppress(OSError):
        return replace(kind, fsync_s=_measured_sync(directory, disk, monotonic))
    return kind


def kind_of_volume(directory: Path) -> VolumeKind:
    """Return the kind of volume of a directory without writing anything there; never raises."""
    try:
        file_system = file_system_of(directory.resolve(), _MOUNTS.read_text(errors="replace"))
    except OSError:
        file_system = UNKNOWN
    return VolumeKind(file_system, file_system not in _LOST_WITH, warning_about(file_system))


def file_system_of(path: Path, mountinfo: str) -> str:
    """Return the type of the file system that an absolute path is on; `mountinfo` is the kernel's list."""
    found, kind = Path("/"), UNKNOWN
    for line in mountinfo.splitlines():
        mount, separator, source = line.partition(" - ")
        fields = mount.split()
        if not separator or not source or len(fields) <= _MOUNT_POINT_FIELD:
            continue
        point = Path(_OCTAL.sub(lambda code: chr(int(code[1], 8)), fields[_MOUNT_POINT_FIELD]))
        # Of two mounts at one place, the later one covers the other.
        if path.is_relative_to(point) and point.is_relative_to(found):
            found, kind = point, source.split()[0]
    return kind


def warning_about(file_system: str) -> str | None:
    """Return what an operator should know about a file system, or None."""
    if file_system in _LOST_WITH:
        return (
            f"STORAGE_PATH is on {file_system}: what is there {_LOST_WITH[file_system]}, and waiting events with "
            "it; mount a volume."
        )
    if file_system in _LOCKS_ON_THE_HOST_ONLY:
        return (
            f"STORAGE_PATH is on {_LOCKS_ON_THE_HOST_ONLY[file_system]}, where a lock may not be seen by other "
            "hosts: let only one agent of this AGENT_NAME run at a time."
        )
    if file_system == _FUSE or file_system.startswith(f"{_FUSE}."):
        return (
            f"STORAGE_PATH is on {file_system}: whether synced data survives a power cut, and whether a lock is "
            "seen by other hosts, is up to the program behind it."
        )
    return None


def _measured_sync(directory: Path, disk: Disk, monotonic: Callable[[], float]) -> float:
    """Write a page, sync it and remove it; return the seconds that the sync took."""
    path = directory / f"{TEMPORARY_PREFIX}volume"
    # A killed process may have left it; the directory is ours, so nobody else is measuring.
    disk.unlink(path)
    descriptor = disk.create(path)
    try:
        disk.write(descriptor, os.urandom(_MEASURED_BYTES))
        begun_s = monotonic()
        disk.sync(descriptor)
        return monotonic() - begun_s
    finally:
        disk.close(descriptor)
        with contextlib.suppress(OSError):
            disk.unlink(path)
