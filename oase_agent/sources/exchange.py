"""One question over HTTP, to the answer that a chain of redirects ends with (contract section 6).

Every hop is judged anew: its proxy, its trust, and where it may go (promise S4). What comes out is a complete,
decompressed body of bounded size, or one of our errors.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self

import aiohttp
from aiohttp.abc import AbstractResolver
from yarl import URL

from oase_agent.errors import Reason, SourceUnavailable
from oase_agent.model import Setting
from oase_agent.proxies import ProxyEnvironment
from oase_agent.sources.body import MEMORY_BYTES, AnswerHead, BodyTooLarge, BodyWriter, Fetched
from oase_agent.sources.conditional import is_conditional, unchanged
from oase_agent.sources.content_coding import decoder_for
from oase_agent.sources.egress import EgressPolicy
from oase_agent.sources.failures import FOREIGN_ERRORS, EmptyAnswer, failure, status_failure
from oase_agent.sources.oauth2 import (
    MAX_ANSWER_BYTES,
    AccessToken,
    AccessTokens,
    TokenNotAccepted,
    read_token,
    token_answer_too_large,
    token_request,
    without_token,
)
from oase_agent.sources.options import OAuth2Client, SourceOptions
from oase_agent.sources.redirects import MAX_REDIRECTS, REDIRECT_STATUSES, Hop, next_hop
from oase_agent.sources.routes import SourceTls, proxy_for
from oase_agent.sources.turns import Turn
from oase_agent.sources.urls import origin_of

# Servers close idle connections, many after 5 s (Apache, Node). A request on a connection that is just being
# closed fails, and a POST cannot be repeated blindly, so ours are closed earlier than theirs.
_KEEP_ALIVE_S = 4.0

_NO_OPTIONS = SourceOptions()

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

    def under(self, options: SourceOptions) -> "SourceLimits":
        """Return these limits with those of one setting in their place, where it has some."""
        timeout_s = self.timeout_s if options.timeout_s is None else options.timeout_s
        max_bytes = self.max_bytes if options.max_bytes is None else options.max_bytes
        return replace(self, timeout_s=timeout_s, max_bytes=max_bytes)


@dataclass(frozen=True, slots=True)
class _Errand:
    """What stays the same for every request of one question."""

    setting: Setting
    options: SourceOptions
    limits: SourceLimits
    turn: Turn


class Exchange:
    """Sends requests over one pool of connections and reads their answers: use it as an async context manager.

    `clock` tells the time in epoch microseconds; `spill_dir` is where large answers go, in files without a
    name, so that it should be on a disk, not in memory. `traces` look on at every request; `resolver`
    tells the addresses of names, by default that of the system.
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
        traces: Sequence[aiohttp.TraceConfig] = (),
        resolver: AbstractResolver | None = None,
    ) -> None:
        self._limits = limits
        self._tls = tls
        self._proxies = proxies
        self._egress = egress
        self._clock = clock
        self._spill_dir = spill_dir
        self._traces = list(traces)
        self._resolver = resolver
        self._tokens = AccessTokens()
        self._session: aiohttp.ClientSession | None = None

    async def answer(
        self, setting: Setting, hop: Hop, turn: Turn, options: SourceOptions = _NO_OPTIONS
    ) -> Fetched:
        """Send `hop`, follow redirects, and return the answer; the caller closes its body.

        Call it within `turn`. Raises SourceUnavailable when the source did not give a usable answer, HostBusy when a
        host is not to be asked now, SettingRejected when a request cannot be sent as it is, SpoolUnavailable when the
        answer cannot be kept on the volume.
        """
        errand = _Errand(setting, options, self._limits.under(options), turn)
        if options.oauth2 is None or not hop.is_home:
            return await self._followed(errand, hop)
        token = await self._authorization(errand, options.oauth2)
        try:
            return await self._followed(errand, hop.with_authorization(token))
        except TokenNotAccepted:
            # Revoked early. A request that was answered with 401 was not carried out (RFC 9110, 15.5.2), so that
            # even a POST may be repeated; once, because the next refusal is not about the age of the token.
            self._tokens.forget(options.oauth2, token)
            token = await self._authorization(errand, options.oauth2)
            return await self._followed(errand, hop.with_authorization(token))

    async def _followed(self, errand: _Errand, hop: Hop) -> Fetched:
        for _ in range(MAX_REDIRECTS + 1):
            answer = await self._exchange(errand, hop)
            if isinstance(answer, Fetched):
                return answer
            hop = answer
        raise SourceUnavailable(
            f"{origin_of(hop.url)} still redirects after {MAX_REDIRECTS} redirects", Reason.REDIRECT
        )

    async def _exchange(self, errand: _Errand, hop: Hop) -> Fetched | Hop:
        """Do one request. Returns the answer, or the request that a redirect asks for."""
        origin = origin_of(hop.url)
        await errand.turn.may_ask(origin)
        try:
            async with asyncio.timeout_at(errand.turn.deadline), self._sent(errand, hop) as response:
                errand.turn.heed(origin, response.status, response.headers, self._clock() / 1_000_000)
                location = response.headers.get("Location")
                if location is not None and response.status in REDIRECT_STATUSES:
                    return next_hop(hop, response.status, location)
                if response.status == 304 and is_conditional(hop):
                    return unchanged(self._clock())
                if not 200 <= response.status < 300:
                    raise self._refused(errand, hop, response)
                return await self._received(response, origin, errand.limits)
        except FOREIGN_ERRORS as error:
            raise failure(error, origin, errand.limits.times_s())  # noqa: B904 - `failure` decides what may be kept as cause

    def _refused(self, errand: _Errand, hop: Hop, response: aiohttp.ClientResponse) -> SourceUnavailable:
        """Return the error for a status that is no success."""
        origin, is_tls = origin_of(hop.url), hop.url.scheme == "https"
        proxy = proxy_for(errand.setting, self._proxies, hop.url, errand.options.proxy)
        # Within a tunnel only the source answers.
        shows = not is_tls and proxy is not None and proxy.authorization is not None
        if response.status == 401 and hop.is_home and errand.options.oauth2 is not None:
            return TokenNotAccepted(origin, shows_proxy_password=shows)
        status, headers, now_s = response.status, response.headers, self._clock() / 1_000_000
        return status_failure(origin, status, headers, now_s, is_tls=is_tls, shows_proxy_password=shows)

    async def _authorization(self, errand: _Errand, client: OAuth2Client) -> str:
        """Return the Authorization header with a token of `client`, from a new exchange if there is none."""
        try:
            async with asyncio.timeout_at(errand.turn.deadline):
                return await self._tokens.authorization(client, lambda: self._new_token(errand, client))
        except TimeoutError as error:
            waited = failure(error, origin_of(URL(client.token_url)), errand.limits.times_s())
            raise without_token(waited) from None

    async def _new_token(self, errand: _Errand, client: OAuth2Client) -> AccessToken:
        """Ask for a token on the way of the source: the same policy, proxy and trust. Redirects are not followed."""
        request = token_request(client)
        origin = origin_of(request.url)
        errand.turn.asks_aside(origin)
        try:
            async with asyncio.timeout_at(errand.turn.deadline), self._sent(errand, request) as response:
                body = bytearray()
                async for chunk in response.content.iter_any():
                    body += chunk
                    if len(body) > MAX_ANSWER_BYTES:
                        raise token_answer_too_large(origin)
                now_s = self._clock() / 1_000_000
                return read_token(request, response.status, response.headers, bytes(body), now_s)
        except FOREIGN_ERRORS as error:
            raise without_token(failure(error, origin, errand.limits.times_s())) from None

    def _sent(self, errand: _Errand, hop: Hop) -> "aiohttp.client._RequestContextManager":
        """Return the running request; proxy and trust are chosen anew for every hop."""
        assert self._session is not None, "Exchange is used outside of its context"
        headers = dict(hop.headers)
        self._check_egress(hop.url)
        options = errand.options
        proxy = proxy_for(errand.setting, self._proxies, hop.url, options.proxy)
        proxy_headers: dict[str, str] = {}
        if proxy is not None:
            self._check_egress(URL(proxy.url))
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
            # What is one setting's own is for its source alone, not for a host that it redirects to.
            ssl=options.tls if options.tls and hop.is_home else self._tls.context_for(hop.url),
        )

    def _check_egress(self, url: URL) -> None:
        self._egress.check_target(url.raw_host or "", url.port or 0)

    async def _received(self, response: aiohttp.ClientResponse, origin: str, limits: SourceLimits) -> Fetched:
        """Read the body to its end, within the limits."""
        limit_bytes = limits.max_bytes
        if (response.content_length or 0) > limit_bytes:
            raise BodyTooLarge(limit_bytes)
        decoder = decoder_for(response.headers.get("Content-Encoding", ""))
        memory_bytes = limits.memory_bytes
        with BodyWriter(self._spill_dir, max_bytes=limit_bytes, memory_bytes=memory_bytes) as writer:
            async for chunk in response.content.iter_any():
                for piece in decoder.decode(chunk):
                    writer.write(piece)
                    # A small chunk may inflate a thousandfold; others get their turn meanwhile.
                    await asyncio.sleep(0)
            decoder.finish()
            received_us = self._clock()
            if writer.size_bytes == 0:
                raise EmptyAnswer(origin, response.status)
            kind, head = _media_type(response), _head_of(response)
            return Fetched(writer.finish(), received_us, response.status, kind, head=head)

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0,  # the slots are the limit
                keepalive_timeout=_KEEP_ALIVE_S,
                resolver=self._resolver,
                socket_factory=self._egress.socket_factory,
            ),
            # The deadline of a collection spans redirects, so it is ours and not aiohttp's.
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._limits.connect_timeout_s),
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=_AUTO_HEADERS,
            auto_decompress=False,
            trust_env=False,
            trace_configs=self._traces,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._tokens.close()
        if self._session is not None:
            await self._session.close()
            self._session = None


def _head_of(response: aiohttp.ClientResponse) -> AnswerHead:
    """Return what the head of an answer says about going on from it."""
    headers = response.headers
    return AnswerHead(
        url=str(response.url),
        links=tuple(headers.getall("Link", ())),
        etag=headers.get("ETag", ""),
        last_modified=headers.get("Last-Modified", ""),
        date=headers.get("Date", ""),
    )


def _media_type(response: aiohttp.ClientResponse) -> str:
    """Return the media type as printable text of a length that fits a message."""
    text = response.headers.get("Content-Type", "").partition(";")[0].strip()
    return "".join(letter for letter in text if letter.isprintable())[:80]
