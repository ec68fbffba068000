"""`oase-agent demo`: a workspace, three sources and a real agent on this machine, with a breakdown in between.

The workspace goes away in the middle of the show; the agent goes on collecting and delivers what it kept. At the end
every event that the sources made must be at the workspace, once each: then the exit code is 0.
"""

import asyncio
import contextlib
import logging
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from oase_agent.app.agent import Agent
from oase_agent.cli.demo_view import LiveTable, PlainLines, Row, View
from oase_agent.cli.run import event_loop_factory
from oase_agent.config.load import load_config
from oase_agent.simulators.alertmanager import AlertmanagerSimulator
from oase_agent.simulators.log_page import LogPageSimulator
from oase_agent.simulators.settings_table import setting_row
from oase_agent.simulators.workspace import WorkspaceSimulator
from oase_agent.simulators.zabbix import ZabbixSimulator
from oase_agent.telemetry import LOGGER_NAME, Telemetry

ZABBIX, ALERTS, LOGS = "zabbix-problems", "active-alerts", "log-lines"
_LOOK_S = 0.5
# The show: the breakdown begins after this share of the time and lasts for this share.
_BREAK_AT, _BREAK_FOR = 0.35, 0.25
# How long the agent may take to deliver the rest after the sources fell silent.
_PATIENCE_S = 30.0


@dataclass(frozen=True, slots=True)
class _Stage:
    """The simulators of the show."""

    workspace: WorkspaceSimulator
    zabbix: ZabbixSimulator
    alerts: AlertmanagerSimulator
    logs: LogPageSimulator


@dataclass(slots=True)
class _Made:
    """The ids that each source made, in order."""

    ids: dict[str, list[str]]


def demo(seconds: float) -> int:
    """Run the show for `seconds` and return 0 if every event arrived once, else 1."""
    view: View = LiveTable() if sys.stdout.isatty() else PlainLines()
    with asyncio.Runner(loop_factory=event_loop_factory()) as runner:
        return runner.run(_show(seconds, view))


async def _show(seconds: float, view: View) -> int:
    with tempfile.TemporaryDirectory(prefix="oase-agent-demo-") as storage, _log_to(view):
        async with AsyncExitStack() as stack:
            stage = _Stage(
                await stack.enter_async_context(WorkspaceSimulator()),
                await stack.enter_async_context(ZabbixSimulator()),
                await stack.enter_async_context(AlertmanagerSimulator()),
                await stack.enter_async_context(LogPageSimulator()),
            )
            _add_settings(stage)
            config, _ = load_config(_environment(stage, Path(storage)))
            agent = Agent(config, Telemetry())
            running = asyncio.create_task(agent.run(), name="agent")
            try:
                await agent.started.wait()
                view.say(f"The agent runs; its status is at http://127.0.0.1:{agent.admin_port}/api/status")
                made = await _play(seconds, stage, agent, view)
                await _wait_until_delivered(stage, made, agent, view)
            finally:
                agent.stop("the demo ends")
                await running
            return _account(stage, made, agent, view)


def _environment(stage: _Stage, storage: Path) -> dict[str, str]:
    workspace = stage.workspace
    return {
        "EXASTRO_URL": workspace.url,
        "EXASTRO_ORGANIZATION_ID": workspace.organization_id,
        "EXASTRO_WORKSPACE_ID": workspace.workspace_id,
        "EXASTRO_REFRESH_TOKEN": "refresh-token",
        "EVENT_COLLECTION_SETTINGS_NAMES": f"{ZABBIX}, {ALERTS}, {LOGS}",
        "EXECUTE_INTERVAL": "3",
        "AGENT_NAME": "demo-agent",
        "STORAGE_PATH": str(storage),
        "ADMIN_HOST": "127.0.0.1",
        "ADMIN_PORT": "0",
        # The demo's volume may be small; its events are few.
        "SPOOL_MIN_FREE_BYTES": "1MiB",
    }


def _add_settings(stage: _Stage) -> None:
    since = "{{ EXASTRO_LAST_FETCHED_TIMESTAMP }}"
    stage.workspace.add_setting(
        setting_row(
            ZABBIX,
            f"{stage.zabbix.url}/api_jsonrpc.php",
            REQUEST_METHOD_ID="2",
            REQUEST_HEADER='{"Content-Type": "application/json-rpc"}',
            PARAMETER=f'{{"jsonrpc": "2.0", "method": "problem.get", "id": 1, "params": {{"time_from": {since}}}}}',
            RESPONSE_KEY="result",
            EVENT_ID_KEY="eventid",
        )
    )
    stage.workspace.add_setting(
        setting_row(ALERTS, f"{stage.alerts.url}/api/v2/alerts", EVENT_ID_KEY="fingerprint")
    )
    stage.workspace.add_setting(
        setting_row(
            LOGS,
            f"{stage.logs.url}/logs",
            PARAMETER=f'{{"since": {since}}}',
            RESPONSE_KEY="lines",
            EVENT_ID_KEY="id",
        )
    )


async def _play(seconds: float, stage: _Stage, agent: Agent, view: View) -> _Made:
    """Make events for `seconds` and take the workspace away in between."""
    made = _Made({ZABBIX: [], ALERTS: [], LOGS: []})
    began = time.monotonic()
    break_at, break_until = seconds * _BREAK_AT, seconds * (_BREAK_AT + _BREAK_FOR)
    is_broken = False
    step = 0
    while (passed := time.monotonic() - began) < seconds:
        step += 1
        made.ids[ZABBIX].append(stage.zabbix.raise_problem(f"Host web-{step:02} is unreachable", 4))
        made.ids[LOGS].append(stage.logs.write(f"request {step} took too long"))
        if step % 3 == 0:
            made.ids[ALERTS].append(
                stage.alerts.fire({"alertname": "HighLoad", "instance": f"web-{step:02}"})
            )
        if not is_broken and break_at <= passed < break_until:
            is_broken = True
            await stage.workspace.refuse()
            view.say("The workspace goes away; collecting goes on, events stay on the volume")
        elif is_broken and passed >= break_until:
            is_broken = False
            await stage.workspace.resume()
            view.say("The workspace is back")
        view.show(_rows(stage, made, agent))
        await asyncio.sleep(_LOOK_S)
    if is_broken:
        await stage.workspace.resume()
    return made


async def _wait_until_delivered(stage: _Stage, made: _Made, agent: Agent, view: View) -> None:
    view.say("The sources fall silent; the rest is delivered")
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline:
        rows = _rows(stage, made, agent)
        view.show(rows)
        if all(row.accepted >= row.made and row.waiting == 0 for row in rows):
            return
        await asyncio.sleep(_LOOK_S)


def _rows(stage: _Stage, made: _Made, agent: Agent) -> list[Row]:
    figures = {setting.name: setting.figures for setting in agent.status().settings}
    rows = []
    for name, ids in made.ids.items():
        queue = figures.get(name)
        rows.append(
            Row(
                setting=name,
                made=len(ids),
                collected=queue.collected if queue else 0,
                waiting=queue.waiting if queue else 0,
                dead=queue.dead if queue else 0,
                accepted=stage.workspace.count(name),
            )
        )
    return rows


def _account(stage: _Stage, made: _Made, agent: Agent, view: View) -> int:
    rows = _rows(stage, made, agent)
    view.end(rows)
    wrong = [
        row.setting
        for row in rows
        if row.collected != row.accepted
        or sorted(stage.workspace.ids_of(row.setting)) != sorted(made.ids[row.setting])
    ]
    if wrong:
        view.say(f"NOT every event arrived once: {', '.join(wrong)}")
        return 1
    total = sum(row.accepted for row in rows)
    view.say(f"Every one of the {total} events arrived, once each: collected = accepted")
    return 0


class _ViewHandler(logging.Handler):
    """Shows the agent's own log lines between the figures."""

    def __init__(self, view: View) -> None:
        super().__init__(logging.INFO)
        self._view = view

    def emit(self, record: logging.LogRecord) -> None:
        self._view.say(f"agent: {record.levelname.lower()} {record.getMessage()}")


@contextlib.contextmanager
def _log_to(view: View) -> Iterator[None]:
    logger = logging.getLogger(LOGGER_NAME)
    handler = _ViewHandler(view)
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.propagate = True
