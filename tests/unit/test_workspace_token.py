"""The life of an access token: one exchange at a time, ahead of its end, rotation stored first (contract 2)."""

import asyncio
import base64
import logging
import traceback
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from oase_agent.errors import Reason, WorkspaceUnavailable
from oase_agent.model import Secret
from oase_agent.proxies import ProxyEnvironment
from oase_agent.tls import client_context
from oase_agent.workspace.token import BasicCredentials, TokenExchange, TokenState
from oase_agent.workspace.transport import Transport
from oase_agent.workspace.wire import WorkspaceAddress

CONFIGURED = "canary-refresh-configured"


class HandClock:
    """A monotonic clock that moves only by hand."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


class MemoryStore:
    """A refresh token store that writes down what happens, and can be made to fail."""

    def __init__(self, log: list[str]) -> None:
        self.token = Secret(CONFIGURED)
        self.log = log
        self.is_full = False

    def current(self) -> Secret:
        return self.token

    def save(self, token: Secret) -> None:
        if self.is_full:
            raise OSError(28, "No space left on device")
        self.token = token
        self.log.append(f"stored {token.reveal()}")


@dataclass
class Keycloak:
    """A token endpoint: answers `lifetime_s`, or `answer` if one is set, and waits for `open_gate`."""

    forms: list[list[tuple[str, str]]] = field(default_factory=list)
    lifetime: object = 100
    rotates: bool = False
    answer: Callable[[], web.Response] | None = None
    open_gate: asyncio.Event = field(default_factory=asyncio.Event)
    reached: asyncio.Event = field(default_factory=asyncio.Event)
    address: WorkspaceAddress | None = None
    paths: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.Response:
        self.paths.append(request.path)
        self.headers.append({name.lower(): value for name, value in request.headers.items()})
        self.forms.append(parse_qsl(await request.text(), strict_parsing=True))
        number = len(self.forms)
        self.reached.set()
        await self.open_gate.wait()
        if self.answer is not None:
            return self.answer()
        fields: dict[str, Any] = {"access_token": f"canary-access-{number}", "token_type": "Bearer"}
        if self.lifetime is not None:
            fields["expires_in"] = self.lifetime
        if self.rotates:
            fields["refresh_token"] = f"canary-rotated-{number}"
        return web.json_response(fields)


@dataclass
class Setup:
    keycloak: Keycloak
    exchange: TokenExchange
    clock: HandClock
    store: MemoryStore
    log: list[str]
    outcomes: list[tuple[str, str]]

    def request_done(self, endpoint: str, outcome: str, seconds: float) -> None:
        assert seconds >= 0
        self.outcomes.append((endpoint, outcome))


@pytest.fixture
async def setup() -> AsyncIterator[Setup]:
    keycloak = Keycloak()
    keycloak.open_gate.set()
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", keycloak.handle)
    server = TestServer(app)
    await server.start_server()
    log: list[str] = []
    outcomes: list[tuple[str, str]] = []
    clock, store = HandClock(), MemoryStore(log)
    made = Setup(keycloak, None, clock, store, log, outcomes)  # type: ignore[arg-type]
    address = WorkspaceAddress(str(server.make_url("/")), "org001", "ws01")
    async with Transport(tls=client_context(), proxies=ProxyEnvironment(), observer=made) as transport:
        made.exchange = TokenExchange(transport, address, store, clock=clock)
        yield made
        keycloak.open_gate.set()
        await made.exchange.close()
    await server.close()


async def problem_of(setup: Setup) -> WorkspaceUnavailable:
    with pytest.raises(WorkspaceUnavailable) as caught:
        await setup.exchange.authorization()
    return caught.value


async def test_the_exchange_sends_exactly_the_form_of_the_contract(setup: Setup) -> None:
    assert setup.exchange.state is TokenState.NONE
    assert await setup.exchange.authorization() == "Bearer canary-access-1"
    assert setup.keycloak.forms == [
        [("client_id", "_org001-api"), ("grant_type", "refresh_token"), ("refresh_token", CONFIGURED)]
    ]
    assert setup.keycloak.paths == ["/auth/realms/org001/protocol/openid-connect/token"]
    assert setup.keycloak.headers[0]["content-type"] == "application/x-www-form-urlencoded"
    assert "authorization" not in setup.keycloak.headers[0]
    assert (setup.exchange.state, setup.exchange.problem) == (TokenState.VALID, "")
    assert setup.outcomes == [("token", "ok")]


async def test_twenty_callers_at_once_make_one_exchange(setup: Setup) -> None:
    setup.keycloak.open_gate.clear()
    callers = [asyncio.create_task(setup.exchange.authorization()) for _ in range(20)]
    await setup.keycloak.reached.wait()
    setup.keycloak.open_gate.set()
    assert set(await asyncio.gather(*callers)) == {"Bearer canary-access-1"}
    assert len(setup.keycloak.forms) == 1


async def test_twenty_callers_share_one_failure(setup: Setup) -> None:
    setup.keycloak.open_gate.clear()
    setup.keycloak.answer = lambda: web.Response(status=503)
    callers = [asyncio.create_task(setup.exchange.authorization()) for _ in range(20)]
    await setup.keycloak.reached.wait()
    setup.keycloak.open_gate.set()
    results = await asyncio.gather(*callers, return_exceptions=True)
    assert all(isinstance(result, WorkspaceUnavailable) for result in results)
    assert len(setup.keycloak.forms) == 1


async def test_a_caller_that_gives_up_stops_neither_the_exchange_nor_the_others(setup: Setup) -> None:
    setup.keycloak.open_gate.clear()
    setup.keycloak.rotates = True
    hasty = asyncio.create_task(setup.exchange.authorization())
    patient = asyncio.create_task(setup.exchange.authorization())
    await setup.keycloak.reached.wait()
    hasty.cancel()
    await asyncio.wait({hasty})
    assert hasty.cancelled()
    setup.keycloak.open_gate.set()
    assert await patient == "Bearer canary-access-1"
    assert setup.log == ["stored canary-rotated-1"]


@pytest.mark.parametrize(
    ("lifetime", "fresh_until_s"),
    [
        (86_400, 86_340),
        (300, 240),
        (100, 80),
        (60, 48),
        (None, 48),
        ("100", 48),
        (0, 48),
        (-1, 48),
        (True, 48),
    ],
)
async def test_a_token_is_renewed_ahead_of_its_end(
    setup: Setup, lifetime: object, fresh_until_s: float
) -> None:
    setup.keycloak.lifetime = lifetime
    await setup.exchange.authorization()
    setup.clock.now_s += fresh_until_s - 0.5
    assert await setup.exchange.authorization() == "Bearer canary-access-1"
    setup.clock.now_s += 0.5
    assert await setup.exchange.authorization() == "Bearer canary-access-2"


async def test_while_renewing_fails_a_token_is_used_to_its_end(setup: Setup) -> None:
    await setup.exchange.authorization()
    setup.keycloak.answer = lambda: web.Response(status=503)
    setup.clock.now_s += 99.9
    assert await setup.exchange.authorization() == "Bearer canary-access-1"
    assert setup.exchange.state is TokenState.RENEWING_FAILED
    setup.clock.now_s += 0.1
    assert (await problem_of(setup)).reason is Reason.SERVER_ERROR


async def test_a_refused_token_is_renewed_once_for_all_who_used_it(setup: Setup) -> None:
    used = await setup.exchange.authorization()
    answers = await asyncio.gather(*(setup.exchange.renew_after_refusal(used) for _ in range(20)))
    assert answers == [True] * 20
    assert len(setup.keycloak.forms) == 2
    # A latecomer, whose refusal arrives after the renewal, must not throw away the new token.
    assert await setup.exchange.renew_after_refusal(used)
    assert len(setup.keycloak.forms) == 2


async def test_the_same_token_again_is_no_renewal(setup: Setup) -> None:
    setup.keycloak.answer = lambda: web.json_response({"access_token": "same", "expires_in": 100})
    used = await setup.exchange.authorization()
    assert await setup.exchange.renew_after_refusal(used) is False


async def test_a_rotated_refresh_token_is_stored_and_then_used(setup: Setup) -> None:
    setup.keycloak.rotates = True
    used = await setup.exchange.authorization()
    assert setup.log == ["stored canary-rotated-1"]
    await setup.exchange.renew_after_refusal(used)
    assert dict(setup.keycloak.forms[1])["refresh_token"] == "canary-rotated-1"
    assert setup.log == ["stored canary-rotated-1", "stored canary-rotated-2"]


async def test_the_same_refresh_token_is_not_stored_again(setup: Setup) -> None:
    setup.keycloak.answer = lambda: web.json_response({"access_token": "a", "refresh_token": CONFIGURED})
    await setup.exchange.authorization()
    assert setup.log == []


async def test_a_token_whose_rotation_cannot_be_stored_is_not_used(setup: Setup) -> None:
    setup.keycloak.rotates = True
    setup.store.is_full = True
    error = await problem_of(setup)
    assert (error.reason, error.certainly_not_stored) == (Reason.DISK, True)
    assert setup.exchange.state is TokenState.RENEWING_FAILED
    assert "STORAGE_PATH" in setup.exchange.problem
    assert (await problem_of(setup)).reason is Reason.DISK
    assert len(setup.keycloak.forms) == 1, "the rotated token in memory is the only one that still works"
    setup.store.is_full = False
    assert await setup.exchange.authorization() == "Bearer canary-access-1"
    assert (setup.log, len(setup.keycloak.forms)) == (["stored canary-rotated-1"], 1)


async def test_a_rotation_stored_too_late_for_its_access_token_is_exchanged_again(setup: Setup) -> None:
    setup.keycloak.rotates = True
    setup.store.is_full = True
    await problem_of(setup)
    setup.store.is_full = False
    setup.clock.now_s += 100
    assert await setup.exchange.authorization() == "Bearer canary-access-2"
    assert dict(setup.keycloak.forms[1])["refresh_token"] == "canary-rotated-1"


async def test_a_store_that_cannot_be_read_gives_no_token(setup: Setup) -> None:
    def unreadable() -> Secret:
        raise OSError(5, "Input/output error")

    setup.store.current = unreadable  # type: ignore[method-assign]
    assert (await problem_of(setup)).reason is Reason.DISK
    assert setup.keycloak.forms == []


async def test_an_expired_refresh_token_is_a_state_that_says_what_to_do(setup: Setup) -> None:
    setup.keycloak.answer = lambda: web.json_response(
        {"error": "invalid_grant", "error_description": "Offline user session not found"}, status=400
    )
    error = await problem_of(setup)
    assert (error.reason, error.certainly_not_stored) == (Reason.TOKEN_EXPIRED, True)
    assert setup.exchange.state is TokenState.REFUSED
    assert setup.exchange.problem.startswith("refresh token expired or revoked: issue a new one")
    setup.keycloak.answer = None
    await setup.exchange.authorization()
    assert (setup.exchange.state, setup.exchange.problem) == (TokenState.VALID, "")


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (400, '{"error":"unauthorized_client"}', Reason.TOKEN_REFUSED),
        (400, "<html>canary</html>", Reason.TOKEN_REFUSED),
        (401, '{"error":"canary with blanks"}', Reason.TOKEN_REFUSED),
        (403, "", Reason.ROLE_MISSING),
        (404, '{"error":"Realm does not exist"}', Reason.UNKNOWN_ORGANIZATION),
        (413, "", Reason.TOO_LARGE),
        (429, "", Reason.RATE_LIMITED),
        (498, "", Reason.MAINTENANCE),
        (500, "", Reason.SERVER_ERROR),
        (502, "", Reason.SERVER_ERROR),
        (302, "", Reason.REDIRECT),
        (204, "", Reason.MALFORMED),
        (200, "<html>canary</html>", Reason.MALFORMED),
        (200, "[]", Reason.MALFORMED),
        (200, "{}", Reason.MALFORMED),
        (200, '{"access_token":""}', Reason.MALFORMED),
        (200, '{"access_token":"canary\\r\\nX-Injected: 1"}', Reason.MALFORMED),
        (200, '{"access_token":"a"', Reason.MALFORMED),
    ],
)
async def test_any_other_answer_is_no_token(setup: Setup, status: int, body: str, reason: Reason) -> None:
    setup.keycloak.answer = lambda: web.Response(
        status=status, text=body, headers={"Retry-After": "9", "Location": "/login"}
    )
    error = await problem_of(setup)
    assert (error.reason, error.certainly_not_stored) == (reason, True)
    assert setup.exchange.state is TokenState.RENEWING_FAILED
    assert setup.outcomes == [("token", reason.value)]
    assert "canary" not in str(error)
    if status in {429, 502}:
        assert error.retry_after_s == 9.0


async def test_an_unreachable_endpoint_is_no_token(setup: Setup) -> None:
    setup.keycloak.answer = None
    async with Transport(tls=client_context(), proxies=ProxyEnvironment()) as transport:
        address = WorkspaceAddress("http://127.0.0.1:1", "org001", "ws01")
        exchange = TokenExchange(transport, address, setup.store)
        with pytest.raises(WorkspaceUnavailable) as caught:
            await exchange.authorization()
    assert (caught.value.reason, caught.value.certainly_not_stored) == (Reason.UNREACHABLE, True)


async def test_closing_lets_a_running_exchange_end(setup: Setup) -> None:
    setup.keycloak.rotates = True
    setup.keycloak.open_gate.clear()
    caller = asyncio.create_task(setup.exchange.authorization())
    await setup.keycloak.reached.wait()
    caller.cancel()
    asyncio.get_running_loop().call_later(0.05, setup.keycloak.open_gate.set)
    await setup.exchange.close()
    assert setup.log == ["stored canary-rotated-1"]


async def test_closing_does_not_wait_for_ever(setup: Setup) -> None:
    setup.keycloak.open_gate.clear()
    caller = asyncio.create_task(setup.exchange.authorization())
    await setup.keycloak.reached.wait()
    await setup.exchange.close()
    await asyncio.wait({caller})
    assert caller.cancelled()


async def test_no_secret_is_printed_anywhere(setup: Setup, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    setup.keycloak.rotates = True
    await setup.exchange.authorization()
    shown = [repr(vars(setup.exchange)), setup.exchange.problem]
    setup.store.is_full = True
    setup.clock.now_s += 1000
    shown.append("".join(traceback.format_exception(await problem_of(setup))))
    shown.append(repr(vars(setup.exchange)))
    setup.store.is_full = False
    setup.clock.now_s += 1000
    setup.keycloak.answer = lambda: web.json_response(
        {"error": "canary", "access_token": "canary"}, status=500
    )
    error = await problem_of(setup)
    shown += ["".join(traceback.format_exception(error)), repr(error), setup.exchange.problem, caplog.text]
    assert not [text for text in shown if "canary" in text]


async def test_basic_credentials_are_sent_as_utf_8_and_never_renewed() -> None:
    credentials = BasicCredentials("user", Secret("パス:canary"))
    value = await credentials.authorization()
    assert base64.b64decode(value.removeprefix("Basic ")).decode() == "user:パス:canary"
    assert await credentials.renew_after_refusal(value) is False
    assert "canary" not in repr(vars(credentials))
    await credentials.close()
