"""The workspace API over real sockets: bytes out, answers in, one repeat after a refused token (contract 3)."""

import asyncio
import json
import logging
import traceback
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from oase_agent.errors import AgentError, Reason, RequestTooLarge, WorkspaceUnavailable
from oase_agent.model import AgentIdentity
from oase_agent.proxies import ProxyEnvironment
from oase_agent.tls import client_context
from oase_agent.workspace.answers import EventsRefused, InvalidSetting, NotLatest, UnknownText
from oase_agent.workspace.client import Timeouts, WorkspaceClient
from oase_agent.workspace.transport import LARGEST_ANSWER_BYTES, Transport
from oase_agent.workspace.wire import EventGroup, WorkspaceAddress

AGENT = AgentIdentity("host-1", "2.7.0")
API = "/api/org001/workspaces/ws01/oase_agent"
EVENT = (
    b'[{"id":"1","_exastro_oase_event_id":"1","_exastro_event_collection_settings_name":"a",'
    b'"_exastro_event_collection_settings_id":"id-a","_exastro_fetched_time":1700000010,'
    b'"_exastro_end_time":1700000070}]'
)
GROUP = EventGroup("a", 1700000010, EVENT)
NOT_LATEST = (
    "The events were not saved because the fetched_time is not the latest. "
    "(event_collection_settings_id:id-a, received_fetched_time:1, latest fetched_time:1700000010)"
)
INVALID = "The events were not saved because received data is invalid.(event_collection_settings_name='zz')"


def http(status: int, body: bytes | str, headers: str = "") -> bytes:
    content = body.encode() if isinstance(body, str) else body
    return f"HTTP/1.1 {status} X\r\nContent-Length: {len(content)}\r\n{headers}\r\n".encode() + content


def success(data: object) -> bytes:
    return http(200, json.dumps({"result": "000-00000", "message": "SUCCESS", "ts": "x", "data": data}))


def failure(result: str, message: str = "m") -> bytes:
    status = min(int(result[:3]), 500)
    return http(status, json.dumps({"result": result, "message": message, "ts": "x"}))


@dataclass
class Request:
    start_line: str
    headers: dict[str, str]
    body: bytes


@dataclass
class RawServer:
    """A server that keeps every byte it gets, and answers `answers` in turn, the last one for ever.

    None as answer closes the connection. With `closes`, the connection ends after each answer.
    """

    answers: list[bytes | None] = field(default_factory=lambda: [success([])])
    requests: list[Request] = field(default_factory=list)
    closes: bool = False
    is_silent: bool = False
    reached: asyncio.Event = field(default_factory=asyncio.Event)

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._one_request(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _one_request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:-2])}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        self.requests.append(Request(head[0], headers, body))
        self.reached.set()
        if self.is_silent:
            await reader.read()  # until the other side gives up
            return False
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer is None:
            return False
        writer.write(answer)
        await writer.drain()
        return not self.closes


class FakeCredentials:
    """Hands out `token-1`, and after each renewal the next one."""

    def __init__(self) -> None:
        self.number = 1
        self.renewals: list[str] = []
        self.can_renew = True
        self.failure: WorkspaceUnavailable | None = None
        self.is_closed = False

    async def authorization(self) -> str:
        return f"Bearer canary-token-{self.number}"

    async def renew_after_refusal(self, used: str) -> bool:
        self.renewals.append(used)
        if self.failure is not None:
            raise self.failure
        self.number += 1
        return self.can_renew

    async def close(self) -> None:
        self.is_closed = True


class Outcomes:
    """An observer that writes down what it is told."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []

    def request_done(self, endpoint: str, outcome: str, seconds: float) -> None:
        assert seconds >= 0
        self.seen.append((endpoint, outcome))


@dataclass
class Setup:
    server: RawServer
    client: WorkspaceClient
    credentials: FakeCredentials
    outcomes: Outcomes


@asynccontextmanager
async def connected(timeouts: Timeouts) -> AsyncIterator[Setup]:
    server = RawServer()
    listener = await asyncio.start_server(server.handle, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    credentials, outcomes = FakeCredentials(), Outcomes()
    transport = Transport(
        tls=client_context(), proxies=ProxyEnvironment(), observer=outcomes, wall_clock=lambda: 1795161600.0
    )
    address = WorkspaceAddress(f"http://127.0.0.1:{port}/", "org001", "ws01")
    async with (
        listener,
        WorkspaceClient(transport, address, credentials, AGENT, timeouts=timeouts) as client,
    ):
        yield Setup(server, client, credentials, outcomes)


@pytest.fixture
async def setup() -> AsyncIterator[Setup]:
    async with connected(Timeouts()) as made:
        yield made


async def post_fails(setup: Setup, *groups: EventGroup) -> AgentError:
    with pytest.raises(AgentError) as caught:
        await setup.client.post_events(groups or (GROUP,))
    return caught.value


async def test_events_are_posted_with_the_bytes_and_headers_of_the_contract(setup: Setup) -> None:
    assert await setup.client.post_events([GROUP]) == ()
    (request,) = setup.server.requests
    assert request.start_line == f"POST {API}/events HTTP/1.1"
    assert request.body == (
        b'{"events":[{"fetched_time":1700000010,"event_collection_settings_name":"a",'
        b'"agent":{"name":"host-1","version":"2.7.0"},"event":' + EVENT + b"}]}"
    )
    assert request.headers["content-length"] == str(len(request.body))
    assert request.headers["content-type"] == "application/json"
    assert request.headers["authorization"] == "Bearer canary-token-1"
    assert not {"transfer-encoding", "expect", "language", "user-id", "roles", "cookie"} & set(
        request.headers
    )
    assert setup.outcomes.seen == [("events", "ok")]


@pytest.mark.parametrize("size_bytes", [1, 1000, 65_535, 65_536, 65_537, 700_000])
async def test_a_large_body_arrives_whole_with_an_exact_length(setup: Setup, size_bytes: int) -> None:
    text = b"[%s]" % (b"1" * size_bytes)
    groups = [EventGroup("a", 1, memoryview(text)), GROUP, EventGroup("b", 2, text), GROUP]
    assert await setup.client.post_events(groups) == ()
    (request,) = setup.server.requests
    assert request.body.count(text) == 2
    assert request.body.startswith(b'{"events":[{"fetched_time":1,"event_collection_settings_name":"a"')
    assert request.body.endswith(EVENT + b"}]}")
    assert int(request.headers["content-length"]) == len(request.body)
    assert "transfer-encoding" not in request.headers


async def test_refusals_inside_a_200_are_given_back(setup: Setup) -> None:
    setup.server.answers = [success([INVALID, NOT_LATEST, "something new"])]
    assert await setup.client.post_events([GROUP]) == (
        InvalidSetting("zz"),
        NotLatest("id-a", 1, 1700000010),
        UnknownText("something new"),
    )


@pytest.mark.parametrize("answer", [failure("401-00002"), http(401, "")])
async def test_a_refused_token_is_renewed_and_the_same_request_repeated(setup: Setup, answer: bytes) -> None:
    setup.server.answers = [answer, success([])]
    assert await setup.client.post_events([GROUP]) == ()
    first, second = setup.server.requests
    assert (first.headers["authorization"], second.headers["authorization"]) == (
        "Bearer canary-token-1",
        "Bearer canary-token-2",
    )
    assert first.body == second.body
    assert setup.credentials.renewals == ["Bearer canary-token-1"]
    assert setup.outcomes.seen == [("events", "token_refused"), ("events", "ok")]


async def test_a_refused_token_is_renewed_only_once(setup: Setup) -> None:
    setup.server.answers = [failure("401-00002")]
    error = await post_fails(setup)
    assert isinstance(error, WorkspaceUnavailable)
    assert (error.reason, error.certainly_not_stored) == (Reason.TOKEN_REFUSED, True)
    assert len(setup.server.requests) == 2
    assert len(setup.credentials.renewals) == 1


async def test_without_another_token_nothing_is_repeated(setup: Setup) -> None:
    setup.server.answers = [failure("401-00002")]
    setup.credentials.can_renew = False
    assert (await post_fails(setup)).reason is Reason.TOKEN_REFUSED
    assert len(setup.server.requests) == 1


async def test_a_renewal_that_fails_is_what_the_caller_hears(setup: Setup) -> None:
    setup.server.answers = [failure("401-00002")]
    setup.credentials.failure = WorkspaceUnavailable("issue a new one", Reason.TOKEN_EXPIRED)
    assert await post_fails(setup) is setup.credentials.failure
    assert len(setup.server.requests) == 1


@pytest.mark.parametrize("result", ["401-00001", "403-00001", "498-00004", "500-99999"])
async def test_no_other_refusal_renews_the_token(setup: Setup, result: str) -> None:
    setup.server.answers = [failure(result)]
    await post_fails(setup)
    assert setup.credentials.renewals == []
    assert len(setup.server.requests) == 1


async def test_an_unknown_setting_and_refused_content_are_not_repeated(setup: Setup) -> None:
    setup.server.answers = [
        failure("499-01802", f"No event data.({INVALID})"),
        failure("499-01803", "NUL in key"),
    ]
    unknown = await post_fails(setup)
    assert isinstance(unknown, EventsRefused)
    assert unknown.refusals == (InvalidSetting("zz"),)
    refused = await post_fails(setup)
    assert isinstance(refused, EventsRefused)
    assert (refused.reason, refused.answer) == (Reason.CONTENT_REFUSED, "NUL in key")
    assert setup.outcomes.seen == [("events", "unknown_setting"), ("events", "content_refused")]


async def test_a_body_that_is_too_large_is_told_apart(setup: Setup) -> None:
    setup.server.answers = [http(413, "<html>too large</html>")]
    assert isinstance(await post_fails(setup), RequestTooLarge)


@pytest.mark.parametrize(("header", "seconds"), [("17", 17.0), ("Fri, 20 Nov 2026 08:00:30 GMT", 30.0)])
async def test_retry_after_reaches_the_caller(setup: Setup, header: str, seconds: float) -> None:
    setup.server.answers = [http(503, "", f"Retry-After: {header}\r\n")]
    error = await post_fails(setup)
    assert isinstance(error, WorkspaceUnavailable)
    assert (error.reason, error.retry_after_s) == (Reason.SERVER_ERROR, seconds)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(setup: Setup, status: int) -> None:
    setup.server.answers = [http(status, "", "Location: /login\r\n")]
    error = await post_fails(setup)
    assert error.reason is Reason.REDIRECT
    assert "EXASTRO_URL" in str(error)
    assert len(setup.server.requests) == 1


CUT_ANSWERS: list[tuple[bytes | None, Reason]] = [
    (None, Reason.UNREACHABLE),
    (b"HTTP/1.1 200 OK\r\nContent-Le", Reason.UNREACHABLE),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{", Reason.UNREACHABLE),
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{can", Reason.UNREACHABLE),
    (b"SSH-2.0-canary\r\n\r\n", Reason.MALFORMED),
    (b"HTTP/1.1 200 OK\r\ncanary header\r\n\r\n", Reason.MALFORMED),
    (http(200, "<html>canary</html>"), Reason.MALFORMED),
    (http(200, ""), Reason.MALFORMED),
    (http(200, '{"result":"000-00000","data":["canary"'), Reason.MALFORMED),
    (b"HTTP/1.1 204 No Content\r\n\r\n", Reason.MALFORMED),
]


@pytest.mark.parametrize(("answer", "reason"), CUT_ANSWERS)
async def test_after_an_answer_that_cannot_be_read_the_events_may_be_stored(
    setup: Setup, answer: bytes | None, reason: Reason
) -> None:
    setup.server.answers = [answer]
    setup.server.closes = True
    error = await post_fails(setup)
    assert isinstance(error, WorkspaceUnavailable)
    assert (error.reason, error.certainly_not_stored) == (reason, False)
    assert len(setup.server.requests) == 1
    shown = "".join(traceback.format_exception(error)) + repr(error.__cause__)
    assert "canary" not in shown


async def test_an_answer_beyond_the_bound_is_not_read_to_its_end(setup: Setup) -> None:
    setup.server.answers = [http(200, b" " * (LARGEST_ANSWER_BYTES + 1))]
    assert (await post_fails(setup)).reason is Reason.TOO_LARGE


async def test_an_answer_up_to_the_bound_is_read(setup: Setup) -> None:
    rows = json.dumps({"result": "000-00000", "data": [{"NOTE": "x" * 3_000_000}]})
    setup.server.answers = [http(200, rows.ljust(LARGEST_ANSWER_BYTES))]
    assert len(await setup.client.fetch_settings(["a"])) == 1


async def test_a_server_that_does_not_answer_ends_with_a_timeout() -> None:
    async with connected(Timeouts(settings_s=0.2, events_s=0.2)) as setup:
        setup.server.is_silent = True
        error = await post_fails(setup)
        assert isinstance(error, WorkspaceUnavailable)
        assert (error.reason, error.certainly_not_stored) == (Reason.TIMEOUT, False)
        with pytest.raises(WorkspaceUnavailable) as caught:
            await setup.client.fetch_settings(["a"])
        assert caught.value.reason is Reason.TIMEOUT
        assert setup.outcomes.seen == [("events", "timeout"), ("settings", "timeout")]


async def test_a_caller_that_is_stopped_is_counted_as_cancelled(setup: Setup) -> None:
    setup.server.is_silent = True
    caller = asyncio.create_task(setup.client.post_events([GROUP]))
    await setup.server.reached.wait()
    caller.cancel()
    await asyncio.wait({caller})
    assert caller.cancelled()
    assert setup.outcomes.seen == [("events", "cancelled")]


async def test_settings_are_fetched_as_raw_rows(setup: Setup) -> None:
    rows = [{"EVENT_COLLECTION_SETTINGS_NAME": "名前", "TTL": 10}, 7]
    setup.server.answers = [success(rows)]
    assert await setup.client.fetch_settings(["名前", "b"]) == rows
    (request,) = setup.server.requests
    assert request.start_line == f"POST {API}/event_collection/settings HTTP/1.1"
    assert request.body == '{"event_collection_settings_names":["名前","b"]}'.encode()
    assert setup.outcomes.seen == [("settings", "ok")]


async def test_no_names_make_no_request(setup: Setup) -> None:
    assert await setup.client.fetch_settings([]) == []
    assert await setup.client.probe_positions([]) == ()
    assert setup.server.requests == []


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (success({"not": "a list"}), Reason.MALFORMED),
        (http(200, "<html>login</html>"), Reason.MALFORMED),
        (failure("400-00002"), Reason.CONTENT_REFUSED),
        (http(413, ""), Reason.TOO_LARGE),
        (failure("401-00001"), Reason.ROLE_MISSING),
        (failure("498-00004"), Reason.MAINTENANCE),
    ],
)
async def test_settings_that_cannot_be_had_may_be_had_later(
    setup: Setup, answer: bytes, reason: Reason
) -> None:
    setup.server.answers = [answer]
    with pytest.raises(WorkspaceUnavailable) as caught:
        await setup.client.fetch_settings(["a"])
    assert caught.value.reason is reason


async def test_settings_also_renew_a_refused_token(setup: Setup) -> None:
    setup.server.answers = [failure("401-00002"), success([])]
    assert await setup.client.fetch_settings(["a"]) == []
    assert len(setup.credentials.renewals) == 1


async def test_positions_are_asked_for_with_empty_groups(setup: Setup) -> None:
    setup.server.answers = [success([NOT_LATEST])]
    assert await setup.client.probe_positions(["a", "b"]) == (NotLatest("id-a", 1, 1700000010),)
    (request,) = setup.server.requests
    agent = {"name": "host-1", "version": "2.7.0"}
    assert json.loads(request.body) == {
        "events": [
            {"fetched_time": 1, "event_collection_settings_name": name, "agent": agent, "event": []}
            for name in ("a", "b")
        ]
    }
    assert setup.outcomes.seen == [("positions", "ok")]


async def test_an_unknown_name_among_the_probed_hides_no_position(setup: Setup) -> None:
    setup.server.answers = [
        failure("499-01802", f"保存可能なeventsデータがありません。（{INVALID}, {NOT_LATEST}）")
    ]
    assert await setup.client.probe_positions(["zz", "a"]) == (
        InvalidSetting("zz"),
        NotLatest("id-a", 1, 1700000010),
    )


@pytest.mark.parametrize("answer", [failure("499-01802", "no texts at all"), failure("499-01803", INVALID)])
async def test_a_refused_probe_without_texts_is_no_proof_of_an_empty_history(
    setup: Setup, answer: bytes
) -> None:
    setup.server.answers = [answer]
    with pytest.raises(EventsRefused):
        await setup.client.probe_positions(["a"])


async def test_cookies_of_the_gateway_are_not_kept(setup: Setup) -> None:
    envelope = '{"result":"000-00000","data":[]}'
    setup.server.answers = [http(200, envelope, "Set-Cookie: session=1; Path=/\r\n")]
    await setup.client.post_events([GROUP])
    await setup.client.post_events([GROUP])
    assert "cookie" not in setup.server.requests[1].headers


async def test_leaving_closes_credentials_and_transport() -> None:
    async with connected(Timeouts()) as setup:
        await setup.client.post_events([GROUP])
        closed_before = setup.credentials.is_closed
    assert (closed_before, setup.credentials.is_closed) == (False, True)
    with pytest.raises(AssertionError, match="not open"):
        await setup.client.post_events([GROUP])


async def test_no_secret_is_printed_anywhere(setup: Setup, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    secret = EventGroup("a", 1, b'[{"secret":"canary-event"}]')
    answers: list[bytes | None] = [
        failure("500-99999", "canary"),
        failure("499-01803", "canary"),
        http(413, "canary"),
    ]
    answers += [failure("401-00002", "canary"), failure("499-01802", "canary"), None]
    shown: list[str] = []
    for answer in answers:
        setup.server.answers = [answer]
        error = await post_fails(setup, secret)
        shown += ["".join(traceback.format_exception(error)), str(error), repr(error), repr(error.__cause__)]
    assert not [text for text in [*shown, caplog.text] if "canary" in text]


async def test_a_silent_request_delays_no_other(setup: Setup) -> None:
    setup.server.is_silent = True
    stuck = [asyncio.create_task(setup.client.post_events([GROUP])) for _ in range(120)]
    await until(lambda: len(setup.server.requests) == 120)
    setup.server.is_silent = False
    assert await setup.client.fetch_settings(["a"]) == []
    for task in stuck:
        task.cancel()
    await asyncio.wait(stuck)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.01)
