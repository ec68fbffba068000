"""How a request gets to its host: through which proxy, and with which trust in its certificate. Pure."""

import re
import ssl
from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from yarl import URL

from oase_agent.errors import Reason, SettingRejected, SourceUnavailable
from oase_agent.model import Setting
from oase_agent.proxies import ProxyEnvironment
from oase_agent.sources.authentication import basic_credentials
from oase_agent.sources.options import SourceProxy
from oase_agent.sources.urls import origin_of
from oase_agent.tls import unverified_context

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


@dataclass(frozen=True, slots=True)
class Proxy:
    """A plain HTTP proxy; `url` has no credentials, `authorization` is the ready header value, if any."""

    url: str
    authorization: str | None = field(default=None, repr=False)


class SourceTls:
    """Which TLS context a host gets: verified, unless it is one of `insecure_hosts`.

    `insecure_hosts` are entries of TLS_INSECURE_HOSTS: a host is meant with all its ports, `host:port` with
    one; IPv6 addresses with a port stand in brackets.
    """

    def __init__(self, verified: ssl.SSLContext, insecure_hosts: Iterable[str] = ()) -> None:
        self._verified = verified
        self._insecure_hosts = frozenset(host.strip().lower() for host in insecure_hosts)
        self._unverified = unverified_context() if self._insecure_hosts else None

    def context_for(self, url: URL) -> ssl.SSLContext:
        """Return the context for a connection to the host of `url`."""
        host = (url.host or "").lower()
        if self._unverified and not self._insecure_hosts.isdisjoint(
            {host, f"[{host}]", origin_of(url).lower()}
        ):
            return self._unverified
        return self._verified


def proxy_of(setting: Setting) -> Proxy | None:
    """Return the proxy that PROXY of an HTTP setting names, or None.

    `http://host:port`, `https://host:port` and `host:port` mean the same, all with `user:password@`. Raises
    SettingRejected for anything else, where the predecessor silently connected without a proxy (contract section 6).
    """
    text = (setting.proxy or "").strip()
    if not text:
        return None
    try:
        return _parsed(text, needs_port=True)
    except ValueError as error:
        raise SettingRejected(f"PROXY of the setting {error}", Reason.INVALID_SETTING) from error


def proxy_for(
    setting: Setting, environment: ProxyEnvironment, url: URL, option: SourceProxy | None = None
) -> Proxy | None:
    """Return the proxy for one request: `option`, else that of the setting, else that of the environment, else None.

    Raises SettingRejected like `proxy_of`, and SourceUnavailable when the environment's proxy cannot be used.
    """
    own = proxy_of(setting) if option is None else _of_option(option)
    text = None if own else environment.for_url(str(url.origin()))
    if text is None:
        return own
    try:
        return _parsed(text, needs_port=False)
    except ValueError as error:
        raise SourceUnavailable(f"{url.scheme.upper()}_PROXY of the agent {error}", Reason.PROXY) from error


def _of_option(option: SourceProxy) -> Proxy:
    """Return the proxy of SOURCE_OPTIONS_FILE, which was checked when the file was read.

    Raises SettingRejected for SOCKS, which only mail can be fetched through.
    """
    if not option.url.startswith("http:"):
        raise SettingRejected(
            "the proxy in SOURCE_OPTIONS_FILE is SOCKS, which only mail can be fetched through: give an HTTP proxy "
            "as http://host:port",
            Reason.UNSUPPORTED,
        )
    password = option.password.reveal()
    authorization = basic_credentials(option.username, password) if option.username else None
    return Proxy(option.url, authorization)


def _parsed(text: str, *, needs_port: bool) -> Proxy:
    """Read a proxy URL. Raises ValueError with the end of a sentence that shows nothing of `text`."""
    try:
        parts = urlsplit(text if _SCHEME.match(text) else f"http://{text}")
        port = parts.port
    except ValueError as error:
        raise ValueError("has a host or port that cannot be read: write http://host:port") from error
    # The predecessor used only host and port of a setting's PROXY, so `https://` there always meant a plain one.
    if parts.scheme not in ({"http", "https"} if needs_port else {"http"}):
        raise ValueError("is not a plain HTTP proxy, the only kind supported: write http://host:port")
    if not parts.hostname:
        raise ValueError("has no host: write http://host:port")
    if port == 0 or (port is None and needs_port):
        raise ValueError("has no port: write http://host:port")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    authorization = None
    if parts.username is not None:
        authorization = basic_credentials(unquote(parts.username), unquote(parts.password or ""))
    return Proxy(f"http://{host}:{port or 80}", authorization)
