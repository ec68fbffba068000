"""A volume without any space left: it still drains, and takes events again when there is room (promise P7)."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from oase_agent.errors import SpoolUnavailable
from oase_agent.spool.known_ids import IdPolicy
from oase_agent.spool.limits import RESERVE_BYTES, RESERVE_NAME, SpoolLimits, space_of
from oase_agent.spool.queue import SettingQueue
from oase_agent.spool.spool import Spool
from tests.spool.queue_stage import SETTING, START, Clock, Witness, account_of, collect, ids_in, waiting_ids

MIB = 1024 * 1024


@pytest.fixture
def small_volume(tmp_path: Path) -> Iterator[Path]:
    """A tmpfs of 12 MiB; only root can have one."""
    mount = tmp_path / "volume"
    mount.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(mount)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("a small volume can only be mounted by root")
    yield mount
    subprocess.run(["umount", "--lazy", str(mount)], check=True)


class FencedWorkspace:
    """Takes batches one by one, unless it has them already: what was settled in memory only is sent again."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self._latest: int | None = None

    def take_one(self, queue: SettingQueue) -> None:
        with contextlib.suppress(SpoolUnavailable):
            if not queue.position_is_known:
                queue.learn_position(self._latest)
            for batch in queue.peek(0):
                queue.before_sending(batch)
                if self._latest is None or batch.group_time > self._latest:
                    self._latest = batch.group_time
                    self.ids += ids_in([batch])
                queue.settle([batch])


def fill(volume: Path) -> Path:
    filler = volume / "filler"
    descriptor = os.open(filler, os.O_WRONLY | os.O_CREAT)
    try:
        for size in (64 * 1024, 4096, 1):
            with contextlib.suppress(OSError):
                while True:
                    os.write(descriptor, b"x" * size)
    finally:
        os.close(descriptor)
    assert space_of(volume).free_bytes == 0
    return filler


def test_a_full_volume_drains_by_its_reserve_and_takes_events_again_when_there_is_room(
    small_volume: Path,
) -> None:
    witness = Witness()
    spool = Spool(
        small_volume / "agent",
        limits=SpoolLimits(None, MIB),
        ids=IdPolicy(retention_h=168),
        now=Clock(),
        telemetry=witness,
    )
    spool.open_existing()
    (small_volume / "agent").mkdir()
    spool.maintain()
    queue = spool.queue(SETTING)
    for number in range(20):
        collect(queue, str(number), time=START + number)
    filler = fill(small_volume)
    assert (small_volume / "agent" / RESERVE_NAME).exists()

    with pytest.raises(SpoolUnavailable):
        collect(queue, "too much", pad="x" * 10_000)
    assert (small_volume / "agent" / RESERVE_NAME).exists()
    workspace = FencedWorkspace()
    for _ in range(40):
        workspace.take_one(queue)
    assert workspace.ids == [str(number) for number in range(20)]
    assert not (small_volume / "agent" / RESERVE_NAME).exists()
    assert account_of(queue) == (20, 20, 0, 0)

    filler.unlink()
    spool.admission.check()
    spool.maintain()
    assert (small_volume / "agent" / RESERVE_NAME).stat().st_size == RESERVE_BYTES
    collect(queue, "after", time=START + 100)
    assert waiting_ids(queue) == ["after"]
    assert witness.damages == []
