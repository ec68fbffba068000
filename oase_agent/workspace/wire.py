"""Addresses and request bytes of the workspace API (contract sections 2 and 3).

Event bytes pass through untouched: a request is a list of pieces, and the events of a batch are one of them,
exactly as the spool keeps them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import urlencode, urlsplit

import orjson

from oase_agent.errors import ConfigError
from oase_agent.model import AgentIdentity

Piece = bytes | memoryview

EMPTY_EVENTS = b"[]"
_OPENING = b'{"events":['
_CLOSING = b"]}"
_GROUP_CLOSING = b"}"
ENVELOPE_BYTES = len(_OPENING) + len(_CLOSING)
_LONGEST_TIME = 2**63 - 1  # the largest integer that the workspace can store


@dataclass(frozen=True, slots=True)
class WorkspaceAddress:
    """Where one workspace is: `base_url` is EXASTRO_URL, with or without a slash at its end.

    Raises ConfigError for a base URL that cannot be one.
    """

    base_url: str
    organization_id: str
    workspace_id: str

    def __post_init__(self) -> None:
        if not _is_base_url(self.base_url):
            # The value is not shown: what makes it wrong may be a password in it.
            raise ConfigError(
                ("EXASTRO_URL must look like https://host:port/path, without user, query and fragment",)
            )

    @property
    def settings_url(self) -> str:
        """Address of the settings endpoint (contract 3.1)."""
        return f"{self._agent_api}/event_collection/settings"

    @property
    def events_url(self) -> str:
        """Address of the events endpoint (contract 3.2)."""
        return f"{self._agent_api}/events"

    @property
    def token_url(self) -> str:
        """Address where a refresh token is exchanged (contract 2)."""
        return f"{self._base}/auth/realms/{self.organization_id}/protocol/openid-connect/token"

    @property
    def _base(self) -> str:
        return self.base_url.rstrip("/")

    @property
    def _agent_api(self) -> str:
        return f"{self._base}/api/{self.organization_id}/workspaces/{self.workspace_id}/oase_agent"


@dataclass(frozen=True, slots=True)
class EventGroup:
    """One batch as it goes into a POST.

    `fetched_time` is the group time, epoch seconds. `event` is the text of a JSON array of events; an empty group
    has `EMPTY_EVENTS`.
    """

    setting_name: str
    fetched_time: int
    event: Piece = field(repr=False)


def settings_request(names: Sequence[str]) -> bytes:
    """Return the body that asks for settings by name; `names` must not be empty (contract 3.1 answers 500)."""
    return orjson.dumps({"event_collection_settings_names": list(names)})


def token_request(organization_id: str, refresh_token: str) -> bytes:
    """Return the form of the refresh-token grant (contract 2): no scope, so never `offline_access` (D12)."""
    return urlencode(
        {
            "client_id": f"_{organization_id}-api",
            "grant_type": "refresh_token",
            "refresh_token": refresh_token,
        }
    ).encode()


def group_head(setting_name: str, fetched_time: int, agent: AgentIdentity) -> bytes:
    """Return what stands before the events of a group, in the field order of contract 3.2."""
    return b'{"fetched_time":%d,"event_collection_settings_name":%b,"agent":%b,"event":' % (
        fetched_time,
        orjson.dumps(setting_name),
        orjson.dumps({"name": agent.name, "version": agent.version}),
    )


def group_overhead_bytes(setting_name: str, agent: AgentIdentity) -> int:
    """Return how many bytes a group adds at most to a POST beside its events, its comma included.

    The size of a POST is at most `ENVELOPE_BYTES`, plus this and the length of its events for each group.
    """
    return len(group_head(setting_name, _LONGEST_TIME, agent)) + len(_GROUP_CLOSING) + 1


def events_pieces(groups: Sequence[EventGroup], agent: AgentIdentity) -> list[Piece]:
    """Return the body of a POST as pieces that make it when joined; `groups` must not be empty."""
    pieces: list[Piece] = []
    before = _OPENING
    for group in groups:
        pieces += (before + group_head(group.setting_name, group.fetched_time, agent), group.event)
        before = _GROUP_CLOSING + b","
    pieces.append(_GROUP_CLOSING + _CLOSING)
    return pieces


def size_of(pieces: Sequence[Piece]) -> int:
    """Return the length of the joined pieces in bytes."""
    return sum(piece.nbytes if isinstance(piece, memoryview) else len(piece) for piece in pieces)


def _is_base_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises for a port that is none
    except ValueError:
        return False
    unwanted = parts.username or parts.password or parts.query or parts.fragment
    return parts.scheme in {"http", "https"} and bool(parts.hostname) and not unwanted
