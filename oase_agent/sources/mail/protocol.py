"""The standard library's IMAP client on our wire: every wait has an end, every answer a bound, and nothing is logged.

What goes wrong comes out sorted: the conversation is over (`imaplib.IMAP4.abort`, OSError, EOFError), a command was
refused, or the other side does not speak IMAP. Blocks.
"""

import imaplib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from imapclient.exceptions import ProtocolError

from oase_agent.sources.mail.headers import PARSER_ERRORS
from oase_agent.sources.mail.route import MailRoute
from oase_agent.sources.mail.wire import Wire

# Codes of RFC 5530 and 3501 that say why something was refused; texts of servers may say anything, so none is shown.
_REFUSAL_CODES: Final = (
    "AUTHENTICATIONFAILED",
    "AUTHORIZATIONFAILED",
    "EXPIRED",
    "PRIVACYREQUIRED",
    "CONTACTADMIN",
    "UNAVAILABLE",
    "INUSE",
    "LIMIT",
    "OVERQUOTA",
    "NOPERM",
    "NONEXISTENT",
    "SERVERBUG",
    "CANNOT",
)


class InterruptedSend(Exception):
    """An OSError while sending, which the standard library would otherwise turn into a text."""

    def __init__(self, error: OSError) -> None:
        super().__init__()
        self.error = error


class NotImap(Exception):
    """What the other side says has no meaning in IMAP."""


class CommandRefused(Exception):
    """The server said NO or BAD, and listens to the next command."""


@contextmanager
def understanding() -> Iterator[None]:
    """Raise NotImap or CommandRefused for what is wrong with an answer; the end of the conversation passes."""
    try:
        yield
    except OSError:  # those of certificates are ValueErrors as well
        raise
    except (ProtocolError, *PARSER_ERRORS):
        raise NotImap from None
    except imaplib.IMAP4.abort:
        raise
    except imaplib.IMAP4.error:
        raise CommandRefused from None


class Protocol(imaplib.IMAP4):
    """The standard library's client on our connection; it keeps no log of what is said, passwords among it."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        super().__init__()

    def open(self, host: str = "", port: int = 0, timeout: float | None = None) -> None:
        """Do nothing: the wire is connected."""

    def read(self, size: int) -> bytes:
        """Return so many bytes."""
        return self.wire.read(size)

    def readline(self) -> bytes:
        """Return the next line."""
        return self.wire.read_line()

    def send(self, data: Any) -> None:
        """Send all of it."""
        try:
            self.wire.send(bytes(data))
        except OSError as error:
            raise InterruptedSend(error) from error

    def shutdown(self) -> None:
        """Let go of the connection."""
        self.wire.close()

    def start_tls(self, route: MailRoute) -> bool:
        """Change to TLS; return False if the server refuses. Forgets everything that was said in clear."""
        status, _ = self._simple_command("STARTTLS")
        if status != "OK":
            return False
        self.wire.start_tls(route.tls, route.host)
        self.untagged_responses = {}
        self._get_capabilities()
        return True

    def log_in(self, username: str, password: str) -> bool:
        """Send the password; return False if it was refused."""
        try:
            with understanding():
                if "AUTH=PLAIN" in self.capabilities:
                    self.authenticate("PLAIN", lambda _: f"\0{username}\0{password}".encode())
                    return True
                status, _ = self._simple_command("LOGIN", _quoted(username), _quoted(password))
        except CommandRefused:
            return False
        if status != "OK":
            return False
        self.state = "AUTH"
        return True

    def refusal(self) -> str:
        """Return the code of the last refusal in brackets with a blank before, or an empty text."""
        code = next((code for code in _REFUSAL_CODES if code in self.untagged_responses), None)
        return f" ({code})" if code else ""

    def _log(self, line: bytes) -> None:
        """Keep nothing."""

    def _mesg(self, text: str, secs: float | None = None) -> None:
        """Tell nothing."""


def _quoted(text: str) -> bytes:
    return b'"' + text.encode().replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'
