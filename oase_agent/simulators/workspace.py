"""A workspace on loopback: the token endpoint, the gateway's checks and the two endpoints of the receiver.

It follows contract sections 2 and 3. What is visible on the wire is exact; behind it there is only memory.
"""

import binascii
import time
from base64 import b64decode
from collections.abc import Callable, Iterable
from enum import StrEnum
from urllib.parse import parse_qsl

from aiohttp import web

from oase_agent.simulators.acceptance import PROGRESS_TTL_S, Acceptance, parse_json
from oase_agent.simulators.answers import (
    Answer,
    problem,
    refusal,
    schema_violation,
    success,
    system_error,
)
from oase_agent.simulators.control import Control
from oase_agent.simulators.faults import FaultPlan
from oase_agent.simulators.loopback import LoopbackServer, Reply, json_reply
from oase_agent.simulators.schema import settings_fault
from oase_agent.simulators.secrets import encrypt_secret
from oase_agent.simulators.settings_table import SECRET_COLUMNS, Row, SettingsTable, setting_row
from oase_agent.simulators.tokens import TokenIssuer

__all__ = ["MenuPrivilege", "WorkspaceSimulator", "setting_row"]

_BASE = "/api/{organization}/workspaces/{workspace}/oase_agent"


class MenuPrivilege(StrEnum):
    """What the user may do in the two menus that the agent needs (contract section 2)."""

    MAINTAIN = "maintain"
    READ = "read"
    NONE = "none"


class WorkspaceSimulator(LoopbackServer):
    """One workspace with one user and one refresh token.

    Lifetimes are in seconds; `clock` gives epoch seconds; `keep_events` and `progress_ttl_s` are those of
    `Acceptance`. An empty `username` means that nobody logs in with a password.

    Switches to turn while it runs: `maintenance` (498), `role_missing` (403), `menu_privilege` (401-00001),
    `menu_installed` (499-00002). `acceptance` holds what was stored, `tokens` who asked for a token.
    """

    def __init__(
        self,
        *,
        organization_id: str = "org001",
        workspace_id: str = "ws01",
        refresh_token: str = "refresh-token",  # noqa: S107 - of a simulator
        username: str = "",
        password: str = "",
        access_token_lifetime_s: float = 86_400.0,
        refresh_token_lifetime_s: float = 31_536_000.0,
        rotate_refresh_token: bool = False,
        settings: Iterable[Row] = (),
        keep_events: bool = True,
        progress_ttl_s: float | None = PROGRESS_TTL_S,
        clock: Callable[[], float] = time.time,
        faults: FaultPlan | None = None,
    ) -> None:
        super().__init__(clock=clock, faults=faults)
        self.organization_id = organization_id
        self.workspace_id = workspace_id
        self.maintenance = False
        self.role_missing = False
        self.menu_privilege = MenuPrivilege.MAINTAIN
        self.menu_installed = True
        self.settings = SettingsTable()
        for row in settings:
            self.settings.add(row)
        self.acceptance = Acceptance(
            self.settings, clock=clock, keep_events=keep_events, progress_ttl_s=progress_ttl_s
        )
        self.tokens = TokenIssuer(
            organization_id,
            clock=clock,
            refresh_token=refresh_token,
            username=username,
            password=password,
            access_token_lifetime_s=access_token_lifetime_s,
            refresh_token_lifetime_s=refresh_token_lifetime_s,
            rotate_refresh_token=rotate_refresh_token,
        )

    def routes(self) -> list[web.RouteDef]:
        """Return the three endpoints and the control doors."""
        token_path = "/auth/realms/{organization}/protocol/openid-connect/token"  # noqa: S105 - a path
        control = Control(self, self.acceptance, self._set_maintenance)
        return [
            web.post(token_path, self._on_token),
            web.post(f"{_BASE}/event_collection/settings", self._on_settings),
            web.post(f"{_BASE}/events", self._on_events),
            *control.routes(),
        ]

    def add_setting(self, row: Row) -> None:
        """Add a row made by `setting_row`, or replace the one of the same name."""
        self.settings.add(row)

    def discard(self, name: str) -> None:
        """Discard a setting: no longer handed out, events refused with text 499-01827."""
        self.settings.discard(name)

    def rename(self, old: str, new: str) -> None:
        """Rename a setting; its id and its progress stay."""
        self.settings.rename(old, new)

    def remove(self, name: str) -> None:
        """Remove a setting, so that its name is unknown."""
        self.settings.remove(name)

    def count(self, setting_name: str | None = None) -> int:
        """Return how many events of a setting, or of all settings, were stored."""
        return self.acceptance.count(setting_name)

    def ids_of(self, setting_name: str) -> list[str]:
        """Return the event ids of a setting in the order of arrival."""
        return self.acceptance.ids_of(setting_name)

    def _set_maintenance(self, on: bool) -> None:  # noqa: FBT001 - the one argument of a callback
        self.maintenance = on

    async def _on_token(self, request: web.Request) -> web.StreamResponse:
        return await self.serve(request, "token", self._token)

    async def _on_settings(self, request: web.Request) -> web.StreamResponse:
        return await self.serve(request, "settings", self._settings)

    async def _on_events(self, request: web.Request) -> web.StreamResponse:
        return await self.serve(request, "events", self._events)

    def _token(self, request: web.Request, body: bytes) -> Reply:
        if request.match_info["organization"] != self.organization_id:
            return json_reply((404, {"error": "Realm does not exist"}))
        if request.content_type != "application/x-www-form-urlencoded":
            return json_reply((415, {"error": "HTTP 415 Unsupported Media Type"}))
        form = dict(parse_qsl(body.decode(errors="replace"), keep_blank_values=True))
        return json_reply(self.tokens.exchange(form))

    def _settings(self, request: web.Request, body: bytes) -> Reply:
        return json_reply(self._denied(request, MenuPrivilege.READ) or self._list_settings(body))

    def _events(self, request: web.Request, body: bytes) -> Reply:
        denied = self._denied(request, MenuPrivilege.MAINTAIN)
        if denied is not None:
            return json_reply(denied)
        answer = self.acceptance.handle(body)
        return json_reply(answer, groups=self.acceptance.last_request_groups)

    def _list_settings(self, payload: bytes) -> Answer:
        try:
            body = parse_json(payload)
        except ValueError:
            return refusal("400-00002", "The request body is not valid JSON.", self.clock())
        fault = settings_fault(body) if isinstance(body, dict) else None
        if fault is not None:
            return schema_violation(fault)
        names = body.get("event_collection_settings_names") if isinstance(body, dict) else None
        if not names:
            return system_error(self.clock())
        rows = self.settings.active_rows(names)
        return success([self._with_encrypted_secrets(row) for row in rows], self.clock())

    def _with_encrypted_secrets(self, row: Row) -> Row:
        """Encrypt anew for every call, as the workspace does: the texts differ each time."""
        return row | {
            column: encrypt_secret(row[column] or "", self.organization_id, self.workspace_id)
            for column in SECRET_COLUMNS
        }

    def _denied(self, request: web.Request, needed: MenuPrivilege) -> Answer | None:
        """Return why a call is not let through to the data, or None; the gateway looks before the receiver."""
        return self._denied_by_gateway(request) or self._denied_by_receiver(request, needed)

    def _denied_by_gateway(self, request: web.Request) -> Answer | None:
        now_s = self.clock()
        if request.match_info["organization"] != self.organization_id:
            return refusal("404-00001", "The organization does not exist.", now_s)
        if not self._is_authorized(request.headers.get("Authorization", "")):
            return refusal("401-00002", "The access token or the password is not valid.", now_s)
        if self.role_missing or request.match_info["workspace"] != self.workspace_id:
            return refusal("403-00001", "The user has no role in the workspace.", now_s)
        return None

    def _denied_by_receiver(self, request: web.Request, needed: MenuPrivilege) -> Answer | None:
        now_s = self.clock()
        if request.content_type != "application/json":
            return problem(415, "Unsupported Media Type", f"Invalid Content-type ({request.content_type})")
        if self.maintenance:
            return refusal("498-00004", "The system is under maintenance.", now_s)
        if not self.menu_installed:
            return refusal("499-00002", "The menu of OASE is not installed.", now_s)
        if self.menu_privilege not in {needed, MenuPrivilege.MAINTAIN}:
            return refusal("401-00001", "The user may not use the menu.", now_s)
        return None

    def _is_authorized(self, header: str) -> bool:
        scheme, _, credentials = header.partition(" ")
        if scheme == "Bearer":
            return self.tokens.accepts_access_token(credentials)
        if scheme != "Basic":
            return False
        try:
            # The gateway cuts a password at its first colon (contract section 2).
            username, password, *_ = b64decode(credentials, validate=True).decode().split(":")
        except (binascii.Error, ValueError):
            return False
        return self.tokens.accepts_password(username, password)
