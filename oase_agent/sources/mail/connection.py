"""One IMAP connection, up to an open mailbox: greeting, TLS, login, EXAMINE (RFC 3501).

The grammar is the library's. What is ours is the order of TLS and login, so that no password goes where it should
not. The library is imported with this module, which is why others import it only when they need it. Blocks.
"""

import logging
import re
from collections.abc import Sequence
from typing import Any, Final

from imapclient import IMAPClient
from imapclient.response_parser import parse_message_list

from oase_agent.errors import Reason, SettingRejected, SourceUnavailable
from oase_agent.model import Setting
from oase_agent.sources.mail.bookmark import OpenMailbox
from oase_agent.sources.mail.protocol import CommandRefused, Protocol, understanding
from oase_agent.sources.mail.route import Encryption, MailRoute
from oase_agent.sources.mail.wire import Wire

# Servers may tell changes of other mails at any time, beside what was asked for.
_OVERHEAD_BYTES: Final = 256 * 1024
_UID_BYTES: Final = 11
_HIGHEST_UID: Final = 2**32 - 1
_CONTROL: Final = re.compile("[\x00-\x1f\x7f]")

# It would tell every line of every answer to whoever listens.
logging.getLogger("imapclient").setLevel(logging.WARNING)


class Connection(IMAPClient):  # type: ignore[misc]
    """A connection to the mail server of `route`, over a wire that leads there already.

    Raises SourceUnavailable and SettingRejected with what to change, and whatever wire and library raise.
    """

    def __init__(self, wire: Wire, route: MailRoute) -> None:
        self._route = route
        self._protocol: Protocol
        self._wire = wire
        self._is_encrypted = route.encryption is Encryption.TLS
        if self._is_encrypted:
            wire.start_tls(route.tls, route.host)
        wire.expect()
        with understanding():
            super().__init__(route.host, route.port, ssl=False)
        self._imap.debug = 0  # the library would have every line formatted for a log that nobody reads
        self.normalise_times = False

    def _create_IMAP4(self) -> Protocol:  # noqa: N802 - the library's name
        self._protocol = Protocol(self._wire)
        return self._protocol

    def _set_read_timeout(self) -> None:
        """Leave the timeouts to the wire."""

    def log_in_as(self, setting: Setting, *, may_be_clear: bool) -> None:
        """Make the connection secret as the route says, then log in.

        `may_be_clear` tells whether a password may go there without TLS.
        """
        username, password = setting.username or "", setting.password.reveal()
        _refuse_control_characters(username=username, password=password)
        self._start_tls_if_due()
        is_logged_in = self._protocol.state == "AUTH"
        if not self._is_encrypted and not may_be_clear:
            raise self._refused_plaintext()
        if is_logged_in:
            return
        if "LOGINDISABLED" in self._protocol.capabilities and not self._is_encrypted:
            raise SourceUnavailable(
                f"{self._route.origin} takes no password without TLS, and offers no STARTTLS: set PORT of the "
                "setting to 993 if it serves TLS there",
                Reason.TLS,
            )
        if not self._protocol.log_in(username, password):
            raise SourceUnavailable(
                f"{self._route.origin} refused the login{self._protocol.refusal()}: check USERNAME and PASSWORD of "
                "the setting",
                Reason.LOGIN_REFUSED,
            )

    def examine(self, setting: Setting) -> OpenMailbox:
        """Open the mailbox of the setting for reading only: nothing in it changes."""
        name = setting.mailbox_name or "INBOX"
        _refuse_control_characters(mailbox=name)
        self._protocol.untagged_responses = {}
        try:
            with understanding():
                told = self.select_folder(name, readonly=True)
        except CommandRefused:
            raise SourceUnavailable(
                f"{self._route.origin} does not open the mailbox{self._protocol.refusal()}: check MAILBOXNAME of the "
                "setting, and whether the user may read it",
                Reason.UNKNOWN_ANSWER,
            ) from None
        is_sticky = "UIDNOTSTICKY" not in self._protocol.untagged_responses
        validity = _number(told.get(b"UIDVALIDITY")) if is_sticky else None
        return OpenMailbox(_number(told.get(b"EXISTS")) or 0, validity, _number(told.get(b"UIDNEXT")))

    def search_uids(self, criteria: str, *, at_most: int) -> list[int]:
        """Return the numbers of the mails that meet `criteria`, a search program of RFC 3501, 6.4.4; ascending.

        `at_most` is how many there can be.
        """
        self._wire.expect(_OVERHEAD_BYTES + _UID_BYTES * at_most)
        with understanding():
            status, data = self._protocol.uid("SEARCH", criteria)
            self._checkok("search", status, data)
            uids = parse_message_list([b" ".join(filter(None, data))])
        return sorted({uid for uid in uids if 0 < uid <= _HIGHEST_UID})

    def fetch_items(
        self, uids: Sequence[int], items: list[str], *, answer_bytes: int
    ) -> dict[int, dict[bytes, Any]]:
        """Return what the server tells of mails, by number; those that are gone are missing.

        `answer_bytes` is what it may tell of each of them.
        """
        self._wire.expect(_OVERHEAD_BYTES + answer_bytes * len(uids))
        with understanding():
            return dict(self.fetch(uids, items))

    def refused_mail(self, uid: int) -> SourceUnavailable:
        """Return the error for a single mail that the server does not give."""
        return SourceUnavailable(
            f"{self._route.origin} does not give the mail with UID {uid}{self._protocol.refusal()}: the server's log "
            "tells why. Moving or deleting that mail lets the ones after it through",
            Reason.UNKNOWN_ANSWER,
        )

    def say_goodbye(self) -> None:
        """Log out; whatever goes wrong is no harm any more."""
        self._wire.expect()
        with understanding():
            self.logout()

    def _start_tls_if_due(self) -> None:
        wanted = self._route.encryption
        is_offered = "STARTTLS" in self._protocol.capabilities and self._protocol.state == "NONAUTH"
        if wanted is Encryption.STARTTLS_IF_OFFERED and is_offered:
            wanted = Encryption.STARTTLS
        if wanted is not Encryption.STARTTLS:
            return
        if not is_offered or not self._protocol.start_tls(self._route):
            raise SourceUnavailable(
                f"{self._route.origin} offers no STARTTLS, so the password was not sent: set PORT of the setting to "
                "993 if it serves TLS there. Without any TLS, see IMAP_TLS and IMAP_PLAINTEXT_HOSTS",
                Reason.TLS,
            )
        self._is_encrypted = True

    def _refused_plaintext(self) -> SourceUnavailable:
        offers = "" if self._route.encryption is Encryption.NONE else "offers no STARTTLS, and "
        host = self._route.host
        return SourceUnavailable(
            f"{self._route.origin} {offers}would get the password in clear, so it was not sent: set PORT of the "
            f"setting to 993 if the server serves TLS there"
            f"{', or IMAP_TLS to auto' if not offers else ''}. Only if the network is trusted, list {host} in "
            "IMAP_PLAINTEXT_HOSTS",
            Reason.TLS,
        )


def _number(told: object) -> int | None:
    return told if isinstance(told, int) else None


def _refuse_control_characters(**texts: str) -> None:
    """Refuse what would end a line, or a field, and begin a command of its own."""
    names = {"username": "USERNAME", "password": "PASSWORD", "mailbox": "MAILBOXNAME"}
    for key, text in texts.items():
        if _CONTROL.search(text):
            raise SettingRejected(
                f"{names[key]} of the setting holds a line break or another control character",
                Reason.INVALID_SETTING,
            )
