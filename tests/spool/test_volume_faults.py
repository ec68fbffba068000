"""The whole agent on a volume that is full, read-only, failing, gone, or not there yet.

A small tmpfs is mounted for each test that needs one, and unmounted whatever happens; where that is not allowed, the
test is skipped. The workspace and the sources are the simulators, over real sockets.
"""

import asyncio
import contextlib
import errno
import logging
import os
import re
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import BinaryIO

import pytest

from oase_agent.app import agent as agent_module
from oase_agent.app.agent import Agent
from oase_agent.app.agent_directory import agent_directory
from oase_agent.disk import Disk
from oase_agent.retry import RetryPolicy
from oase_agent.simulators.faults import Fault
from oase_agent.simulators.log_page import LogPageSimulator
from oase_agent.spool import spool as spool_module
from oase_agent.spool.limits import RESERVE_NAME, space_of
from tests.acceptance.stage import Stage
from tests.acceptance.steps import waits

MIB = 1 << 20
LINE_BYTES = 2_000


class Volume:
    """A small file system in memory; `path` is where the agent looks for it."""

    def __init__(self, path: Path, size_mib: int) -> None:
        self.path = path
        self._home = path.with_name(f"{path.name}-home")
        self._read_only = path.with_name(f"{path.name}-read-only")
        for place in (path, self._home, self._read_only):
            place.mkdir()
        _call("mount", "-t", "tmpfs", "-o", f"size={size_mib}m", "tmpfs", str(self._home))
        try:
            # In a place of its own: where files are open for writing, a mount does not become read-only.
            _call("mount", "--bind", str(self._home), str(self._read_only))
            _call("mount", "-o", "remount,bind,ro", str(self._read_only))
        except subprocess.CalledProcessError:
            self.remove()
            raise

    def attach(self, *, is_read_only: bool = False) -> None:
        """Make the volume appear at `path`, over what was there."""
        _call("mount", "--bind", str(self._read_only if is_read_only else self._home), str(self.path))

    def detach(self) -> None:
        """Take away what appeared last at `path`: open files stay open, the content stays on the volume."""
        _call("umount", "--lazy", str(self.path))

    def fill(self) -> None:
        """Let somebody else take all the room that is left."""
        filler = os.open(self._home / "filler", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with contextlib.suppress(OSError):
            while True:
                os.write(filler, bytes(4096))
        os.close(filler)
        assert space_of(self._home).free_bytes == 0

    def unfill(self) -> None:
        """Give that room back."""
        (self._home / "filler").unlink()

    def remove(self) -> None:
        """Unmount it everywhere."""
        for place in (self.path, self._read_only, self._home):
            while os.path.ismount(place):
                _call("umount", "--lazy", str(place))


def _call(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


class MoodyDisk(Disk):
    """A disk that refuses one kind of call while `error` is set."""

    def __init__(self) -> None:
        self.error: int | None = None
        self.call = ""
        self.failed = 0

    def create(self, path: Path, mode: int = 0o600) -> int:
        self._fail_if_told("create")
        return super().create(path, mode)

    def write(self, descriptor: int, data: bytes | memoryview) -> None:
        self._fail_if_told("write")
        super().write(descriptor, data)

    def sync(self, descriptor: int) -> None:
        self._fail_if_told("sync")
        super().sync(descriptor)

    def close(self, descriptor: int) -> None:
        super().close(descriptor)
        self._fail_if_told("close")

    def sync_directory(self, directory: Path) -> None:
        self._fail_if_told("sync directory")
        super().sync_directory(directory)

    def open(self, path: Path, offset: int = 0) -> BinaryIO:
        self._fail_if_told("open")
        return super().open(path, offset)

    def _fail_if_told(self, call: str) -> None:
        if self.error is not None and call == self.call:
            self.failed += 1
            raise OSError(self.error, os.strerror(self.error))


@pytest.fixture
def new_volume(tmp_path: Path) -> Iterator[Callable[[int], Volume]]:
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root may mount")
    volumes: list[Volume] = []

    def make(size_mib: int) -> Volume:
        try:
            volumes.append(Volume(tmp_path / f"volume-{len(volumes)}", size_mib))
        except subprocess.CalledProcessError as error:
            pytest.skip(f"mounting is not allowed here: {error.stderr.decode(errors='replace').strip()}")
        return volumes[-1]

    try:
        yield make
    finally:
        for volume in volumes:
            volume.remove()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look after the spool, and try again after trouble, in tenths of seconds: the tests' time is dear."""
    monkeypatch.setattr(agent_module, "_MAINTENANCE_S", 0.1)
    monkeypatch.setattr(agent_module, "_STANDBY_LOOK_S", 0.1)
    delays = RetryPolicy.delay_s
    monkeypatch.setattr(RetryPolicy, "delay_s", lambda *arguments: min(0.2, delays(*arguments)))


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with AsyncExitStack() as stack:
        stage = Stage(stack, tmp_path / "storage")
        try:
            yield stage
        finally:
            await stage.close()


async def running(stage: Stage, **environment: str) -> tuple[Agent, LogPageSimulator]:
    """Start an agent with one source, and return when its first cursor is set."""
    await stage.open()
    logs = await stage.logs("logs")
    agent = await stage.start_collecting("logs", **environment)
    return agent, logs


def unready(agent: Agent) -> str:
    return " ".join(agent.status().unready)


def failed_collections(agent: Agent) -> float:
    """Return how many collections the volume made fail."""
    labels = {"setting": "logs", "outcome": "disk"}
    return agent._telemetry.registry.get_sample_value("oase_agent_collections_total", labels) or 0


def reserve_of(stage: Stage) -> Path:
    return agent_directory(stage.config()) / RESERVE_NAME


async def everything_arrived_once(stage: Stage, count: int) -> None:
    """Wait until the source's lines are delivered and say so; their ids count from 1."""
    lines = [str(number) for number in range(1, count + 1)]
    await stage.arrived("logs", count)
    await stage.until(lambda: stage.waiting("logs") == 0)
    assert stage.workspace.ids_of("logs") == lines
    figures = stage.setting("logs").figures
    assert figures is not None
    assert (figures.collected, figures.delivered, figures.dead) == (count, count, 0)


def actions(caplog: pytest.LogCaptureFixture, action: str) -> list[logging.LogRecord]:
    return [record for record in caplog.records if getattr(record, "action", "") == action]


# -- a full volume ------------------------------------------------------------------------------------------


async def test_p7_a_volume_that_fills_up_while_the_workspace_is_away_drains_by_its_reserve_and_resumes(
    stage: Stage, new_volume: Callable[[int], Volume], caplog: pytest.LogCaptureFixture
) -> None:
    # The reserve is made where it fits twice: of 12 MiB it leaves 8 MiB for events.
    volume = new_volume(12)
    volume.attach()
    stage.storage = volume.path
    caplog.set_level(logging.INFO, "oase_agent")
    agent, logs = await running(stage, SPOOL_MIN_FREE_BYTES=str(3 * MIB))
    await stage.until(reserve_of(stage).exists)
    await stage.workspace.refuse()
    written = 0
    while not _is_paused(agent):
        logs.fill(150, LINE_BYTES)
        written += 150
        await _all_collected_or_a_pause(stage, agent, written)
    # Somebody else takes the rest: not even a checkpoint has room now.
    volume.fill()
    logs.fill(100, LINE_BYTES)
    assert reserve_of(stage).exists()
    assert "collecting waits until there is room" in unready(agent)

    await stage.workspace.resume()
    await stage.until(lambda: not reserve_of(stage).exists())
    volume.unfill()

    await everything_arrived_once(stage, written + 100)
    await stage.until(lambda: agent.status().is_ready)
    # What left last is removed with the next checkpoint; then there is room for a new reserve.
    logs.fill(1, LINE_BYTES)
    await everything_arrived_once(stage, written + 101)
    await stage.until(reserve_of(stage).exists)
    assert actions(caplog, "task_failed") == []
    [found] = actions(caplog, "volume_found")
    assert found.levelname == "WARNING"
    assert vars(found)["facts"]["file_system"] == "tmpfs"


async def _all_collected_or_a_pause(stage: Stage, agent: Agent, written: int) -> None:
    # Not just one more poll: what piles up at the source could become an answer that never fits.
    def is_collected() -> bool:
        figures = agent.status().settings[0].figures
        return figures is not None and figures.collected >= written

    await stage.until(lambda: is_collected() or _is_paused(agent))


def _is_paused(agent: Agent) -> bool:
    return "SPOOL_MIN_FREE_BYTES" in unready(agent)


async def test_p7_a_spool_at_its_limit_pauses_collecting_and_resumes_clearly_below(stage: Stage) -> None:
    limit = 4 * MIB
    agent, logs = await running(stage, SPOOL_MAX_BYTES=str(limit), MAX_POST_BYTES=str(64 * 1024))
    await stage.workspace.refuse()
    # Small files at the head, so that the way down from the limit has steps: one file a POST.
    for number in range(1, 9):
        logs.fill(25, LINE_BYTES)
        await waits(stage, "logs", 25 * number)
    logs.fill(1_800, LINE_BYTES)
    await stage.until(lambda: "SPOOL_MAX_BYTES" in unready(agent))
    logs.fill(25, LINE_BYTES)
    polls = len(logs.requests)
    stage.workspace.faults.add(Fault.slow(before_s=0.25, times=None, endpoint="events"))
    paused_at: set[int] = set()

    def has_resumed() -> bool:
        paused_at.update(int(used) for used in re.findall(r"holds (\d+) bytes", unready(agent)))
        return len(logs.requests) > polls

    await stage.workspace.resume()
    await stage.until(has_resumed)
    stage.workspace.faults.clear()

    assert max(paused_at) >= limit
    assert [used for used in paused_at if used < limit] != []
    assert min(paused_at) >= 0.95 * limit
    await everything_arrived_once(stage, 8 * 25 + 1_800 + 25)
    assert agent.status().is_ready


# -- a volume that is read-only, gone, or not there yet -----------------------------------------------------


async def test_a_volume_that_is_read_only_for_a_while_loses_nothing(
    stage: Stage, new_volume: Callable[[int], Volume], caplog: pytest.LogCaptureFixture
) -> None:
    volume = new_volume(16)
    volume.attach()
    stage.storage = volume.path
    agent, logs = await running(stage)
    await stage.workspace.refuse()
    logs.fill(10, LINE_BYTES)
    await waits(stage, "logs", 10)

    volume.attach(is_read_only=True)
    logs.fill(10, LINE_BYTES)
    await stage.until(lambda: "Read-only" in unready(agent))
    await stage.workspace.resume()
    await stage.until(lambda: agent.status().unready == () or "Read-only" in unready(agent))
    assert "Read-only" in unready(agent)
    volume.detach()

    await everything_arrived_once(stage, 20)
    await stage.until(lambda: agent.status().is_ready)
    assert actions(caplog, "task_failed") == []


async def test_a_volume_that_is_not_mounted_yet_is_waited_for(
    stage: Stage, new_volume: Callable[[int], Volume]
) -> None:
    volume = new_volume(16)
    volume.attach(is_read_only=True)
    stage.storage = volume.path
    await stage.open()
    logs = await stage.logs("logs")
    starting = asyncio.create_task(stage.start())
    await stage.until(lambda: stage.agent is not None)
    agent = stage.agent
    assert agent is not None
    await stage.until(lambda: "STORAGE_PATH cannot be used (Read-only file system)" in unready(agent))
    assert not starting.done()

    volume.detach()
    volume.attach()
    await starting
    await stage.until(lambda: stage.is_collected("logs"))
    logs.fill(3, LINE_BYTES)

    await everything_arrived_once(stage, 3)
    await stage.until(lambda: agent.status().is_ready)


async def test_a_volume_that_vanishes_and_comes_back_loses_nothing_and_leaves_nothing_in_its_place(
    stage: Stage, new_volume: Callable[[int], Volume], caplog: pytest.LogCaptureFixture
) -> None:
    volume = new_volume(16)
    volume.attach()
    stage.storage = volume.path
    agent, logs = await running(stage)
    await stage.workspace.refuse()
    logs.fill(10, LINE_BYTES)
    await waits(stage, "logs", 10)

    # An empty folder is left, which could be written to: it is not our volume.
    volume.detach()
    logs.fill(10, LINE_BYTES)
    await stage.workspace.resume()
    await stage.until(lambda: "volume" in unready(agent))
    await stage.until(lambda: failed_collections(agent) >= 5)
    assert list(volume.path.iterdir()) == []
    volume.attach()

    await everything_arrived_once(stage, 20)
    await stage.until(lambda: agent.status().is_ready)
    assert actions(caplog, "task_failed") == []


# -- a volume that fails ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "call"),
    [
        (errno.EDQUOT, "write"),
        (errno.EDQUOT, "close"),
        (errno.EIO, "create"),
        (errno.EIO, "sync"),
        (errno.EIO, "sync directory"),
        (errno.EIO, "open"),
    ],
    ids=lambda value: errno.errorcode[value] if isinstance(value, int) else value,
)
async def test_a_volume_that_fails_for_a_while_loses_nothing_and_is_told(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: int, call: str
) -> None:
    disk = MoodyDisk()
    monkeypatch.setattr(spool_module, "Disk", lambda: disk)
    agent, logs = await running(stage)
    logs.fill(5, LINE_BYTES)
    await stage.arrived("logs", 5)
    await stage.workspace.refuse()
    logs.fill(5, LINE_BYTES)
    await waits(stage, "logs", 5)

    disk.call, disk.error = call, error
    logs.fill(5, LINE_BYTES)
    await stage.workspace.resume()
    await stage.until(lambda: disk.failed >= 3 and os.strerror(error) in unready(agent))
    disk.error = None

    await everything_arrived_once(stage, 15)
    await stage.until(lambda: agent.status().is_ready)
    assert actions(caplog, "task_failed") == []
