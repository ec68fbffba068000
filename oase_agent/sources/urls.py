"""What the URL of a setting looks like on the wire: quoted as the agent's predecessor did (contract section 6).

Pure. The user and password of a URL are not for the request line; `authentication` reads them.
"""

import re
import socket
from ipaddress import IPv6Address
from urllib.parse import SplitResult, quote, urlsplit

from yarl import URL

from oase_agent.errors import Reason, SettingRejected

# RFC 3986: `pchar` and the slash. Letters, digits and `-._~` are always safe in `quote`.
_PATH_SAFE = "/:@!$&'()*+,;="
_QUERY_SAFE = _PATH_SAFE + "?"
# A PARAMETER that is sent as it is may also hold brackets: `filter[status]=open` is common.
_RAW_QUERY_SAFE = _QUERY_SAFE + "[]"

_STRAY_PERCENT = re.compile("%(?![0-9A-Fa-f]{2})")
_LONGEST_LABEL = 63  # RFC 1035 section 2.3.4
_LONGEST_NAME = 253


def wire_url(url: str, more_query: str = "") -> URL:
    """Return `url` ready to be sent: quoted once, without user, password and fragment.

    `more_query` is already encoded and is appended to the query that `url` may have. What is %-encoded stays
    so; blanks and non-ASCII text are encoded as UTF-8. Raises SettingRejected for anything but an http or
    https URL with a usable host and port.
    """
    parts = split_url(url)
    query = quoted(parts.query, _QUERY_SAFE)
    query = f"{query}&{more_query}" if query and more_query else query or more_query
    path = quoted(parts.path, _PATH_SAFE) or "/"
    port = "" if parts.port is None else f":{parts.port}"
    host = _wire_host(parts)
    return URL(f"{parts.scheme}://{host}{port}{path}{'?' if query else ''}{query}", encoded=True)


def split_url(url: str) -> SplitResult:
    """Split `url` into its parts.

    Raises SettingRejected unless it is an http or https URL with a host and a port in range.
    """
    try:
        parts = urlsplit(url.lstrip())
        usable = parts.port is None or parts.port > 0
    except ValueError:
        usable = False
    if not usable:
        raise _rejected("has a host or port that cannot be read")
    if parts.scheme not in {"http", "https"}:
        raise _rejected("does not begin with http:// or https://")
    if not parts.hostname:
        raise _rejected("has no host")
    return parts


def quoted(text: str, safe: str = _RAW_QUERY_SAFE) -> str:
    """Percent-encode what may not stand in a URL, but leave valid escapes as they are."""
    try:
        return quote(_STRAY_PERCENT.sub("%25", text), safe=safe + "%")
    except UnicodeEncodeError as error:
        raise _rejected("or PARAMETER holds half of a surrogate pair, which has no UTF-8 form") from error


def origin_of(url: URL) -> str:
    """Return `host:port` of `url`, the only part of it that messages may show."""
    host = url.host or ""
    return f"[{host}]:{url.port}" if ":" in host else f"{host}:{url.port}"


def _wire_host(parts: SplitResult) -> str:
    """Return the host as the Host header shows it: IDNA for international names, addresses in their usual form."""
    host = parts.hostname or ""
    if "[" in parts.netloc:
        try:
            return f"[{IPv6Address(host)}]"
        except ValueError as error:
            raise _rejected("has an IPv6 address that cannot be read") from error
    try:
        # Resolvers read 127.1, 0x7f000001 and 2130706433 as addresses, so the egress policy has to as well.
        return socket.inet_ntoa(socket.inet_aton(host))
    except (OSError, UnicodeEncodeError):
        return _wire_name(host)


def _wire_name(host: str) -> str:
    try:
        name = URL.build(scheme="http", host=host).raw_host or ""
    except ValueError as error:
        raise _rejected("has a host name that DNS does not allow") from error
    # Checked here because the resolver would raise a UnicodeError, far from the cause.
    labels = name.removesuffix(".").split(".")
    if len(name) > _LONGEST_NAME or not all(0 < len(label) <= _LONGEST_LABEL for label in labels):
        raise _rejected("has a host name that DNS does not allow")
    return name


def _rejected(fault: str) -> SettingRejected:
    return SettingRejected(f"the URL of the setting {fault}", Reason.INVALID_SETTING)
