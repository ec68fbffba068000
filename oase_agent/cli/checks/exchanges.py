"""What went over HTTP while a setting was asked: where to, when, with which status; never a URL, header or body.

Looked at with aiohttp's tracing, so that nothing is asked differently than the agent asks.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from types import SimpleNamespace

import aiohttp
from yarl import URL

from oase_agent.cli.checks.secrets import secrets_of_headers
from oase_agent.model import MASK, Secret

# What an answer says about itself and its limits. The values of all others are hidden: they may be cookies or keys.
_SHOWN = frozenset(
    {
        "age",
        "cache-control",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "date",
        "etag",
        "last-modified",
        "retry-after",
        "server",
        "transfer-encoding",
        "vary",
    }
)
_SHOWN_PREFIXES = ("ratelimit", "x-ratelimit", "x-rate-limit")
_LONGEST_VALUE = 200


@dataclass(slots=True)
class HttpExchange:
    """One request and what came of it; times are seconds after its beginning, None for what did not happen.

    `connected_s` stays None when a connection was used again. `status` is 0 when there was no answer.
    """

    method: str
    origin: str
    connected_s: float | None = None
    first_byte_s: float | None = None
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)

    def describe(self) -> str:
        """Return it in one line."""
        connected = "" if self.connected_s is None else f"connected after {self.connected_s:.3f} s, "
        answered = "no answer"
        if self.first_byte_s is not None:
            answered = f"status {self.status} after {self.first_byte_s:.3f} s"
        return f"{self.method} {self.origin}: {connected}{answered}"


@dataclass(slots=True)
class Seen:
    """The exchanges of one setting so far, and what its requests carried that must not be shown."""

    exchanges: list[HttpExchange] = field(default_factory=list)
    secrets: list[Secret] = field(default_factory=list)


_SEEN: ContextVar[Seen | None] = ContextVar("seen", default=None)


@contextmanager
def watched() -> Iterator[Seen]:
    """Note what the task of the caller sends within the context, and what tasks send that it starts there."""
    seen = Seen()
    token = _SEEN.set(seen)
    try:
        yield seen
    finally:
        _SEEN.reset(token)


def http_trace() -> aiohttp.TraceConfig:
    """Return what looks on at a session of aiohttp, and writes down what `watched` asked for."""
    trace = aiohttp.TraceConfig()
    trace.on_request_start.append(_started)
    trace.on_connection_create_end.append(_connected)
    trace.on_request_headers_sent.append(_sent)
    trace.on_request_end.append(_answered)
    return trace


async def _started(
    _session: aiohttp.ClientSession, noted: SimpleNamespace, params: aiohttp.TraceRequestStartParams
) -> None:
    noted.began_s = time.monotonic()
    noted.exchange = HttpExchange(params.method, _origin(params.url))
    noted.seen = _SEEN.get()
    if noted.seen is not None:
        noted.seen.exchanges.append(noted.exchange)


async def _connected(
    _session: aiohttp.ClientSession, noted: SimpleNamespace, _params: aiohttp.TraceConnectionCreateEndParams
) -> None:
    noted.exchange.connected_s = time.monotonic() - noted.began_s


async def _sent(
    _session: aiohttp.ClientSession, noted: SimpleNamespace, params: aiohttp.TraceRequestHeadersSentParams
) -> None:
    if noted.seen is not None:
        noted.seen.secrets.extend(secrets_of_headers(params.headers))


async def _answered(
    _session: aiohttp.ClientSession, noted: SimpleNamespace, params: aiohttp.TraceRequestEndParams
) -> None:
    noted.exchange.first_byte_s = time.monotonic() - noted.began_s
    noted.exchange.status = params.response.status
    noted.exchange.headers = _shown_headers(params.response.headers)


def _origin(url: URL) -> str:
    return str(url.origin())


def _shown_headers(headers: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value[:_LONGEST_VALUE]
        if name.lower() in _SHOWN or name.lower().startswith(_SHOWN_PREFIXES)
        else MASK
        for name, value in headers.items()
    }
