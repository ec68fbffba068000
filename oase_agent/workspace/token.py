"""Credentials for the workspace: a refresh token that is exchanged for access tokens, or Basic (contract 2).

All requests share one access token. It is renewed ahead of its end, by one exchange at a time. A rotated refresh
token is durable before the new access token is used. `offline_access` is never asked for (D12). How long to wait
after a failure is decided by those who call.
"""

import asyncio
import base64
import time
from collections.abc import Callable
from enum import StrEnum
from typing import Protocol

from oase_agent.errors import Reason, WorkspaceUnavailable
from oase_agent.model import Secret
from oase_agent.workspace.grant import Grant, no_token, read_grant
from oase_agent.workspace.transport import Call, RawAnswer, Transport
from oase_agent.workspace.wire import WorkspaceAddress, token_request

EXCHANGE_TIMEOUT_S = 60.0
_FORM = "application/x-www-form-urlencoded"

_CLOSING_GRACE_S = 1.0  # a stop has to end within two seconds (design section 10)


class TokenState(StrEnum):
    """Where the exchange stands, for readiness and metrics."""

    NONE = "none"
    VALID = "valid"
    RENEWING_FAILED = "renewing_failed"
    REFUSED = "refused"


class Credentials(Protocol):
    """What goes into the `Authorization` header."""

    async def authorization(self) -> str:
        """Return the header's value; raises WorkspaceUnavailable when there is none now."""

    async def renew_after_refusal(self, used: str) -> bool:
        """Return whether there is another value than `used`, which the workspace refused with 401-00002.

        Raises WorkspaceUnavailable when renewing fails.
        """

    async def close(self) -> None:
        """End what runs in the background."""


class RefreshTokenStore(Protocol):
    """Keeps the refresh token that is to be used next."""

    def current(self) -> Secret:
        """Return it; raises OSError when the volume cannot be read."""

    def save(self, token: Secret) -> None:
        """Keep a rotated one durably; raises OSError when the volume cannot take it."""


class BasicCredentials:
    """User name and password in every request: documented as deprecated, still working."""

    def __init__(self, username: str, password: Secret) -> None:
        self._username = username
        self._password = password

    async def authorization(self) -> str:
        """Return the Basic value."""
        pair = f"{self._username}:{self._password.reveal()}".encode()
        return f"Basic {base64.b64encode(pair).decode()}"

    async def renew_after_refusal(self, used: str) -> bool:  # noqa: ARG002 - there is nothing else to offer
        """Return False: the same password would be refused again."""
        return False

    async def close(self) -> None:
        """Nothing runs."""


class TokenExchange:
    """Exchanges the refresh token in `store` for access tokens and shares the newest with everybody.

    `state` and `problem` tell readiness where it stands; `problem` is empty while all is well.
    """

    def __init__(
        self,
        transport: Transport,
        address: WorkspaceAddress,
        store: RefreshTokenStore,
        *,
        clock: Callable[[], float] = time.monotonic,
        timeout_s: float = EXCHANGE_TIMEOUT_S,
    ) -> None:
        self._transport = transport
        self._address = address
        self._store = store
        self._clock = clock
        self._timeout_s = timeout_s
        self._grant: Grant | None = None
        self._unstored: Grant | None = None
        self._renewal: asyncio.Task[Grant] | None = None
        self.state = TokenState.NONE
        self.problem = ""

    async def authorization(self) -> str:
        """Return the Bearer value, renewed if its end is near; raises WorkspaceUnavailable.

        While renewing fails, a token that has not ended yet stays good.
        """
        grant = self._grant
        if grant is not None and self._clock() < grant.renew_at_s:
            return grant.authorization.reveal()
        try:
            renewed = await self._renewed()
        except WorkspaceUnavailable:
            if grant is not None and grant is self._grant and self._clock() < grant.expires_at_s:
                return grant.authorization.reveal()
            raise
        return renewed.authorization.reveal()

    async def renew_after_refusal(self, used: str) -> bool:
        """Forget `used` and exchange anew, unless somebody else has done so already."""
        self.invalidate(used)
        return await self.authorization() != used

    def invalidate(self, used: str) -> None:
        """Forget the access token behind the header value `used`; a newer one stays."""
        if self._grant is not None and self._grant.authorization.reveal() == used:
            self._grant = None

    async def close(self) -> None:
        """Let a running exchange end, because a rotated refresh token would be lost with it; but not for long."""
        if self._renewal is not None:
            await asyncio.wait({self._renewal}, timeout=_CLOSING_GRACE_S)
        if self._renewal is not None:
            self._renewal.cancel()
            await asyncio.wait({self._renewal})

    async def _renewed(self) -> Grant:
        # One task for all who wait, and shielded: whoever gives up waiting must neither stop the others nor lose a
        # rotated refresh token that is on its way.
        if self._renewal is None:
            self._renewal = asyncio.create_task(self._renew(), name="token exchange")
            self._renewal.add_done_callback(self._renewal_ended)
        return await asyncio.shield(self._renewal)

    def _renewal_ended(self, renewal: asyncio.Task[Grant]) -> None:
        self._renewal = None
        if not renewal.cancelled():
            renewal.exception()  # seen, even if everybody who waited for it is gone

    async def _renew(self) -> Grant:
        try:
            grant = await self._stored_now()
        except WorkspaceUnavailable as error:
            refused = error.reason is Reason.TOKEN_EXPIRED
            self.state = TokenState.REFUSED if refused else TokenState.RENEWING_FAILED
            self.problem = str(error)
            raise
        self._grant = grant
        self.state = TokenState.VALID
        self.problem = ""
        return grant

    async def _stored_now(self) -> Grant:
        """Return a grant that may be used: whatever refresh token came with it is durable."""
        late = self._unstored
        if late is not None:
            # Stored before anything else, even if its access token is too old: its refresh token may be the only
            # one that still works.
            await self._store_rotated(late)
            if self._clock() < late.renew_at_s:
                return late
        grant = await self._exchanged()
        await self._store_rotated(grant)
        return grant

    async def _exchanged(self) -> Grant:
        refresh_token = await self._current_refresh_token()
        # Taken before the request, so that the time on the way never makes a life look longer than it is.
        asked_at_s = self._clock()
        with self._transport.observed("token"):
            return read_grant(await self._asked(refresh_token), refresh_token, asked_at_s)

    async def _asked(self, refresh_token: Secret) -> RawAnswer:
        call = Call(
            url=self._address.token_url,
            body=[token_request(self._address.organization_id, refresh_token.reveal())],
            content_type=_FORM,
            timeout_s=self._timeout_s,
        )
        try:
            return await self._transport.post(call)
        except WorkspaceUnavailable as error:
            raise no_token(str(error), error.reason, error.retry_after_s) from error

    async def _current_refresh_token(self) -> Secret:
        try:
            return await asyncio.to_thread(self._store.current)
        except OSError as error:
            raise no_token(
                "the stored refresh token cannot be read: check STORAGE_PATH", Reason.DISK
            ) from error

    async def _store_rotated(self, grant: Grant) -> None:
        if grant.rotated is None:
            return
        self._unstored = grant
        try:
            await asyncio.to_thread(self._store.save, grant.rotated)
        except OSError as error:
            message = "the new refresh token cannot be stored: check space and rights of STORAGE_PATH"
            raise no_token(message, Reason.DISK) from error
        self._unstored = None
