"""Rules for single values of SOURCE_OPTIONS_FILE. Each raises ValueError with a clause that shows no value."""

import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from oase_agent.config import values
from oase_agent.config.source_options.files import PemFile
from oase_agent.errors import SettingRejected
from oase_agent.model import Secret
from oase_agent.sources.authentication import header_fault
from oase_agent.sources.pagination.dotted import parse_path
from oase_agent.sources.urls import wire_url

BYTE_COUNT_PATTERN = "^[0-9]{1,18} ?([kKmMgGtT]([iI][bB]?)?)?$"
PROXY_PATTERN = "^(http|socks5)://[^/@]+:[0-9]+/?$"

_SECRET_HEADERS = frozenset({"authorization", "cookie", "proxy-authorization"})
_LONGEST_SOCKS_TEXT = 255  # RFC 1929


@dataclass(frozen=True, slots=True)
class MustBe:
    """Completes "give …" in a message about a key."""

    text: str


def path_text(value: object) -> str:
    """Return the text of a path."""
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError("it is no path")
    return value


def byte_count(value: object) -> object:
    """Return the number of a text such as 64MiB; what is no text is left to others."""
    return values.byte_count(value) if isinstance(value, str) else value


def setting_name(name: str) -> str:
    """Return the name of a setting."""
    if not name or name != name.strip():
        raise ValueError("is empty, or has blanks at an end")
    return name


def header_name(name: str) -> str:
    """Return the name of a header."""
    fault = header_fault(name, "")
    if fault is not None:
        raise ValueError(fault)
    return name


def check_headers(headers: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return headers that HTTP can carry, no two of which are the same, without secrets in plain sight."""
    faults: list[str] = []
    known: set[str] = set()
    for name, block in headers.items():
        fault = header_fault(name, block.content.reveal())
        if fault is not None:
            faults.append(f"{name} {fault}")
        if name.lower() in known:
            faults.append(f"{name} is there twice, whatever the case of its letters")
        if name.lower() in _SECRET_HEADERS and block.value is not None:
            faults.append(f"{name} is a secret: put its value into a file, and the path of that under file")
        known.add(name.lower())
    if faults:
        raise ValueError("; ".join(faults))
    return headers


def proxy_url(url: str) -> str:
    """Return the URL of a proxy as `scheme://host:port`."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError("its host or port cannot be read") from None
    if "@" in parts.netloc:
        raise ValueError("it holds credentials: use username and password_file")
    if parts.scheme not in {"http", "socks5"}:
        raise ValueError("its scheme is neither http nor socks5")
    if not parts.hostname or not port or parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError("host or port is missing, or something follows them")
    try:
        host = wire_url(f"http://{parts.netloc}").raw_host or ""
    except SettingRejected:
        raise ValueError("its host cannot be read") from None
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}:{port}"


def check_proxy_user(url: str, username: str, password: Secret | None) -> None:
    """Check that the proxy can be told user and password."""
    password_text = password.reveal() if password else ""
    if url.startswith("http:") and ":" in username:
        raise ValueError("has a username with a colon, which HTTP Basic cannot carry")
    if url.startswith("socks5:"):
        too_long = max(len(text.encode()) for text in (username, password_text)) > _LONGEST_SOCKS_TEXT
        if too_long or not password_text:
            raise ValueError("needs username and password_file for SOCKS, each of at most 255 bytes")


def http_url(url: str) -> str:
    """Return a URL that can be requested and holds no credentials."""
    try:
        wire_url(url)
        parts = urlsplit(url)
    except (SettingRejected, ValueError):
        raise ValueError("it cannot be requested") from None
    if "@" in parts.netloc:
        raise ValueError("it holds credentials: use client_id and client_secret_file")
    if parts.fragment or re.search(r"\s", url):
        raise ValueError("it holds a fragment or a blank")
    return url


def dotted_path(text: str) -> str:
    """Return a path that the pages of a source can be searched with."""
    parse_path(text)
    return text


def check_pagination(style: str, *, path: str | None, parameter: str | None) -> None:
    """Check that a style of pages has the keys that it needs."""
    needed = {
        "next_url": ("path",),
        "token": ("path", "parameter"),
        "page": ("parameter",),
        "offset": ("parameter",),
    }
    given = {"path": path, "parameter": parameter}
    missing = [key for key in needed.get(style, ()) if given[key] is None]
    if missing:
        raise ValueError(f"needs {' and '.join(missing)} for the style {style}")


def check_authorities(content: bytes) -> None:
    """Check that there are certificates in PEM."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(
            cadata=content.decode("ascii", "replace")
        )
    except (ssl.SSLError, ValueError):
        raise ValueError("the file holds no certificates in PEM") from None


def check_identity(certificate: PemFile, key: PemFile | None) -> None:
    """Check that a certificate and its key can be used together."""
    try:
        # Without the function, OpenSSL would ask on the terminal for the password of a key.
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(
            certificate.path, key.path if key else None, password=lambda: ""
        )
    except (ssl.SSLError, OSError, ValueError):
        raise ValueError(
            "has client_cert_file and client_key_file that cannot be used together: give a certificate and its key "
            "in PEM, without a password"
        ) from None
