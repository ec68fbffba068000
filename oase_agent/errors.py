"""The errors of the agent, sorted by what to do next.

    AgentError
    ├── ConfigError              the operator must change the configuration; the start ends with exit code 2
    ├── RetryLater               the same thing may work later; nothing is dropped
    │   ├── SourceUnavailable        a source did not answer, or not usably; the cursor stays
    │   ├── WorkspaceUnavailable     the workspace did not answer, or asked to wait
    │   ├── CoordinationUnavailable  who owns what cannot be asked; owners stop when they are not sure any more
    │   └── SpoolUnavailable         the volume is full, read-only or failing
    │       └── OwnershipLost            another process writes there now; this one must not
    └── NeverRetry               repeating it unchanged cannot work
        ├── SettingRejected          this setting cannot be collected as it is written
        ├── WorkspaceRejected        the workspace refused the content of a request
        └── RequestTooLarge          the workspace, or a gateway before it, refused the size of a request

A message says what happened, names the setting or option to change, and carries no secret, header or body.
`Reason` is the same word in errors, log lines and metric labels.
"""

from enum import StrEnum


class Reason(StrEnum):
    """Why something failed, in words that are stable enough to alert on."""

    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    TLS = "tls"
    PROXY = "proxy"
    EGRESS_DENIED = "egress_denied"
    HTTP_STATUS = "http_status"
    RATE_LIMITED = "rate_limited"
    REDIRECT = "redirect"
    PAGINATION = "pagination"
    TOO_LARGE = "too_large"
    NOT_JSON = "not_json"
    MALFORMED = "malformed"
    TEMPLATE = "template"
    EXPRESSION = "expression"
    INVALID_SETTING = "invalid_setting"
    UNSUPPORTED = "unsupported"
    LOGIN_REFUSED = "login_refused"
    TOKEN_REFUSED = "token_refused"  # noqa: S105 - a reason, not a credential
    TOKEN_EXPIRED = "token_expired"  # noqa: S105
    ROLE_MISSING = "role_missing"
    UNKNOWN_ORGANIZATION = "unknown_organization"
    UNKNOWN_SETTING = "unknown_setting"
    DISCARDED_SETTING = "discarded_setting"
    MAINTENANCE = "maintenance"
    SERVER_ERROR = "server_error"
    CONTENT_REFUSED = "content_refused"
    UNKNOWN_ANSWER = "unknown_answer"
    UNSTORABLE_VALUE = "unstorable_value"
    FOREIGN_WRITER = "foreign_writer"
    SPOOL_FULL = "spool_full"
    DISK = "disk"
    DAMAGED = "damaged"
    NOT_OWNER = "not_owner"
    STANDBY = "standby"
    INTERNAL = "internal"


class AgentError(Exception):
    """Base of all errors of the agent: a sentence for the operator, and the reason."""

    def __init__(self, message: str, reason: Reason = Reason.INTERNAL) -> None:
        super().__init__(message)
        self.reason = reason


class ConfigError(AgentError):
    """The configuration cannot be used; `faults` lists every fault found, one sentence each."""

    def __init__(self, faults: tuple[str, ...]) -> None:
        super().__init__("\n".join(faults), Reason.INVALID_SETTING)
        self.faults = faults


class RetryLater(AgentError):
    """May work later. `retry_after_s` is the wait the other side asked for, in seconds."""

    def __init__(self, message: str, reason: Reason, *, retry_after_s: float | None = None) -> None:
        super().__init__(message, reason)
        self.retry_after_s = retry_after_s


class SourceUnavailable(RetryLater):
    """A collection failed at its source; the cursor stays where it was (promise C1)."""


class WorkspaceUnavailable(RetryLater):
    """The workspace cannot take the request now.

    `request_only` tells that the trouble may lie in this request rather than in the workspace as a whole, so
    that others go on. Unless `certainly_not_stored`, what was sent may have been stored (design section 6).
    """

    def __init__(
        self,
        message: str,
        reason: Reason,
        *,
        retry_after_s: float | None = None,
        request_only: bool = False,
        certainly_not_stored: bool = False,
    ) -> None:
        super().__init__(message, reason, retry_after_s=retry_after_s)
        self.request_only = request_only
        self.certainly_not_stored = certainly_not_stored


class CoordinationUnavailable(RetryLater):
    """The engine that says which replica owns what cannot be asked, or refuses."""


class SpoolUnavailable(RetryLater):
    """The volume cannot take what should be kept."""


class OwnershipLost(SpoolUnavailable):
    """Another process took a setting's directory over: nothing may be written there or posted from it any more."""

    def __init__(self, message: str) -> None:
        super().__init__(message, Reason.NOT_OWNER)


class NeverRetry(AgentError):
    """Repeating it unchanged cannot work."""


class SettingRejected(NeverRetry):
    """A setting that cannot be collected as it is written; only this setting is concerned (promise C5)."""


class WorkspaceRejected(NeverRetry):
    """The workspace refused the content of a request; nothing of it was stored (499-01802, 499-01803, 400).

    `answer` is the workspace's own message, cut to a length that fits a dead letter.
    """

    def __init__(self, message: str, reason: Reason, *, answer: str = "") -> None:
        super().__init__(message, reason)
        self.answer = answer


class RequestTooLarge(NeverRetry):
    """The request was refused for its size (413)."""

    def __init__(self, message: str) -> None:
        super().__init__(message, Reason.TOO_LARGE)
