"""A layout on its stage: simulators, a release rendered for them, a node, pods."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

from oase_agent.simulators.settings_table import setting_row
from oase_agent.simulators.sources import AlertmanagerSimulator
from oase_agent.simulators.workspace import WorkspaceSimulator
from tests.chart.manifests import Manifest, Manifests, is_hook
from tests.chart_wiring.container_process import PATIENCE_S
from tests.chart_wiring.kubelet_volumes import Node
from tests.chart_wiring.layouts import (
    EXAMPLES,
    PASSWORD,
    REFRESH_TOKEN,
    USERNAME,
    Workspace,
    for_simulators,
    prepared_objects,
    workspaces_of,
)
from tests.chart_wiring.pod import Container, Pod
from tests.coordination.lease_api import LeaseServer, serving_leases
from tests.unit.source_servers import Authority


class Chart(Protocol):
    """Helm's engine for this chart."""

    def render(self, values: Mapping[str, Any]) -> Manifests:
        """Return the objects of an installation in the namespace `exastro`."""

    def values(self, path: Path) -> dict[str, Any]:
        """Read a values file."""


class LayoutStage:
    """One layout, rendered; nothing runs before `start_pods`."""

    def __init__(self, stack: AsyncExitStack, chart: Chart, directory: Path, authority: Authority) -> None:
        self._stack = stack
        self._chart = chart
        self._directory = directory
        self._authority = authority
        self._workspaces: dict[Workspace, WorkspaceSimulator] = {}
        self.source: AlertmanagerSimulator
        self.api_server = LeaseServer("exastro")
        self._node: Node
        self.release = Manifests()
        self.objects = Manifests()
        self.pods: list[Pod] = []

    async def open(self, name: str, options: Mapping[str, str] = MappingProxyType({})) -> None:
        """Start the simulators that a values file of the examples needs, and render it for them.

        `options` are added to those of every agent.
        """
        values = self._chart.values(EXAMPLES / f"{name}.yaml")
        for agent in values["ita-ag-oase"]["agents"] if options else []:
            agent["extraEnv"].update(options)
        self.source = await self._stack.enter_async_context(AlertmanagerSimulator())
        self.source.fire({"alertname": "InstanceDown"})
        for organization, workspace in sorted(workspaces_of(values)):
            simulator = WorkspaceSimulator(
                organization_id=organization,
                workspace_id=workspace,
                refresh_token=REFRESH_TOKEN,
                username=USERNAME,
                password=PASSWORD,
            )
            self._workspaces[organization, workspace] = await self._stack.enter_async_context(simulator)
        urls = {workspace: simulator.url for workspace, simulator in self._workspaces.items()}
        self.release = self._chart.render(for_simulators(values, urls))
        authority = self._authority.file.read_text(encoding="ascii")
        self.objects = Manifests({**prepared_objects(authority), **self.release})
        if self.release.all("Role"):
            await self._serve_leases()
        self._node = Node(self._directory / "node", self.objects)

    def make_pods(self) -> None:
        """Prepare the pods of every Deployment, and their settings in the workspace. Raises CannotStart."""
        for deployment in self.release.all("Deployment"):
            for number in range(deployment["spec"].get("replicas", 1)):
                name = f"{deployment['metadata']['name']}-{number}"
                self.pods.append(self.pod(name, deployment["spec"]["template"]))
            for container in self.pods[-1].containers:
                self._add_settings(container)

    async def start_pods(self) -> None:
        """Make the pods, run their init containers, then start their containers."""
        self.make_pods()
        await asyncio.gather(*(pod.initialise() for pod in self.pods))
        await asyncio.gather(*(pod.start() for pod in self.pods))

    def pod(self, name: str, template: Manifest) -> Pod:
        """Prepare a pod; it is ended with the test. Raises CannotStart."""
        api_server = ("127.0.0.1", self.api_server.port or 443)
        pod = Pod(name, template, self.objects, self._node, self._directory / "logs", api_server)
        self.api_server.tokens.add(pod.facts.token)
        self._stack.push_async_callback(pod.kill)
        return pod

    def told(self) -> str:
        """Return what all containers wrote so far."""
        logs = sorted((self._directory / "logs").glob("*/*.log"))
        return "\n".join(f"--- {log.parent.name} {log.stem}\n{log.read_text('utf-8')}" for log in logs)

    def test_pods(self) -> list[Pod]:
        """Prepare the pods of `helm test`. Raises CannotStart."""
        found = [found for found in self.release.values() if found["kind"] == "Pod" and is_hook(found)]
        return [self.pod(pod["metadata"]["name"], pod) for pod in found]

    def is_on_a_claim(self, place: Path) -> bool:
        """Tell whether a place outlives its pod."""
        return self._directory / "node" / "claims" in place.parents

    def agents(self) -> Iterator[tuple[Pod, Container]]:
        """Yield every container of every pod."""
        for pod in self.pods:
            for container in pod.containers:
                yield pod, container

    async def events_arrive(self) -> None:
        """Wait until each agent's workspace has an event of each of its settings. Raises TimeoutError."""
        for _, container in self.agents():
            await self.workspace_of(container).wait_for(_has_events_of(container), PATIENCE_S)

    async def _serve_leases(self) -> None:
        """Start an API server that lets nobody write what the Roles do not name."""
        rules = [rule for role in self.release.all("Role") for rule in role["rules"]]
        names = {name for rule in rules for name in rule.get("resourceNames", [])}
        self.api_server.allowed_names = names.__contains__
        tls = self._authority.server_context("127.0.0.1")
        await self._stack.enter_async_context(serving_leases(self.api_server, tls))

    def workspace_of(self, container: Container) -> WorkspaceSimulator:
        """Return the workspace that a container's agent posts to."""
        known = container.environment
        return self._workspaces[known["EXASTRO_ORGANIZATION_ID"], known["EXASTRO_WORKSPACE_ID"]]

    def _add_settings(self, container: Container) -> None:
        url = f"{self.source.url}/api/v2/alerts"
        for name in container.setting_names:
            self.workspace_of(container).add_setting(setting_row(name, url, EVENT_ID_KEY="fingerprint"))


def _has_events_of(container: Container) -> Callable[[WorkspaceSimulator], bool]:
    agent_name = container.environment["AGENT_NAME"]

    def has_events(workspace: WorkspaceSimulator) -> bool:
        return all(
            any(stored.agent_name == agent_name for stored in workspace.acceptance.stored(name))
            for name in container.setting_names
        )

    return has_events
