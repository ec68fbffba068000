"""From the text of an option to its value. Every function raises ValueError with the reason, for the message."""

import re
from collections.abc import Callable
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Any, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator

from oase_agent.model import Secret
from oase_agent.sources.host_names import host_pattern

T = TypeVar("T")

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30

Network = IPv4Network | IPv6Network
Networks = tuple[Network, ...]

# The refresh token in the values file of the reference chart: whoever did not replace it has no token.
PLACEHOLDER_TOKEN = "change-this-token"  # noqa: S105 - not a credential

_IDENTIFIER = re.compile(r"[a-zA-Z0-9_-]{1,36}")  # contract section 1
_BYTES = re.compile(r"(\d{1,18}) ?(?:([kmgt])ib?)?", re.IGNORECASE)
_HOST = re.compile(r"([a-z0-9_]([a-z0-9_.-]*)|\[[0-9a-f:.]+\])(:[0-9]{1,5})?")
_PORTS = re.compile(r"([0-9]{1,5})(?: ?- ?([0-9]{1,5}))?")
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
# Most file systems take 255 bytes; the agent's folder needs no more than this.
_NAME_MAX_BYTES = 200


def from_text(parse: Callable[[str], Any]) -> BeforeValidator:
    """Return the step that parses a text and lets a value that is no text (a default, a test's) through."""
    return BeforeValidator(lambda value: parse(value) if isinstance(value, str) else value)


def base_url(text: str) -> str:
    """Return an http(s) URL without trailing slash; paths that start with a slash are appended to it."""
    url = text.strip().rstrip("/")
    try:
        parts = urlsplit(url)
        port_is_usable = parts.port != 0
    except ValueError:
        # The message of urllib may repeat a piece of a password.
        raise ValueError("it cannot be read as a URL") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname or not port_is_usable:
        raise ValueError("scheme, host or port is missing or wrong")
    if "@" in parts.netloc:
        raise ValueError("it holds credentials, which have options of their own")
    if parts.query or parts.fragment or re.search(r"\s", url):
        raise ValueError("it holds a query, a fragment or a blank")
    return url


def identifier(text: str) -> str:
    """Return an organization or workspace id (contract section 1)."""
    if not _IDENTIFIER.fullmatch(text):
        raise ValueError("it is too long or has another character")
    return text


def agent_name(text: str) -> str:
    """Return a name that is safe as the name of a folder."""
    if not text.strip():
        raise ValueError("it is empty")
    if text in {".", ".."} or "/" in text or not text.isprintable():
        raise ValueError("it cannot be the name of a folder")
    if len(text.encode("utf-8", "surrogateescape")) > _NAME_MAX_BYTES:
        raise ValueError("it is too long")
    return text


def setting_names(text: str) -> tuple[str, ...]:
    """Return names in their order, each once; an empty element stays as "" for the warning."""
    names = tuple(dict.fromkeys(part.strip() for part in text.split(",")))
    if not any(names):
        raise ValueError("it holds no name")
    return names


def byte_count(text: str) -> int:
    """Return a number of bytes: `1048576`, `1024KiB`, `1 MiB` and, as in Kubernetes, `1Mi`."""
    match = _BYTES.fullmatch(text.strip())
    if match is None:
        raise ValueError("it is no number of bytes")
    number, unit = match.groups("")
    return int(number) * _UNITS[unit.lower()]


def networks(text: str) -> Networks:
    """Return the networks of a comma separated list of CIDR networks and addresses."""
    return tuple(ip_network(part) for part in _elements(text))


def allowed_networks(text: str) -> Networks:
    """Return the networks; `any` is the empty list, which allows all."""
    return () if text.strip() == "any" else _not_empty(networks(text))


def denied_networks(text: str) -> Networks:
    """Return the networks; `none` is the empty list, which denies nothing."""
    return () if text.strip() == "none" else networks(text)


def hosts(text: str) -> tuple[str, ...]:
    """Return `host` and `host:port` entries in lower case, each once."""
    entries = tuple(dict.fromkeys(part.lower() for part in _elements(text)))
    for entry in entries:
        if not _HOST.fullmatch(entry):
            raise ValueError(f"{entry!r} is no host name")
    return entries


def allowed_hosts(text: str) -> tuple[str, ...]:
    """Return host names, addresses and `*.example.com`, each once; `any` is the empty list, which allows all."""
    return () if text.strip() == "any" else _not_empty(_host_patterns(text))


def denied_hosts(text: str) -> tuple[str, ...]:
    """Return host names, addresses and `*.example.com`, each once; `none` is the empty list, which denies nothing."""
    return () if text.strip() == "none" else _host_patterns(text)


def port_ranges(text: str) -> tuple[tuple[int, int], ...]:
    """Return ranges of ports, both ends included; `any` is the empty list, which allows all."""
    return () if text.strip() == "any" else _not_empty(tuple(map(_port_range, _elements(text))))


def storage_path(path: Path) -> Path:
    """Return the path; the spool finds out whether it can be written to."""
    if "\0" in str(path):
        raise ValueError("it is no path")
    return path


def readable_file(path: Path) -> Path:
    """Return the path of a file that can be opened now."""
    try:
        with path.open("rb"):
            return path
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        raise ValueError(reason or "it is no path") from error


def secret(text: str) -> Secret:
    """Return a text that prints masked."""
    return Secret(text)


def refresh_token(text: str) -> Secret:
    """Return the refresh token, unless it is the placeholder of the chart."""
    if text == PLACEHOLDER_TOKEN:
        raise ValueError(f"it is still the placeholder {PLACEHOLDER_TOKEN!r}")
    return Secret(text)


def _host_patterns(text: str) -> tuple[str, ...]:
    entries = _elements(text)
    for word in ("any", "none"):
        # As an entry it would be the name of a host, which nobody means.
        if word in entries:
            raise ValueError(f"{word!r} stands in a list, or in the wrong option")
    return tuple(dict.fromkeys(map(host_pattern, entries)))


def _port_range(text: str) -> tuple[int, int]:
    match = _PORTS.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no port")
    first, last = int(match[1]), int(match[2] or match[1])
    if not 1 <= first <= last <= 65_535:
        raise ValueError(f"{text!r} is no port, or its end comes before its beginning")
    return first, last


def _not_empty(entries: tuple[T, ...]) -> tuple[T, ...]:
    """Return the entries of a list of what is allowed; one without entries must not allow everything."""
    if not entries:
        raise ValueError("it has no entry")
    return entries


def _elements(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


ByteCount = Annotated[int, from_text(byte_count)]
ReadableFile = Annotated[Path, AfterValidator(readable_file)]
