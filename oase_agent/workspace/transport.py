"""Send one request to the workspace and bring back its answer: one session, bounded in time and in size.

What an answer means is not decided here. Redirects are not followed, no cookies are kept, nothing is taken from
the process environment.
"""

import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol, Self
from urllib.parse import urlsplit

import aiohttp
from aiohttp import AddrInfoType

from oase_agent.errors import AgentError, Reason, WorkspaceUnavailable
from oase_agent.proxies import ProxyEnvironment
from oase_agent.workspace.answers import parse_retry_after
from oase_agent.workspace.failures import CONNECTION_FAULTS, printable_cause, sort_fault
from oase_agent.workspace.wire import Piece, size_of

CONNECT_TIMEOUT_S = 12  # name, TCP, TLS and proxy together; the reference's value (contract 2)
LARGEST_ANSWER_BYTES = 16 * 1024 * 1024

# Apache closes an idle connection after 5 s by default; letting go first avoids writing into a closing one.
_IDLE_CONNECTION_S = 4
# Small pieces are joined up to this size, so that each write to the socket is worth its system call.
_WRITE_BYTES = 64 * 1024

# A peer that is gone is found within about a minute: while we wait by probes after 20 s and then every 10 s, while
# we send by the limit for data that stays unacknowledged.
_DEAD_PEER_S = 60
_SOCKET_OPTIONS = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 20),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _DEAD_PEER_S * 1000),
)


class RequestObserver(Protocol):
    """Is told about every request, for metrics."""

    def request_done(self, endpoint: str, outcome: str, seconds: float) -> None:
        """Take note: `outcome` is `ok`, a `Reason`, or `cancelled`."""


@dataclass(frozen=True, slots=True)
class Call:
    """One POST. `body` are pieces that make it when joined; `timeout_s` covers the whole of it."""

    url: str
    body: Sequence[Piece] = field(repr=False)
    content_type: str
    timeout_s: float
    authorization: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class RawAnswer:
    """What came back: at most `LARGEST_ANSWER_BYTES` of body, and the wait that `Retry-After` asks for."""

    status: int
    body: bytes = field(repr=False)
    retry_after_s: float | None = None


class Transport:
    """The one way to the workspace, shared by the API client and the token exchange.

    `tls` decides what is trusted. `clock` is monotonic and measures durations, `wall_clock` gives epoch seconds.
    Open it inside the running loop.
    """

    def __init__(
        self,
        *,
        tls: ssl.SSLContext,
        proxies: ProxyEnvironment,
        observer: RequestObserver | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._tls = tls
        self._proxies = proxies
        self._observer = observer
        self._clock = clock
        self._wall_clock = wall_clock
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        """Open the session; a second opening changes nothing."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    ssl=self._tls,
                    limit=0,  # those who call bound how many requests there are at once
                    keepalive_timeout=_IDLE_CONNECTION_S,
                    socket_factory=watched_socket,
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"User-Agent": "oase-agent", "Accept": "application/json"},
                trust_env=False,
            )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the session and its connections; a second closing changes nothing."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def post(self, call: Call) -> RawAnswer:
        """Send `call` and return the answer, whatever its status; raises WorkspaceUnavailable."""
        assert self._session is not None, "the transport is not open"
        proxy = self._proxy_for(call.url)
        headers = {"Content-Type": call.content_type, "Content-Length": str(size_of(call.body))}
        if call.authorization is not None:
            headers["Authorization"] = call.authorization
        try:
            async with self._session.post(
                call.url,
                data=_joined(call.body),
                headers=headers,
                proxy=proxy,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=call.timeout_s, connect=CONNECT_TIMEOUT_S),
            ) as response:
                return RawAnswer(
                    response.status,
                    await _bounded_body(response),
                    parse_retry_after(response.headers.get("Retry-After"), self._wall_clock()),
                )
        except CONNECTION_FAULTS as error:
            raise sort_fault(error) from printable_cause(error, through_proxy=proxy is not None)

    @contextmanager
    def observed(self, endpoint: str) -> Iterator[None]:
        """Tell the observer how the request inside ends, and how long it took."""
        started = self._clock()
        outcome = "cancelled"
        try:
            yield
            outcome = "ok"
        except AgentError as error:
            outcome = error.reason.value
            raise
        finally:
            if self._observer is not None:
                self._observer.request_done(endpoint, outcome, self._clock() - started)

    def _proxy_for(self, url: str) -> str | None:
        proxy = self._proxies.for_url(url)
        if proxy is not None and not _is_http_proxy(proxy):
            raise WorkspaceUnavailable(
                "HTTP_PROXY or HTTPS_PROXY is not a URL of the form http://host:port",
                Reason.PROXY,
                certainly_not_stored=True,
            )
        return proxy


def watched_socket(address: AddrInfoType) -> socket.socket:
    """Return a socket for `address` whose dead peer is found within about a minute."""
    family, kind, protocol, _, _ = address
    watched = socket.socket(family, kind, protocol)
    for level, option, value in _SOCKET_OPTIONS:
        watched.setsockopt(level, option, value)
    return watched


def _is_http_proxy(proxy: str) -> bool:
    try:
        parts = urlsplit(proxy)
        _ = parts.port  # raises for a port that is none
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and bool(parts.hostname)


async def _joined(pieces: Sequence[Piece]) -> AsyncIterator[bytes | memoryview]:
    """Give the pieces in order; small ones are joined, a large one is passed on without a copy."""
    waiting = bytearray()
    for piece in pieces:
        if len(waiting) + len(piece) > _WRITE_BYTES and waiting:
            yield bytes(waiting)
            waiting.clear()
        if len(piece) > _WRITE_BYTES:
            yield piece
        else:
            waiting += piece
    if waiting:
        yield bytes(waiting)


async def _bounded_body(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > LARGEST_ANSWER_BYTES:
            raise WorkspaceUnavailable(
                f"the workspace gave an answer of more than {LARGEST_ANSWER_BYTES} bytes", Reason.TOO_LARGE
            )
    return bytes(body)
