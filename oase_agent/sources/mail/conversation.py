"""One collection of one mailbox, page by page: connect, log in, read what is new, log out. Blocks.

Each call runs in whatever thread the caller chose, one at a time; `abort` comes from anywhere and ends a call that
waits.
"""

import threading
from array import array
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Final

import orjson

from oase_agent.errors import AgentError
from oase_agent.model import Setting
from oase_agent.sources.body import Body, BodyWriter
from oase_agent.sources.egress import EgressDenied, EgressPolicy
from oase_agent.sources.host_names import as_connected
from oase_agent.sources.mail.bookmark import Bookmark, bookmark_by_time, bookmark_to_go_on
from oase_agent.sources.mail.connection import Connection
from oase_agent.sources.mail.failures import FOREIGN_ERRORS, ProxyUnreachable, as_our_errors
from oase_agent.sources.mail.mailbox import highest_uid, new_uids, read_mails
from oase_agent.sources.mail.message import Mail, mail_document
from oase_agent.sources.mail.proxy import pass_through
from oase_agent.sources.mail.route import MailLimits, MailRoute
from oase_agent.sources.mail.wire import Aborted, Deadline, Wire
from oase_agent.sources.question import Question

_PAGE_MAILS: Final = 100
_PAGE_BYTES: Final = 1024 * 1024
# A page ends after a mail, so it may be as large as one more of them.
_PAGE_MAX_BYTES: Final = 64 * 1024 * 1024
# When this share of the time is used, what was read is handed over and the next collection goes on from there.
_TIME_SHARE: Final = 0.5
_GOODBYE_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Page:
    """Some mails as a JSON list, and the bookmark when they are kept."""

    body: Body
    bookmark: str
    is_last: bool


class Conversation:
    """Reads one mailbox once. Raises SourceUnavailable, SettingRejected and SpoolUnavailable.

    `monotonic` tells seconds. `parsing` bounds how many mails of all conversations are parsed at the same time.
    """

    def __init__(
        self,
        question: Question,
        route: MailRoute,
        limits: MailLimits,
        egress: EgressPolicy,
        *,
        spill_dir: Path,
        monotonic: Callable[[], float],
        parsing: threading.Semaphore,
    ) -> None:
        self._question = question
        self._route = route
        self._limits = limits
        self._egress = egress
        self._spill_dir = spill_dir
        self._monotonic = monotonic
        self._parsing = parsing
        self._pages: Iterator[Page] | None = None
        self._connection: Connection | None = None
        self._wire: Wire | None = None
        self._turn = threading.Lock()
        self.is_aborted = False
        self._is_in_order = False

    def next_page(self) -> Page | None:
        """Return the next page, or None after the last one; connects at the first call."""
        with self._turn, as_our_errors(self._route.origin, self._limits):
            self._is_in_order = False
            if self._pages is None:
                self._pages = self._read()
            try:
                page = next(self._pages, None)
            except AgentError:
                self._is_in_order = True  # refused, but understood: the conversation could go on
                raise
            self._is_in_order = True
            return page

    def abort(self) -> None:
        """End whatever waits. Never blocks."""
        self.is_aborted = True
        wire = self._wire
        if wire is not None:
            wire.abort()

    def close(self) -> None:
        """Log out if the server still listens, and let go of the connection; waits for a call that is under way."""
        with self._turn:
            if self._wire is None:
                return
            if self._is_in_order and not self.is_aborted and self._connection is not None:
                self._wire.deadline.allow_s(_GOODBYE_S)
                with suppress(*FOREIGN_ERRORS):
                    self._connection.say_goodbye()
            self._wire.close()

    def _read(self) -> Iterator[Page]:
        started_s = self._monotonic()
        setting, route = self._question.setting, self._route
        wire = self._wire = Wire(Deadline(self._limits.timeout_s, self._monotonic))
        if self.is_aborted:
            raise Aborted
        self._connect(wire)
        connection = self._connection = Connection(wire, route)
        may_be_clear = route.allows_plaintext or (route.proxy is None and _is_loopback(wire.peer_address))
        connection.log_in_as(setting, may_be_clear=may_be_clear)
        bookmark, uids = self._new_uids(connection, setting)
        mails = read_mails(connection, uids, bookmark, now_s=self._question.fetched_time)
        hand_over_s = started_s + self._limits.timeout_s * _TIME_SHARE
        last_uid = max((bookmark.uid, *uids[-1:]))
        yield from self._in_pages(mails, bookmark, last_uid, lambda: self._monotonic() >= hand_over_s)

    def _new_uids(self, connection: Connection, setting: Setting) -> tuple[Bookmark, "array[int]"]:
        question, route = self._question, self._route
        opened = connection.examine(setting)
        bookmark = bookmark_to_go_on(question.bookmark, setting, route, opened)
        if bookmark is None:
            highest = highest_uid(connection, opened)
            bookmark = bookmark_by_time(
                question.bookmark, setting, route, opened, since=question.since, highest_uid=highest
            )
        return bookmark, new_uids(connection, opened, bookmark)

    def _in_pages(
        self, mails: Iterator[Mail], bookmark: Bookmark, last_uid: int, is_time_up: Callable[[], bool]
    ) -> Iterator[Page]:
        """Put mails into pages; the last one says that nothing is missing, unless the time was up before."""
        while True:
            uid, count = None, 0
            with BodyWriter(self._spill_dir, max_bytes=_PAGE_MAX_BYTES) as writer:
                writer.write(b"[")
                for mail in mails:
                    with self._parsing:
                        document = orjson.dumps(mail_document(mail, self._question.setting.name))
                    writer.write((b"," if count else b"") + document)
                    uid, count = mail.uid, count + 1
                    if count >= _PAGE_MAILS or writer.size_bytes >= self._limits.page_bytes or is_time_up():
                        break
                else:
                    uid = None
                writer.write(b"]")
                body = writer.finish()
            if uid is None:
                yield Page(body, bookmark.after(max(last_uid, bookmark.until)).text(), is_last=True)
                return
            yield Page(body, bookmark.after(uid).text(), is_last=False)
            if is_time_up():
                return

    def _connect(self, wire: Wire) -> None:
        route, timeout_s = self._route, self._limits.connect_timeout_s
        host = self._egress.check_target(route.host, route.port)
        proxy = route.proxy
        if proxy is None:
            wire.connect(host, route.port, self._egress, connect_timeout_s=timeout_s)
            return
        try:
            proxy_host = self._egress.check_target(proxy.host, proxy.port)
            wire.connect(proxy_host, proxy.port, self._egress, connect_timeout_s=timeout_s)
        except (EgressDenied, Aborted):
            raise
        except OSError as error:
            raise ProxyUnreachable(error) from None
        pass_through(wire, proxy, route)


def _is_loopback(address: str) -> bool:
    return as_connected(ip_address(address)).is_loopback
