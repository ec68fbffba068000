"""The token endpoint's memory: which tokens are valid and who asked for them (contract section 2)."""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

_KEPT_EXCHANGES = 100_000


@dataclass(frozen=True, slots=True)
class TokenExchange:
    """One request for a token, as it was answered. Times are epoch seconds of the simulator's clock."""

    grant_type: str
    http_status: int
    scope: str
    at: float


class TokenIssuer:
    """Trades refresh tokens and passwords for access tokens, as a public client of one organization sees it.

    With `rotate_refresh_token` every exchange makes the old refresh token invalid. Lifetimes are in seconds.
    """

    def __init__(
        self,
        organization_id: str,
        *,
        clock: Callable[[], float],
        refresh_token: str,
        username: str,
        password: str,
        access_token_lifetime_s: float,
        refresh_token_lifetime_s: float,
        rotate_refresh_token: bool,
    ) -> None:
        self.client_id = f"_{organization_id}-api"
        self.access_token_lifetime_s = access_token_lifetime_s
        self.refresh_token_lifetime_s = refresh_token_lifetime_s
        self.rotate_refresh_token = rotate_refresh_token
        self.exchanges: deque[TokenExchange] = deque(maxlen=_KEPT_EXCHANGES)
        self._clock = clock
        self._username = username
        self._password = password
        self._issued = 0
        self._access: dict[str, float] = {}
        self._refresh: dict[str, float] = {}
        self.allow_refresh_token(refresh_token)

    def allow_refresh_token(self, token: str) -> None:
        """Make a refresh token valid from now on, as an administrator does who issues one."""
        self._refresh[token] = self._clock() + self.refresh_token_lifetime_s

    def revoke_refresh_tokens(self) -> None:
        """End all sessions: neither refresh tokens nor the access tokens of them are valid any more."""
        self._refresh.clear()
        self._access.clear()

    def expire_access_tokens(self) -> None:
        """Make all access tokens invalid; they can be renewed."""
        self._access.clear()

    def accepts_access_token(self, token: str) -> bool:
        """Tell whether an API call with this token is let through."""
        return self._access.get(token, 0.0) > self._clock()

    def accepts_password(self, username: str, password: str) -> bool:
        """Tell whether the user may log in; without a user name nobody may."""
        return bool(self._username) and (username, password) == (self._username, self._password)

    def exchange(self, form: Mapping[str, str]) -> tuple[int, dict[str, Any]]:
        """Answer one token request: HTTP status and JSON document."""
        grant_type = form.get("grant_type", "")
        if form.get("client_id") != self.client_id:
            status, document = 401, _error("invalid_client", "Invalid client or Invalid client credentials")
        elif grant_type == "refresh_token":
            status, document = self._from_refresh_token(form.get("refresh_token", ""))
        elif grant_type == "password":
            status, document = self._from_password(form.get("username", ""), form.get("password", ""))
        else:
            status, document = 400, _error("unsupported_grant_type", "Unsupported grant_type")
        self.exchanges.append(TokenExchange(grant_type, status, form.get("scope", ""), self._clock()))
        return status, document

    def _from_refresh_token(self, token: str) -> tuple[int, dict[str, Any]]:
        if self._refresh.get(token, 0.0) <= self._clock():
            return 400, _error("invalid_grant", "Token is not active")
        if not self.rotate_refresh_token:
            return self._grant(token)
        del self._refresh[token]
        return self._grant(self._new_refresh_token())

    def _from_password(self, username: str, password: str) -> tuple[int, dict[str, Any]]:
        if not self.accepts_password(username, password):
            return 401, _error("invalid_grant", "Invalid user credentials")
        return self._grant(self._new_refresh_token())

    def _new_refresh_token(self) -> str:
        self._issued += 1
        token = f"refresh-token-{self._issued}"
        self.allow_refresh_token(token)
        return token

    def _grant(self, refresh_token: str) -> tuple[int, dict[str, Any]]:
        self._issued += 1
        token = f"access-token-{self._issued}"
        now_s = self._clock()
        # Old ones are dropped here, so that a short lifetime and a long run do not add up.
        self._access = {known: until for known, until in self._access.items() if until > now_s}
        self._access[token] = now_s + self.access_token_lifetime_s
        return 200, {
            "access_token": token,
            "expires_in": int(self.access_token_lifetime_s),
            "refresh_expires_in": int(self._refresh[refresh_token] - now_s),
            "refresh_token": refresh_token,
            "token_type": "Bearer",
            "scope": "openid",
        }


def _error(error: str, description: str) -> dict[str, Any]:
    return {"error": error, "error_description": description}
