"""A pod as processes of this machine: its containers as rendered, with an address of their own on loopback."""

import asyncio
import itertools
import os
import signal
import socket
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.chart.manifests import Manifest, Manifests
from tests.chart_wiring.container_process import PATIENCE_S, ContainerProcess, http_status
from tests.chart_wiring.kubelet_environment import (
    CannotStart,
    Environment,
    PodFacts,
    command_line,
    container_environment,
)
from tests.chart_wiring.kubelet_volumes import Mounts, Node

ANY_ADDRESS = {"", "0.0.0.0", "::"}
# Where every program in a pod looks for its token.
_SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"

_numbers = itertools.count(1)


@dataclass(frozen=True)
class Container:
    """A container of a pod, ready to start. `environment` is as the kubelet gives it, with paths in the container."""

    manifest: Manifest
    environment: Environment
    mounts: Mounts
    port: int
    """Where its admin server listens on this machine: as rendered, unless something else has that port."""

    @property
    def name(self) -> str:
        return str(self.manifest["name"])

    @property
    def storage(self) -> Path:
        """What its STORAGE_PATH is on this machine."""
        return Path(self.mounts.here(self.environment["STORAGE_PATH"]))

    @property
    def setting_names(self) -> list[str]:
        return [name.strip() for name in self.environment["EVENT_COLLECTION_SETTINGS_NAMES"].split(",")]

    def container_port(self, probe: str) -> int:
        """Return the port in the container that a probe asks, `startupProbe` for example."""
        port = self.manifest[probe]["httpGet"]["port"]
        ports = {found["name"]: found["containerPort"] for found in self.manifest["ports"]}
        return int(ports[port] if isinstance(port, str) else port)


class Pod:
    """One pod on a node. Its `emptyDir`s are its own; its claims are the node's."""

    def __init__(
        self,
        name: str,
        template: Manifest,
        objects: Manifests,
        node: Node,
        logs: Path,
        api_server: tuple[str, int],
    ) -> None:
        """Prepare volumes and environments. Raises CannotStart."""
        self.spec = template["spec"]
        self._logs = logs / name
        metadata = template["metadata"]
        self.facts = PodFacts(
            name=name,
            namespace=metadata.get("namespace", "exastro"),
            address=_address(),
            service_account=self.spec.get("serviceAccountName", "default"),
            labels=metadata.get("labels") or {},
            annotations=metadata.get("annotations") or {},
            api_server=api_server,
        )
        self.init_containers = [*self._prepared("initContainers", objects, node)]
        self.containers = [*self._prepared("containers", objects, node)]
        self.running: dict[str, ContainerProcess] = {}

    async def initialise(self) -> None:
        """Run the init containers, one after the other. Raises CannotStart if one fails."""
        for container in self.init_containers:
            process = await self._started(container)
            if await process.ended() != 0:
                raise CannotStart(f"{container.name} failed: {process.output}")

    async def start(self) -> None:
        """Start all containers."""
        for container in self.containers:
            self.running[container.name] = await self._started(container)

    async def passes(self, container: Container, probe: str) -> None:
        """Wait until a probe of a container succeeds. Raises TimeoutError; AssertionError if the container ended."""
        asked = container.manifest[probe]["httpGet"]
        assert container.container_port(probe) == int(container.environment["ADMIN_PORT"])
        assert asked.get("scheme", "HTTP") == "HTTP"
        async with asyncio.timeout(PATIENCE_S):
            while await http_status(self.facts.address, container.port, asked["path"]) != 200:
                process = self.running[container.name]
                assert process.is_running, f"{container.name} ended: {process.output}"
                await asyncio.sleep(0.05)

    async def ended(self, within_s: float = PATIENCE_S) -> dict[str, int]:
        """Wait until all containers have ended; return their exit codes by name. Raises TimeoutError."""
        codes = [process.ended(within_s) for process in self.running.values()]
        return dict(zip(self.running, await asyncio.gather(*codes), strict=True))

    async def stopped(self) -> dict[str, int]:
        """Stop it as the kubelet does; return the exit codes. Raises TimeoutError after its grace period."""
        for process in self.running.values():
            process.send(signal.SIGTERM)
        return await self.ended(float(self.spec["terminationGracePeriodSeconds"]))

    async def kill(self) -> None:
        """End what still runs."""
        for process in self.running.values():
            await process.kill()

    def _prepared(self, kind: str, objects: Manifests, node: Node) -> Iterator[Container]:
        for manifest in self.spec.get(kind) or []:
            environment = container_environment(manifest, objects, self.facts)
            mounts = node.mounts(manifest, self.spec, self.facts, environment)
            wanted = int(environment.get("ADMIN_PORT", "0"))
            yield Container(manifest, environment, mounts, _port(self.facts.address, wanted))

    async def _started(self, container: Container) -> ContainerProcess:
        words = command_line(container.manifest, container.environment)
        return await ContainerProcess.start(
            container.manifest,
            [container.mounts.here(word) for word in words],
            {**self._environment_here(container), **_temporary(container)},
            self._logs / f"{container.name}.log",
            pod_context=self.spec.get("securityContext") or {},
        )

    def _environment_here(self, container: Container) -> Environment:
        """Return the environment with places of this machine, as the mounts and the pod's network would do it."""
        here = {name: container.mounts.here(text) for name, text in container.environment.items()}
        if container.mounts.here(_SERVICE_ACCOUNT) != _SERVICE_ACCOUNT:
            here["SERVICE_ACCOUNT_PATH"] = container.mounts.here(_SERVICE_ACCOUNT)
        if "ADMIN_PORT" in here:
            here["ADMIN_PORT"] = str(container.port)
            if here.get("ADMIN_HOST", "") in ANY_ADDRESS:
                here["ADMIN_HOST"] = self.facts.address
        return here


def _temporary(container: Container) -> Mapping[str, str]:
    """Return what stands for an agent's own temporary directory. Raises CannotStart if it has none."""
    if container.manifest["command"] != ["oase-agent"]:
        return {}
    return {"TMPDIR": str(container.mounts.temporary())}


def _address() -> str:
    """Return a loopback address that no other pod has, also not those of tests that run beside this one."""
    process = os.getpid()
    return f"127.{1 + process // 250 % 250}.{1 + process % 250}.{next(_numbers)}"


def _port(address: str, wanted: int) -> int:
    """Return `wanted` if it is free at the address, else another free port."""
    for port in (wanted, 0):
        with socket.socket() as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((address, port))
            return int(probe.getsockname()[1])
    raise OSError(f"no free port at {address}")
