"""Real power cuts under a real agent: every event arrives, none twice, and those of one log in their order (D1).

The environment sets `POWER_CUTS`, and `POWER_CUT_SEED` to repeat the choices of a run; both are printed. The moments
themselves depend on the machine, so that each run tries others.

Two controls show that the cuts are real: a file that was not synced is gone, and an agent whose every fsync does
nothing loses or doubles events.
"""

import asyncio
import ctypes.util
import os
import random
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tests.acceptance.stage import Stage
from tests.long.crashable_volume import CrashableVolume
from tests.process.agent_process import PATIENCE_S, AgentProcess
from tests.process.conftest import INTERVAL_S
from tests.process.test_kill import (
    MOMENTS,
    Written,
    assert_each_once_and_logs_in_order,
    assert_nothing_is_wrong,
    delivered_completely,
    sources_of,
    tell,
)

pytestmark = pytest.mark.long

CUTS = int(os.environ.get("POWER_CUTS", "100"))
SEED = int(os.environ.get("POWER_CUT_SEED", time.time_ns() % 1_000_000))
# Without fsync the first or second cut does harm.
CUTS_WITHOUT_FSYNC = 20
# Debian's `eatmydata`: fsync, fdatasync, sync and O_SYNC do nothing.
NO_FSYNC = ctypes.util.find_library("eatmydata")


class PoweredAgent(AgentProcess):
    """An agent whose machine loses its power."""

    def freeze(self) -> None:
        """Return when no thread of it executes its program any more; one that waits for the disk may go on to."""
        self.send(signal.SIGSTOP)
        while not all(state in {"T", "D"} for state in self._states()):
            time.sleep(0)

    def _states(self) -> Iterator[str]:
        for task in Path(f"/proc/{self._process.pid}/task").iterdir():
            # The command's name stands in brackets and may hold anything; the state follows.
            yield (task / "stat").read_text().rpartition(")")[2].split()[0]


class PowerCuts:
    """Runs agents one after the other, each on what the power cut left of the volume of the one before."""

    def __init__(self, volume: CrashableVolume, stage: Stage, written: Written) -> None:
        self._volume = volume
        self._stage = stage
        self.written = written
        self._chance = random.Random(SEED)
        self._writer: asyncio.Task[None] | None = None
        self.resolved = 0

    async def live_and_cut(self, environment: Mapping[str, str]) -> PoweredAgent:
        """Start an agent, let it work for a while, and cut the power; return what is left of it."""
        async with PoweredAgent.start(environment) as agent:
            if self._writer is None:
                await self._begin_to_write()
            elif self._chance.random() < 0.5:
                await self._written_so_far_arrived()
            moment = self._chance.choice(MOMENTS)
            await moment(self._stage, self.written, self._chance)
            agent.freeze()
            copy = self._volume.snapshot()
            await agent.kill()
        self._volume.go_on_with(copy)
        self.resolved += len(agent.log("fence_resolved"))
        return agent

    async def _begin_to_write(self) -> None:
        # A log is collected from the agent's first start on.
        for log in self.written.logs.values():
            await log.wait_for(lambda log: bool(log.requests), PATIENCE_S)
        self._writer = asyncio.create_task(self.written.write(random.Random(SEED)))

    async def _written_so_far_arrived(self) -> None:
        wanted = {name: ids.total() for name, ids in self.written.expected().items()}
        await self._stage.workspace.wait_for(
            lambda workspace: all(workspace.count(name) >= count for name, count in wanted.items()),
            PATIENCE_S,
        )

    async def stop_writing(self) -> None:
        """Return when nothing is written any more."""
        if self._writer is not None:
            self._writer.cancel()
            await asyncio.gather(self._writer, return_exceptions=True)

    def harm(self) -> list[str]:
        """Tell what is wrong with the events that arrived up to now: gaps and wrong places in logs, doubles."""
        harm = []
        for name in self.written.logs:
            arrived = self._stage.workspace.ids_of(name)
            if arrived != self.written.ids_of_log(name)[: len(arrived)]:
                harm.append(f"{name}: a line is missing, double or out of order")
        for name in self.written.alerts:
            doubles = Counter(self._stage.workspace.ids_of(name))
            if doubles and max(doubles.values()) > 1:
                harm.append(f"{name}: an alert arrived twice")
        return harm


@pytest.fixture
async def cuts(volume: CrashableVolume, stage: Stage) -> AsyncIterator[PowerCuts]:
    tell(f"POWER_CUT_SEED={SEED}")
    cuts = PowerCuts(volume, stage, await sources_of(stage))
    yield cuts
    await cuts.stop_writing()


def environment_of(stage: Stage, **more: str) -> dict[str, str]:
    return {**stage.environment, "EXECUTE_INTERVAL": str(INTERVAL_S), **more}


async def test_power_cut_at_any_moment_every_event_arrives_once(
    cuts: PowerCuts, stage: Stage, count: Callable[[str, object], None]
) -> None:
    for number in range(CUTS):
        agent = await cuts.live_and_cut(environment_of(stage))
        tell(f"cut {number}: {stage.workspace.count()} events arrived")
        assert_nothing_is_wrong(agent)
        assert cuts.harm() == []
    await cuts.stop_writing()

    async with PoweredAgent.start(environment_of(stage)) as agent:
        await agent.logged("settings_loaded")
        try:
            await delivered_completely(agent, cuts.written)
        finally:
            assert_each_once_and_logs_in_order(stage, cuts.written)
    assert_nothing_is_wrong(agent)
    arrived = stage.workspace.count()
    count("power cuts", f"{CUTS}, events: {arrived}, lost answers made up for: {cuts.resolved}")


@pytest.mark.skipif(
    NO_FSYNC is None, reason="Fsync cannot be switched off here; on Debian: apt-get install eatmydata"
)
async def test_power_cuts_do_harm_to_an_agent_whose_fsync_does_nothing(
    cuts: PowerCuts, stage: Stage, count: Callable[[str, object], None]
) -> None:
    assert NO_FSYNC is not None
    harm: list[str] = []
    number = 0
    while not harm and number < CUTS_WITHOUT_FSYNC:
        try:
            await cuts.live_and_cut(environment_of(stage, LD_PRELOAD=NO_FSYNC))
        except* TimeoutError:
            # It waited for what an earlier agent had collected: nobody will deliver that any more.
            harm.append("events never arrive")
        harm += cuts.harm()
        number += 1

    assert harm != []
    count("cuts without fsync until harm was done", f"{number}: {', '.join(harm)}")


def test_a_cut_keeps_what_was_synced_and_takes_what_was_not(volume: CrashableVolume) -> None:
    content = b"content" * 1000
    synced, unsynced = (volume.mount_point / name for name in ("synced", "unsynced"))
    with synced.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    unsynced.write_bytes(content)

    volume.cut()

    assert synced.read_bytes() == content
    assert not unsynced.exists() or unsynced.read_bytes() == b""
