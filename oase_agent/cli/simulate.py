"""`oase-agent simulate`: a workspace or two sources as servers of their own, for trials of an agent elsewhere.

The workspace knows the settings of the two sources, so that an agent with both names has something to collect. The
doors of `oase_agent.simulators.control` show what arrived.
"""

import asyncio
import contextlib
import signal
import sys
from collections.abc import Coroutine, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from types import MappingProxyType

from oase_agent.cli.main import EXIT_FAILED, EXIT_FINE
from oase_agent.cli.run import event_loop_factory
from oase_agent.errors import ConfigError
from oase_agent.simulators.alertmanager import AlertmanagerSimulator
from oase_agent.simulators.loopback import LoopbackServer
from oase_agent.simulators.settings_table import Row, setting_row
from oase_agent.simulators.workspace import WorkspaceSimulator
from oase_agent.simulators.zabbix import ZabbixSimulator

ZABBIX, ALERTS = "zabbix-problems", "active-alerts"
_ZABBIX_COLUMNS = MappingProxyType(
    {
        "REQUEST_METHOD_ID": "2",
        "REQUEST_HEADER": '{"Content-Type": "application/json-rpc"}',
        "PARAMETER": '{"jsonrpc": "2.0", "method": "problem.get", "id": 1, "params": '
        '{"time_from": {{ EXASTRO_LAST_FETCHED_TIMESTAMP }}}}',
        "RESPONSE_KEY": "result",
        "EVENT_ID_KEY": "eventid",
    }
)
# An alert fires for every so many problems.
_PROBLEMS_PER_ALERT = 3


# Problems are resolved, oldest first, beyond so many: a trial may run for weeks.
_ACTIVE_PROBLEMS = 1_000
# Without news the figures are repeated after this time.
_REPEAT_S = 3_600.0


@dataclass(frozen=True, slots=True)
class Address:
    """Where a simulator listens; port 0 takes a free one."""

    host: str
    port: int


_Servers = Mapping[str, tuple[LoopbackServer, Address]]
_Show = Coroutine[None, None, None]


def simulate_workspace(address: Address, sources: tuple[str, str]) -> int:
    """Serve a workspace until SIGTERM or SIGINT, and print what arrives.

    `sources` are the base URLs of the simulated Zabbix and Alertmanager; the refresh token is the simulator's
    default. Returns 0, or 1 if the address is taken.
    """
    workspace = WorkspaceSimulator(settings=_settings(sources))
    return _serve({"workspace": (workspace, address)}, _tell_arrivals(workspace))


def simulate_sources(address: Address, interval_s: float) -> int:
    """Serve a Zabbix, and an Alertmanager on the next port, until SIGTERM or SIGINT.

    A problem arises every `interval_s` seconds. Returns 0, or 1 if an address is taken. Raises ConfigError.
    """
    if interval_s <= 0:
        raise ConfigError(("--interval is not a number of seconds above 0.",))
    zabbix, alerts = ZabbixSimulator(), AlertmanagerSimulator()
    next_port = address.port + 1 if address.port else 0
    servers: _Servers = {
        "zabbix": (zabbix, address),
        "alertmanager": (alerts, Address(address.host, next_port)),
    }
    return _serve(servers, _make_events(zabbix, alerts, interval_s))


def _settings(sources: tuple[str, str]) -> list[Row]:
    zabbix_url, alerts_url = (url.rstrip("/") for url in sources)
    return [
        setting_row(ZABBIX, f"{zabbix_url}/api_jsonrpc.php", **_ZABBIX_COLUMNS),
        setting_row(ALERTS, f"{alerts_url}/api/v2/alerts", EVENT_ID_KEY="fingerprint"),
    ]


def _serve(servers: _Servers, show: _Show) -> int:
    with asyncio.Runner(loop_factory=event_loop_factory()) as runner:
        return runner.run(_until_stopped(servers, show))


async def _until_stopped(servers: _Servers, show: _Show) -> int:
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with AsyncExitStack() as stack:
        for name, (server, address) in servers.items():
            try:
                await server.start(address.host, address.port)
            except OSError as error:
                show.close()
                why = error.strerror or "the address cannot be used"
                print(
                    f"oase-agent: {name} cannot listen at {address.host} port {address.port} ({why}): "
                    "give another --port or --host.",
                    file=sys.stderr,
                )
                return EXIT_FAILED
            stack.push_async_callback(server.stop)
            print(f"{name} listens at {server.url}", flush=True)
        showing = asyncio.create_task(show)
        await stopped.wait()
        showing.cancel()
    return EXIT_FINE


async def _tell_arrivals(workspace: WorkspaceSimulator) -> None:
    """Print the number of stored events of each setting whenever one of them changed."""
    told: dict[str, int] = {}

    def has_news(workspace: WorkspaceSimulator) -> bool:
        return workspace.acceptance.counts() != told

    while True:
        with contextlib.suppress(TimeoutError):
            await workspace.wait_for(has_news, _REPEAT_S)
        told = workspace.acceptance.counts()
        figures = ", ".join(f"{count} of {name}" for name, count in sorted(told.items())) or "none"
        print(f"events arrived: {figures}", flush=True)


async def _make_events(zabbix: ZabbixSimulator, alerts: AlertmanagerSimulator, interval_s: float) -> None:
    made = 0
    while True:
        made += 1
        zabbix.raise_problem(f"Host web-{made:02} is unreachable", 4)
        if made % _PROBLEMS_PER_ALERT == 0:
            alerts.fire({"alertname": "HighLoad", "instance": f"web-{made:02}"})
        for event_id in zabbix.active_ids[:-_ACTIVE_PROBLEMS]:
            zabbix.resolve(event_id)
        for fingerprint in alerts.active_fingerprints[:-_ACTIVE_PROBLEMS]:
            alerts.resolve(fingerprint)
        await asyncio.sleep(interval_s)
