"""The nouns of the agent: frozen, without input or output, with secrets that print masked.

The words are those of the design: a *setting* says where and how to poll, a *collection* is one poll of one
setting, an *event* is one labelled JSON object, the *cursor* says where the next collection starts.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any

# Field names that the agent adds to every event (contract section 7).
FIELD_EVENT_ID = "_exastro_oase_event_id"
FIELD_SETTING_NAME = "_exastro_event_collection_settings_name"
FIELD_SETTING_ID = "_exastro_event_collection_settings_id"
FIELD_FETCHED_TIME = "_exastro_fetched_time"
FIELD_END_TIME = "_exastro_end_time"
FIELD_NOT_AVAILABLE = "_exastro_not_available"
FIELD_RAW_DATA = "_exastro_raw_data"

MASK = "********"


class Secret:
    """A text that never prints itself; `reveal` is the only way to its value."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the text in clear. Call it where the value leaves for its destination, nowhere else."""
        return self._value

    def __repr__(self) -> str:
        return f"Secret({MASK!r})" if self._value else "Secret('')"

    __str__ = __repr__

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        return hash(self._value)


NO_SECRET = Secret("")


class ConnectionMethod(StrEnum):
    """`CONNECTION_METHOD_ID` of a setting (contract 4.1)."""

    BEARER = "1"
    BASIC = "2"
    SHARED_KEY_LITE = "3"
    IMAP = "4"
    OPTIONAL = "5"
    NO_AGENT = "99"


class RequestMethod(StrEnum):
    """`REQUEST_METHOD_ID` of a setting (contract 4.1)."""

    GET = "1"
    POST = "2"
    IMAP_TLS = "3"
    IMAP_STARTTLS = "4"
    IMAP_PLAINTEXT = "5"


@dataclass(frozen=True, slots=True)
class Setting:
    """One valid event collection setting of the workspace (contract section 4).

    `id` is empty where nobody told it: a file of this host need not. `url`, `request_header` and `parameter` are
    templates. `ttl_s` is in seconds. `row` is the setting as the workspace or the file gave it, without its three
    secrets: templates may read every column of it.
    """

    id: str
    name: str
    connection_method: ConnectionMethod
    request_method: RequestMethod | None
    url: str
    ttl_s: int
    port: int | None = None
    request_header: str | None = None
    proxy: str | None = None
    auth_token: Secret = NO_SECRET
    username: str | None = None
    password: Secret = NO_SECRET
    mailbox_name: str | None = None
    access_key_id: str | None = None
    secret_access_key: Secret = NO_SECRET
    parameter: str | None = None
    response_is_list: bool = False
    response_key: str | None = None
    event_id_key: str | None = None
    row: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}), repr=False, hash=False)


@dataclass(frozen=True, slots=True)
class DisabledSetting:
    """A setting that is not collected, with the reason that an operator reads."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where the next collection of a setting starts.

    `last_fetched_time` is epoch seconds, taken before the request of the last successful collection;
    `last_event` is the JSON of the newest event, as it was posted, or None (contract section 5). `bookmark` is what
    the source noted to go on from, such as the last mail it read: opaque text, which only the source understands.
    """

    last_fetched_time: int
    last_event: bytes | None = None
    bookmark: str | None = None


@dataclass(frozen=True, slots=True)
class SourceRequest:
    """A rendered request, ready for a source: templates are done, JSON is parsed (contract section 5).

    `parameter` is any JSON value, a text that was not JSON, or None when the setting has none.
    """

    url: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    parameter: Any = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class AgentIdentity:
    """The agent as the workspace sees it in `agent` of a POST (contract 3.2): stable across restarts."""

    name: str
    version: str
