"""A mailbox of any size is searched in windows, and the fetches stay within bounds: at a real Dovecot."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from oase_agent.model import Setting
from oase_agent.sources.egress import EgressPolicy
from oase_agent.sources.mail.bookmark import Bookmark
from oase_agent.sources.mail.connection import Connection
from oase_agent.sources.mail.mailbox import highest_uid, new_uids, read_mails
from oase_agent.sources.mail.message import MAX_SOURCE_BYTES
from oase_agent.sources.mail.route import MailPolicy, mail_route
from oase_agent.sources.mail.wire import Aborted, Deadline, Wire
from oase_agent.sources.options import SourceOptions
from oase_agent.sources.routes import SourceTls
from oase_agent.tls import client_context
from tests.mail.dovecot import Mailbox, needs_dovecot
from tests.mail.mail_stage import DAY_S, NOW_S, a_mail

pytestmark = needs_dovecot


class Recorded(Connection):
    """Remembers what was asked."""

    def __init__(self, *arguments: Any) -> None:
        self.searches: list[str] = []
        self.fetched: list[int] = []
        super().__init__(*arguments)

    def search_uids(self, criteria: str, *, at_most: int) -> list[int]:
        self.searches.append(criteria)
        return super().search_uids(criteria, at_most=at_most)

    def fetch_items(self, uids: Any, items: Any, *, answer_bytes: int) -> Any:
        self.fetched.append(len(uids))
        return super().fetch_items(uids, items, answer_bytes=answer_bytes)


@contextmanager
def connected(setting: Setting) -> Iterator[Recorded]:
    """Log in."""
    route = mail_route(setting, "127.0.0.1", SourceOptions(), MailPolicy(), SourceTls(client_context()))
    wire = Wire(Deadline(20, lambda: 0.0))
    wire.connect(route.host, route.port, EgressPolicy(), connect_timeout_s=5)
    connection = Recorded(wire, route)
    connection.log_in_as(setting, may_be_clear=True)
    try:
        yield connection
    finally:
        connection.say_goodbye()


def bookmark(uid: int, since: int | None = None, until: int = 0) -> Bookmark:
    return Bookmark("", 0, 1, uid, since, until)


def test_a_search_ends_at_the_first_window_that_is_known(mailbox: Mailbox, setting: Setting) -> None:
    for number in range(100):
        mailbox.deliver(a_mail(number), arrived_s=NOW_S)
    with connected(setting) as connection:
        opened = connection.examine(setting)
        assert highest_uid(connection, opened) == 100
        connection.searches.clear()
        assert list(new_uids(connection, opened, bookmark(75), window=10)) == list(range(76, 101))
        assert connection.searches == [
            "91:100 UID 76:*",
            "81:90 UID 76:*",
            "71:80 UID 76:*",
        ]
        assert list(new_uids(connection, opened, bookmark(100), window=10)) == []
        assert list(new_uids(connection, opened, bookmark(0), window=10)) == list(range(1, 101))


def test_a_search_by_time_looks_at_all_windows_and_takes_later_numbers_as_they_are(
    mailbox: Mailbox, setting: Setting
) -> None:
    for number in range(60):
        mailbox.deliver(a_mail(number), arrived_s=NOW_S - (5 * DAY_S if number % 3 else 0))
    with connected(setting) as connection:
        opened = connection.examine(setting)
        start = bookmark(10, since=NOW_S, until=50)
        told = dict(connection.fetch_items(list(range(1, 61)), ["INTERNALDATE"], answer_bytes=500))
        recent = [uid for uid, items in told.items() if items[b"INTERNALDATE"].timestamp() == NOW_S]
        wanted = [*(uid for uid in recent if 10 < uid <= 50), *range(51, 61)]
        assert list(new_uids(connection, opened, start, window=10)) == wanted


def test_mails_come_in_the_order_of_their_numbers_a_bounded_number_at_once(
    mailbox: Mailbox, setting: Setting
) -> None:
    sizes = [10, 700_000, 20, 300_000, 2_000_000, 30, *[1000] * 150]
    for number, size in enumerate(sizes):
        mailbox.deliver(a_mail(number, body="x" * size), arrived_s=NOW_S)
    with connected(setting) as connection:
        connection.examine(setting)
        mails = list(read_mails(connection, list(range(1, 157)), bookmark(0), now_s=NOW_S))
        assert [mail.uid for mail in mails] == list(range(1, 157))
        assert max(len(mail.source) for mail in mails) == MAX_SOURCE_BYTES
        assert [mail.is_cut for mail in mails].count(True) == 1
        assert len(connection.fetched) < 16


def test_a_connection_that_is_aborted_from_another_thread_ends_a_wait(setting: Setting) -> None:
    route = mail_route(setting, "127.0.0.1", SourceOptions(), MailPolicy(), SourceTls(client_context()))
    wire = Wire(Deadline(20, lambda: 0.0))
    wire.connect(route.host, route.port, EgressPolicy(), connect_timeout_s=5)
    wire.read_line()
    threading.Timer(0.05, wire.abort).start()
    with pytest.raises(Aborted):
        wire.read_line()
    with pytest.raises(Aborted):
        wire.send(b"x")
    wire.close()
