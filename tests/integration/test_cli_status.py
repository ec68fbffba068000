"""`oase-agent status` against agents that run in this process, and against what is no agent."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from oase_agent.app.agent import Agent
from oase_agent.config.load import load_config
from oase_agent.telemetry import Telemetry
from tests.integration.cli_stage import CliStage, Terminal, until


@asynccontextmanager
async def running_agent(environment: dict[str, str]) -> AsyncIterator[Agent]:
    """Run an agent until the block ends; its admin server listens when it begins."""
    config, _ = load_config(environment)
    agent = Agent(config, Telemetry())
    running = asyncio.create_task(agent.run())
    try:
        await until(lambda: running.done() or agent.admin_port != 0)
        yield agent
    finally:
        agent.stop("end of test")
        await running


def ask(agent: Agent) -> dict[str, str]:
    """Return the environment of who asks this agent: nothing else is set."""
    return {"ADMIN_HOST": "127.0.0.1", "ADMIN_PORT": str(agent.admin_port)}


@asynccontextmanager
async def answering(body: bytes, status: int = 200) -> AsyncIterator[dict[str, str]]:
    """Run a server that is no agent, and give the environment of who asks it."""

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(body=body, status=status)

    application = web.Application()
    application.router.add_get("/api/status", answer)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield {"ADMIN_HOST": "127.0.0.1", "ADMIN_PORT": str(runner.addresses[0][1])}
    finally:
        await runner.cleanup()


async def test_status_of_a_ready_agent_shows_what_became_of_the_events(
    stage: CliStage, terminal: Terminal
) -> None:
    stage.add_zabbix("web-01")
    stage.add_zabbix("short-lived", TTL=1)
    async with running_agent(stage.environment) as agent:
        await until(lambda: delivered(agent) == 1)
        printed = await terminal.run(ask(agent), "status")
    assert printed.code == 0
    lines = printed.out.splitlines()
    assert lines[0] == "ready"
    assert "agent      agent-1, version 0.1.0" in lines
    assert "workspace  ws01 of organization org001" in lines
    table = [line.split(maxsplit=7) for line in lines[lines.index("") + 1 :]]
    assert table == [
        ["SETTING", "STATE", "COLLECTED", "DELIVERED", "WAITING", "DEAD", "OLDEST", "TROUBLE"],
        ["web-01", "collecting", "1", "1", "0", "0", "-"],
        ["short-lived", "disabled", "-", "-", "-", "-", "-", "TTL is not between 10 and 2147483647"],
    ]


def delivered(agent: Agent) -> int:
    return sum(setting.figures.delivered for setting in agent.status().settings if setting.figures)


async def test_status_of_an_agent_without_settings_is_not_ready_and_says_why(
    stage: CliStage, terminal: Terminal
) -> None:
    stage.add_zabbix("web-01")
    wrong_token = {**stage.environment, "EXASTRO_REFRESH_TOKEN": "wrong-token"}
    async with running_agent(wrong_token) as agent:
        await until(lambda: any("refresh token" in reason for reason in agent.status().unready))
        printed = await terminal.run(ask(agent), "status")
    assert printed.code == 1
    assert printed.out.startswith("NOT READY\n  settings: refresh token expired or revoked: issue a new one")


async def test_status_as_json_is_the_document_of_the_agent(stage: CliStage, terminal: Terminal) -> None:
    stage.add_zabbix("web-01")
    async with running_agent(stage.environment) as agent:
        await until(lambda: agent.status().is_ready)
        printed = await terminal.run(ask(agent), "status", "--json")
    document = json.loads(printed.out)
    assert printed.code == 0
    assert document["ready"] is True
    assert [setting["name"] for setting in document["settings"]] == ["web-01"]


async def test_status_as_json_of_an_agent_that_is_not_ready_ends_with_1(terminal: Terminal) -> None:
    async with answering(b'{"ready": false}') as environment:
        printed = await terminal.run(environment, "status", "--json")
    assert (printed.code, printed.out) == (1, '{"ready": false}\n')


async def test_status_of_an_absent_agent_asks_whether_it_is_running(terminal: Terminal) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        port = unused.getsockname()[1]
        printed = await terminal.run({"ADMIN_HOST": "127.0.0.1", "ADMIN_PORT": str(port)}, "status")
    assert printed.code == 1
    assert printed.out == ""
    assert printed.err == (
        f"oase-agent: no agent answers at 127.0.0.1 port {port} (Connection refused): is it running, and is "
        "ADMIN_PORT the one it listens on?\n"
    )


@pytest.mark.parametrize("any_address", ["0.0.0.0", "::"])
async def test_status_reaches_an_agent_that_listens_on_any_address(
    stage: CliStage, terminal: Terminal, any_address: str
) -> None:
    if any_address == "::" and not has_ipv6():
        pytest.skip("this host has no IPv6")
    stage.add_zabbix("web-01")
    async with running_agent({**stage.environment, "ADMIN_HOST": any_address}) as agent:
        await until(lambda: agent.status().is_ready)
        environment = {"ADMIN_HOST": any_address, "ADMIN_PORT": str(agent.admin_port)}
        assert (await terminal.run(environment, "status")).code == 0


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.parametrize(
    ("body", "status", "why"),
    [
        (b"<html>", 200, "its answer is not JSON"),
        (b"[]", 200, "says nothing about being ready"),
        (b"{}", 404, "status 404"),
        (b'{"ready": true}', 200, "another version: ask it with --json"),
    ],
)
async def test_status_of_something_else_says_that_it_is_no_agent(
    terminal: Terminal, body: bytes, status: int, why: str
) -> None:
    async with answering(body, status) as environment:
        printed = await terminal.run(environment, "status")
    assert printed.code == 1
    assert why in printed.err


@pytest.mark.parametrize(
    ("port", "fault"),
    [("0", "ADMIN_PORT is 0, so the agent chose a port"), ("eighty", "ADMIN_PORT is 'eighty'")],
)
async def test_status_with_a_port_that_cannot_be_asked_ends_with_2(
    terminal: Terminal, port: str, fault: str
) -> None:
    printed = await terminal.run({"ADMIN_PORT": port}, "status")
    assert printed.code == 2
    assert fault in printed.err


def status_document(settings: Sequence[Mapping[str, object]]) -> bytes:
    """Return what an agent with these settings answers at epoch second 1000."""
    document = {
        "ready": True,
        "unready": [],
        "agent_name": "a",
        "version": "1",
        "workspace_id": "w",
        "organization_id": "o",
        "now_s": 1000.0,
        "started_at_s": 0.0,
        "settings": settings,
    }
    return json.dumps(document).encode()


async def test_status_says_when_a_source_that_is_paused_is_asked_again(terminal: Terminal) -> None:
    paused = {"state": "collecting", "figures": None, "next_attempt_at_s": 1045.0}
    settings = [
        {"name": "failing", "trouble": "host:80 cannot be reached", **paused},
        {"name": "held", "trouble": None, **paused},
    ]
    async with answering(status_document(settings)) as environment:
        printed = await terminal.run(environment, "status")
    failing, held = printed.out.splitlines()[-2:]
    assert failing.endswith("  host:80 cannot be reached; asked again in 45 s")
    assert held.endswith("  asked again in 45 s")


async def test_names_that_are_two_columns_wide_keep_the_table_aligned(terminal: Terminal) -> None:
    figures = dict.fromkeys(("collected", "delivered", "waiting", "dead"), 7) | {"oldest_group_time": 940}
    settings = [
        {"name": name, "state": "collecting", "figures": figures, "trouble": None}
        for name in ("ウェブ", "web")
    ]
    async with answering(status_document(settings)) as environment:
        printed = await terminal.run(environment, "status")
    wide, narrow = printed.out.splitlines()[-2:]
    assert wide == "ウェブ   collecting          7          7        7     7  1 min 0 s"
    assert narrow == "web      collecting          7          7        7     7  1 min 0 s"
