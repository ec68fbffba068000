"""The headers of a request: defaults, REQUEST_HEADER and credentials, in this order (contract section 6).

Pure. Secrets are revealed here because here they leave for their destination.
"""

import re
from base64 import b64encode
from collections.abc import Mapping
from email.utils import formatdate
from urllib.parse import unquote

from oase_agent import __version__
from oase_agent.errors import Reason, SettingRejected
from oase_agent.model import ConnectionMethod, Secret, Setting
from oase_agent.sources.urls import split_url

DEFAULT_HEADERS: Mapping[str, str] = {
    "User-Agent": f"oase-agent/{__version__}",
    "Accept": "*/*",
    "Accept-Encoding": "gzip, deflate",
}

_NO_HEADERS: Mapping[str, Secret] = {}

# They say where the body ends, which only the HTTP client knows.
_FRAMING = frozenset({"content-length", "transfer-encoding"})

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # RFC 9110 section 5.6.2
# Control characters except the tab, and halves of surrogate pairs, which have no byte form.
_FORBIDDEN_IN_VALUE = re.compile("[\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]")


def request_headers(
    setting: Setting,
    url: str,
    configured: Mapping[str, str],
    now_s: float,
    extra: Mapping[str, Secret] = _NO_HEADERS,
) -> dict[str, str]:
    """Return all headers of a request to `url`, where `configured` is the rendered REQUEST_HEADER.

    A later source replaces an earlier one whatever the case of the name: defaults, `configured`, then
    `user:password@` of the URL or the credentials of the setting's method, which win over the URL, then `extra`,
    the headers of SOURCE_OPTIONS_FILE. Raises SettingRejected for a header that HTTP cannot carry.
    """
    credentials = auth_headers(setting, now_s) or url_auth_headers(url)
    merged: dict[str, tuple[str, str]] = {}
    revealed = {name: value.reveal() for name, value in extra.items()}
    for headers in (DEFAULT_HEADERS, configured, credentials, revealed):
        merged |= {name.lower(): (name, value) for name, value in headers.items()}
    for name, value in merged.values():
        _check_header(name, value)
    return {name: value for key, (name, value) in merged.items() if key not in _FRAMING}


def auth_headers(setting: Setting, now_s: float) -> dict[str, str]:
    """Return the credentials that the connection method of `setting` adds; `now_s` is epoch seconds.

    SharedKeyLite sends the key itself and computes no signature: that is the wire fact. Raises SettingRejected
    for a method that is not HTTP.
    """
    match setting.connection_method:
        case ConnectionMethod.BEARER:
            return {"Authorization": f"Bearer {setting.auth_token.reveal()}"}
        case ConnectionMethod.BASIC:
            return {"Authorization": basic_credentials(setting.username or "", setting.password.reveal())}
        case ConnectionMethod.SHARED_KEY_LITE:
            key = f"{setting.access_key_id or ''}:{setting.secret_access_key.reveal()}"
            return {"Authorization": f"SharedKeyLite {key}", "Date": formatdate(now_s, usegmt=True)}
        case ConnectionMethod.OPTIONAL:
            return {}
    raise SettingRejected(
        f"CONNECTION_METHOD_ID {setting.connection_method} is not collected over HTTP", Reason.UNSUPPORTED
    )


def url_auth_headers(url: str) -> dict[str, str]:
    """Return Basic credentials for a URL with `user:password@`; a user without a colon is ignored."""
    parts = split_url(url)
    if parts.username is None or parts.password is None:
        return {}
    return {"Authorization": basic_credentials(unquote(parts.username), unquote(parts.password))}


def basic_credentials(user: str, password: str) -> str:
    """Return the value of an Authorization header for HTTP Basic, in UTF-8 (RFC 7617)."""
    # A lone surrogate becomes "?" and the source answers 401: nothing better can be sent.
    return "Basic " + b64encode(f"{user}:{password}".encode("utf-8", "replace")).decode("ascii")


def header_fault(name: str, value: str) -> str | None:
    """Return why HTTP cannot carry a header, as the end of a sentence that does not show its value, or None."""
    if not _TOKEN.fullmatch(name):
        return "has a name with characters that HTTP does not allow"
    if name.lower() in _FRAMING:
        return "says where the body ends, which only the agent knows"
    if _FORBIDDEN_IN_VALUE.search(value):
        return "has a value with a line break or a control character"
    return None


def _check_header(name: str, value: str) -> None:
    if not _TOKEN.fullmatch(name):
        raise SettingRejected(
            "REQUEST_HEADER has a header name with characters that HTTP does not allow",
            Reason.INVALID_SETTING,
        )
    if _FORBIDDEN_IN_VALUE.search(value):
        raise SettingRejected(
            f"the value of the header {name} holds a line break or a control character: "
            "check REQUEST_HEADER, AUTH_TOKEN and SECRET_ACCESS_KEY of the setting",
            Reason.INVALID_SETTING,
        )
