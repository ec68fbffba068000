"""Every way in which a conversation with a mail server fails, as one of our errors with a sentence for the operator.

Foreign errors quote what the server said, or what was said to it: none of them is kept as a cause.
"""

import imaplib
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from oase_agent.errors import Reason, SourceUnavailable
from oase_agent.sources.egress import EgressDenied
from oase_agent.sources.mail.protocol import CommandRefused, InterruptedSend, NotImap
from oase_agent.sources.mail.proxy import ProxyRefused
from oase_agent.sources.mail.route import MailLimits
from oase_agent.sources.mail.wire import Aborted, AnswerTooLong, NoConnection, UnaskedAnswer


class ProxyUnreachable(Exception):
    """No connection to the proxy; `error` is why."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error


# The first row that fits decides, so special kinds stand before general ones.
_ROWS: Final[tuple[tuple[type[BaseException], Reason, str], ...]] = (
    (EgressDenied, Reason.EGRESS_DENIED, "{origin} was not asked: {detail}"),
    (Aborted, Reason.UNREACHABLE, "the conversation with {origin} was ended by the agent"),
    (NoConnection, Reason.TIMEOUT, "no connection to {origin} within {connect_timeout_s:g} s"),
    (
        TimeoutError,
        Reason.TIMEOUT,
        "{origin} did not answer to the end within {timeout_s:g} s (SOURCE_TIMEOUT_S): check URL and PORT of the "
        "setting",
    ),
    (
        ProxyUnreachable,
        Reason.PROXY,
        "the proxy on the way to {origin} cannot be reached ({detail}): check PROXY of the setting",
    ),
    (
        ProxyRefused,
        Reason.PROXY,
        "the proxy refused the connection to {origin} and gave {detail}: check PROXY of the setting",
    ),
    (
        ssl.SSLCertVerificationError,
        Reason.TLS,
        "the certificate of {origin} is not trusted ({detail}): set SOURCE_CA_FILE, or list the host in "
        "TLS_INSECURE_HOSTS",
    ),
    (
        ssl.SSLEOFError,
        Reason.UNREACHABLE,
        "{origin} closed the connection within TLS: check PORT of the setting",
    ),
    (
        ssl.SSLError,
        Reason.TLS,
        "TLS with {origin} failed ({detail}): check PORT and REQUEST_METHOD_ID of the setting, and IMAP_TLS",
    ),
    (
        UnaskedAnswer,
        Reason.TLS,
        "{origin} sent something in clear between STARTTLS and TLS, as someone in between would: nothing was sent to "
        "it. Set PORT of the setting to 993 if the server serves TLS there",
    ),
    (socket.gaierror, Reason.UNREACHABLE, "the host name of {origin} cannot be resolved ({detail})"),
    (AnswerTooLong, Reason.MALFORMED, "{origin} sent more than it was asked for, so the rest was not read"),
    (
        EOFError,
        Reason.UNREACHABLE,
        "{origin} closed the connection: check PORT of the setting, and whether the server lets the agent in",
    ),
    (OSError, Reason.UNREACHABLE, "the connection to {origin} broke off, or was never made ({detail})"),
    (imaplib.IMAP4.abort, Reason.UNREACHABLE, "{origin} ended the conversation, or does not speak IMAP"),
    (
        CommandRefused,
        Reason.UNKNOWN_ANSWER,
        "{origin} refused a command that every server of IMAP4rev1 knows",
    ),
    (
        imaplib.IMAP4.error,
        Reason.UNKNOWN_ANSWER,
        "{origin} refused the conversation, or does not speak IMAP4rev1",
    ),
    (NotImap, Reason.MALFORMED, "the answer of {origin} is not IMAP: check PORT of the setting"),
)

FOREIGN_ERRORS: Final = (
    imaplib.IMAP4.error,
    OSError,
    EOFError,
    AnswerTooLong,
    UnaskedAnswer,
    ProxyRefused,
    ProxyUnreachable,
    InterruptedSend,
    NotImap,
    CommandRefused,
)


@contextmanager
def as_our_errors(origin: str, limits: MailLimits) -> Iterator[None]:
    """Raise SourceUnavailable for whatever wire and library raise within."""
    try:
        yield
    except FOREIGN_ERRORS as error:
        raise _failure(error, origin, limits) from None


def _failure(error: Exception, origin: str, limits: MailLimits) -> SourceUnavailable:
    if isinstance(error, InterruptedSend):
        error = error.error
    reason, sentence = next((reason, text) for kind, reason, text in _ROWS if isinstance(error, kind))
    facts = {"timeout_s": limits.timeout_s, "connect_timeout_s": limits.connect_timeout_s}
    return SourceUnavailable(sentence.format(origin=origin, detail=_detail(error), **facts), reason)


def _detail(error: BaseException) -> str:
    """Return the facts of `error` that hold nothing of what was said."""
    match error:
        case ProxyUnreachable():
            return _detail(error.error)
        case EgressDenied():
            return error.verdict
        case ProxyRefused():
            return str(error)
        case ssl.SSLCertVerificationError():
            return error.verify_message
        case TimeoutError():
            return "no answer in time"
    facts = (getattr(error, "reason", None), getattr(error, "strerror", None), type(error).__name__)
    return next(str(fact) for fact in facts if fact)
