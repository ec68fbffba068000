"""Every fault over a real socket, seen with the eyes of a client."""

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from oase_agent.simulators.faults import Fault, FaultKind, FaultPlan
from oase_agent.simulators.sources import LogPageSimulator
from oase_agent.simulators.workspace import WorkspaceSimulator, setting_row

NOW = 1_700_000_000
HEADERS = {"Authorization": aiohttp.encode_basic_auth("user", "pass")}
TIMEOUT = aiohttp.ClientTimeout(total=10)


@pytest.fixture
async def workspace() -> AsyncIterator[WorkspaceSimulator]:
    simulator = WorkspaceSimulator(
        username="user",
        password="pass",
        settings=[setting_row("a", "http://source.example/")],
        clock=lambda: float(NOW),
    )
    async with simulator:
        yield simulator


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=TIMEOUT) as session:
        yield session


def url_of(workspace: WorkspaceSimulator, endpoint: str = "events") -> str:
    return f"{workspace.url}/api/org001/workspaces/ws01/oase_agent/{endpoint}"


def request(time: int = NOW, *, padding: int = 0) -> dict[str, Any]:
    event = {"_exastro_oase_event_id": str(time), "padding": "x" * padding}
    agent = {"name": "agent-1", "version": "1"}
    name = "event_collection_settings_name"
    return {"events": [{"fetched_time": time, name: "a", "agent": agent, "event": [event]}]}


async def post(
    client: aiohttp.ClientSession, workspace: WorkspaceSimulator, body: dict[str, Any]
) -> tuple[int, Any]:
    async with client.post(url_of(workspace), json=body, headers=HEADERS) as response:
        return response.status, await response.json(content_type=None)


# --- the plan -----------------------------------------------------------------------------------------------


def test_a_fault_strikes_as_often_as_planned_and_the_next_one_follows() -> None:
    plan = FaultPlan()
    plan.add(Fault.reset(times=2))
    plan.add(Fault.garbage())
    taken = [plan.take("events") for _ in range(4)]
    assert [fault and fault.kind for fault in taken] == [
        FaultKind.RESET,
        FaultKind.RESET,
        FaultKind.GARBAGE,
        None,
    ]


def test_a_fault_for_one_endpoint_leaves_the_others_alone() -> None:
    plan = FaultPlan()
    plan.add(Fault.reset(endpoint="token"))
    assert plan.take("events") is None
    assert plan.take("token") == Fault.reset(endpoint="token")
    assert plan.pending == ()


def test_a_fault_without_number_strikes_until_it_is_cleared() -> None:
    plan = FaultPlan()
    plan.add(Fault.lost_answer(times=None))
    assert all(plan.take("source") for _ in range(100))
    plan.clear()
    assert plan.take("source") is None


def test_only_large_requests_are_too_large() -> None:
    plan = FaultPlan()
    plan.add(Fault.too_large(10, times=1))
    assert plan.take("events", 10) is None
    assert plan.take("events", 11) is not None
    assert plan.take("events", 11) is None


# --- over a socket ------------------------------------------------------------------------------------------


async def test_reset_breaks_the_connection_before_anything_is_stored(
    workspace: WorkspaceSimulator, client: aiohttp.ClientSession
) -> None:
    workspace.faults.add(Fault.reset())
    with pytest.raises(aiohttp.ClientConnectionError):
        await post(client, workspace, request())
    assert workspace.count() == 0
    record = workspace.requests[-1]
    assert (record.http_status, record.fault) == (0, FaultKind.RESET)
    assert (await post(client, workspace, request()))[0] == 200


async def test_reset_really_resets(workspace: WorkspaceSimulator) -> None:
    workspace.faults.add(Fault.reset())
    reader, writer = await asyncio.open_connection(*workspace.url.removeprefix("http://").split(":"))
    writer.write(b"POST /auth/realms/org001/protocol/openid-connect/token HTTP/1.1\r\nHost: x\r\n\r\n")
    with pytest.raises(ConnectionResetError):
        await reader.read()
    writer.close()


async def test_a_lost_answer_comes_after_everything_was_stored(
    workspace: WorkspaceSimulator, client: aiohttp.ClientSession
) -> None:
    workspace.faults.add(Fault.lost_answer(endpoint="events"))
    with pytest.raises(aiohttp.ClientConnectionError):
        await post(client, workspace, request())
    assert workspace.ids_of("a") == [str(NOW)]
    assert workspace.requests[-1].http_status == 200
    status, answer = await post(client, workspace, request())
    assert (status, len(answer["data"]), workspace.count()) == (200, 1, 1)


async def test_a_cut_answer_comes_after_everything_was_stored(
    workspace: WorkspaceSimulator, client: aiohttp.ClientSession
) -> None:
    workspace.faults.add(Fault.cut_answer())
    async with client.post(url_of(workspace), json=request(), headers=HEADERS) as response:
        assert response.status == 200
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()
    assert workspace.count() == 1


async def test_slow_before_processing_stores_even_when_the_client_left(
    workspace: WorkspaceSimulator, client: aiohttp.ClientSession
) -> None:
    workspace.faults.add(Fault.slow(before_s=0.3))
    with pytest.raises(asyncio.TimeoutError):
        async with asyncio.timeout(0.1):
            await post(client, workspace, request())
    assert workspace.count() == 0
    await workspace.wait_for(lambda simulator: simulator.count("a") == 1)


async def test_slow_after_processing_stores_at_once(
    workspace: WorkspaceSimulator, client: aiohttp.ClientSession
) -> None:
    workspace.faults.add(Fault.slow(after_s=60))
    sending = asyncio.create_task(post(client, workspace, request()))
    await workspace.wait_for(lambda simulator: simulator.count("a") == 1)
    assert not sending.done()
    sending.cancel()
    await asyncio.wait([sending])


async def test_a_status_comes_with_result_and_retry_after_and_stores_nothing(
    workspace: WorkspaceSimulator, client: aiohttp.ClientSession
) -> None:
    workspace.faults.add(Fault.status(503, "503-00001", retry_after="7", times=2))
    workspace.faults.add(Fault.status(502))
    for _ in range(2):
        async with client.post(url_of(workspace), json=request(), headers=HEADERS) as response:
            assert (response.status, response.headers["Retry-After"]) == (503, "7")
            assert (await response.json())["result"] == "503-00001"
    async with client.post(url_of(workspace), json=request(), headers=HEADERS) as response:
        assert (response.status, response.content_type) == (502, "text/html")
    assert workspace.count() == 0


async def test_too_large_answers_413_above_the_limit_only(
    workspace: WorkspaceSimulator, client: aiohttp.ClientSession
) -> None:
    workspace.faults.add(Fault.too_large(2000))
    async with client.post(url_of(workspace), json=request(padding=2000), headers=HEADERS) as response:
        assert response.status == 413
    assert (await post(client, workspace, request()))[0] == 200
    assert [record.http_status for record in workspace.requests] == [413, 200]


async def test_garbage_is_an_html_page_with_status_200(
    workspace: WorkspaceSimulator, client: aiohttp.ClientSession
) -> None:
    workspace.faults.add(Fault.garbage())
    async with client.post(url_of(workspace), json=request(), headers=HEADERS) as response:
        assert (response.status, response.content_type) == (200, "text/html")
        assert "<html>" in await response.text()
    assert workspace.count() == 0


async def test_a_refusing_server_cuts_open_connections_and_comes_back_on_the_same_port(
    workspace: WorkspaceSimulator, client: aiohttp.ClientSession
) -> None:
    await post(client, workspace, request())
    url = workspace.url
    await workspace.refuse()
    with pytest.raises(aiohttp.ClientConnectionError):
        await post(client, workspace, request(NOW + 1))
    with pytest.raises(aiohttp.ClientConnectorError):
        await post(client, workspace, request(NOW + 1))
    await workspace.resume()
    assert workspace.url == url
    assert (await post(client, workspace, request(NOW + 1)))[0] == 200
    assert workspace.count() == 2


async def test_one_plan_can_serve_a_workspace_and_a_source(client: aiohttp.ClientSession) -> None:
    plan = FaultPlan()
    plan.add(Fault.status(500, endpoint="source"))
    async with WorkspaceSimulator(faults=plan) as workspace, LogPageSimulator(faults=plan) as source:
        async with client.post(url_of(workspace), json=request()) as response:
            assert response.status == 401
        async with client.get(f"{source.url}/logs") as response:
            assert response.status == 500
    assert plan.pending == ()


async def test_a_client_that_dies_after_its_body_has_still_been_heard(workspace: WorkspaceSimulator) -> None:
    workspace.faults.add(Fault.slow(before_s=0.2))
    body = b'{"events":[{"fetched_time":%d,"event_collection_settings_name":"a","event":[{"n":1}]}]}' % NOW
    head = (
        f"POST {url_of(workspace).removeprefix(workspace.url)} HTTP/1.1\r\nHost: x\r\n"
        f"Authorization: {HEADERS['Authorization']}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    _, writer = await asyncio.open_connection(*workspace.url.removeprefix("http://").split(":"))
    writer.write(head.encode() + body)
    await writer.drain()
    # The plan shows when the body was read; the client dies only then.
    while workspace.faults.pending:
        await asyncio.sleep(0)
    raw = writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    writer.transport.abort()
    await workspace.wait_for(lambda simulator: simulator.count("a") == 1)


async def test_waiting_in_vain_ends(workspace: WorkspaceSimulator) -> None:
    with pytest.raises(TimeoutError):
        await workspace.wait_for(lambda simulator: simulator.count("a") == 1, timeout_s=0.05)
