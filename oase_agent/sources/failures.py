"""Every way in which a request to a source fails, as one of our errors with a sentence for the operator.

Foreign errors may quote the whole URL, headers or a piece of the body, and logs print causes: so only errors
that are known to quote nothing are kept as a cause.
"""

import ssl
from collections.abc import Mapping

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError

from oase_agent.errors import Reason, SourceUnavailable
from oase_agent.sources.body import BodyTooLarge
from oase_agent.sources.content_coding import ContentCodingError
from oase_agent.sources.egress import EgressDenied
from oase_agent.sources.rate_limits import is_exhausted, wanted_pause_s
from oase_agent.sources.tls_failures import tls_sentence

FOREIGN_ERRORS = (
    aiohttp.ClientError,
    HttpProcessingError,
    OSError,  # TimeoutError is one
    BodyTooLarge,
    ContentCodingError,
)


class StatusFailure(SourceUnavailable):
    """An answer that is neither 2xx nor a redirect; `status` is its status."""

    def __init__(
        self, message: str, reason: Reason, status: int, *, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message, reason, retry_after_s=retry_after_s)
        self.status = status


class EmptyAnswer(SourceUnavailable):
    """An answer without a body, such as status 204: it is no JSON."""

    def __init__(self, origin: str, status: int) -> None:
        super().__init__(f"{origin} answered {status} without a body", Reason.NOT_JSON)
        self.status = status


_TUNNEL_NEEDS_USER = (
    "the proxy refused a tunnel to {origin} with {detail}: check user and password in PROXY of the setting, of its "
    "proxy in SOURCE_OPTIONS_FILE, or in HTTPS_PROXY"
)

PROXY_SAYS_401 = (
    "user and password of the proxy (PROXY of the setting, its proxy in SOURCE_OPTIONS_FILE, or HTTP_PROXY), because "
    "some proxies answer 401 themselves"
)

_LIMITED = ": it is asked more often than it allows; SOURCE_REQUESTS_PER_MINUTE can slow the agent down"

# The first row that fits decides, so special kinds stand before general ones.
_ROWS: tuple[tuple[type[BaseException], Reason, str], ...] = (
    (EgressDenied, Reason.EGRESS_DENIED, "{origin} was not asked: {detail}"),
    (BodyTooLarge, Reason.TOO_LARGE, "the answer of {origin} is too large: {detail} (SOURCE_MAX_BYTES)"),
    (ContentCodingError, Reason.MALFORMED, "the answer of {origin} cannot be decoded: {detail}"),
    (
        aiohttp.ConnectionTimeoutError,
        Reason.TIMEOUT,
        "no connection to {origin}, or to its proxy, within {connect_timeout_s:g} s",
    ),
    (
        TimeoutError,
        Reason.TIMEOUT,
        "{origin} did not complete its answer within {timeout_s:g} s (SOURCE_TIMEOUT_S)",
    ),
    (
        aiohttp.ClientHttpProxyError,
        Reason.PROXY,
        "the proxy refused a tunnel to {origin} with {detail}: check PROXY of the setting, its proxy in "
        "SOURCE_OPTIONS_FILE, or HTTPS_PROXY",
    ),
    (
        aiohttp.ClientProxyConnectionError,
        Reason.PROXY,
        "the proxy on the way to {origin} cannot be reached ({detail}): check PROXY of the setting, "
        "its proxy in SOURCE_OPTIONS_FILE, HTTP_PROXY or HTTPS_PROXY",
    ),
    (
        aiohttp.ClientConnectorDNSError,
        Reason.UNREACHABLE,
        "the host name of {origin} cannot be resolved ({detail})",
    ),
    (aiohttp.ClientConnectorError, Reason.UNREACHABLE, "{origin} cannot be reached ({detail})"),
    (aiohttp.ServerDisconnectedError, Reason.UNREACHABLE, "{origin} closed the connection without an answer"),
    (aiohttp.ClientPayloadError, Reason.UNREACHABLE, "the answer of {origin} broke off"),
    (aiohttp.ClientResponseError, Reason.MALFORMED, "the answer of {origin} is not HTTP"),
    (HttpProcessingError, Reason.MALFORMED, "the answer of {origin} is not HTTP"),
    (aiohttp.ClientConnectionError, Reason.UNREACHABLE, "the connection to {origin} broke off"),
    (OSError, Reason.UNREACHABLE, "the connection to {origin} broke off ({detail})"),
    (Exception, Reason.INTERNAL, "the request to {origin} failed in an unexpected way ({detail})"),
)


def failure(error: Exception, origin: str, limits_s: Mapping[str, float]) -> SourceUnavailable:
    """Return our error for a foreign one; `limits_s` gives `timeout_s` and `connect_timeout_s`.

    Its `__cause__` is set already where that is safe, so raise it as it is.
    """
    root = _root(error)
    reason, message = _judged(root, origin, limits_s)
    ours = SourceUnavailable(message, reason)
    ours.__suppress_context__ = True
    ours.__cause__ = error if _quotes_nothing(error) else None
    return ours


def status_failure(
    origin: str,
    status: int,
    headers: Mapping[str, str],
    now_s: float,
    *,
    is_tls: bool = False,
    shows_proxy_password: bool = False,
) -> StatusFailure:
    """Return the error for an answer that is neither 2xx nor a redirect; `now_s` is epoch seconds.

    `is_tls` tells that it came over TLS, `shows_proxy_password` that the request carried a password for a proxy,
    which then may have been what answered.
    """
    reason, remedy = Reason.HTTP_STATUS, ""
    match status:
        case 403 if is_exhausted(headers):  # as GitHub does
            reason, remedy = Reason.RATE_LIMITED, _LIMITED
        case 400 if is_tls:  # nginx, after a handshake that it let pass
            remedy = (
                ": if it wants a certificate of the agent, give it as client_cert_file in SOURCE_OPTIONS_FILE"
            )
        case 401 if shows_proxy_password:
            remedy = f": check the credentials of the setting, and {PROXY_SAYS_401}"
        case 401 | 403:
            remedy = ": check the credentials of the setting"
        case 407:
            reason, remedy = (
                Reason.PROXY,
                ": check user and password in PROXY of the setting, in SOURCE_OPTIONS_FILE or in HTTP_PROXY",
            )
        case 429:
            reason, remedy = Reason.RATE_LIMITED, _LIMITED
    wait_s = wanted_pause_s(status, headers, now_s)
    return StatusFailure(
        f"{origin} answered with status {status}{remedy}", reason, status, retry_after_s=wait_s
    )


def _judged(root: BaseException, origin: str, limits_s: Mapping[str, float]) -> tuple[Reason, str]:
    if isinstance(root, ssl.SSLError):
        return Reason.TLS, tls_sentence(root, origin)
    reason, sentence = next((reason, text) for kind, reason, text in _ROWS if isinstance(root, kind))
    if isinstance(root, aiohttp.ClientHttpProxyError) and root.status in {401, 407}:
        sentence = _TUNNEL_NEEDS_USER
    return reason, sentence.format(origin=origin, detail=_detail(root), **limits_s)


def _root(error: Exception) -> BaseException:
    """Return the error that says most: a denial or TLS error that aiohttp wrapped, else `error` itself."""
    inner = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error.__cause__
    return inner if isinstance(inner, EgressDenied | ssl.SSLError) else error


def _detail(error: BaseException) -> str:
    """Return the facts of `error` that hold no URL, header or body."""
    match error:
        case EgressDenied():
            return error.verdict
        case BodyTooLarge() | ContentCodingError():
            return str(error)
        case aiohttp.ClientHttpProxyError():
            return f"status {error.status}"
    return getattr(error, "strerror", None) or type(error).__name__


def _quotes_nothing(error: Exception) -> bool:
    # TimeoutError itself, because aiohttp has subclasses of it that quote the URL.
    return type(error) is TimeoutError or isinstance(
        error, aiohttp.ClientConnectorError | ssl.SSLError | BodyTooLarge | ContentCodingError
    )
