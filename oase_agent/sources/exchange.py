"""One question over HTTP, to the answer that a chain of redirects ends with (contract section 6).

Every hop is judged anew: its proxy, its trust, and where it may go (promise S4). What comes out is a complete,
decompressed body of bounded size, or one of our errors.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import aiohttp

from oase_agent.errors import Reason, SourceUnavailable
from oase_agent.model import Setting
from oase_agent.proxies import ProxyEnvironment
from oase_agent.sources.body import MEMORY_BYTES, BodyTooLarge, BodyWriter, Fetched
from oase_agent.sources.content_coding import decoder_for
from oase_agent.sources.egress import EgressPolicy
from oase_agent.sources.failures import FOREIGN_ERRORS, failure, status_failure
from oase_agent.sources.redirects import MAX_REDIRECTS, REDIRECT_STATUSES, Hop, next_hop
from oase_agent.sources.routes import SourceTls, proxy_for
from oase_agent.sources.urls import origin_of

# Servers close idle connections, many after 5 s (Apache, Node). A request on a connection that is just being
# closed fails, and a POST cannot be repeated blindly, so ours are closed earlier than theirs.
_KEEP_ALIVE_S = 4.0

# aiohttp adds these by itself; we decide about headers alone.
_AUTO_HEADERS = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")


@dataclass(frozen=True, slots=True)
class SourceLimits:
    """Limits of one collection: SOURCE_TIMEOUT_S, SOURCE_MAX_BYTES, and SOURCE_CONCURRENCY for all together.

    `timeout_s` is for everything from the first connection to the last byte, `max_bytes` counts after
    decompression, `memory_bytes` is how much of an answer stays in memory before it goes on in a file.
    """

    timeout_s: float = 30.0
    max_bytes: int = 256 * 1024 * 1024
    concurrency: int = 128
    connect_timeout_s: float = 12.0
    memory_bytes: int = MEMORY_BYTES

    def times_s(self) -> dict[str, float]:
        """Return the two time limits for the sentences of errors."""
        return {"timeout_s": self.timeout_s, "connect_timeout_s": self.connect_timeout_s}


class Exchange:
    """Sends requests over one pool of connections and reads their answers: use it as an async context manager.

    `clock` tells the time in epoch microseconds; `spill_dir` is where large answers go, in files without a
    name, so that it should be on a disk, not in memory.
    """

    def __init__(
        self,
        limits: SourceLimits,
        tls: SourceTls,
        proxies: ProxyEnvironment,
        egress: EgressPolicy,
        *,
        clock: Callable[[], int],
        spill_dir: Path,
    ) -> None:
        self._limits = limits
        self._tls = tls
        self._proxies = proxies
        self._egress = egress
        self._clock = clock
        self._spill_dir = spill_dir
        self._session: aiohttp.ClientSession | None = None

    async def answer(self, setting: Setting, hop: Hop, deadline: float) -> Fetched:
        """Send `hop`, follow redirects, and return the answer; the caller closes its body.

        `deadline` is a time of the event loop. Raises SourceUnavailable when the source did not give a usable
        answer, SettingRejected when a request cannot be sent as it is, SpoolUnavailable when the answer cannot be
        kept on the volume.
        """
        for _ in range(MAX_REDIRECTS + 1):
            answer = await self._exchange(setting, hop, deadline)
            if isinstance(answer, Fetched):
                return answer
            hop = answer
        raise SourceUnavailable(
            f"{origin_of(hop.url)} still redirects after {MAX_REDIRECTS} redirects", Reason.REDIRECT
        )

    async def _exchange(self, setting: Setting, hop: Hop, deadline: float) -> Fetched | Hop:
        """Do one request. Returns the answer, or the request that a redirect asks for."""
        origin = origin_of(hop.url)
        try:
            async with asyncio.timeout_at(deadline), self._sent(setting, hop) as response:
                location = response.headers.get("Location")
                if location is not None and response.status in REDIRECT_STATUSES:
                    return next_hop(hop, response.status, location)
                if not 200 <= response.status < 300:
                    raise status_failure(origin, response.status, response.headers, self._clock() / 1_000_000)
                return await self._received(response, origin)
        except FOREIGN_ERRORS as error:
            raise failure(error, origin, self._limits.times_s())  # noqa: B904 - `failure` decides what may be kept as cause

    def _sent(self, setting: Setting, hop: Hop) -> "aiohttp.client._RequestContextManager":
        """Return the running request; proxy and trust are chosen anew for every hop."""
        assert self._session is not None, "Exchange is used outside of its context"
        headers = dict(hop.headers)
        proxy = proxy_for(setting, self._proxies, hop.url)
        proxy_headers: dict[str, str] = {}
        if proxy is not None:
            self._egress.check_literal(hop.url.host or "")
            if proxy.authorization is not None:
                # A tunnel is asked for with headers of its own; a plain request carries them itself.
                target = proxy_headers if hop.url.scheme == "https" else headers
                target["Proxy-Authorization"] = proxy.authorization
        return self._session.request(
            hop.method,
            hop.url,
            headers=headers,
            data=hop.body,
            allow_redirects=False,
            proxy=proxy.url if proxy else None,
            proxy_headers=proxy_headers or None,
            ssl=self._tls.context_for(hop.url),
        )

    async def _received(self, response: aiohttp.ClientResponse, origin: str) -> Fetched:
        """Read the body to its end, within the limits."""
        limit_bytes = self._limits.max_bytes
        if (response.content_length or 0) > limit_bytes:
            raise BodyTooLarge(limit_bytes)
        decoder = decoder_for(response.headers.get("Content-Encoding", ""))
        memory_bytes = self._limits.memory_bytes
        with BodyWriter(self._spill_dir, max_bytes=limit_bytes, memory_bytes=memory_bytes) as writer:
            async for chunk in response.content.iter_any():
                for piece in decoder.decode(chunk):
                    writer.write(piece)
                    # A small chunk may inflate a thousandfold; others get their turn meanwhile.
                    await asyncio.sleep(0)
            decoder.finish()
            received_us = self._clock()
            if writer.size_bytes == 0:
                raise SourceUnavailable(
                    f"{origin} answered {response.status} without a body", Reason.NOT_JSON
                )
            return Fetched(writer.finish(), received_us, response.status, _media_type(response))

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0,  # the slots are the limit
                keepalive_timeout=_KEEP_ALIVE_S,
                socket_factory=self._egress.socket_factory,
            ),
            # The deadline of a collection spans redirects, so it is ours and not aiohttp's.
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._limits.connect_timeout_s),
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=_AUTO_HEADERS,
            auto_decompress=False,
            trust_env=False,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None


def _media_type(response: aiohttp.ClientResponse) -> str:
    """Return the media type as printable text of a length that fits a message."""
    text = response.headers.get("Content-Type", "").partition(";")[0].strip()
    return "".join(letter for letter in text if letter.isprintable())[:80]
