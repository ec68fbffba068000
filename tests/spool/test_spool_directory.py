"""The directory of an agent: who owns it, which queues it holds, and what does not belong there."""

import errno
from pathlib import Path

import pytest

from oase_agent.disk import Disk
from oase_agent.spool.known_ids import IdPolicy
from oase_agent.spool.limits import SpoolLimits
from oase_agent.spool.packing import PackLimits
from oase_agent.spool.spool import Spool, setting_directory
from tests.spool.queue_stage import Clock, Witness, account_of, collect, flip, waiting_ids


def spool_in(
    directory: Path,
    *,
    disk: Disk | None = None,
    witness: Witness | None = None,
    packing: PackLimits | None = None,
) -> Spool:
    return Spool(
        directory,
        limits=SpoolLimits(None, 0),
        ids=IdPolicy(retention_h=168),
        now=Clock(),
        telemetry=witness or Witness(),
        disk=disk,
        packing=packing,
    )


def names_of(spool: Spool) -> list[str]:
    spool.open_existing()
    return sorted(queue.setting_name for queue in spool.queues())


@pytest.mark.parametrize(
    ("name", "slug"), [("Web 01", "web-01"), ("日本語", "setting"), ("a" * 99, "a" * 40), ("", "setting")]
)
def test_a_directory_is_readable_and_unique(name: str, slug: str) -> None:
    assert setting_directory(name).rsplit("-", 1)[0] == slug
    assert setting_directory(name) != setting_directory(name + " ")
    assert setting_directory(name) == setting_directory(name)


def test_names_that_differ_only_in_case_have_their_own_directories() -> None:
    assert setting_directory("web") != setting_directory("WEB")


def test_one_process_owns_the_directory_at_a_time(tmp_path: Path) -> None:
    first, second = spool_in(tmp_path), spool_in(tmp_path)

    assert first.try_own()
    assert not second.try_own()
    first.disown()
    assert second.try_own()
    second.disown()


def test_who_owns_the_directory_owns_it_when_asked_again(tmp_path: Path) -> None:
    # The agent asks again after a failure of the volume at its start; it must not wait for itself.
    spool = spool_in(tmp_path)
    assert spool.try_own()
    try:
        assert spool.try_own()
    finally:
        spool.close()


def test_every_setting_that_left_a_directory_has_a_queue_again(tmp_path: Path) -> None:
    spool = spool_in(tmp_path)
    for name in ("web-01", "日本語", "WEB-01"):
        collect(spool.queue(name), "1")

    again = spool_in(tmp_path)

    assert names_of(again) == ["WEB-01", "web-01", "日本語"]
    assert [waiting_ids(queue) for queue in again.queues()] == [["1"]] * 3


@pytest.mark.parametrize("stranger", ["file", "empty directory", "directory of others"])
def test_what_is_not_a_queue_is_ignored(tmp_path: Path, stranger: str) -> None:
    collect(spool_in(tmp_path).queue("web-01"), "1")
    place = tmp_path / "s" / ".stranger"
    if stranger == "file":
        place.write_bytes(b"x")
    else:
        place.mkdir()
    if stranger == "directory of others":
        (place / "readme.txt").write_bytes(b"x")

    assert names_of(spool_in(tmp_path)) == ["web-01"]


def test_one_directory_that_cannot_be_read_does_not_hide_the_others(tmp_path: Path) -> None:
    for name in ("a", "b"):
        collect(spool_in(tmp_path).queue(name), "1")

    class OneBadBlock(Disk):
        def read(self, path: Path, offset: int = 0) -> bytes:
            if path.parent.name.startswith("a-"):
                raise OSError(errno.EIO, "Input/output error")
            return super().read(path, offset)

    assert "b" in names_of(spool_in(tmp_path, disk=OneBadBlock()))


def test_a_queue_whose_checkpoints_are_all_damaged_is_told_although_its_setting_is_gone(
    tmp_path: Path,
) -> None:
    # Without the name in a checkpoint nobody asks for this queue again: its events would wait in silence for ever.
    spool = spool_in(tmp_path)
    collect(spool.queue("web-01"), "1")
    for path in (tmp_path / "s").glob("web-01-*/state.*"):
        flip(path, 20)
    witness = Witness()

    again = spool_in(tmp_path, witness=witness)
    is_there = names_of(again) == ["web-01"]

    assert is_there or witness.damages


def test_closing_makes_the_cursor_of_empty_collections_durable(tmp_path: Path) -> None:
    spool = spool_in(tmp_path)
    assert spool.try_own()
    collect(spool.queue("web-01"), "1")
    collect(spool.queue("web-01"), time=1_700_000_500)
    spool.close()

    again = spool_in(tmp_path)
    assert again.try_own()
    assert again.queue("web-01").read_cursor().last_fetched_time == 1_700_000_500
    assert account_of(again.queue("web-01")) == (1, 0, 1, 0)
    again.close()


def test_listeners_hear_that_something_waits(tmp_path: Path) -> None:
    heard: list[str] = []
    spool = spool_in(tmp_path)
    spool.listen(lambda: heard.append("first"))
    spool.listen(lambda: heard.append("second"))

    spool.announce()

    assert heard == ["first", "second"]


class OneBadDirectory(Disk):
    """A disk that cannot create files in one directory."""

    def __init__(self) -> None:
        self.bad: str | None = None

    def create(self, path: Path, mode: int = 0o600) -> int:
        if path.parent.name == self.bad:
            raise OSError(errno.EIO, "Input/output error")
        return super().create(path, mode)


def test_trouble_of_one_queue_does_not_keep_the_others_from_being_maintained(tmp_path: Path) -> None:
    disk, witness, names = OneBadDirectory(), Witness(), ("a", "b", "c")
    spool = spool_in(tmp_path, disk=disk, witness=witness, packing=PackLimits(start_files=2, run_files=2))
    for name in names:
        for number in range(3):
            collect(spool.queue(name), str(number))

    def files(name: str) -> int:
        return len(list((tmp_path / "s" / setting_directory(name)).glob("out.*")))

    disk.bad = setting_directory("a")
    spool.maintain()
    trouble = witness.trouble_of("volume", "a")
    assert trouble is not None
    assert "'a'" in trouble.message
    assert witness.trouble_of("volume", "b") is None
    assert [files(name) for name in names] == [3, 2, 2]

    disk.bad = None
    spool.maintain()
    assert witness.trouble_of("volume", "a") is None
    assert [files(name) for name in names] == [2, 2, 2]
