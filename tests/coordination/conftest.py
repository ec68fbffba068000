"""Replicas of one process on a Lease API of their own, with leases of seconds instead of half a minute."""

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from oase_agent.coordination.kubernetes.api import ApiServer, LeaseApi
from oase_agent.coordination.kubernetes.coordinator import KubernetesCoordinator
from oase_agent.coordination.kubernetes.lease import base_name
from oase_agent.coordination.kubernetes.membership import Clocks, Timing
from oase_agent.errors import CoordinationUnavailable
from oase_agent.telemetry.ownership import OwnershipFacts
from tests.coordination.lease_api import LeaseServer, serving_leases
from tests.unit.source_servers import Authority

BASE = base_name("org001", "ws01", "agent-1")
LEASE_S = 2.0


@dataclass
class Hands:
    """What the clocks of one replica show: how far they are ahead of the others', in seconds."""

    monotonic_s: float = 0.0
    wall_s: float = 0.0

    def clocks(self) -> Clocks:
        """Return the clocks."""
        return Clocks(
            lambda: time.monotonic() + self.monotonic_s, lambda: time.time() + self.wall_s, random.random
        )


@dataclass
class Neighbourhood:
    """A Lease API and the replicas that use it, by their tokens."""

    server: LeaseServer
    directory: Path
    authority: Authority
    slots: int = 5
    lease_s: float = LEASE_S
    coordinators: list[KubernetesCoordinator] = field(default_factory=list)

    def api(self, token: str) -> LeaseApi:
        """Return a client whose token is in a file of its own, `token-<token>`."""
        token_file = self.directory / f"token-{token}"
        token_file.write_text(token)
        api_server = ApiServer(
            f"https://127.0.0.1:{self.server.port}", self.server.namespace, token_file, self.authority.file
        )
        return LeaseApi(api_server, BASE, OwnershipFacts(CollectorRegistry(), logging.getLogger("test")))

    def replica(self, token: str, hands: Hands | None = None) -> KubernetesCoordinator:
        """Return a coordinator that has not joined yet."""
        coordinator = KubernetesCoordinator(
            self.api(token),
            BASE,
            slots=self.slots,
            pod_name=token,
            timing=Timing.of(self.lease_s),
            clocks=(hands or Hands()).clocks(),
        )
        self.coordinators.append(coordinator)
        return coordinator

    async def joined(self, token: str, hands: Hands | None = None) -> KubernetesCoordinator:
        """Return a coordinator that is a member."""
        coordinator = self.replica(token, hands)
        await coordinator.join()
        return coordinator


def sees(replica: KubernetesCoordinator, *names: str) -> Callable[[], Awaitable[bool]]:
    """Return whether a replica takes exactly these for alive."""

    async def sees_them() -> bool:
        return set((await replica.view()).members) == set(names)

    return sees_them


def owned_by(
    replica: KubernetesCoordinator, setting: str, owner: str | None
) -> Callable[[], Awaitable[bool]]:
    """Return whether a replica knows that a setting has this owner, or none."""

    async def is_owned() -> bool:
        return (await replica.view()).owners.get(setting) == owner

    return is_owned


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 15.0) -> None:
    """Wait until a condition holds; trouble with the API server is no reason to give up. Raises TimeoutError."""
    async with asyncio.timeout(seconds):
        while True:
            with suppress(CoordinationUnavailable):
                if await condition():
                    return
            await asyncio.sleep(0.02)


@pytest.fixture
async def neighbourhood(tmp_path: Path) -> AsyncIterator[Neighbourhood]:
    async with AsyncExitStack() as stack:
        authority = Authority(tmp_path)
        server = LeaseServer()
        await stack.enter_async_context(serving_leases(server, authority.server_context("127.0.0.1")))
        found = Neighbourhood(server, tmp_path, authority)
        yield found
        for coordinator in found.coordinators:
            await coordinator.leave()
