"""A stage for whole-agent tests: simulators, and a real agent in this process with a short interval."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from oase_agent.app.agent import Agent
from oase_agent.config.groups import AgentConfig
from oase_agent.config.load import load_config
from oase_agent.serve.status import SettingStatus
from oase_agent.simulators.settings_table import setting_row
from oase_agent.simulators.sources import AlertmanagerSimulator, LogPageSimulator, ZabbixSimulator
from oase_agent.simulators.workspace import WorkspaceSimulator
from oase_agent.telemetry import Telemetry

# Operators may not go below three seconds; the tests' time is dearer.
INTERVAL_S = 0.2
PATIENCE_S = 20.0


class Stage:
    """Simulators that are up, and at most one agent."""

    def __init__(self, stack: AsyncExitStack, storage: Path) -> None:
        self._stack = stack
        self.storage = storage
        self.agent: Agent | None = None
        self._running: asyncio.Task[None] | None = None
        self.workspace: WorkspaceSimulator
        self.telemetry: Telemetry
        self.environment: dict[str, str] = {}

    async def open(self, **workspace: Any) -> WorkspaceSimulator:
        """Start the workspace simulator."""
        self.workspace = await self._stack.enter_async_context(WorkspaceSimulator(**workspace))
        self.environment = {
            "EXASTRO_URL": self.workspace.url,
            "EXASTRO_ORGANIZATION_ID": self.workspace.organization_id,
            "EXASTRO_WORKSPACE_ID": self.workspace.workspace_id,
            "EXASTRO_REFRESH_TOKEN": "refresh-token",
            "AGENT_NAME": "agent-1",
            "STORAGE_PATH": str(self.storage),
            "ADMIN_HOST": "127.0.0.1",
            "ADMIN_PORT": "0",
            "SPOOL_MIN_FREE_BYTES": "1MiB",
        }
        return self.workspace

    async def logs(self, name: str, **columns: Any) -> LogPageSimulator:
        """Start a source of log lines and add its setting."""
        source = await self._stack.enter_async_context(LogPageSimulator())
        wanted = {
            "PARAMETER": '{"since": {{ EXASTRO_LAST_FETCHED_TIMESTAMP }}}',
            "RESPONSE_KEY": "lines",
            "EVENT_ID_KEY": "id",
            **columns,
        }
        self.add(name, f"{source.url}/logs", **wanted)
        return source

    async def alerts(self, name: str, **columns: Any) -> AlertmanagerSimulator:
        """Start a source that reports all its active alerts each time, and add its setting."""
        source = await self._stack.enter_async_context(AlertmanagerSimulator())
        self.add(name, f"{source.url}/api/v2/alerts", **{"EVENT_ID_KEY": "fingerprint", **columns})
        return source

    async def zabbix(self, name: str, **columns: Any) -> ZabbixSimulator:
        """Start a JSON-RPC source and add its setting."""
        source = await self._stack.enter_async_context(ZabbixSimulator())
        wanted = {
            "REQUEST_METHOD_ID": "2",
            "REQUEST_HEADER": '{"Content-Type": "application/json-rpc"}',
            "PARAMETER": '{"jsonrpc": "2.0", "method": "problem.get", "id": 1, "params": {}}',
            "RESPONSE_KEY": "result",
            "EVENT_ID_KEY": "eventid",
            **columns,
        }
        self.add(name, f"{source.url}/api_jsonrpc.php", **wanted)
        return source

    def add(self, name: str, url: str, **columns: Any) -> None:
        """Add a setting to the workspace and to the agent's names."""
        self.workspace.add_setting(setting_row(name, url, **columns))
        names = self.environment.get("EVENT_COLLECTION_SETTINGS_NAMES", "")
        self.environment["EVENT_COLLECTION_SETTINGS_NAMES"] = f"{names},{name}".lstrip(",")

    def config(self, interval_s: float = INTERVAL_S, **environment: str) -> AgentConfig:
        """Return the agent's configuration with a short interval."""
        config, _ = load_config({**self.environment, **environment})
        collection = config.collection.model_copy(update={"interval_s": interval_s})
        return replace(config, collection=collection)

    async def start(self, interval_s: float = INTERVAL_S, **environment: str) -> Agent:
        """Start an agent; it works when this returns."""
        self.telemetry = Telemetry()
        self.agent = Agent(self.config(interval_s, **environment), self.telemetry)
        self._running = asyncio.create_task(self.agent.run(), name="agent under test")
        started = asyncio.create_task(self.agent.started.wait())
        await asyncio.wait({started, self._running}, return_when=asyncio.FIRST_COMPLETED)
        if self._running.done():
            started.cancel()
            await self._running
        return self.agent

    async def start_collecting(self, *names: str, **environment: str) -> Agent:
        """Start an agent and wait until these settings are collected: what is written now will be."""
        agent = await self.start(INTERVAL_S, **environment)
        await self.until(lambda: all(map(self.is_collected, names)))
        return agent

    def is_collected(self, name: str) -> bool:
        """Tell whether a setting's first cursor is set: what comes from now on is not older."""
        assert self.agent is not None
        found = [setting for setting in self.agent.status().settings if setting.name == name]
        return any(setting.state == "collecting" and setting.figures is not None for setting in found)

    async def stop(self) -> None:
        """Stop the agent in order."""
        assert self.agent is not None
        assert self._running is not None
        self.agent.stop("the test says so")
        await self._running
        self.agent = self._running = None

    async def close(self) -> None:
        """Stop whatever still runs."""
        if self.agent is not None:
            await self.stop()

    async def arrived(self, name: str, count: int) -> list[str]:
        """Wait until the workspace has `count` events of a setting; return their ids in order of arrival."""
        await self.workspace.wait_for(lambda workspace: workspace.count(name) >= count, PATIENCE_S)
        return self.workspace.ids_of(name)

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until a condition of the agent holds."""
        async with asyncio.timeout(PATIENCE_S):
            while not condition():
                await asyncio.sleep(0.02)

    def setting(self, name: str) -> SettingStatus:
        """Return the agent's own status of a setting."""
        assert self.agent is not None
        return next(setting for setting in self.agent.status().settings if setting.name == name)

    def waiting(self, name: str) -> int:
        """Return how many events of a setting wait on the volume."""
        figures = self.setting(name).figures
        return figures.waiting if figures else 0
