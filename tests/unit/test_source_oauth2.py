"""Client credentials of OAuth 2.0 (RFC 6749), against a token endpoint and a source that look at what they get."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from oase_agent.errors import Reason, SourceUnavailable
from oase_agent.model import ConnectionMethod, Secret
from oase_agent.sources.exchange import SourceLimits
from oase_agent.sources.http import HttpSource
from oase_agent.sources.oauth2 import AccessToken, AccessTokens, token_request
from oase_agent.sources.options import OAuth2Client, SourceOptions, SourceProxy
from oase_agent.tls import client_context
from tests.unit.source_servers import (
    GET_SETTING,
    POST_SETTING,
    Authority,
    Request,
    Server,
    a_source,
    fetch,
    fetch_bytes,
    forward_proxy,
    http_answer,
    redirect_to,
    serving,
)

SECRET = "s3cr3t"
OTHER_SETTING = replace(GET_SETTING, name="another source")


@dataclass
class Authorization:
    """A token endpoint that hands out t1, t2, …, and the source that accepts only the newest one."""

    life: Any = 3600
    answer: bytes | None = None
    delay_s: float = 0.0
    given: int = 0
    revoked: set[str] = field(default_factory=set)
    token_server: Server | None = None
    source_server: Server | None = None

    async def hand_out(
        self, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await asyncio.sleep(self.delay_s)
        if self.answer is not None:
            writer.write(self.answer)
            return
        self.given += 1
        fields = {"access_token": f"t{self.given}", "token_type": "bearer", "expires_in": self.life}
        fields = {name: value for name, value in fields.items() if value is not None}
        writer.write(http_answer(json.dumps(fields).encode()))

    async def check(
        self, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        is_good = token.startswith("t") and token not in self.revoked
        writer.write(http_answer(b"[1]") if is_good else http_answer(b"", 401))

    @property
    def asked(self) -> list[Request]:
        assert self.token_server is not None
        return self.token_server.requests

    @property
    def tokens(self) -> list[str]:
        """The tokens that the source was shown, in order."""
        assert self.source_server is not None
        return [
            request.headers["authorization"].removeprefix("Bearer ")
            for request in self.source_server.requests
        ]

    @property
    def url(self) -> str:
        assert self.source_server is not None
        return self.source_server.url()

    def client(self, **changes: Any) -> OAuth2Client:
        assert self.token_server is not None
        client = OAuth2Client(self.token_server.url("/token"), "agent", Secret(SECRET))
        return replace(client, **changes)


@asynccontextmanager
async def authorizing(**changes: Any) -> AsyncIterator[Authorization]:
    simulator = Authorization(**changes)
    async with serving(simulator.hand_out) as tokens, serving(simulator.check) as source:
        simulator.token_server, simulator.source_server = tokens, source
        yield simulator


def a_client_source(directory: Path, client: OAuth2Client, **changes: Any) -> HttpSource:
    options = SourceOptions(oauth2=client, **changes)
    return a_source(directory, options_of=lambda _name: options)


async def no_token(source: HttpSource, url: str, reason: Reason) -> str:
    with pytest.raises(SourceUnavailable) as caught:
        await fetch(source, url)
    told = str(caught.value)
    assert caught.value.reason is reason, told
    assert told.startswith("no access token for the source (oauth2 in SOURCE_OPTIONS_FILE): ")
    assert SECRET not in told
    assert caught.value.__cause__ is None
    return told.partition("): ")[2]


# -- what goes over the wire ---------------------------------------------------------------------------------


async def test_a_token_is_fetched_and_sent_instead_of_other_credentials(tmp_path: Path) -> None:
    setting = replace(GET_SETTING, connection_method=ConnectionMethod.BEARER, auth_token=Secret("own"))
    async with authorizing() as simulator:
        client = simulator.client(scope="events.read all", audience="https://api")
        async with a_client_source(tmp_path, client) as source:
            assert await fetch_bytes(source, simulator.url, setting) == b"[1]"
        assert simulator.tokens == ["t1"]
        (request,) = simulator.asked
    assert request.line == "POST /token HTTP/1.1"
    assert request.headers["content-type"] == "application/x-www-form-urlencoded"
    assert request.headers["authorization"] == "Basic YWdlbnQ6czNjcjN0"  # agent:s3cr3t
    assert parse_qs(request.body.decode()) == {
        "grant_type": ["client_credentials"],
        "scope": ["events.read all"],
        "audience": ["https://api"],
    }


async def test_a_written_header_does_not_stand_beside_the_token(tmp_path: Path) -> None:
    async with authorizing() as simulator:
        async with a_client_source(tmp_path, simulator.client()) as source:
            await fetch(source, simulator.url, headers={"authorization": "Token written"})
        assert simulator.source_server is not None
        head = simulator.source_server.only_request.head.lower()
    assert head.count(b"authorization:") == 1
    assert b"written" not in head


def test_id_and_secret_are_encoded_before_basic() -> None:
    client = OAuth2Client("https://login.example/token", "a:b", Secret("c d+é"))
    headers = token_request(client).headers
    assert headers["Authorization"] == "Basic YSUzQWI6YytkJTJCJUMzJUE5"  # a%3Ab:c+d%2B%C3%A9


async def test_a_client_may_prove_itself_in_the_form(tmp_path: Path) -> None:
    async with authorizing() as simulator:
        async with a_client_source(tmp_path, simulator.client(sends_basic=False)) as source:
            await fetch(source, simulator.url)
        (request,) = simulator.asked
    assert "authorization" not in request.headers
    assert parse_qs(request.body.decode()) == {
        "grant_type": ["client_credentials"],
        "client_id": ["agent"],
        "client_secret": [SECRET],
    }


async def test_the_token_is_fetched_on_the_way_of_the_source(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    context = authority.server_context("127.0.0.1")
    simulator = Authorization()
    async with (
        serving(simulator.hand_out, context) as tokens,
        serving(simulator.check, context) as server,
        forward_proxy() as proxy,
    ):
        simulator.token_server = tokens
        way = {
            "tls": client_context(ca_file=authority.file),
            "proxy": SourceProxy(f"http://127.0.0.1:{proxy.port}"),
        }
        async with a_client_source(tmp_path, simulator.client(), **way) as source:
            assert await fetch_bytes(source, server.url()) == b"[1]"
    assert [request.line for request in proxy.requests] == [
        f"CONNECT 127.0.0.1:{tokens.port} HTTP/1.1",
        f"CONNECT 127.0.0.1:{server.port} HTTP/1.1",
    ]


async def test_s1_the_token_endpoint_is_verified(tmp_path: Path) -> None:
    simulator = Authorization()
    context = Authority(tmp_path).server_context("127.0.0.1")
    async with serving(simulator.hand_out, context) as tokens:
        simulator.token_server = tokens
        async with a_client_source(tmp_path, simulator.client()) as source:
            await no_token(source, "http://127.0.0.1:9/", Reason.TLS)
        assert tokens.requests == []


async def test_a_token_stays_at_home_when_a_redirect_leads_away(tmp_path: Path) -> None:
    async def script(request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(http_answer(b"", 401))

    async with authorizing() as simulator, serving(script) as elsewhere:

        async def away(request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(redirect_to(elsewhere.url()))

        async with serving(away) as server, a_client_source(tmp_path, simulator.client()) as source:
            with pytest.raises(SourceUnavailable, match=f":{elsewhere.port} answered with status 401"):
                await fetch(source, server.url())
        assert "authorization" in server.only_request.headers
        assert "authorization" not in elsewhere.only_request.headers
        assert len(simulator.asked) == 1


# -- how long a token lives ----------------------------------------------------------------------------------


@pytest.mark.parametrize("life", [3600, "3600", None, "soon", True])
async def test_a_token_is_used_again(tmp_path: Path, life: Any) -> None:
    async with authorizing(life=life) as simulator:
        async with a_client_source(tmp_path, simulator.client()) as source:
            for _ in range(3):
                await fetch(source, simulator.url)
        assert simulator.tokens == ["t1", "t1", "t1"]
        assert len(simulator.asked) == 1


@pytest.mark.parametrize("life", [0, -5])
async def test_a_token_that_is_at_its_end_is_used_once(tmp_path: Path, life: int) -> None:
    async with authorizing(life=life) as simulator:
        async with a_client_source(tmp_path, simulator.client()) as source:
            for _ in range(2):
                await fetch(source, simulator.url)
        assert simulator.tokens == ["t1", "t2"]


@pytest.mark.parametrize(
    ("life_s", "good_s", "old_s"), [(3600, 3539, 3541), (100, 79, 81), (None, 10**9, None)]
)
async def test_a_token_is_renewed_shortly_before_its_end(
    life_s: float | None, good_s: float, old_s: float | None
) -> None:
    client = OAuth2Client("https://login.example/token", "agent", Secret(SECRET))
    now_s = [1000.0]
    tokens = AccessTokens(lambda: now_s[0])
    made: list[AccessToken] = []

    async def exchange() -> AccessToken:
        made.append(AccessToken(Secret(f"Bearer t{len(made)}"), life_s))
        return made[-1]

    first = await tokens.authorization(client, exchange)
    now_s[0] = 1000 + good_s
    assert await tokens.authorization(client, exchange) == first
    if old_s is not None:
        now_s[0] = 1000 + old_s
        assert await tokens.authorization(client, exchange) != first


async def test_settings_with_the_same_client_share_one_exchange(tmp_path: Path) -> None:
    async with authorizing(delay_s=0.1) as simulator:
        async with a_client_source(tmp_path, simulator.client()) as source:
            settings = [replace(GET_SETTING, name=f"setting {number}") for number in range(5)]
            await asyncio.gather(*(fetch(source, simulator.url, setting) for setting in settings))
        assert len(simulator.asked) == 1
        assert simulator.tokens == ["t1"] * 5


async def test_clients_with_another_scope_have_tokens_of_their_own(tmp_path: Path) -> None:
    async with authorizing() as simulator:
        scopes = {GET_SETTING.name: "a", OTHER_SETTING.name: "b"}

        def options_of(name: str) -> SourceOptions:
            return SourceOptions(oauth2=simulator.client(scope=scopes[name]))

        async with a_source(tmp_path, options_of=options_of) as source:
            await fetch(source, simulator.url)
            await fetch(source, simulator.url, OTHER_SETTING)
        assert simulator.tokens == ["t1", "t2"]


async def test_a_setting_that_gives_up_waiting_does_not_stop_the_others(tmp_path: Path) -> None:
    async with authorizing(delay_s=0.3) as simulator:
        async with a_client_source(tmp_path, simulator.client()) as source:
            impatient = asyncio.ensure_future(fetch(source, simulator.url))
            patient = asyncio.ensure_future(fetch(source, simulator.url, OTHER_SETTING))
            await asyncio.sleep(0.1)
            impatient.cancel()
            fetched = await patient
            fetched.body.close()
        assert len(simulator.asked) == 1


async def test_the_number_of_tokens_that_are_kept_is_bounded() -> None:
    tokens = AccessTokens(lambda: 0.0)
    exchanges = 0

    async def exchange() -> AccessToken:
        nonlocal exchanges
        exchanges += 1
        return AccessToken(Secret("Bearer t"), None)

    clients = [OAuth2Client("https://login.example", f"c{n}", Secret("s")) for n in range(300)]
    for client in clients:
        await tokens.authorization(client, exchange)
    await tokens.authorization(clients[-1], exchange)
    assert exchanges == 300
    await tokens.authorization(clients[0], exchange)
    assert exchanges == 301


# -- a token that the source refuses -------------------------------------------------------------------------


@pytest.mark.parametrize("setting", [GET_SETTING, POST_SETTING])
@pytest.mark.parametrize("life", [3600, None])
async def test_a_revoked_token_is_replaced_and_the_request_repeated(
    tmp_path: Path, setting: Any, life: Any
) -> None:
    async with authorizing(life=life) as simulator:
        async with a_client_source(tmp_path, simulator.client()) as source:
            await fetch(source, simulator.url, setting, parameter={"a": "b"})
            simulator.revoked.add("t1")
            assert await fetch_bytes(source, simulator.url, setting, parameter={"a": "b"}) == b"[1]"
        assert simulator.tokens == ["t1", "t1", "t2"]
        assert simulator.source_server is not None
        assert len({request.body for request in simulator.source_server.requests}) == 1


async def test_a_proxy_with_a_password_may_be_what_refuses_new_tokens(tmp_path: Path) -> None:
    async with authorizing() as simulator, forward_proxy() as proxy:
        simulator.revoked |= {"t1", "t2"}
        way = SourceProxy(f"http://127.0.0.1:{proxy.port}", "user", Secret("pass"))
        async with a_client_source(tmp_path, simulator.client(), proxy=way) as source:
            with pytest.raises(
                SourceUnavailable, match=r"check scope .*, and user and password of the proxy"
            ):
                await fetch(source, simulator.url)


async def test_a_source_that_refuses_new_tokens_too_is_asked_twice_and_no_more(tmp_path: Path) -> None:
    async with authorizing() as simulator:
        simulator.revoked |= {f"t{number}" for number in range(10)}
        async with a_client_source(tmp_path, simulator.client()) as source:
            with pytest.raises(SourceUnavailable, match="status 401 to a new token: check scope") as caught:
                await fetch(source, simulator.url)
            assert caught.value.reason is Reason.HTTP_STATUS
        assert simulator.tokens == ["t1", "t2"]


# -- a token endpoint that does not give one -----------------------------------------------------------------


def refusal(code: Any, status: int = 400) -> bytes:
    return http_answer(json.dumps({"error": code, "error_description": f"no {SECRET}"}).encode(), status)


@pytest.mark.parametrize(
    ("answer", "reason", "told"),
    [
        (
            refusal("invalid_client", 401),
            Reason.TOKEN_REFUSED,
            "(status 401, invalid_client): check client_id",
        ),
        (refusal("invalid_scope"), Reason.TOKEN_REFUSED, "(status 400, invalid_scope): check scope"),
        (
            refusal("unauthorized_client"),
            Reason.TOKEN_REFUSED,
            "allow the client the grant client_credentials",
        ),
        (refusal(SECRET), Reason.TOKEN_REFUSED, "refused the client (status 400): check client_id"),
        (refusal([SECRET]), Reason.TOKEN_REFUSED, "refused the client (status 400)"),
        (http_answer(b"<html>", 403), Reason.TOKEN_REFUSED, "refused the client (status 403)"),
        (http_answer(b"", 429, Retry_After="7"), Reason.RATE_LIMITED, "answered with status 429"),
        (http_answer(SECRET.encode(), 503), Reason.HTTP_STATUS, "answered with status 503"),
        (
            redirect_to("https://elsewhere.example/"),
            Reason.REDIRECT,
            "give the URL that it leads to as token_url",
        ),
        (
            http_answer(b"<html>login</html>"),
            Reason.MALFORMED,
            "without a usable access token: check token_url",
        ),
        (http_answer(b"[]"), Reason.MALFORMED, "without a usable access token"),
        (http_answer(b'{"access_token": 5, "token_type": "bearer"}'), Reason.MALFORMED, "without a usable"),
        (http_answer(b'{"access_token": "", "token_type": "bearer"}'), Reason.MALFORMED, "without a usable"),
        (
            http_answer(b'{"access_token": "a\\r\\nX: y", "token_type": "bearer"}'),
            Reason.MALFORMED,
            "without a usable",
        ),
        (
            http_answer(b'{"access_token": "a", "token_type": "mac"}'),
            Reason.MALFORMED,
            "not of the type Bearer",
        ),
        (http_answer(b'{"access_token": "a"}'), Reason.MALFORMED, "not of the type Bearer"),
        (http_answer(b"x" * 70_000), Reason.TOO_LARGE, "is larger than 65536 bytes: check token_url"),
        (b"garbage\r\n\r\n", Reason.MALFORMED, "is not HTTP"),
        (b"", Reason.UNREACHABLE, "closed the connection without an answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{}", Reason.UNREACHABLE, "broke off"),
    ],
)
async def test_a_token_that_cannot_be_had_is_explained_without_the_answer(
    tmp_path: Path, answer: bytes, reason: Reason, told: str
) -> None:
    async with authorizing(answer=answer) as simulator:
        async with a_client_source(tmp_path, simulator.client()) as source:
            assert told in await no_token(source, simulator.url, reason)
        assert simulator.source_server is not None
        assert simulator.source_server.requests == []


async def test_the_wait_that_a_token_endpoint_asks_for_is_handed_on(tmp_path: Path) -> None:
    busy = http_answer(b"", 503, Retry_After="7")
    async with authorizing(answer=busy) as simulator, a_client_source(tmp_path, simulator.client()) as source:
        with pytest.raises(SourceUnavailable) as caught:
            await fetch(source, simulator.url)
    assert caught.value.retry_after_s == 7


async def test_a_slow_token_endpoint_uses_up_the_time_of_the_collection(tmp_path: Path) -> None:
    async with (
        authorizing(delay_s=5) as simulator,
        a_client_source(tmp_path, simulator.client(), timeout_s=0.2) as source,
    ):
        assert "within 0.2 s" in await no_token(source, simulator.url, Reason.TIMEOUT)


async def test_who_waits_for_the_exchange_of_another_gives_up_in_its_own_time(tmp_path: Path) -> None:
    async with authorizing(delay_s=5) as simulator:

        def options_of(name: str) -> SourceOptions:
            patience_s = 0.2 if name == OTHER_SETTING.name else 5
            return SourceOptions(oauth2=simulator.client(), timeout_s=patience_s)

        async with a_source(tmp_path, options_of=options_of, limits=SourceLimits()) as source:
            patient = asyncio.ensure_future(fetch(source, simulator.url))
            await asyncio.sleep(0.05)
            with pytest.raises(SourceUnavailable) as caught:
                await fetch(source, simulator.url, OTHER_SETTING)
            assert caught.value.reason is Reason.TIMEOUT
            patient.cancel()
        assert len(simulator.asked) == 1


async def test_the_next_collection_tries_again_after_a_refusal(tmp_path: Path) -> None:
    refused = refusal("invalid_client", 401)
    async with (
        authorizing(answer=refused) as simulator,
        a_client_source(tmp_path, simulator.client()) as source,
    ):
        await no_token(source, simulator.url, Reason.TOKEN_REFUSED)
        simulator.answer = None
        assert await fetch_bytes(source, simulator.url) == b"[1]"
