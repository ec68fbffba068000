"""One row of the settings answer becomes one `Setting`, or is rejected with a reason (contract section 4).

Types, bounds and the columns that a method needs are checked here, so that no later stage meets a surprise.
Templates and expressions are only texts here; who understands them checks them.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from oase_agent.errors import Reason, SettingRejected
from oase_agent.model import NO_SECRET, ConnectionMethod, RequestMethod, Secret, Setting
from oase_agent.workspace.secrets import SecretBox, SecretUnreadable

NAME_COLUMN = "EVENT_COLLECTION_SETTINGS_NAME"
DISCARDED_COLUMN = "DISUSE_FLAG"
_ID_COLUMN = "EVENT_COLLECTION_SETTINGS_ID"
_SECRET_COLUMNS = frozenset({"AUTH_TOKEN", "PASSWORD", "SECRET_ACCESS_KEY"})

# Text columns and their greatest length in characters. None where the contract knows no firm bound.
_TEXT_COLUMNS: Mapping[str, int | None] = MappingProxyType(
    {
        "URL": 4096,
        "REQUEST_HEADER": None,
        "PROXY": 4096,
        "USERNAME": 255,
        "MAILBOXNAME": 255,
        "ACCESS_KEY_ID": 1024,
        "PARAMETER": None,
        "RESPONSE_LIST_FLAG": None,
        "RESPONSE_KEY": 255,
        "EVENT_ID_KEY": 255,
    }
)
_NAME_LIMIT_BYTES = 255
_ID_LIMIT = 40
_PORT_RANGE = (0, 65_535)
_TTL_RANGE_S = (10, 2_147_483_647)
_INTEGER_COLUMNS: Mapping[str, tuple[int, int]] = MappingProxyType({"PORT": _PORT_RANGE, "TTL": _TTL_RANGE_S})

# Contract 4.1. Method 3 has no row for its columns there; without both of them its header means nothing.
_MUST_BE_FILLED: Mapping[ConnectionMethod, tuple[str, ...]] = MappingProxyType(
    {
        ConnectionMethod.BEARER: ("URL", "AUTH_TOKEN"),
        ConnectionMethod.BASIC: ("URL", "USERNAME", "PASSWORD"),
        ConnectionMethod.SHARED_KEY_LITE: ("URL", "ACCESS_KEY_ID", "SECRET_ACCESS_KEY"),
        ConnectionMethod.OPTIONAL: ("URL",),
        ConnectionMethod.IMAP: ("URL", "USERNAME", "PASSWORD"),
    }
)
_HTTP_REQUEST_METHODS = (RequestMethod.GET, RequestMethod.POST)
_IMAP_REQUEST_METHODS = (
    RequestMethod.IMAP_TLS,
    RequestMethod.IMAP_STARTTLS,
    RequestMethod.IMAP_PLAINTEXT,
)
_IMAP_PORT = 143
_IMAPS_PORT = 993


def connection_method(row: Mapping[str, Any]) -> ConnectionMethod:
    """Return the method of a row; raises SettingRejected for an id that this agent does not know."""
    value = row.get("CONNECTION_METHOD_ID")
    for method in ConnectionMethod:
        if value == method.value:
            return method
    raise _rejected(f"CONNECTION_METHOD_ID {_shown(value)} is not known to this agent")


def read_setting(row: Mapping[str, Any], method: ConnectionMethod, box: SecretBox) -> Setting:
    """Return the setting of a row whose connection method is `method`; raises SettingRejected.

    A secret that the method does not need may be unreadable; it is empty then.
    """
    required = _MUST_BE_FILLED[method]
    texts = {column: _text(row, column, limit) for column, limit in _TEXT_COLUMNS.items()}
    secrets = {column: _secret(row, column, box, needed=column in required) for column in _SECRET_COLUMNS}
    for column in required:
        if not (texts.get(column) or secrets.get(column)):
            raise _rejected(f"{column} is empty, but CONNECTION_METHOD_ID {method} needs it")
    request_method = _request_method(row, method)
    is_mail = method is ConnectionMethod.IMAP
    return Setting(
        id=_id(row),
        name=_name(row),
        connection_method=method,
        request_method=request_method,
        url=texts["URL"] or "",
        ttl_s=_ttl_s(row),
        port=_mail_port(row, request_method) if is_mail else _integer(row, "PORT", _PORT_RANGE),
        request_header=texts["REQUEST_HEADER"],
        proxy=_checked_proxy(texts["PROXY"]),
        auth_token=secrets["AUTH_TOKEN"],
        username=texts["USERNAME"],
        password=secrets["PASSWORD"],
        mailbox_name=texts["MAILBOXNAME"],
        access_key_id=texts["ACCESS_KEY_ID"],
        secret_access_key=secrets["SECRET_ACCESS_KEY"],
        parameter=texts["PARAMETER"],
        # A mailbox is a list whatever the flag says; the workspace itself sets it (contract section 4).
        response_is_list=is_mail or texts["RESPONSE_LIST_FLAG"] == "1",
        response_key=texts["RESPONSE_KEY"],
        event_id_key=texts["EVENT_ID_KEY"],
        row=MappingProxyType({name: value for name, value in row.items() if name not in _SECRET_COLUMNS}),
    )


def check_column(row: Mapping[str, Any], column: str) -> None:
    """Look at one column alone, whatever the others say; raises SettingRejected. No secret is looked at."""
    if column == NAME_COLUMN:
        _name(row)
    elif column == _ID_COLUMN:
        _id(row)
    elif column == "CONNECTION_METHOD_ID":
        connection_method(row)
    elif column == "PROXY":
        _checked_proxy(_text(row, column, _TEXT_COLUMNS[column]))
    elif column in _TEXT_COLUMNS:
        _text(row, column, _TEXT_COLUMNS[column])
    elif column in _INTEGER_COLUMNS:
        _integer(row, column, _INTEGER_COLUMNS[column])


def _rejected(message: str) -> SettingRejected:
    return SettingRejected(message, Reason.INVALID_SETTING)


def _shown(value: object) -> str:
    """Show an id in a reason, but never a long or structured value, which may be anything."""
    return repr(value[:20]) if isinstance(value, str) else type(value).__name__


def _text(row: Mapping[str, Any], column: str, limit: int | None) -> str | None:
    """Return a text; null, an absent column and an empty text are all None."""
    value = row.get(column)
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise _rejected(f"{column} is not a text")
    if limit is not None and len(value) > limit:
        raise _rejected(f"{column} is longer than {limit} characters")
    return value


def _id(row: Mapping[str, Any]) -> str:
    """Return the id, empty where nobody told it: the workspace then labels events by their setting's name."""
    return _text(row, _ID_COLUMN, _ID_LIMIT) or ""


def _name(row: Mapping[str, Any]) -> str:
    value: str = row[NAME_COLUMN]
    # This bound is in bytes, as the workspace's own is: most names are Japanese, three bytes a character.
    if len(value.encode()) > _NAME_LIMIT_BYTES:
        raise _rejected(f"{NAME_COLUMN} is longer than {_NAME_LIMIT_BYTES} bytes")
    return value


def _integer(row: Mapping[str, Any], column: str, bounds: tuple[int, int]) -> int | None:
    value = row.get(column)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool):
        raise _rejected(f"{column} is not an integer")
    lowest, highest = bounds
    if not lowest <= value <= highest:
        raise _rejected(f"{column} is not between {lowest} and {highest}")
    return value


def _ttl_s(row: Mapping[str, Any]) -> int:
    ttl_s = _integer(row, "TTL", _TTL_RANGE_S)
    if ttl_s is None:
        raise _rejected("TTL is empty")
    return ttl_s


def _request_method(row: Mapping[str, Any], method: ConnectionMethod) -> RequestMethod:
    value = row.get("REQUEST_METHOD_ID")
    is_mail = method is ConnectionMethod.IMAP
    usable = _IMAP_REQUEST_METHODS if is_mail else _HTTP_REQUEST_METHODS
    if not isinstance(value, str) or value not in usable:
        named = "3 (TLS), 4 (STARTTLS) or 5" if is_mail else "1 (GET) or 2 (POST)"
        raise _rejected(
            f"REQUEST_METHOD_ID {_shown(value)} does not fit CONNECTION_METHOD_ID {method}: use {named}"
        )
    return RequestMethod(value)


def _mail_port(row: Mapping[str, Any], request_method: RequestMethod) -> int:
    """Return PORT, or the port of the protocol; 0 means none, as for the predecessor."""
    default = _IMAPS_PORT if request_method is RequestMethod.IMAP_TLS else _IMAP_PORT
    return _integer(row, "PORT", _PORT_RANGE) or default


def _secret(row: Mapping[str, Any], column: str, box: SecretBox, *, needed: bool) -> Secret:
    value = row.get(column)
    if isinstance(value, Secret):  # from a file of this host: not encrypted
        return value
    try:
        return box.decrypt(value)
    except SecretUnreadable as error:
        if needed:
            raise _rejected(f"{column}: {error}") from error
        return NO_SECRET


def _checked_proxy(proxy: str | None) -> str | None:
    """Refuse a proxy whose host or port cannot be read; a later stage decides how it is used."""
    try:
        _ = urlsplit(proxy).port if proxy else None
    except ValueError:
        # The cause would print the value, which may hold credentials.
        raise _rejected("PROXY is not a URI with a port between 0 and 65535") from None
    return proxy
