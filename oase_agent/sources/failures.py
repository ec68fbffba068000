"""Every way in which a request to a source fails, as one of our errors with a sentence for the operator.

Foreign errors may quote the whole URL, headers or a piece of the body, and logs print causes: so only errors
that are known to quote nothing are kept as a cause.
"""

import re
import ssl
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError

from oase_agent.errors import Reason, SourceUnavailable
from oase_agent.sources.body import BodyTooLarge
from oase_agent.sources.content_coding import ContentCodingError
from oase_agent.sources.egress import EgressDenied

FOREIGN_ERRORS = (
    aiohttp.ClientError,
    HttpProcessingError,
    OSError,  # TimeoutError is one
    BodyTooLarge,
    ContentCodingError,
)

# The first row that fits decides, so special kinds stand before general ones.
_ROWS: tuple[tuple[type[BaseException], Reason, str], ...] = (
    (EgressDenied, Reason.EGRESS_DENIED, "{origin} was not asked: the connection would go to {detail}"),
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
        "the proxy refused a tunnel to {origin} with {detail}: check PROXY of the setting or HTTPS_PROXY",
    ),
    (
        aiohttp.ClientProxyConnectionError,
        Reason.PROXY,
        "the proxy on the way to {origin} cannot be reached ({detail}): check PROXY of the setting, "
        "HTTP_PROXY or HTTPS_PROXY",
    ),
    (
        ssl.SSLCertVerificationError,
        Reason.TLS,
        "the certificate of {origin} is not trusted ({detail}): set SOURCE_CA_FILE, or list the host in "
        "TLS_INSECURE_HOSTS",
    ),
    (ssl.SSLError, Reason.TLS, "TLS with {origin} failed ({detail}): check scheme and port of the URL"),
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
    reason, sentence = next((reason, text) for kind, reason, text in _ROWS if isinstance(root, kind))
    ours = SourceUnavailable(sentence.format(origin=origin, detail=_detail(root), **limits_s), reason)
    ours.__suppress_context__ = True
    ours.__cause__ = error if _quotes_nothing(error) else None
    return ours


def status_failure(origin: str, status: int, headers: Mapping[str, str], now_s: float) -> SourceUnavailable:
    """Return the error for an answer that is neither 2xx nor a redirect; `now_s` is epoch seconds."""
    reason, remedy = Reason.HTTP_STATUS, ""
    match status:
        case 401 | 403:
            remedy = ": check the credentials of the setting"
        case 407:
            reason, remedy = Reason.PROXY, ": check user and password in PROXY of the setting or HTTP_PROXY"
        case 429:
            reason = Reason.RATE_LIMITED
    wait_s = retry_after_s(headers.get("Retry-After"), now_s)
    return SourceUnavailable(f"{origin} answered with status {status}{remedy}", reason, retry_after_s=wait_s)


def retry_after_s(value: str | None, now_s: float) -> float | None:
    """Read a Retry-After header, which is seconds or a date (RFC 9110 section 10.2.3); None if it is neither."""
    text = (value or "").strip()
    if re.fullmatch("[0-9]{1,9}", text):
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    # A date in "-0000" comes without a zone and means UTC (RFC 5322 section 3.3).
    return max(0.0, moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() - now_s)


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
        case ssl.SSLCertVerificationError():
            return error.verify_message
        case ssl.SSLError():
            return error.reason or "no reason given"
    return getattr(error, "strerror", None) or type(error).__name__


def _quotes_nothing(error: Exception) -> bool:
    # TimeoutError itself, because aiohttp has subclasses of it that quote the URL.
    return type(error) is TimeoutError or isinstance(
        error, aiohttp.ClientConnectorError | ssl.SSLError | BodyTooLarge | ContentCodingError
    )
