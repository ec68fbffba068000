"""Each simulated source over a real socket."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from oase_agent.simulators.faults import Fault
from oase_agent.simulators.sources import (
    AlertmanagerSimulator,
    EndlessBody,
    GzipBomb,
    LogPageSimulator,
    Redirect,
    SlowBody,
    SourceSimulator,
    ZabbixSimulator,
)

T = 1_700_000_000


class Clock:
    def __init__(self) -> None:
        self.now_s = float(T)

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as session:
        yield session


# --- Zabbix -------------------------------------------------------------------------------------------------


@pytest.fixture
async def zabbix(clock: Clock) -> AsyncIterator[ZabbixSimulator]:
    async with ZabbixSimulator(clock=clock) as simulator:
        yield simulator


async def call(
    client: aiohttp.ClientSession, zabbix: ZabbixSimulator, method: str = "problem.get", **params: Any
) -> dict[str, Any]:
    body = {"jsonrpc": "2.0", "method": method, "params": params, "id": 1}
    async with client.post(f"{zabbix.url}/api_jsonrpc.php", json=body) as response:
        assert response.status == 200
        answer: dict[str, Any] = await response.json()
        return answer


async def ids(client: aiohttp.ClientSession, zabbix: ZabbixSimulator, **params: Any) -> list[str]:
    return [problem["eventid"] for problem in (await call(client, zabbix, **params))["result"]]


async def test_zabbix_reports_a_problem_in_the_shape_of_its_api(
    client: aiohttp.ClientSession, zabbix: ZabbixSimulator
) -> None:
    event_id = zabbix.raise_problem("Disk full", severity=4)
    answer = await call(client, zabbix)
    assert (answer["jsonrpc"], answer["id"], len(answer["result"])) == ("2.0", 1, 1)
    wanted = {
        "eventid": event_id,
        "clock": str(T),
        "name": "Disk full",
        "severity": "4",
        "acknowledged": "0",
    }
    assert answer["result"][0].items() >= wanted.items()
    assert answer["result"][0]["objectid"].isdigit()


async def test_zabbix_reports_until_resolved(client: aiohttp.ClientSession, zabbix: ZabbixSimulator) -> None:
    first, second = zabbix.raise_problem("one"), zabbix.raise_problem("two")
    zabbix.resolve(first)
    assert await ids(client, zabbix) == [second] == zabbix.active_ids


async def test_zabbix_honours_time_ids_order_and_limit(
    client: aiohttp.ClientSession, zabbix: ZabbixSimulator, clock: Clock
) -> None:
    first = zabbix.raise_problem("one")
    clock.now_s += 10
    second, third = zabbix.raise_problem("two"), zabbix.raise_problem("three")
    assert await ids(client, zabbix, time_from=T + 1) == [second, third]
    assert await ids(client, zabbix, time_from=str(T + 10)) == [second, third]
    assert await ids(client, zabbix, time_from=T + 11) == []
    assert await ids(client, zabbix, eventids=[first, third]) == [first, third]
    assert await ids(client, zabbix, eventid_from=second) == [second, third]
    assert await ids(client, zabbix, limit=2) == [first, second]
    assert await ids(client, zabbix, limit=1, sortfield="eventid", sortorder="DESC") == [third]


async def test_zabbix_raises_problems_at_its_rate_and_loses_no_fraction(
    client: aiohttp.ClientSession, clock: Clock
) -> None:
    async with ZabbixSimulator(rate_per_s=2, clock=clock) as zabbix:
        counts = []
        for _ in range(4):
            clock.now_s += 0.75
            counts.append(len(await ids(client, zabbix)))
    assert counts == [1, 3, 4, 6]


async def test_zabbix_answers_mistakes_as_json_rpc_errors(
    client: aiohttp.ClientSession, zabbix: ZabbixSimulator
) -> None:
    assert (await call(client, zabbix, "host.get"))["error"]["code"] == -32601
    assert (await call(client, zabbix, time_from="soon"))["error"]["code"] == -32602
    url, kind = f"{zabbix.url}/api_jsonrpc.php", {"Content-Type": "application/json-rpc"}
    async with client.post(url, data=b"{", headers=kind) as response:
        assert (response.status, (await response.json())["error"]["code"]) == (200, -32700)
    async with client.post(url, data=b"[]", headers=kind) as response:
        assert (await response.json())["error"]["code"] == -32600
    async with client.post(url, data=b"{}") as response:
        assert response.status == 412


async def test_zabbix_asks_for_its_token(client: aiohttp.ClientSession) -> None:
    async with ZabbixSimulator(token="t0ken") as zabbix:
        assert (await call(client, zabbix))["error"]["data"] == "Not authorized."
        client.headers["Authorization"] = "Bearer t0ken"
        assert (await call(client, zabbix))["result"] == []


# --- Alertmanager -------------------------------------------------------------------------------------------


async def alerts(client: aiohttp.ClientSession, source: AlertmanagerSimulator) -> list[dict[str, Any]]:
    async with client.get(f"{source.url}/api/v2/alerts") as response:
        found: list[dict[str, Any]] = await response.json()
        return found


async def test_alertmanager_lists_an_alert_until_it_is_resolved(
    client: aiohttp.ClientSession, clock: Clock
) -> None:
    async with AlertmanagerSimulator(clock=clock) as source:
        labels = {"alertname": "Down", "instance": "web01"}
        fingerprint = source.fire(labels, {"summary": "web01 is down"})
        clock.now_s += 60
        assert source.fire(dict(reversed(labels.items()))) == fingerprint
        other = source.fire({"alertname": "Down", "instance": "web02"})
        found = await alerts(client, source)
        assert [alert["fingerprint"] for alert in found] == [fingerprint, other]
        assert (found[0]["labels"], found[0]["status"]["state"]) == (labels, "active")
        assert found[0]["startsAt"] == "2023-11-14T22:13:20.000Z"
        assert found[0]["endsAt"] == "2023-11-14T22:19:20.000Z"
        source.resolve(fingerprint)
        assert [alert["fingerprint"] for alert in await alerts(client, source)] == [other]
        assert source.active_fingerprints == [other]


# --- log page -----------------------------------------------------------------------------------------------


@pytest.fixture
async def log(clock: Clock) -> AsyncIterator[LogPageSimulator]:
    async with LogPageSimulator(clock=clock) as simulator:
        yield simulator


async def lines(client: aiohttp.ClientSession, log: LogPageSimulator, **query: float) -> list[dict[str, Any]]:
    async with client.get(f"{log.url}/logs", params=query) as response:
        assert response.status == 200
        found: list[dict[str, Any]] = (await response.json())["lines"]
        return found


async def test_a_log_page_lists_the_lines_after_a_time(
    client: aiohttp.ClientSession, log: LogPageSimulator, clock: Clock
) -> None:
    first = log.write("one")
    clock.now_s += 0.5
    second = log.write("two", "ERROR")
    assert await lines(client, log) == [
        {"id": first, "time": float(T), "level": "INFO", "message": "one"},
        {"id": second, "time": T + 0.5, "level": "ERROR", "message": "two"},
    ]
    assert [line["id"] for line in await lines(client, log, since=T)] == [second]
    assert await lines(client, log, since=T + 0.5) == []
    assert [line["id"] for line in await lines(client, log, limit=1)] == [first]


async def test_a_filled_log_has_lines_of_exactly_the_size_and_ids_that_go_on(
    client: aiohttp.ClientSession, log: LogPageSimulator
) -> None:
    log.write("one")
    log.fill(12, 500)
    last = log.write("last")
    found = await lines(client, log)
    assert [line["id"] for line in found] == [str(number) for number in range(1, 15)]
    sizes = {len(json.dumps(line, separators=(",", ":"))) for line in found[1:-1]}
    assert (sizes, last) == ({500}, "14")
    assert [line["id"] for line in await lines(client, log, limit=4)] == ["1", "2", "3", "4"]
    assert len(await lines(client, log, limit=13)) == 13
    assert await lines(client, log, limit=0) == []
    assert await lines(client, log, since=T) == []
    log.clear()
    assert await lines(client, log) == []


async def test_a_large_page_is_sent_whole(client: aiohttp.ClientSession, log: LogPageSimulator) -> None:
    log.fill(20_000, 500)
    async with client.get(f"{log.url}/logs") as response:
        body = await response.read()
    assert len(body) == len(b'{"lines":[]}') + 20_000 * 500 + 19_999


async def test_a_log_page_refuses_what_is_no_number(
    client: aiohttp.ClientSession, log: LogPageSimulator
) -> None:
    async with client.get(f"{log.url}/logs", params={"since": "yesterday"}) as response:
        assert response.status == 400


async def test_an_endless_body_goes_on_until_the_client_leaves(
    client: aiohttp.ClientSession, log: LogPageSimulator
) -> None:
    log.odd_answer = EndlessBody(chunk_bytes=4096)
    async with client.get(f"{log.url}/logs") as response:
        body = await response.content.readexactly(5_000_000)
    assert body.startswith(b'{"lines":[0,0,0')
    log.odd_answer = None
    assert await lines(client, log) == []


async def test_broken_connections_are_no_news_in_the_log(
    client: aiohttp.ClientSession, log: LogPageSimulator, caplog: pytest.LogCaptureFixture
) -> None:
    # Without a number of times: aiohttp repeats a GET by itself when the connection breaks.
    for fault in (Fault.reset(times=None), Fault.lost_answer(times=None), Fault.cut_answer(times=None)):
        log.faults.add(fault)
        with pytest.raises(aiohttp.ClientError):
            await ask(client, log)
        log.faults.clear()
    log.odd_answer = EndlessBody()
    async with client.get(f"{log.url}/logs") as response:
        await response.content.readexactly(100_000)
    await log.stop()
    assert [record.getMessage() for record in caplog.records] == []


async def test_a_gzip_bomb_is_small_on_the_wire_and_valid_json_of_the_promised_size(
    client: aiohttp.ClientSession, log: LogPageSimulator
) -> None:
    size = 5 * 2**20 + 17
    log.odd_answer = GzipBomb(size)
    async with client.get(f"{log.url}/logs") as response:
        body = await response.read()
        assert int(response.headers["Content-Length"]) < size / 500
    assert len(body) == size
    assert json.loads(body) == {"lines": []}


async def test_a_slow_body_arrives_in_drops_and_is_complete(
    client: aiohttp.ClientSession, log: LogPageSimulator
) -> None:
    log.odd_answer = SlowBody(b'{"lines":[1]}', chunk_bytes=5, pause_s=0.01)
    async with client.get(f"{log.url}/logs") as response:
        assert response.headers["Transfer-Encoding"] == "chunked"
        assert await response.read() == b'{"lines":[1]}'


async def test_a_redirect_leads_where_it_was_told(
    client: aiohttp.ClientSession, log: LogPageSimulator
) -> None:
    log.odd_answer = Redirect("http://169.254.169.254/latest", status=307)
    async with client.get(f"{log.url}/logs", allow_redirects=False) as response:
        assert (response.status, response.headers["Location"]) == (307, "http://169.254.169.254/latest")


# --- all of them --------------------------------------------------------------------------------------------

SOURCES = {
    ZabbixSimulator: "/api_jsonrpc.php",
    AlertmanagerSimulator: "/api/v2/alerts",
    LogPageSimulator: "/logs",
}


async def ask(client: aiohttp.ClientSession, source: SourceSimulator) -> tuple[int, Any]:
    url = source.url + SOURCES[type(source)]
    body = {"jsonrpc": "2.0", "method": "problem.get", "params": {}, "id": 1}
    sending = client.post(url, json=body) if isinstance(source, ZabbixSimulator) else client.get(url)
    async with sending as response:
        return response.status, await response.json(content_type=None)


@pytest.mark.parametrize("kind", SOURCES)
async def test_every_source_can_be_filled_with_events_of_about_a_size(
    client: aiohttp.ClientSession, kind: type[SourceSimulator]
) -> None:
    async with kind() as source:
        source.fill(50, 800)
        _, answer = await ask(client, source)
    events = answer if isinstance(answer, list) else answer.get("result") or answer["lines"]
    assert len(events) == 50
    assert all(700 <= len(json.dumps(event)) <= 900 for event in events)


@pytest.mark.parametrize("kind", SOURCES)
async def test_every_source_fails_on_command_and_recovers(
    client: aiohttp.ClientSession, kind: type[SourceSimulator]
) -> None:
    async with kind() as source:
        source.error_status = 503
        assert (await ask(client, source))[0] == 503
        source.error_status = None
        source.faults.add(Fault.status(500, "500-99999", endpoint="source"))
        assert (await ask(client, source))[0] == 500
        assert (await ask(client, source))[0] == 200
        assert [record.http_status for record in source.requests] == [503, 500, 200]
        assert source.requests[-1].path == SOURCES[kind]


@pytest.mark.parametrize("kind", SOURCES)
async def test_every_source_answers_late_on_command(
    client: aiohttp.ClientSession, kind: type[SourceSimulator]
) -> None:
    async with kind() as source:
        source.latency_s = 60
        asking = asyncio.create_task(ask(client, source))
        await source.wait_for(lambda simulator: len(simulator.requests) == 1)
        assert not asking.done()
        asking.cancel()
        await asyncio.wait([asking])
