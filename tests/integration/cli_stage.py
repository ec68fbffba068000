"""What the tests of the commands share: simulators that are up, an environment for them, a command in a thread.

The commands are what an operator starts: synchronous, with a loop of their own. They run in a thread here, while the
simulators answer in the loop of the test.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from oase_agent.cli.main import main
from oase_agent.simulators.settings_table import setting_row
from oase_agent.simulators.sources import ZabbixSimulator
from oase_agent.simulators.workspace import WorkspaceSimulator

ZABBIX_COLUMNS: dict[str, Any] = {
    "REQUEST_METHOD_ID": "2",
    "REQUEST_HEADER": '{"Content-Type": "application/json-rpc"}',
    "PARAMETER": '{"jsonrpc": "2.0", "method": "problem.get", "id": 1, "params": {"sortfield": "eventid"}}',
    "RESPONSE_KEY": "result",
    "EVENT_ID_KEY": "eventid",
}


@dataclass(frozen=True, slots=True)
class Printed:
    """What a command left: its exit code and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def failures(self) -> list[str]:
        """The texts of the FAIL lines."""
        return [line.split(maxsplit=1)[1] for line in self.out.splitlines() if line.startswith("  FAIL ")]

    def section(self, title: str) -> str:
        """Return the lines of the section whose title starts like this."""
        return next(part for part in self.out.split("\n\n") if part.startswith(title))


@dataclass(slots=True)
class CliStage:
    """A workspace with one Zabbix, and the environment of an agent that knows both."""

    workspace: WorkspaceSimulator
    zabbix: ZabbixSimulator
    environment: dict[str, str]
    storage: Path

    def add(self, name: str, url: str, **columns: Any) -> None:
        """Add a setting to the workspace, and its name to the agent's."""
        self.workspace.add_setting(setting_row(name, url, **columns))
        self.name(name)

    def add_zabbix(self, name: str, **columns: Any) -> None:
        """Add a setting that asks the Zabbix."""
        self.add(name, f"{self.zabbix.url}/api_jsonrpc.php", **{**ZABBIX_COLUMNS, **columns})

    def name(self, name: str) -> None:
        """Add a name to EVENT_COLLECTION_SETTINGS_NAMES."""
        names = self.environment.get("EVENT_COLLECTION_SETTINGS_NAMES", "")
        self.environment["EVENT_COLLECTION_SETTINGS_NAMES"] = f"{names},{name}".lstrip(",")

    def stored(self) -> dict[str, tuple[int, bytes]]:
        """Return everything below STORAGE_PATH: when it was changed, and the content of files."""
        return {
            str(path.relative_to(self.storage)): (
                path.stat().st_mtime_ns,
                path.read_bytes() if path.is_file() else b"",
            )
            for path in [self.storage, *self.storage.rglob("*")]
        }


@asynccontextmanager
async def cli_stage(storage: Path, **workspace: Any) -> AsyncIterator[CliStage]:
    """Start a workspace and a Zabbix with one problem; `workspace` are arguments of the simulator."""
    storage.mkdir()
    async with WorkspaceSimulator(**workspace) as simulator, ZabbixSimulator() as zabbix:
        zabbix.raise_problem("disk is full")
        environment = {
            "EXASTRO_URL": simulator.url,
            "EXASTRO_ORGANIZATION_ID": simulator.organization_id,
            "EXASTRO_WORKSPACE_ID": simulator.workspace_id,
            "EXASTRO_REFRESH_TOKEN": "refresh-token",
            "AGENT_NAME": "agent-1",
            "STORAGE_PATH": str(storage),
            "SPOOL_MIN_FREE_BYTES": "0",
            "ADMIN_HOST": "127.0.0.1",
            "ADMIN_PORT": "0",
        }
        yield CliStage(simulator, zabbix, environment, storage)


class Terminal:
    """Runs commands as `main` does, and takes what they print."""

    def __init__(self, capture: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self._capture = capture
        self._monkeypatch = monkeypatch
        self._set: set[str] = set()

    async def run(self, environment: dict[str, str], *arguments: str) -> Printed:
        """Run one command in this environment."""
        for name in self._set - environment.keys():
            self._monkeypatch.delenv(name)
        for name, value in environment.items():
            self._monkeypatch.setenv(name, value)
        self._set = set(environment)
        self._capture.readouterr()
        code = await asyncio.to_thread(main, arguments)
        out, err = self._capture.readouterr()
        return Printed(code, out, err)


async def until(condition: Callable[[], bool], timeout_s: float = 20.0) -> None:
    """Return when the condition holds; for states that nobody announces."""
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.01)
