"""What kind of volume the spool is on: read from the kernel's list of mounts, and told in one sentence."""

import errno
import itertools
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from oase_agent.disk import Disk
from oase_agent.spool.volume import file_system_of, kind_of_volume, volume_of, warning_about

MOUNTS = "\n".join(
    (
        "20 1 8:1 / / rw,relatime - ext4 /dev/sda rw",
        "21 20 0:5 / /var/my\\040data rw,relatime shared:1 - xfs /dev/sdb rw",
        "22 20 0:6 / /var/my\\040data rw,relatime - nfs4 server:/x rw",
        "23 20 0:7 / /var/my rw - tmpfs tmpfs rw",
        "24 20 0:8 / /smb rw shared:2 master:1 - cifs //server/share rw,nobrl",
        "25 20 0:9 / /s3 rw - fuse.s3fs s3fs rw",
        "26 20 0:10 / /storage rw - btrfs /dev/sdc rw",
        "27 26 0:11 /sub /storage/inner rw - overlay overlay rw,lowerdir=/a - b",
    )
)


@pytest.mark.parametrize(
    ("path", "file_system"),
    [
        ("/var/my data/org", "nfs4"),  # of two mounts at one place the later one, and \040 is a blank
        ("/var/my data", "nfs4"),
        ("/var/mydata", "ext4"),  # not below /var/my
        ("/var/my/x", "tmpfs"),
        ("/smb/a/b", "cifs"),
        ("/s3", "fuse.s3fs"),
        ("/storage", "btrfs"),
        ("/storage/inner/deep", "overlay"),
        ("/storage/innermost", "btrfs"),
        ("/", "ext4"),
    ],
)
def test_the_file_system_is_that_of_the_innermost_and_latest_mount(path: str, file_system: str) -> None:
    assert file_system_of(Path(path), MOUNTS) == file_system


@pytest.mark.parametrize(
    "text", ["", "\n", "nonsense", "1 2 3 - ext4", "20 1 8:1 / / rw - ", "20 1 8:1 / / rw"]
)
def test_a_list_that_does_not_tell_leaves_the_file_system_unknown(text: str) -> None:
    assert file_system_of(Path("/var"), text) == "unknown"


def test_a_line_that_cannot_be_read_does_not_hide_the_others() -> None:
    assert file_system_of(Path("/storage"), f"nonsense\n{MOUNTS}\n1 2 3 - x y") == "btrfs"


@pytest.mark.parametrize("file_system", ["ext4", "xfs", "btrfs", "unknown", "ceph", "f2fs"])
def test_a_volume_that_keeps_its_promises_needs_no_warning(file_system: str) -> None:
    assert warning_about(file_system) is None


@pytest.mark.parametrize(
    ("file_system", "words"),
    [
        ("tmpfs", "lost at a reboot"),
        ("ramfs", "lost at a reboot"),
        ("overlay", "lost with it"),
        ("nfs", "only one agent"),
        ("nfs4", "only one agent"),
        ("cifs", "only one agent"),
        ("smb3", "only one agent"),
        ("fuse", "up to the program"),
        ("fuse.s3fs", "up to the program"),
    ],
)
def test_a_warning_says_what_is_at_stake_and_names_the_setting(file_system: str, words: str) -> None:
    warning = warning_about(file_system)

    assert warning is not None
    assert words in warning
    assert "STORAGE_PATH" in warning


def test_a_sync_is_measured_and_nothing_is_left_behind(tmp_path: Path) -> None:
    # What a process that was killed while it measured left behind does not matter.
    (tmp_path / "tmp.volume").write_bytes(b"x")
    seconds = itertools.count(5, 2)

    volume = volume_of(tmp_path, Disk(), lambda: float(next(seconds)))

    assert volume.fsync_s == 2.0
    assert volume.file_system == kind_of_volume(tmp_path).file_system
    assert list(tmp_path.iterdir()) == []


def test_a_full_volume_is_not_measured_and_raises_nothing(tmp_path: Path) -> None:
    class Full(Disk):
        def write(self, descriptor: int, data: bytes | memoryview) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

    volume = volume_of(tmp_path, Full(), lambda: 0.0)

    assert volume.fsync_s is None
    assert volume.file_system == kind_of_volume(tmp_path).file_system
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_is_not_there_is_on_the_volume_of_the_one_above(tmp_path: Path) -> None:
    assert kind_of_volume(tmp_path / "a" / "b") == kind_of_volume(tmp_path)


@pytest.fixture
def memory_volume(tmp_path: Path) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("only root may mount")
    place = tmp_path / "memory volume"
    place.mkdir()
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)], capture_output=True, check=False
    )
    if mount.returncode:
        pytest.skip(f"mounting is not allowed here: {mount.stderr.decode(errors='replace').strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def test_a_real_tmpfs_is_recognized_through_a_link_and_keeps_no_promise(
    tmp_path: Path, memory_volume: Path
) -> None:
    link = tmp_path / "link"
    link.symlink_to(memory_volume)

    volume = volume_of(link, Disk(), iter((1.0, 1.5)).__next__)

    assert volume.file_system == "tmpfs"
    assert not volume.keeps_promises
    assert volume.warning is not None
    assert volume.fsync_s == 0.5
