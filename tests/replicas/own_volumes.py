"""Replicas with a volume of their own each: a process that comes back finds what it left there."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from oase_agent.simulators.faults import Fault
from tests.acceptance.stage import Stage
from tests.replicas.replica_stage import INTERVAL_S, Replica, ReplicaStage

RECORD = "oase-agent.exastro.org/record"


class OwnVolumesStage(ReplicaStage):
    """Replicas over the Lease API, by the names of their volumes."""

    def __init__(self, stage: Stage, stack: AsyncExitStack, directory: Path, lease_s: float) -> None:
        super().__init__(stage, stack, directory, "kubernetes", lease_s)
        self._lives = itertools.count(1)

    async def start_on(self, volume: str) -> Replica:
        """Start a replica on a volume that is new, or that another one used before."""
        token = f"{volume}-{next(self._lives)}"
        environment = self.stage.environment | {
            "EXECUTE_INTERVAL": str(INTERVAL_S),
            "COORDINATION": "kubernetes",
            "COORDINATION_VOLUME": "own",
            "COORDINATION_LEASE_S": str(self._lease_s),
            "STORAGE_PATH": str(self._directory / volume),
            **self._in_a_pod(token),
        }
        replica = Replica(token, environment)
        self._stack.push_async_callback(replica.close)
        self.replicas.append(replica)
        return await replica.started()

    # -- the workspace ------------------------------------------------------------------------------------

    def workspace_is_away(self) -> None:
        """Let every delivery fail from now on, without storing anything."""
        self.stage.workspace.faults.add(Fault.status(503, times=None, endpoint="events"))

    def workspace_loses_answers(self) -> None:
        """Let every delivery be stored from now on, and its answer be lost."""
        self.stage.workspace.faults.add(Fault.lost_answer(times=None, endpoint="events"))

    def workspace_is_back(self) -> None:
        """Let deliveries succeed again."""
        self.stage.workspace.faults.clear()

    # -- what the claims say ------------------------------------------------------------------------------

    def record(self, name: str) -> dict[str, Any] | None:
        """Return what the claim of a setting carries for its next owner."""
        for lease in self.server.leases.values():
            annotations = lease["metadata"]["annotations"]
            if annotations.get("oase-agent.exastro.org/setting") == name and RECORD in annotations:
                found: dict[str, Any] = json.loads(annotations[RECORD])
                return found
        return None

    async def until(self, condition: Any, seconds: float = 30.0) -> None:
        """Wait until a condition holds. Raises TimeoutError."""
        async with asyncio.timeout(seconds):
            while not condition():
                await asyncio.sleep(0.05)

    def counted(self) -> dict[str, int]:
        """Return the last batch of every setting that its claim counts."""
        records = {name: self.record(name) for name in self.sources}
        return {name: 0 if record is None else record["seq"] for name, record in records.items()}

    async def carried_beyond(self, before: dict[str, int]) -> None:
        """Wait until every claim counts more than it did."""
        await self.until(lambda: all(seq > before[name] for name, seq in self.counted().items()))

    # -- the events ---------------------------------------------------------------------------------------

    async def arrived(self, events: int, seconds: float = 30.0) -> None:
        """Wait until so many events of every setting are there."""
        ids_of = self.stage.workspace.ids_of
        await self.until(lambda: all(len(set(ids_of(name))) >= events for name in self.sources), seconds)

    async def collected(self, replica: Replica, waiting: int) -> None:
        """Wait until so many events of every setting wait at a replica."""
        async with asyncio.timeout(30):
            while not all(events >= waiting for events in await self._waiting(replica)):
                await asyncio.sleep(0.1)

    async def nothing_is_left(self, *replicas: Replica) -> None:
        """Wait until nothing waits anywhere that a replica knows of."""
        async with asyncio.timeout(30):
            while any([any(await self._waiting(replica)) for replica in replicas]):
                await asyncio.sleep(0.1)

    async def _waiting(self, replica: Replica) -> list[int]:
        settings = (await replica.status())["settings"]
        return [setting["figures"]["waiting"] if setting["figures"] else 0 for setting in settings]


@asynccontextmanager
async def own_volumes_stage(
    directory: Path, *, settings: int, lease_s: float
) -> AsyncIterator[OwnVolumesStage]:
    """Give a stage with its simulators; everything ends with the context."""
    async with AsyncExitStack() as simulators, AsyncExitStack() as processes:
        stage = Stage(simulators, directory / "unused")
        found = OwnVolumesStage(stage, processes, directory, lease_s)
        await found.open(settings)
        yield found
