"""Replicas of one process that share settings, by locks on a real directory or by Leases of a real server."""

import asyncio
import itertools
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

from prometheus_client import CollectorRegistry

from oase_agent.coordination.coordinator import Claim, Coordinator
from oase_agent.coordination.sharing import Clock, Sharing
from oase_agent.coordination.volume import VolumeCoordinator
from oase_agent.errors import Reason, SpoolUnavailable
from oase_agent.telemetry.ownership import OwnershipFacts
from tests.coordination.conftest import Neighbourhood
from tests.coordination.lease_api import LeaseServer

NAMES = [f"setting-{number}" for number in range(12)]


class Worker:
    """What owning means in these tests: who works on what, and never two at a time."""

    def __init__(self, at_work: dict[str, "Worker"]) -> None:
        self._at_work = at_work
        self.told: list[str] = []
        self.refuses: set[str] = set()
        self.slow: dict[str, asyncio.Event] = {}
        self.slow_to_drop: asyncio.Event | None = None

    @property
    def names(self) -> set[str]:
        return {name for name, worker in self._at_work.items() if worker is self}

    async def take(self, claim: Claim) -> None:
        if claim.setting_name in self.refuses:
            raise SpoolUnavailable("the volume does not want to", Reason.DISK)
        assert claim.setting_name not in self._at_work
        self._at_work[claim.setting_name] = self
        self.told.append(f"take {claim.setting_name} {claim.epoch}")

    async def hand_over(self, setting_name: str) -> None:
        if setting_name in self.slow:
            await self.slow[setting_name].wait()
        self._stop(setting_name)
        self.told.append(f"hand over {setting_name}")

    async def drop(self, setting_name: str) -> None:
        self._stop(setting_name)
        if self.slow_to_drop is not None:
            await self.slow_to_drop.wait()
        self.told.append(f"drop {setting_name}")

    def _stop(self, setting_name: str) -> None:
        if self._at_work.get(setting_name) is self:
            del self._at_work[setting_name]


class Replica:
    def __init__(self, coordinator: Coordinator, at_work: dict[str, Worker]) -> None:
        self.worker = Worker(at_work)
        self.coordinator = coordinator
        self.facts = OwnershipFacts(CollectorRegistry(), logging.getLogger("test"))
        self.sharing = Sharing(self.coordinator, self.worker, self.facts, Clock(time.time, time.monotonic))

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Replica"]:
        task = asyncio.create_task(self.sharing.run())
        try:
            yield self
        finally:
            await self.sharing.leave(1.0)
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


class Stage:
    def __init__(
        self, new_coordinator: Callable[[], Coordinator], server: LeaseServer, stack: AsyncExitStack
    ) -> None:
        self.at_work: dict[str, Worker] = {}
        # Of no use where locks coordinate.
        self.server = server
        self._new_coordinator = new_coordinator
        self._stack = stack

    def new_replica(self, names: list[str] | None = None) -> Replica:
        replica = Replica(self._new_coordinator(), self.at_work)
        replica.sharing.want(NAMES if names is None else names)
        return replica

    async def replica(self, names: list[str] | None = None) -> Replica:
        return await self._stack.enter_async_context(self.new_replica(names).running())

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not condition():
                await asyncio.sleep(0.02)


def by_locks(directory: Path) -> Callable[[], Coordinator]:
    return lambda: VolumeCoordinator(directory, str)


def by_leases(neighbourhood: Neighbourhood) -> Callable[[], Coordinator]:
    numbers = itertools.count(1)
    return lambda: neighbourhood.replica(f"pod-{next(numbers)}")
