"""Several agents of one name as processes: one volume, one workspace, sources, and one Lease API, or locks.

Every event is counted by its id at the workspace: what is missing was lost, what is there twice was doubled.
"""

import asyncio
import itertools
import signal
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import orjson

from oase_agent.simulators.log_page import LogPageSimulator
from tests.acceptance.stage import Stage
from tests.coordination.lease_api import LeaseServer, serving_leases
from tests.process.agent_process import AgentProcess
from tests.unit.source_servers import Authority

INTERVAL_S = 3
NAMESPACE = "exastro"


class Replica:
    """One process; `token` tells it apart at the Lease API."""

    def __init__(self, token: str, environment: Mapping[str, str]) -> None:
        self.token = token
        self.is_paused = False
        self.is_ending = False
        self._started: asyncio.Future[AgentProcess] = asyncio.get_running_loop().create_future()
        self._over = asyncio.Event()
        # The whole life is in one task, whoever starts and ends it.
        self._life = asyncio.create_task(self._live(environment), name=f"replica {token}")

    async def _live(self, environment: Mapping[str, str]) -> None:
        async with AgentProcess.start(environment) as process:
            self._started.set_result(process)
            await self._over.wait()

    async def started(self) -> "Replica":
        """Return when its process runs. Raises why it could not be started."""
        while not self._started.done():
            if self._life.done():
                await self._life
            await asyncio.sleep(0.01)
        return self

    @property
    def process(self) -> AgentProcess:
        """The process."""
        return self._started.result()

    async def status(self) -> dict[str, Any]:
        """Return what `/api/status` says."""
        _, text = await self.process.ask("/api/status")
        found: dict[str, Any] = orjson.loads(text)
        return found

    async def owned(self, members: int) -> set[str] | None:
        """Return the settings that it owns, or None if it does not see so many members."""
        status = await self.status()
        if status["sharing"] is None or len(status["sharing"]["replicas"]) != members:
            return None
        return {setting["name"] for setting in status["settings"] if setting["owned_since_s"] is not None}

    def pause(self) -> None:
        """Stop it as a frozen node would."""
        self.is_paused = True
        self.process.send(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on as if nothing had happened."""
        self.is_paused = False
        self.process.send(signal.SIGCONT)

    async def stop(self) -> None:
        """Stop it in order."""
        self.is_ending = True
        self.process.send(signal.SIGTERM)
        await self.process.ended()
        await self.close()

    async def kill(self) -> None:
        """End it at this moment."""
        self.is_ending = True
        await self.process.kill()
        await self.close()

    async def close(self) -> None:
        """See that nothing of it is left."""
        self.is_ending = True
        self._over.set()
        await self._life


class ReplicaStage:
    """Simulators in this process, replicas as its children. `engine` is `volume` or `kubernetes`."""

    def __init__(
        self, stage: Stage, stack: AsyncExitStack, directory: Path, engine: str, lease_s: float
    ) -> None:
        self.stage = stage
        self.engine = engine
        self.server = LeaseServer(NAMESPACE)
        self.sources: dict[str, LogPageSimulator] = {}
        # Those that run, paused ones included.
        self.replicas: list[Replica] = []
        self._stack = stack
        self._directory = directory
        self._lease_s = lease_s
        self._tokens = (f"pod-{number}" for number in itertools.count(1))
        self._authority = Authority(directory)
        self._written: Counter[str] = Counter()

    async def open(self, settings: int) -> None:
        """Start workspace, sources and Lease API."""
        await self.stage.open()
        for number in range(settings):
            name = f"logs-{number}"
            self.sources[name] = await self.stage.logs(name)
        if self.engine == "kubernetes":
            tls = self._authority.server_context("127.0.0.1")
            await self._stack.enter_async_context(serving_leases(self.server, tls))

    async def start(self) -> Replica:
        """Start one more replica; returns before it works."""
        token = next(self._tokens)
        environment = self.stage.environment | {
            "EXECUTE_INTERVAL": str(INTERVAL_S),
            "COORDINATION": self.engine,
            "COORDINATION_LEASE_S": str(self._lease_s),
            **(self._in_a_pod(token) if self.engine == "kubernetes" else {}),
        }
        replica = Replica(token, environment)
        self._stack.push_async_callback(replica.close)
        await replica.started()
        self.replicas.append(replica)
        return replica

    def _in_a_pod(self, token: str) -> dict[str, str]:
        account = self._directory / f"account-{token}"
        account.mkdir()
        (account / "token").write_text(token)
        (account / "ca.crt").write_bytes(self._authority.file.read_bytes())
        return {
            "POD_NAME": token,
            "POD_NAMESPACE": NAMESPACE,
            "KUBERNETES_SERVICE_HOST": "127.0.0.1",
            "KUBERNETES_SERVICE_PORT": str(self.server.port),
            "SERVICE_ACCOUNT_PATH": str(account),
        }

    # -- events -------------------------------------------------------------------------------------------

    def write(self, name: str, lines: int) -> None:
        """Let a source report more lines."""
        self.sources[name].fill(lines, 100)
        self._written[name] += lines

    async def everything_arrives(self, seconds: float) -> None:
        """Wait until as many events are there as were written. Raises TimeoutError."""
        async with asyncio.timeout(seconds):
            while any(
                len(set(self.stage.workspace.ids_of(name))) < count for name, count in self._written.items()
            ):
                await asyncio.sleep(0.2)

    def arrived_of(self, name: str) -> int:
        """Return how many events of a setting are at the workspace."""
        return self.stage.workspace.count(name)

    @property
    def written(self) -> int:
        """How many events there were so far."""
        return self._written.total()

    def lost_and_doubled(self) -> tuple[int, int]:
        """Return how many events did not arrive, and how many arrived more than once."""
        lost = doubled = 0
        for name, count in self._written.items():
            ids = self.stage.workspace.ids_of(name)
            lost += count - len(set(ids))
            doubled += len(ids) - len(set(ids))
        return lost, doubled

    # -- owners -------------------------------------------------------------------------------------------

    async def stop(self, replica: Replica) -> None:
        """Stop a replica in order."""
        self.replicas.remove(replica)
        await replica.stop()

    async def kill(self, replica: Replica) -> None:
        """End a replica at this moment."""
        self.replicas.remove(replica)
        await replica.kill()

    async def shared_by(self, *replicas: Replica, seconds: float = 30.0) -> None:
        """Wait until these know of each other, and every setting has one owner among them.

        Who owns how many is chance: names of members are drawn. Raises TimeoutError.
        """
        async with asyncio.timeout(seconds):
            while True:
                found = [await replica.owned(len(replicas)) for replica in replicas]
                owned = [names for names in found if names is not None]
                everything = set().union(*owned)
                is_exact = sum(map(len, owned)) == len(everything) == len(self.sources)
                if is_exact and len(owned) == len(replicas):
                    return
                await asyncio.sleep(0.1)


@asynccontextmanager
async def replica_stage(
    directory: Path, engine: str, *, settings: int, lease_s: float
) -> AsyncIterator[ReplicaStage]:
    """Give a stage with its simulators; everything ends with the context."""
    async with AsyncExitStack() as simulators, AsyncExitStack() as processes:
        stage = Stage(simulators, directory / "storage")
        found = ReplicaStage(stage, processes, directory, engine, lease_s)
        await found.open(settings)
        yield found
