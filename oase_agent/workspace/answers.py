"""What an answer of the workspace means, and what to do next (contract 3.2, design section 6). Pure.

An answer is either accepted, and then its `data` holds refusals of single groups, or it becomes one error of the
tree in `oase_agent.errors`. Only what the receiver is known to refuse for its content is a `NeverRetry`; whatever
is unknown waits, so that no status code makes the agent drop events (promise D4).
"""

import email.utils
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import orjson

from oase_agent.errors import (
    Reason,
    RequestTooLarge,
    WorkspaceRejected,
    WorkspaceUnavailable,
)
from oase_agent.workspace.refusals import (
    DiscardedSetting,
    InvalidSetting,
    NotLatest,
    Refusal,
    UnknownText,
    parse_refusals,
    refusals_in,
)

__all__ = [
    "Answer",
    "DiscardedSetting",
    "EventsRefused",
    "InvalidSetting",
    "NotLatest",
    "Refusal",
    "UnknownText",
    "accepted_data",
    "parse_refusals",
    "parse_retry_after",
    "read_answer",
    "refusals_in",
    "sort_answer",
]

SUCCESS = "000-00000"
_UNKNOWN_SETTING = "499-01802"
_NOT_STORABLE = "499-01803"
_RESULT_CODE = re.compile(r"[0-9]{3}-[0-9A-Za-z]{5}")
_LONGEST_ANSWER = 500  # characters of the workspace's message that a dead letter keeps


class EventsRefused(WorkspaceRejected):
    """A request that was refused for its content; `refusals` are those that its message embeds, if any."""

    def __init__(
        self, message: str, reason: Reason, *, answer: str = "", refusals: tuple[Refusal, ...] = ()
    ) -> None:
        super().__init__(message, reason, answer=answer)
        self.refusals = refusals


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer of the API, read as far as it can be.

    `readable` tells whether the body was a JSON object, which is what both receiver and gateway send.
    `retry_after_s` is in seconds from now.
    """

    status: int
    readable: bool = False
    result: str | None = None
    message: str = field(default="", repr=False)
    data: object = field(default=None, repr=False)
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True)
class _Wait:
    """Why to wait, and how sure it is that nothing was stored; the text follows `the workspace `."""

    reason: Reason
    text: str
    certainly_not_stored: bool = False
    request_only: bool = False


_NO_ROLE = _Wait(
    Reason.ROLE_MISSING,
    "refused the agent's user, which lacks a role: it needs the role _<workspace>-oase-agent, or 'event_collection' "
    "to read and 'event_history' to maintain",
    certainly_not_stored=True,
)
_WAIT_BY_RESULT: Mapping[str, _Wait] = MappingProxyType(
    {
        "401-00001": _NO_ROLE,
        "401-00002": _Wait(
            Reason.TOKEN_REFUSED,
            "refused the credentials: check EXASTRO_REFRESH_TOKEN, or EXASTRO_USERNAME and EXASTRO_PASSWORD",
            certainly_not_stored=True,
        ),
        "499-00002": _Wait(
            Reason.UNSUPPORTED, "has no OASE: install OASE in this workspace", certainly_not_stored=True
        ),
    }
)
_WAIT_BY_STATUS: Mapping[int, _Wait] = MappingProxyType(
    {
        401: _Wait(
            Reason.TOKEN_REFUSED,
            "or a gateway before it refused the credentials: check the credentials and EXASTRO_URL",
            certainly_not_stored=True,
        ),
        403: _NO_ROLE,
        404: _Wait(
            Reason.UNKNOWN_ORGANIZATION,
            "does not know the organization or the path: check EXASTRO_ORGANIZATION_ID, EXASTRO_WORKSPACE_ID "
            "and EXASTRO_URL",
            certainly_not_stored=True,
        ),
        407: _Wait(
            Reason.PROXY, "is behind a proxy that wants credentials: check HTTP_PROXY and HTTPS_PROXY"
        ),
        408: _Wait(Reason.TIMEOUT, "or a gateway before it waited too long for the request"),
        429: _Wait(Reason.RATE_LIMITED, "asked for fewer requests"),
        498: _Wait(Reason.MAINTENANCE, "is in maintenance", certainly_not_stored=True),
        # The receiver also answers 500 for content that it did not foresee, so others go on meanwhile.
        500: _Wait(Reason.SERVER_ERROR, "failed at this request", request_only=True),
    }
)
_WAIT_BY_CLASS: Mapping[int, _Wait] = MappingProxyType(
    {
        2: _Wait(
            Reason.MALFORMED,
            "gave an answer that this agent cannot read: does EXASTRO_URL lead to a login page?",
        ),
        3: _Wait(
            Reason.REDIRECT, "sent a redirect, which is not followed: set EXASTRO_URL to the final address"
        ),
        4: _Wait(
            Reason.HTTP_STATUS,
            "refused the request for a reason that this agent does not know",
            request_only=True,
        ),
        5: _Wait(Reason.SERVER_ERROR, "or a gateway before it is failing"),
    }
)
_STRANGE = _Wait(Reason.UNKNOWN_ANSWER, "answered with a status that HTTP does not define")


def read_answer(status: int, body: bytes, retry_after_s: float | None = None) -> Answer:
    """Read the envelope of an answer; a body that is none gives an answer that is not `readable`.

    Problem JSON, with which the receiver's schema check answers, has a `detail` in the place of a message.
    """
    try:
        envelope = orjson.loads(body)
    except orjson.JSONDecodeError:
        envelope = None
    if not isinstance(envelope, dict):
        return Answer(status, retry_after_s=retry_after_s)
    result = envelope.get("result")
    message = envelope.get("message", envelope.get("detail"))
    return Answer(
        status,
        readable=True,
        result=result if isinstance(result, str) else None,
        message=message if isinstance(message, str) else "",
        data=envelope.get("data"),
        retry_after_s=retry_after_s,
    )


def accepted_data(answer: Answer) -> list[object]:
    """Return the `data` of an accepted answer; raises what `sort_answer` makes of any other."""
    if answer.status == 200 and answer.result == SUCCESS and isinstance(answer.data, list):
        return answer.data
    raise sort_answer(
        answer.status, answer.result, answer.message, answer.retry_after_s, readable=answer.readable
    )


def sort_answer(
    status: int,
    result: str | None,
    message: str = "",
    retry_after_s: float | None = None,
    *,
    readable: bool = True,
) -> WorkspaceRejected | RequestTooLarge | WorkspaceUnavailable:
    """Return the error for an answer that is not a success.

    `readable` tells whether the answer was a JSON object: a 400 that is none comes from something in between and
    says nothing about the content of the request.
    """
    if status == 413:
        return RequestTooLarge(
            "the workspace, or a gateway before it, refused the size of the request (HTTP 413): "
            "lower MAX_POST_BYTES or raise the limit of the gateway"
        )
    is_refusal = result in {_UNKNOWN_SETTING, _NOT_STORABLE} and status >= 400
    if is_refusal or (status == 400 and readable):
        return _refused(status, result, message)
    wait = _wait_for(status, result)
    return WorkspaceUnavailable(
        f"the workspace {wait.text} ({_code(status, result)})",
        wait.reason,
        retry_after_s=retry_after_s,
        request_only=wait.request_only,
        certainly_not_stored=wait.certainly_not_stored,
    )


def parse_retry_after(value: str | None, now_s: float) -> float | None:
    """Return the seconds that a `Retry-After` header asks to wait (RFC 9110, 10.2.3), or None.

    The header holds seconds or a date; `now_s` is the wall clock in epoch seconds.
    """
    if value is None:
        return None
    if re.fullmatch(r"[0-9]{1,9}", value.strip()):
        return float(value)
    try:
        then = email.utils.parsedate_to_datetime(value)
        return max(0.0, then.timestamp() - now_s)
    except (ValueError, OverflowError):
        return None


def _refused(status: int, result: str | None, message: str) -> EventsRefused:
    answer = message[:_LONGEST_ANSWER]
    if result == _UNKNOWN_SETTING:
        text = "the workspace stored nothing, because it does not know a setting of the request"
        return EventsRefused(
            f"{text} ({_code(status, result)})",
            Reason.UNKNOWN_SETTING,
            answer=answer,
            refusals=refusals_in(message),
        )
    text = "the workspace cannot store the content of the request"
    return EventsRefused(f"{text} ({_code(status, result)})", Reason.CONTENT_REFUSED, answer=answer)


def _wait_for(status: int, result: str | None) -> _Wait:
    by_result = _WAIT_BY_RESULT.get(result or "") if status >= 400 else None
    return by_result or _WAIT_BY_STATUS.get(status) or _WAIT_BY_CLASS.get(status // 100, _STRANGE)


def _code(status: int, result: str | None) -> str:
    # A result of another shape may be anything, and does not belong in a log.
    known = result is not None and _RESULT_CODE.fullmatch(result)
    return f"HTTP {status}, {result}" if known else f"HTTP {status}"
