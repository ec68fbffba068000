"""What the token endpoint answers: an access token with its times, or the reason why there is none (contract 2)."""

import re
from dataclasses import dataclass

import orjson

from oase_agent.errors import AgentError, Reason, WorkspaceUnavailable
from oase_agent.model import Secret
from oase_agent.workspace.answers import sort_answer
from oase_agent.workspace.transport import RawAnswer

# Renewal starts this long before the end, or at the last fifth of a short life. One minute is the shortest
# lifetime that an administrator can set, so an answer without `expires_in` lives at least that long.
_RENEWAL_MARGIN_S = 60.0
_RENEWAL_SHARE = 0.2
_UNKNOWN_LIFETIME_S = 60.0

_OAUTH_ERROR = re.compile(r"[a-z_]{1,40}")
_ISSUE_A_NEW_ONE = "refresh token expired or revoked: issue a new one and set EXASTRO_REFRESH_TOKEN"


@dataclass(frozen=True, slots=True)
class Grant:
    """An access token as header value. Times are seconds on the monotonic clock.

    `rotated` is the refresh token for the next exchange, if the answer named another than was used.
    """

    authorization: Secret
    renew_at_s: float
    expires_at_s: float
    rotated: Secret | None


def read_grant(answer: RawAnswer, refresh_token: Secret, asked_at_s: float) -> Grant:
    """Read the answer to an exchange of `refresh_token` that began at `asked_at_s` on the monotonic clock.

    Raises WorkspaceUnavailable; its reason is TOKEN_EXPIRED where only a new refresh token helps.
    """
    fields = _json_object(answer.body)
    if answer.status != 200:
        raise _refusal(answer, fields)
    access_token = fields.get("access_token")
    if not isinstance(access_token, str) or not _fits_a_header(access_token):
        raise no_token(
            "the token endpoint gave an answer without a usable access token: does EXASTRO_URL lead to a login page?",
            Reason.MALFORMED,
        )
    life_s = _life_s(fields.get("expires_in"))
    rotated = fields.get("refresh_token")
    is_rotated = isinstance(rotated, str) and rotated not in {"", refresh_token.reveal()}
    return Grant(
        authorization=Secret(f"Bearer {access_token}"),
        renew_at_s=asked_at_s + life_s - min(_RENEWAL_MARGIN_S, _RENEWAL_SHARE * life_s),
        expires_at_s=asked_at_s + life_s,
        rotated=Secret(str(rotated)) if is_rotated else None,
    )


def _life_s(expires_in: object) -> float:
    """Return the life of an access token in seconds; an answer without one gets the shortest that can be set."""
    if isinstance(expires_in, int | float) and not isinstance(expires_in, bool) and expires_in > 0:
        return float(expires_in)
    return _UNKNOWN_LIFETIME_S


def _fits_a_header(access_token: str) -> bool:
    return bool(access_token) and access_token.isascii() and access_token.isprintable()


def _json_object(body: bytes) -> dict[str, object]:
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return content if isinstance(content, dict) else {}


def _refusal(answer: RawAnswer, fields: dict[str, object]) -> WorkspaceUnavailable:
    """Return the error for an answer of the token endpoint that is not 200 (RFC 6749, 5.2)."""
    code = fields.get("error")
    if answer.status in {400, 401} and code == "invalid_grant":
        return no_token(_ISSUE_A_NEW_ONE, Reason.TOKEN_EXPIRED)
    if answer.status in {400, 401}:
        shown = code if isinstance(code, str) and _OAUTH_ERROR.fullmatch(code) else "no known error code"
        return no_token(
            f"the token endpoint refused the exchange (HTTP {answer.status}, {shown}): check EXASTRO_ORGANIZATION_ID "
            "and EXASTRO_REFRESH_TOKEN",
            Reason.TOKEN_REFUSED,
        )
    sorted_answer: AgentError = sort_answer(answer.status, None, readable=bool(fields))
    return no_token(f"no access token: {sorted_answer}", sorted_answer.reason, answer.retry_after_s)


def no_token(message: str, reason: Reason, retry_after_s: float | None = None) -> WorkspaceUnavailable:
    """Return the error for a missing access token: what waits for it was not sent, so it was not stored."""
    return WorkspaceUnavailable(message, reason, retry_after_s=retry_after_s, certainly_not_stored=True)
