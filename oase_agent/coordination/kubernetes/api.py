"""The API server, as far as Leases need it: list, watch, get, create, replace.

Nothing is retried here: who asks knows how long it may take. The token is read for every request, because the kubelet
replaces it about every hour; the authority is that of the service account.
"""

import asyncio
import ssl
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import aiohttp
import msgspec
from aiohttp.http_exceptions import HttpProcessingError
from yarl import URL

from oase_agent.coordination.kubernetes.lease import (
    AGENT_LABEL,
    Lease,
    Page,
    document_of,
    parse_lease,
    parse_page,
)
from oase_agent.errors import CoordinationUnavailable, Reason
from oase_agent.telemetry.ownership import OwnershipFacts
from oase_agent.tls import context_trusting_only

# An API server answers in milliseconds; beyond this it is in trouble, and the lease is short.
_REQUEST_S = 5.0
_PAGE_LEASES = 500
# The server ends a watch after this, so that a connection which died unnoticed is not waited for.
_WATCH_S = 300


_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class ApiServer:
    """Where the API server is, and who we are there. `ca_file` is None for plain HTTP, which tests use."""

    url: str
    namespace: str
    token_file: Path
    ca_file: Path | None


@dataclass(frozen=True, slots=True)
class Change:
    """A Lease as it is now, or as it was when it was deleted."""

    lease: Lease
    is_deleted: bool


class LeaseApi:
    """The Leases of one agent: use it as an async context manager. Raises CoordinationUnavailable."""

    def __init__(
        self, server: ApiServer, base: str, facts: OwnershipFacts, *, now: Callable[[], float] = time.time
    ) -> None:
        self._server = server
        self._base = base
        self._facts = facts
        self._now = now
        self._leases = URL(
            f"{server.url}/apis/coordination.k8s.io/v1/namespaces/{server.namespace}/leases", encoded=True
        )
        self._session: aiohttp.ClientSession | None = None

    async def list_page(self, more: str = "") -> Page:
        """Return a part of all Leases of the agent; `more` is that of the part before."""
        query = {"labelSelector": f"{AGENT_LABEL}={self._base}", "limit": str(_PAGE_LEASES)}
        if more:
            query["continue"] = more
        status, body = await self._request("LIST", "GET", self._leases.with_query(query))
        if status != 200:
            raise _refusal("LIST", status)
        return _read(parse_page, body)

    async def get(self, name: str) -> Lease | None:
        """Return a Lease, or None if there is none of this name."""
        status, body = await self._request("GET", "GET", self._leases / name)
        if status == 404:
            return None
        if status != 200:
            raise _refusal("GET", status)
        return _read(parse_lease, body)

    async def create(self, lease: Lease) -> Lease | None:
        """Create a Lease and return it as it is now; None if there is one already."""
        status, body = await self._request("CREATE", "POST", self._leases, lease)
        if status == 409:
            return None
        if status not in {200, 201}:
            raise _refusal("CREATE", status)
        return _read(parse_lease, body)

    async def replace(self, lease: Lease) -> Lease | None:
        """Replace a Lease if it still is of `lease.version`, and return it as it is now; None if it is not."""
        status, body = await self._request("UPDATE", "PUT", self._leases / lease.name, lease)
        if status in {404, 409}:
            return None
        if status != 200:
            raise _refusal("UPDATE", status)
        return _read(parse_lease, body)

    async def watch(self, version: str) -> AsyncGenerator[Change, None]:
        """Yield every change after `version`.

        Ends when the server ends it; then, and after an error, list again.
        """
        query = {
            "labelSelector": f"{AGENT_LABEL}={self._base}",
            "watch": "1",
            "resourceVersion": version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(_WATCH_S),
        }
        async with self._answer("WATCH", "GET", self._leases.with_query(query), None, None) as response:
            if response.status == 410:  # the version is too old
                return
            if response.status != 200:
                raise _refusal("WATCH", response.status)
            async for line in response.content:
                if line.strip():
                    event = _read(_parse_event, line)
                    if event.type == "ERROR":
                        return
                    if event.type != "BOOKMARK":
                        yield Change(_read(parse_lease, bytes(event.object)), event.type == "DELETED")

    async def _request(
        self, verb: str, method: str, url: URL, lease: Lease | None = None
    ) -> tuple[int, bytes]:
        body = None if lease is None else document_of(lease, self._server.namespace, self._base, self._now())
        began_s = time.monotonic()
        outcome = "success"
        try:
            async with self._answer(verb, method, url, body, _REQUEST_S) as response:
                content = await response.read()
                if response.status >= 400:
                    outcome = "conflict" if response.status == 409 else f"status_{response.status}"
                return response.status, content
        except CoordinationUnavailable as error:
            outcome = error.reason.value
            raise
        finally:
            self._facts.lease_request_done(verb, outcome, time.monotonic() - began_s)

    @asynccontextmanager
    async def _answer(
        self, verb: str, method: str, url: URL, body: bytes | None, total_s: float | None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        if self._session is None:
            raise CoordinationUnavailable("This replica shares nothing any more.", Reason.NOT_OWNER)
        headers = {"Authorization": f"Bearer {self._token()}", "Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        timeout = aiohttp.ClientTimeout(total=total_s, sock_connect=_REQUEST_S)
        try:
            async with self._session.request(
                method, url, data=body, headers=headers, timeout=timeout, allow_redirects=False
            ) as response:
                yield response
        except (aiohttp.ClientError, HttpProcessingError, OSError, TimeoutError) as error:
            raise _unreachable(verb, error) from None

    def _token(self) -> str:
        try:
            return self._server.token_file.read_text("ascii").strip()
        except (OSError, ValueError) as error:
            raise CoordinationUnavailable(
                f"The service account token {str(self._server.token_file)!r} cannot be read "
                f"({getattr(error, 'strerror', None) or 'not text'}): mount it, or set COORDINATION=none.",
                Reason.TOKEN_REFUSED,
            ) from error

    async def __aenter__(self) -> Self:
        tls: ssl.SSLContext | bool = True
        if self._server.ca_file is not None:
            tls = await asyncio.to_thread(context_trusting_only, self._server.ca_file)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=tls, limit=32),
            trust_env=False,
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            session, self._session = self._session, None
            with suppress(OSError):
                await session.close()


class _Event(msgspec.Struct):
    type: str
    object: msgspec.Raw


def _parse_event(line: bytes) -> _Event:
    return msgspec.json.decode(line, type=_Event)


def _read(parse: Callable[[bytes], _T], body: bytes) -> _T:
    try:
        return parse(body)
    except msgspec.DecodeError as error:
        raise CoordinationUnavailable(
            "The API server's answer about Leases could not be read.", Reason.MALFORMED
        ) from error


def _refusal(verb: str, status: int) -> CoordinationUnavailable:
    match status:
        case 401:
            return CoordinationUnavailable(
                "The API server does not accept the service account token.", Reason.TOKEN_REFUSED
            )
        case 403:
            return CoordinationUnavailable(
                f"The service account may not {verb} a Lease of this agent: bind the Role of the chart to it, with "
                "all names of settings, or set COORDINATION=none.",
                Reason.ROLE_MISSING,
            )
        case 429:
            return CoordinationUnavailable("The API server asks to wait (429).", Reason.RATE_LIMITED)
    return CoordinationUnavailable(
        f"The API server answered {verb} with status {status}.", Reason.HTTP_STATUS
    )


def _unreachable(verb: str, error: Exception) -> CoordinationUnavailable:
    reason = Reason.TIMEOUT if isinstance(error, TimeoutError) else Reason.UNREACHABLE
    if isinstance(error, aiohttp.ClientConnectorCertificateError | ssl.SSLError):
        reason = Reason.TLS
    return CoordinationUnavailable(
        f"The API server did not answer {verb} ({getattr(error, 'strerror', None) or type(error).__name__}).",
        reason,
    )
