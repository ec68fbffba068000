"""Limits of the volume: when collecting pauses and resumes, and what is given up for draining (promise P7)."""

import contextlib
import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from oase_agent.disk import Disk
from oase_agent.errors import Reason, SpoolUnavailable
from oase_agent.spool.dead import letter_names, mark_for_replay
from oase_agent.spool.limits import (
    RESERVE_BYTES,
    RESERVE_NAME,
    Admission,
    Reserve,
    SpoolLimits,
    VolumeSpace,
    space_of,
)
from oase_agent.spool.packing import PackLimits
from tests.spool.queue_stage import (
    SETTING,
    START,
    Clock,
    FailingDisk,
    account_of,
    collect,
    files_in,
    open_queue,
)

MIB = 1024 * 1024


class Volume:
    """A volume whose space a test sets."""

    def __init__(self, total: int = 1000 * MIB, free: int = 1000 * MIB, used: int = 0) -> None:
        self.total, self.free, self.used = total, free, used

    def admission(self, max_bytes: int | None = 100 * MIB, min_free: int = 64 * MIB) -> Admission:
        limits = SpoolLimits(max_bytes, min_free)
        return Admission(limits, lambda: self.used, lambda: VolumeSpace(self.total, self.free))


def is_admitted(admission: Admission) -> bool:
    told = ""
    try:
        admission.check()
    except SpoolUnavailable as error:
        told = f"{error.reason}: {error}"
    assert told == ("" if admission.pause is None else f"{Reason.SPOOL_FULL}: {admission.pause}")
    return not told


def test_collecting_pauses_at_the_limit_and_resumes_clearly_below() -> None:
    volume = Volume()
    admission = volume.admission()

    admitted = []
    for used in (99, 100, 99, 96, 95, 94, 99, 100):
        volume.used = used * MIB
        admitted.append(is_admitted(admission))

    assert admitted == [True, False, False, False, False, True, True, False]


def test_collecting_pauses_before_the_volume_is_full_and_resumes_clearly_above() -> None:
    volume = Volume()
    admission = volume.admission(min_free=100 * MIB)

    admitted = []
    for free in (100, 99, 100, 109, 111, 100):
        volume.free = free * MIB
        admitted.append(is_admitted(admission))

    assert admitted == [True, False, False, False, True, True]


def test_without_a_limit_the_spool_takes_four_fifths_of_the_volume() -> None:
    volume = Volume(total=10 * MIB, free=1000 * MIB)
    admission = volume.admission(max_bytes=None)

    volume.used = 8 * MIB - 1
    assert is_admitted(admission)
    volume.used = 8 * MIB
    assert not is_admitted(admission)


@pytest.mark.parametrize(
    ("used", "free", "option"), [(100, 900, "SPOOL_MAX_BYTES"), (0, 1, "SPOOL_MIN_FREE_BYTES")]
)
def test_the_message_names_the_option_to_change(used: int, free: int, option: str) -> None:
    admission = Volume(used=used * MIB, free=free * MIB).admission()

    with pytest.raises(SpoolUnavailable, match=option):
        admission.check()


def test_the_space_of_a_real_volume_is_what_the_system_says(tmp_path: Path) -> None:
    status = os.statvfs(tmp_path)

    space = space_of(tmp_path)

    assert space.total_bytes == status.f_blocks * status.f_frsize
    assert 0 < space.free_bytes <= space.total_bytes


# -- the reserve --------------------------------------------------------------------------------------------


def test_the_reserve_is_made_of_real_bytes_once(tmp_path: Path) -> None:
    reserve = Reserve(Disk(), tmp_path)

    reserve.restore(3 * RESERVE_BYTES)
    path = tmp_path / RESERVE_NAME
    first = path.stat()
    reserve.restore(3 * RESERVE_BYTES)

    assert first.st_size == RESERVE_BYTES
    assert first.st_blocks * 512 >= RESERVE_BYTES
    assert path.stat().st_ino == first.st_ino


def test_the_reserve_waits_until_there_is_room_for_it_twice(tmp_path: Path) -> None:
    reserve = Reserve(Disk(), tmp_path)

    reserve.restore(2 * RESERVE_BYTES)

    assert not (tmp_path / RESERVE_NAME).exists()


def test_giving_the_reserve_up_twice_or_on_a_failing_disk_is_quiet(tmp_path: Path) -> None:
    disk = FailingDisk()
    reserve = Reserve(disk, tmp_path)
    reserve.restore(3 * RESERVE_BYTES)
    disk.arm(1)

    reserve.release()
    reserve.release()
    reserve.release()

    assert not (tmp_path / RESERVE_NAME).exists()


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("act", ["open", "send", "settle", "bury", "narrow", "requeue", "checkpoint"])
def test_a_full_disk_calls_for_the_reserve_to_deliver_and_the_next_attempt_works(
    tmp_path: Path, error: int, act: str
) -> None:
    collect(open_queue(tmp_path, Clock()), "1")
    disk = FailingDisk()
    given_up: list[bool] = []
    queue = open_queue(tmp_path, Clock(), disk, on_full=lambda: given_up.append(True))
    acts: dict[str, Callable[[], object]] = {
        "open": queue.open,
        "send": lambda: queue.before_sending(batch),
        "settle": lambda: queue.settle([batch]),
        "bury": lambda: queue.bury(batch, "content_refused", answer="no", attempts=1),
        "narrow": lambda: queue.narrow(batch, 1),
        "requeue": lambda: queue.requeue([batch]),
        "checkpoint": queue.checkpoint,
    }
    if act != "open":
        [batch] = queue.peek(0)
        collect(queue, time=START + 1)  # without events: the cursor is only in memory
    disk.arm(1, error)

    with pytest.raises(SpoolUnavailable, match="STORAGE_PATH") as caught:
        acts[act]()

    assert caught.value.reason is Reason.DISK
    assert given_up == [True]
    queue.settle(queue.peek(0))
    assert account_of(queue) == (1, 1, 0, 0)


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EDQUOT])
def test_a_collection_that_meets_a_full_disk_at_any_call_leaves_the_reserve_for_draining(
    tmp_path: Path, error: int
) -> None:
    disk = FailingDisk()
    given_up: list[bool] = []

    outcomes = []
    for nth in range(1, 30):
        # A new life each time: its first collection writes the most.
        queue = open_queue(tmp_path, Clock(), disk, on_full=lambda: given_up.append(True))
        queue.open()
        disk.arm(nth, error)
        try:
            collect(queue, str(nth))
        except SpoolUnavailable as failure:
            outcomes.append(failure.reason)
        disk.disarm()

    assert len(outcomes) > 10
    assert set(outcomes) == {Reason.DISK}
    assert given_up == []


def test_packing_and_replaying_on_a_full_disk_leave_the_reserve_for_draining(tmp_path: Path) -> None:
    disk = FailingDisk()
    given_up: list[bool] = []
    queue = open_queue(
        tmp_path, Clock(), disk, on_full=lambda: given_up.append(True), packing=PackLimits(2, 2)
    )
    for number in range(5):
        collect(queue, str(number))
    queue.bury(queue.peek(0)[0], "content_refused", answer="no", attempts=1)
    for name in letter_names(disk, tmp_path / SETTING):
        mark_for_replay(disk, tmp_path / SETTING, name)
    acts: list[Callable[[], object]] = [queue.pack, queue.replay]

    for act in acts:
        queue.open()
        disk.arm(1, errno.ENOSPC)
        with pytest.raises(SpoolUnavailable):
            act()

    assert given_up == []
    assert queue.pack()
    assert queue.replay() == 1
    assert account_of(queue) == (5, 0, 5, 0)


def test_another_error_leaves_the_reserve_alone(tmp_path: Path) -> None:
    disk = FailingDisk()
    given_up: list[bool] = []
    queue = open_queue(tmp_path, Clock(), disk, on_full=lambda: given_up.append(True))
    disk.arm(2, errno.EIO)

    with pytest.raises(SpoolUnavailable):
        queue.open()

    assert given_up == []


def test_a_collection_that_meets_a_full_disk_leaves_no_temporary_file(tmp_path: Path) -> None:
    disk = FailingDisk()
    queue = open_queue(tmp_path, Clock(), disk)
    for nth in range(1, 20):
        disk.arm(nth, errno.ENOSPC)
        with contextlib.suppress(SpoolUnavailable):
            collect(queue, str(nth))
        disk.disarm()
        assert files_in(tmp_path, "tmp") == []

    assert len(disk.failed) > 10
    assert account_of(queue)[0] == account_of(queue)[2]
