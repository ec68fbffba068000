"""How a mail server is reached: host, port, encryption, trust and proxy of one setting. Pure."""

import ssl
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Literal
from urllib.parse import unquote, urlsplit

from yarl import URL

from oase_agent.errors import Reason, SettingRejected
from oase_agent.model import NO_SECRET, RequestMethod, Secret, Setting
from oase_agent.sources.host_names import normal_host
from oase_agent.sources.options import SourceOptions
from oase_agent.sources.routes import SourceTls

IMAP_PORT: Final = 143
IMAPS_PORT: Final = 993
_SOCKS_PORT: Final = 1080  # RFC 1928, 3


class Encryption(StrEnum):
    """What happens before the login."""

    TLS = "TLS"
    STARTTLS = "STARTTLS"
    STARTTLS_IF_OFFERED = "STARTTLS if offered"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class MailLimits:
    """What one collection may take: seconds for all of it and for a connection, bytes of a page."""

    timeout_s: float
    connect_timeout_s: float
    page_bytes: int


@dataclass(frozen=True, slots=True)
class MailPolicy:
    """IMAP_TLS and IMAP_PLAINTEXT_HOSTS."""

    tls: Literal["auto", "require", "off"] = "auto"
    plaintext_hosts: tuple[str, ...] = ()

    def allows_plaintext(self, host: str, port: int) -> bool:
        """Tell whether a password may go to `host` in clear."""
        bracketed = f"[{host}]" if ":" in host else host
        return not {host, bracketed, f"{bracketed}:{port}"}.isdisjoint(self.plaintext_hosts)


@dataclass(frozen=True, slots=True)
class MailProxy:
    """A SOCKS5 proxy (RFC 1928, 1929), or an HTTP one that is asked for a tunnel (RFC 9110, 9.3.6)."""

    host: str
    port: int
    is_socks: bool
    username: str = ""
    password: Secret = NO_SECRET


@dataclass(frozen=True, slots=True)
class MailRoute:
    """Where a mail server is and how to speak to it; `tls` is the trust in its certificate."""

    host: str
    port: int
    encryption: Encryption
    tls: ssl.SSLContext = field(repr=False)
    allows_plaintext: bool
    proxy: MailProxy | None = None

    @property
    def origin(self) -> str:
        """`host:port`, all that messages may show."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def mail_route(
    setting: Setting, host_text: str, options: SourceOptions, policy: MailPolicy, tls: SourceTls
) -> MailRoute:
    """Return the route of a setting whose rendered URL is `host_text`; raises SettingRejected."""
    host = _host(host_text)
    port = setting.port or (IMAPS_PORT if setting.request_method is RequestMethod.IMAP_TLS else IMAP_PORT)
    return MailRoute(
        host,
        port,
        _encryption(setting, port, policy),
        options.tls or tls.context_for(URL.build(scheme="imap", host=host, port=port)),
        policy.allows_plaintext(host, port),
        _option_proxy(options) if options.proxy else mail_proxy_of(setting),
    )


def mail_proxy_of(setting: Setting) -> MailProxy | None:
    """Return the proxy that PROXY of a mail setting names, or None.

    `http://` is asked for a tunnel. Everything else is a SOCKS5 proxy, as for the predecessor: `socks5://host:port`,
    `host:port`; all with `user:password@`. Raises SettingRejected for what has no host or port.
    """
    text = (setting.proxy or "").strip()
    if not text:
        return None
    try:
        return _proxy(text)
    except ValueError:
        # Without a cause: it would quote the value, which may hold a password.
        raise SettingRejected(
            "PROXY of the setting cannot be read: write socks5://host:port or http://host:port",
            Reason.INVALID_SETTING,
        ) from None


def _host(text: str) -> str:
    try:
        return normal_host(text)
    except ValueError:
        raise SettingRejected(
            "the URL of a mail setting is the bare name of the host, such as mail.example.com: "
            "write the port into PORT",
            Reason.INVALID_SETTING,
        ) from None


def _encryption(setting: Setting, port: int, policy: MailPolicy) -> Encryption:
    match setting.request_method:
        case RequestMethod.IMAP_TLS:
            return Encryption.TLS
        case RequestMethod.IMAP_STARTTLS:
            return Encryption.STARTTLS
    if policy.tls == "off":
        return Encryption.NONE
    # Nobody speaks plaintext on the port of IMAPS (RFC 8314, 3.2), and the workspace offers no other method yet.
    if port == IMAPS_PORT:
        return Encryption.TLS
    return Encryption.STARTTLS if policy.tls == "require" else Encryption.STARTTLS_IF_OFFERED


def _option_proxy(options: SourceOptions) -> MailProxy:
    assert options.proxy is not None
    proxy = _proxy(options.proxy.url)
    return MailProxy(proxy.host, proxy.port, proxy.is_socks, options.proxy.username, options.proxy.password)


def _proxy(text: str) -> MailProxy:
    """Raises ValueError."""
    parts = urlsplit(text if "://" in text else f"socks5://{text}")
    is_socks = parts.scheme != "http"
    port = parts.port or (_SOCKS_PORT if is_socks and parts.port is None else 0)
    if not parts.hostname or not port:
        raise ValueError("no host or port")
    username = unquote(parts.username or "")
    return MailProxy(
        normal_host(parts.hostname), port, is_socks, username, Secret(unquote(parts.password or ""))
    )
