"""Locks on a directory: what the kernel frees, what somebody removes, and what a lock is worth then."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from oase_agent.coordination import volume
from oase_agent.coordination.volume import VolumeCoordinator
from oase_agent.errors import CoordinationUnavailable, OwnershipLost

# A member that lives until its standard input ends, and tells when it has its settings.
_MEMBER = """
import asyncio, sys
from pathlib import Path
from oase_agent.coordination.volume import VolumeCoordinator

async def main():
    member = VolumeCoordinator(Path(sys.argv[1]), str)
    await member.join()
    print(member.name, *[(await member.claim(name)).epoch for name in sys.argv[2:]], flush=True)
    sys.stdin.read()

asyncio.run(main())
"""


@contextmanager
def other_process(directory: Path, *names: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Give a member in a process of its own that owns these settings, and its name."""
    process = subprocess.Popen(
        [sys.executable, "-c", _MEMBER, str(directory), *names],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        name = process.stdout.readline().split()[0]
        try:
            yield process, name
        finally:
            process.kill()


async def joined(directory: Path) -> VolumeCoordinator:
    member = VolumeCoordinator(directory, str)
    await member.join()
    return member


def member_file(directory: Path, member: VolumeCoordinator) -> Path:
    return directory / "replicas" / "members" / member.name


async def test_a_killed_member_is_gone_at_once_and_its_settings_are_free_under_a_higher_epoch(
    tmp_path: Path,
) -> None:
    first = await joined(tmp_path)
    with other_process(tmp_path, "web") as (process, name):
        assert set((await first.view()).members) == {first.name, name}
        assert await first.claim("web") is None
        process.kill()
        process.wait()
        assert set((await first.view()).members) == {first.name}
        claim = await first.claim("web")
    assert claim is not None
    assert claim.epoch == 2
    # Nobody is left behind in the directory, either.
    assert [path.name for path in (tmp_path / "replicas" / "members").iterdir()] == [first.name]
    await first.leave()


async def test_who_is_just_starting_is_not_taken_for_dead(tmp_path: Path) -> None:
    first = await joined(tmp_path)
    second = await joined(tmp_path)
    for _ in range(20):
        assert set((await first.view()).members) == {first.name, second.name}
        assert set((await second.view()).members) == {first.name, second.name}
    await second.leave()
    assert set((await first.view()).members) == {first.name}
    await first.leave()


async def test_who_has_lost_its_place_confirms_nothing_and_takes_a_new_one(tmp_path: Path) -> None:
    first = await joined(tmp_path)
    assert await first.claim("web") is not None
    await first.confirm(0.0)
    member_file(tmp_path, first).unlink()
    with pytest.raises(OwnershipLost):
        await first.confirm(0.0)
    assert not first.is_sure
    await first.join()
    await first.confirm(0.0)
    # What it had is claimed anew, if nobody else was faster.
    assert dict((await first.view()).owners) == {}
    claim = await first.claim("web")
    assert claim is not None
    assert claim.epoch == 2
    await first.leave()


async def test_a_lost_place_shows_without_a_post(tmp_path: Path) -> None:
    first = await joined(tmp_path)
    member_file(tmp_path, first).unlink()
    with pytest.raises(CoordinationUnavailable):
        await first.view()
    assert not first.is_sure
    await first.leave()


async def test_a_lock_on_a_file_that_somebody_removed_is_worth_nothing(tmp_path: Path) -> None:
    first, second = await joined(tmp_path), await joined(tmp_path)
    assert await first.claim("web") is not None
    assert await first.claim("db") is not None
    (tmp_path / "replicas" / "claims" / "web").unlink()
    assert dict((await first.view()).owners) == {"db": first.name}
    assert await second.claim("web") is not None
    assert await first.claim("web") is None
    assert await second.claim("db") is None
    await first.leave()
    assert await second.claim("db") is not None
    await second.leave()


async def test_a_file_that_is_removed_as_it_is_locked_is_not_taken_for_a_claim(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = await joined(tmp_path), await joined(tmp_path)
    place = tmp_path / "replicas" / "claims" / "web"
    lock = volume._lock

    def too_late(descriptor: int, kind: int) -> bool:
        monkeypatch.setattr(volume, "_lock", lock)
        place.unlink()
        return lock(descriptor, kind)

    monkeypatch.setattr(volume, "_lock", too_late)
    assert await first.claim("web") is not None
    assert place.exists()
    assert await second.claim("web") is None
    await first.leave()
    await second.leave()


async def test_after_the_whole_directory_was_removed_everybody_begins_anew(tmp_path: Path) -> None:
    first, second = await joined(tmp_path), await joined(tmp_path)
    assert await first.claim("web") is not None
    shutil.rmtree(tmp_path / "replicas")
    for member in (first, second):
        with pytest.raises(CoordinationUnavailable):
            await member.view()
        await member.join()
    assert set((await first.view()).members) == {first.name, second.name}
    assert await second.claim("web") is not None
    assert await first.claim("web") is None
    await first.leave()
    await second.leave()


async def test_a_claim_whose_content_was_lost_begins_again_at_one(tmp_path: Path) -> None:
    first = await joined(tmp_path)
    for content in (b"", b"garbage", b"\xff\xff\xff", b"12"):
        claim = await first.claim("web")
        assert claim is not None
        await first.release("web")
        (tmp_path / "replicas" / "claims" / "web").write_bytes(content)
    claim = await first.claim("web")
    assert claim is not None
    # A number is a number, also without the name that should follow.
    assert claim.epoch == 13
    await first.leave()


async def test_a_directory_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    (tmp_path / "replicas").write_text("a file where a directory should be")
    member = VolumeCoordinator(tmp_path, str)
    with pytest.raises(CoordinationUnavailable, match="STORAGE_PATH"):
        await member.join()
    assert not member.is_sure
