"""The whole agent on a volume that is full, read-only, failing, gone, or not there yet.

A small tmpfs is mounted for each test that needs one, and unmounted whatever happens; where that is not allowed, the
test is skipped. The workspace and the sources are the simulators, over real sockets.
"""

import errno
import logging
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from oase_agent.app import agent as agent_module
from oase_agent.app import build as build_module
from oase_agent.app.agent import Agent
from oase_agent.app.build import agent_directory
from oase_agent.disk import Disk
from oase_agent.retry import RetryPolicy
from oase_agent.simulators.log_page import LogPageSimulator
from oase_agent.spool import spool as spool_module
from oase_agent.spool.limits import RESERVE_NAME
from tests.acceptance.stage import Stage

MIB = 1 << 20
EVENT_BYTES = 2_000
FILLER = "filler"


class Volume:
    """A small file system in memory, mounted at `path`."""

    def __init__(self, path: Path, size_mib: int) -> None:
        self.path = path
        self._size_mib = size_mib
        self._mounts = 0

    def mount(self) -> None:
        """Mount it; the content is new each time."""
        self.path.mkdir(exist_ok=True)
        call = ["mount", "-t", "tmpfs", "-o", f"size={self._size_mib}m", "tmpfs", str(self.path)]
        done = subprocess.run(call, capture_output=True, check=False)
        if done.returncode:
            pytest.skip(f"mounting is not allowed here: {done.stderr.decode(errors='replace').strip()}")
        self._mounts += 1

    def move(self, elsewhere: Path) -> None:
        """Take the volume, content and all, to another place: at its path there is an empty directory."""
        elsewhere.mkdir(exist_ok=True)
        # A mount that is shared with other name spaces cannot be moved, but bound and let go.
        subprocess.run(["mount", "--bind", str(self.path), str(elsewhere)], check=True)
        subprocess.run(["umount", "--lazy", str(self.path)], check=True)
        self.path, self._elsewhere = elsewhere, self.path

    def remount(self, option: str) -> None:
        """Remount it `ro` or `rw`."""
        subprocess.run(["mount", "-o", f"remount,{option}", str(self.path)], check=True)

    def fill(self) -> None:
        """Let somebody else take all the room that is left."""
        with (self.path / FILLER).open("ab", buffering=0) as file:
            try:
                while file.write(bytes(4096)):
                    pass
            except OSError as error:
                assert error.errno == errno.ENOSPC

    def unfill(self) -> None:
        """Give that room back."""
        (self.path / FILLER).unlink()

    def unmount(self) -> None:
        """Unmount it, as often as it was mounted."""
        for _ in range(self._mounts):
            subprocess.run(["umount", "--lazy", str(self.path)], check=True)
        self._mounts = 0


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Callable[[int], Volume]]:
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root may mount")
    volumes: list[Volume] = []

    def make(size_mib: int) -> Volume:
        volumes.append(Volume(tmp_path / f"volume-{len(volumes)}", size_mib))
        return volumes[-1]

    try:
        yield make
    finally:
        for volume in volumes:
            volume.unmount()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look after the spool, and try again after trouble, in tenths of seconds: the tests' time is dear."""
    monkeypatch.setattr(agent_module, "_MAINTENANCE_S", 0.1)
    monkeypatch.setattr(agent_module, "_STANDBY_LOOK_S", 0.1)
    delays = RetryPolicy.delay_s
    monkeypatch.setattr(
        RetryPolicy, "delay_s", lambda *arguments: min(0.2, delays(*arguments))
    )


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


def reserve_of(stage: Stage) -> Path:
    return agent_directory(stage.config()) / RESERVE_NAME


def all_lines(logs: LogPageSimulator) -> list[str]:
    """Return the ids of every line that a source ever wrote."""
    return [str(number) for number in range(1, logs._next_id)]


async def everything_arrived_once(stage: Stage, logs: LogPageSimulator) -> None:
    lines = all_lines(logs)
    await stage.arrived("logs", len(lines))
    await stage.until(lambda: stage.waiting("logs") == 0)
    assert stage.workspace.ids_of("logs") == lines
    figures = stage.setting("logs").figures
    assert figures is not None
    assert (figures.collected, figures.delivered, figures.dead) == (len(lines), len(lines), 0)


# -- a full volume ------------------------------------------------------------------------------------------


async def test_p7_a_volume_that_fills_up_while_the_workspace_is_away_drains_by_its_reserve_and_resumes(
    stage: Stage, volume: Callable[[int], Volume], caplog: pytest.LogCaptureFixture
) -> None:
    # The reserve is made where it fits twice: 12 MiB are the least that hold one, and leave 8 MiB for events.
    small = volume(12)
    small.mount()
    stage.environment = {}
    stage.storage = small.path
    caplog.set_level(logging.INFO, "oase_agent")
    agent, logs = await running(stage)
    await stage.until(reserve_of(stage).exists)
    await stage.workspace.refuse()

    # Several collections, until the agent itself pauses.
    while agent.status().is_ready or "SPOOL_MIN_FREE_BYTES" not in unready(agent):
        logs.fill(200, EVENT_BYTES)
        written = len(logs.requests) + 2
        await logs.wait_for(lambda source, enough=written: len(source.requests) >= enough or _paused(agent), 20)
    polls = len(logs.requests)
    # Somebody else takes the rest: not even a checkpoint has room now.
    small.fill()
    logs.fill(50, EVENT_BYTES)
    assert reserve_of(stage).exists()
    assert "collecting waits until there is room" in unready(agent)

    await stage.workspace.resume()
    await stage.until(lambda: not reserve_of(stage).exists())
    small.unfill()

    await everything_arrived_once(stage, logs)
    assert len(logs.requests) > polls
    await stage.until(lambda: agent.status().is_ready)
    await stage.until(reserve_of(stage).exists)
    [found] = [record for record in caplog.records if getattr(record, "action", "") == "volume_found"]
    assert (found.levelname, found.facts["file_system"]) == ("WARNING", "tmpfs")  # type: ignore[attr-defined]
    assert not [record for record in caplog.records if getattr(record, "action", "") == "task_failed"]


def _paused(agent: Agent) -> bool:
    return "SPOOL_MIN_FREE_BYTES" in unready(agent)
