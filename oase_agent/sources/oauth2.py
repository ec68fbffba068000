"""Access tokens for sources: client credentials of OAuth 2.0 (RFC 6749, section 4.4).

A token is kept until shortly before its end, or, where the answer names none, until a source refuses it. Settings
with the same client share it, and there is one exchange at a time for each client. How the request travels is up to
whoever asks; nothing of an answer but a known error code is ever shown.
"""

import asyncio
import math
import re
import time
from base64 import b64encode
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from urllib.parse import quote_plus, urlencode

import orjson

from oase_agent.errors import Reason, SourceUnavailable
from oase_agent.model import Secret
from oase_agent.sources.authentication import DEFAULT_HEADERS
from oase_agent.sources.failures import PROXY_SAYS_401, status_failure
from oase_agent.sources.options import OAuth2Client
from oase_agent.sources.redirects import REDIRECT_STATUSES, Hop
from oase_agent.sources.urls import origin_of, wire_url

# Tokens have a few KiB; whatever is larger is a page for people.
MAX_ANSWER_BYTES = 64 * 1024

# A token is renewed this long before its end, or in the last fifth of a short life.
_MARGIN_S = 60.0
_MARGIN_SHARE = 0.2
# Clients come and go with the file of options. Forgetting a token costs an exchange, nothing else.
_MOST_TOKENS = 256

# RFC 6749, section 5.2: the codes of a refusal, and what the operator can do about them.
_REMEDIES = {
    "invalid_client": "check client_id, client_secret_file and auth",
    "unauthorized_client": "allow the client the grant client_credentials",
    "unsupported_grant_type": "allow the grant client_credentials there",
    "invalid_scope": "check scope",
    "invalid_target": "check audience",  # RFC 8707
    "invalid_grant": "check client_id and client_secret_file",
    "invalid_request": "check scope, audience and auth",
}


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A token as the value of an Authorization header; `life_s` is None when the answer named no end."""

    authorization: Secret
    life_s: float | None


@dataclass(frozen=True, slots=True)
class _Kept:
    token: AccessToken
    renew_at_s: float


class TokenNotAccepted(SourceUnavailable):
    """A source answered 401 to a request with a token: another token may help, once."""

    def __init__(self, origin: str, *, shows_proxy_password: bool = False) -> None:
        also = f", and {PROXY_SAYS_401}" if shows_proxy_password else ""
        super().__init__(
            f"{origin} answered with status 401 to a new token: check scope and audience of oauth2 in "
            f"SOURCE_OPTIONS_FILE{also}",
            Reason.HTTP_STATUS,
        )


class AccessTokens:
    """The tokens of all clients. `monotonic` gives seconds."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._kept: OrderedDict[OAuth2Client, _Kept] = OrderedDict()
        self._exchanges: dict[OAuth2Client, asyncio.Task[AccessToken]] = {}

    async def authorization(
        self, client: OAuth2Client, exchange: Callable[[], Awaitable[AccessToken]]
    ) -> str:
        """Return the value of the header; `exchange` fetches a token and bounds its own time.

        Raises what `exchange` raises, to everybody who waits for the same one.
        """
        kept = self._kept.get(client)
        if kept is not None and self._monotonic() < kept.renew_at_s:
            self._kept.move_to_end(client)
            return kept.token.authorization.reveal()
        running = self._exchanges.get(client)
        if running is None:
            running = asyncio.ensure_future(self._exchanged(client, exchange))
            self._exchanges[client] = running
            running.add_done_callback(lambda task: self._ended(client, task))
        # Shielded: a setting that gives up waiting must not stop the others.
        token = await asyncio.shield(running)
        return token.authorization.reveal()

    def forget(self, client: OAuth2Client, used: str) -> None:
        """Forget the token behind the header value `used`; a newer one stays."""
        kept = self._kept.get(client)
        if kept is not None and kept.token.authorization.reveal() == used:
            del self._kept[client]

    async def close(self) -> None:
        """Cut the exchanges that run."""
        running = list(self._exchanges.values())
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def _exchanged(
        self, client: OAuth2Client, exchange: Callable[[], Awaitable[AccessToken]]
    ) -> AccessToken:
        # Taken before the request: the time on the way never makes a life look longer than it is.
        asked_at_s = self._monotonic()
        token = await exchange()
        life_s = math.inf if token.life_s is None else token.life_s
        margin_s = min(_MARGIN_S, _MARGIN_SHARE * life_s)
        self._kept[client] = _Kept(token, asked_at_s + life_s - margin_s)
        self._kept.move_to_end(client)
        while len(self._kept) > _MOST_TOKENS:
            self._kept.popitem(last=False)
        return token

    def _ended(self, client: OAuth2Client, task: "asyncio.Task[AccessToken]") -> None:
        del self._exchanges[client]
        if not task.cancelled():
            task.exception()  # seen, even if everybody who waited for it is gone


def token_request(client: OAuth2Client) -> Hop:
    """Return the request for a token. Raises SettingRejected for a token_url that cannot be requested."""
    form = {"grant_type": "client_credentials"}
    form |= {name: text for name, text in (("scope", client.scope), ("audience", client.audience)) if text}
    headers = {
        "User-Agent": DEFAULT_HEADERS["User-Agent"],
        "Accept": "application/json",
        "Accept-Encoding": "identity",
        "Content-Type": "application/x-www-form-urlencoded",
    }
    secret = client.client_secret.reveal()
    if client.sends_basic:
        # Encoded before Basic: RFC 6749, section 2.3.1.
        pair = f"{quote_plus(client.client_id)}:{quote_plus(secret)}"
        headers["Authorization"] = f"Basic {b64encode(pair.encode()).decode('ascii')}"
    else:
        form |= {"client_id": client.client_id, "client_secret": secret}
    return Hop("POST", wire_url(client.token_url), headers, urlencode(form).encode("ascii"))


def read_token(
    request: Hop, status: int, headers: Mapping[str, str], body: bytes, now_s: float
) -> AccessToken:
    """Read what the endpoint answered to `request`; `now_s` is epoch seconds. Raises SourceUnavailable."""
    origin = origin_of(request.url)
    fields = _json_object(body)
    if status != 200:
        raise _refusal(origin, status, headers, fields, now_s)
    token = fields.get("access_token")
    if not isinstance(token, str) or not token or not token.isascii() or not token.isprintable():
        raise _no_token(f"{origin} answered without a usable access token: check token_url", Reason.MALFORMED)
    kind = fields.get("token_type")
    if not isinstance(kind, str) or kind.lower() != "bearer":
        raise _no_token(f"the token of {origin} is not of the type Bearer", Reason.MALFORMED)
    return AccessToken(Secret(f"Bearer {token}"), _life_s(fields.get("expires_in")))


def token_answer_too_large(origin: str) -> SourceUnavailable:
    """Return the error for an answer of more than MAX_ANSWER_BYTES."""
    return _no_token(
        f"the answer of {origin} is larger than {MAX_ANSWER_BYTES} bytes: check token_url", Reason.TOO_LARGE
    )


def without_token(error: SourceUnavailable) -> SourceUnavailable:
    """Return `error`, which the request for a token met, with a message that says so."""
    return _no_token(str(error), error.reason, error.retry_after_s)


def _refusal(
    origin: str, status: int, headers: Mapping[str, str], fields: Mapping[str, object], now_s: float
) -> SourceUnavailable:
    if status in REDIRECT_STATUSES:
        return _no_token(f"{origin} redirects: give the URL that it leads to as token_url", Reason.REDIRECT)
    if status in {400, 401, 403}:
        code = fields.get("error")
        known = code if isinstance(code, str) and code in _REMEDIES else ""
        remedy = _REMEDIES.get(known, "check client_id, client_secret_file, scope and token_url")
        shown = f"status {status}, {known}" if known else f"status {status}"
        return _no_token(f"{origin} refused the client ({shown}): {remedy}", Reason.TOKEN_REFUSED)
    return without_token(status_failure(origin, status, headers, now_s))


def _no_token(message: str, reason: Reason, retry_after_s: float | None = None) -> SourceUnavailable:
    return SourceUnavailable(
        f"no access token for the source (oauth2 in SOURCE_OPTIONS_FILE): {message}",
        reason,
        retry_after_s=retry_after_s,
    )


def _json_object(body: bytes) -> Mapping[str, object]:
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return content if isinstance(content, dict) else {}


def _life_s(expires_in: object) -> float | None:
    """Return the life in seconds, which some servers write as a text; None if there is none."""
    if isinstance(expires_in, str) and re.fullmatch("[0-9]{1,12}", expires_in):
        expires_in = int(expires_in)
    if isinstance(expires_in, bool) or not isinstance(expires_in, int | float):
        return None
    return max(0.0, float(expires_in))
