"""What a failed connection to the workspace means: aiohttp's errors become ours, with a remedy.

A message names the option to change. It never quotes the error it comes from, which may hold a URL with
credentials, a header, or bytes of an answer.
"""

import ssl

import aiohttp

from oase_agent.errors import Reason, WorkspaceUnavailable

CONNECTION_FAULTS = (aiohttp.ClientError, TimeoutError, OSError)
"""Every way in which aiohttp tells that a request did not come to a complete answer."""


def sort_fault(error: BaseException) -> WorkspaceUnavailable:
    """Return our error for a member of `CONNECTION_FAULTS`.

    Where no connection came about, certainly nothing was stored; after that, it may have been.
    """
    message, reason = _verdict(error)
    return WorkspaceUnavailable(message, reason, certainly_not_stored=_was_never_connected(error))


def printable_cause(error: BaseException, *, through_proxy: bool) -> BaseException | None:
    """Return `error` where it may be chained and so be printed, else None.

    Errors about an answer quote its bytes, and errors of a proxied connection hold the proxy's credentials.
    """
    quotes_nothing = isinstance(error, OSError | TimeoutError) and not through_proxy
    return error if quotes_nothing else None


def _verdict(error: BaseException) -> tuple[str, Reason]:
    for kinds, message, reason in _FAULTS:
        if isinstance(error, kinds):
            return message, reason
    if isinstance(error, OSError) and any(isinstance(part, ssl.SSLError) for part in _parts(error)):
        return _TLS_REFUSED, Reason.TLS
    return "the connection to the workspace was cut before its answer was complete", Reason.UNREACHABLE


def _parts(error: BaseException) -> tuple[object, ...]:
    return (error, error.__cause__, error.__context__, *error.args)


def _was_never_connected(error: BaseException) -> bool:
    return isinstance(
        error,
        aiohttp.ClientConnectorError
        | aiohttp.ConnectionTimeoutError
        | aiohttp.ClientHttpProxyError
        | aiohttp.InvalidURL,
    )


_TLS_REFUSED = (
    "TLS with the workspace failed: it refused the agent's certificate or the protocol; "
    "check CLIENT_CERT_FILE, CLIENT_KEY_FILE and the port in EXASTRO_URL"
)
_PROXY_TEXT = "the proxy of HTTP_PROXY or HTTPS_PROXY"

# The first that fits decides, so a special kind stands before the general one.
_FAULTS: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], str, Reason], ...] = (
    (aiohttp.ClientProxyConnectionError, f"{_PROXY_TEXT} cannot be reached", Reason.PROXY),
    (aiohttp.ClientHttpProxyError, f"{_PROXY_TEXT} refused to connect to EXASTRO_URL", Reason.PROXY),
    (
        aiohttp.ClientConnectorCertificateError,
        "the certificate of the workspace is not trusted or has another name: check CA_FILE and EXASTRO_URL",
        Reason.TLS,
    ),
    (aiohttp.ClientSSLError, _TLS_REFUSED, Reason.TLS),
    (
        aiohttp.ClientConnectorDNSError,
        "the host name in EXASTRO_URL cannot be resolved: check EXASTRO_URL and DNS",
        Reason.UNREACHABLE,
    ),
    (
        aiohttp.ClientConnectorError,
        "the workspace cannot be reached: check EXASTRO_URL and the network",
        Reason.UNREACHABLE,
    ),
    (
        aiohttp.ConnectionTimeoutError,
        "the workspace did not accept a connection in time: check EXASTRO_URL and the network",
        Reason.TIMEOUT,
    ),
    (TimeoutError, "the workspace did not answer in time", Reason.TIMEOUT),
    (aiohttp.InvalidURL, "EXASTRO_URL is not an address: check it", Reason.UNREACHABLE),
    (
        aiohttp.ClientResponseError,
        "the answer is not HTTP: check scheme and port of EXASTRO_URL",
        Reason.MALFORMED,
    ),
)
