"""`oase-agent simulate`: servers as child processes, and a real agent between them."""

import signal
import socket
from pathlib import Path

import pytest

from tests.process.agent_process import AgentProcess, run_command


async def url_of(process: AgentProcess, name: str) -> str:
    return (await process.printed(f"{name} listens at ")).split()[-1]


async def test_an_agent_between_the_simulators_delivers_from_both_sources(tmp_path: Path) -> None:
    sources = AgentProcess.start({}, "simulate", "sources", "--port", "0", "--interval", "0.2")
    async with sources as sources_:
        zabbix, alerts = await url_of(sources_, "zabbix"), await url_of(sources_, "alertmanager")
        where = ("--zabbix", zabbix, "--alertmanager", alerts)
        async with AgentProcess.start({}, "simulate", "workspace", "--port", "0", *where) as workspace:
            environment = {
                "EXASTRO_URL": await url_of(workspace, "workspace"),
                "EXASTRO_ORGANIZATION_ID": "org001",
                "EXASTRO_WORKSPACE_ID": "ws01",
                "EXASTRO_REFRESH_TOKEN": "refresh-token",
                "EVENT_COLLECTION_SETTINGS_NAMES": "zabbix-problems,active-alerts",
                "EXECUTE_INTERVAL": "3",
                "STORAGE_PATH": str(tmp_path),
                "SPOOL_MIN_FREE_BYTES": "1MiB",
                "ADMIN_HOST": "127.0.0.1",
                "ADMIN_PORT": "0",
            }
            async with AgentProcess.start(environment):
                line = await workspace.printed(" of active-alerts, ")
    assert line.startswith("events arrived: ")
    assert line.endswith(" of zabbix-problems\n")


@pytest.mark.parametrize("role", ["workspace", "sources"])
async def test_a_simulator_ends_with_0_when_it_is_told_to(role: str) -> None:
    async with AgentProcess.start({}, "simulate", role, "--port", "0") as process:
        await process.printed(" listens at ")
        process.send(signal.SIGTERM)
        assert await process.ended() == 0


async def test_a_port_that_is_taken_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ended = await run_command("simulate", "workspace", "--port", str(port))
    assert ended.exit_code == 1
    assert f"workspace cannot listen at 127.0.0.1 port {port}" in ended.stderr
    assert "give another --port" in ended.stderr


async def test_an_interval_of_nothing_is_refused() -> None:
    ended = await run_command("simulate", "sources", "--port", "0", "--interval", "0")
    assert ended.exit_code == 2
    assert "--interval is not a number of seconds above 0" in ended.stderr
