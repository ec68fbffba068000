"""Servers that lie, break off, fall silent or never stop: each is one clear error, and nothing is lost."""

import asyncio
import socket
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from oase_agent.errors import Reason, SourceUnavailable
from oase_agent.sources.egress import EgressPolicy
from oase_agent.sources.exchange import SourceLimits
from oase_agent.sources.mail.route import MailPolicy
from oase_agent.sources.mail.wire import Deadline, Wire
from tests.mail.dovecot import PASSWORD
from tests.mail.mail_stage import MailLife, a_mail, mail_source, read_all
from tests.mail.scripted_imap import HANG_UP, SILENCE, Answer, ScriptedImap, refused

SHORT = SourceLimits(timeout_s=0.5)
HUGE = 10**12


async def failure(place: Path, server: ScriptedImap, **source: Any) -> SourceUnavailable:
    """Read a mailbox once, which must fail; the error shows nothing that was said."""
    async with server.serving():
        with pytest.raises(SourceUnavailable) as caught:
            await read_all(mail_source(place, **source), server.setting())
        message = str(caught.value)
        assert f"127.0.0.1:{server.port} " in message
    assert caught.value.__cause__ is None
    assert "secret" not in message
    assert PASSWORD not in message
    return caught.value


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        ({"LOGIN": SILENCE}, Reason.TIMEOUT),
        ({"UID SEARCH": SILENCE}, Reason.TIMEOUT),
        ({"CAPABILITY": b"secret\r\n"}, Reason.UNREACHABLE),
        ({"CAPABILITY": b"* CAPABILITY secret\r\n%t OK done\r\n"}, Reason.UNKNOWN_ANSWER),
        ({"CAPABILITY": b"* CAPABILITY \xff\r\n%t OK done\r\n"}, Reason.MALFORMED),
        ({"CAPABILITY": HANG_UP}, Reason.UNREACHABLE),
        ({"CAPABILITY": b"* BYE secret\r\n" + HANG_UP}, Reason.UNREACHABLE),
        ({"LOGIN": refused("secret")}, Reason.LOGIN_REFUSED),
        ({"LOGIN": b"%t BAD secret\r\n"}, Reason.LOGIN_REFUSED),
        ({"LOGIN": b"* BYE secret\r\n" + HANG_UP}, Reason.UNREACHABLE),
        ({"EXAMINE": refused("secret")}, Reason.UNKNOWN_ANSWER),
        ({"EXAMINE": b"* secret EXISTS\r\n" + HANG_UP}, Reason.UNREACHABLE),
        ({"UID SEARCH": b"%t BAD secret\r\n"}, Reason.UNKNOWN_ANSWER),
        ({"UID SEARCH": b"* SEARCH secret\r\n%t OK done\r\n"}, Reason.MALFORMED),
        ({"UID SEARCH": b"* SEARCH " + b"1 " * 2**20 + b"\r\n%t OK done\r\n"}, Reason.MALFORMED),
        ({"UID FETCH": b"* 1 FETCH " + b"(" * 5000 + b"\r\n%t OK done\r\n"}, Reason.MALFORMED),
        ({"UID FETCH": b"* 1 FETCH (UID secret)\r\n%t OK done\r\n"}, Reason.MALFORMED),
        ({"UID FETCH": b"* 1 FETCH (UID 1 BODY[] {%d}\r\n" % HUGE}, Reason.MALFORMED),
        ({"UID FETCH": b"* 1 FETCH (UID 1 BODY[] {" + b"9" * 5000 + b"}\r\n"}, Reason.MALFORMED),
        ({"UID FETCH": b"x" * 2**21}, Reason.MALFORMED),
        ({"UID FETCH": b"* 1 EXISTS\r\n" * 2**18}, Reason.MALFORMED),
        ({"UID FETCH": b"* 1 FETCH (UID 1 BODY[] {100}\r\nsecret" + HANG_UP}, Reason.UNREACHABLE),
        ({"UID FETCH": b"+ secret\r\n" * 2**18}, Reason.MALFORMED),
        ({"UID FETCH": refused("secret")}, Reason.UNKNOWN_ANSWER),
    ],
    ids=lambda value: str(value)[:60],
)
async def test_an_answer_that_is_none_is_one_clear_error(
    answers: Mapping[str, Answer], reason: Reason, tmp_path: Path
) -> None:
    error = await failure(tmp_path, ScriptedImap(answers=answers), limits=SHORT)
    assert error.reason is reason


@pytest.mark.parametrize(
    ("greeting", "reason"),
    [
        (SILENCE, Reason.TIMEOUT),
        (HANG_UP, Reason.UNREACHABLE),
        (b"* BYE secret\r\n", Reason.UNKNOWN_ANSWER),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", Reason.UNREACHABLE),
        (b"\x16\x03\x01" * 1000, Reason.TIMEOUT),
        (b"\0" * 2**22, Reason.MALFORMED),
    ],
    ids=lambda value: repr(value[:20]) if isinstance(value, bytes) else str(value),
)
async def test_a_greeting_that_is_none_is_one_clear_error(
    greeting: bytes, reason: Reason, tmp_path: Path
) -> None:
    server = ScriptedImap(greeting=greeting)
    assert (await failure(tmp_path, server, limits=SHORT)).reason is reason
    assert server.said == []


async def test_a_server_that_sends_a_byte_now_and_then_meets_the_deadline(tmp_path: Path) -> None:
    async def trickle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while not writer.is_closing():
                writer.write(b"*")
                await asyncio.sleep(0.05)
        finally:
            writer.close()

    listener = await asyncio.start_server(trickle, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    with pytest.raises(SourceUnavailable, match=r"within 0\.5 s") as caught:
        await read_all(mail_source(tmp_path, limits=SHORT), ScriptedImap(port=port).setting())
    assert caught.value.reason is Reason.TIMEOUT
    listener.close()


def test_a_connection_waits_for_nothing_beyond_its_deadline() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        now_s = 0.0
        deadline = Deadline(0.05, lambda: now_s)
        wire = Wire(deadline)
        wire.connect("127.0.0.1", silent.getsockname()[1], EgressPolicy(), connect_timeout_s=5)
        with pytest.raises(TimeoutError):
            wire.read_line()
        now_s = 1.0
        with pytest.raises(TimeoutError):
            wire.send(b"too late")
        deadline.allow_s(1)
        wire.send(b"more time")
        wire.close()


async def test_a_port_where_nobody_listens_is_unreachable(tmp_path: Path) -> None:
    with pytest.raises(SourceUnavailable, match="Connection refused") as caught:
        await read_all(mail_source(tmp_path), ScriptedImap(port=1).setting())
    assert caught.value.reason is Reason.UNREACHABLE


async def test_a_cancelled_collection_ends_at_once_although_the_server_is_silent(tmp_path: Path) -> None:
    async with ScriptedImap(answers={"UID SEARCH": SILENCE}).serving() as server:
        reading = asyncio.create_task(read_all(mail_source(tmp_path), server.setting()))
        while "EXAMINE" not in "".join(server.said):
            await asyncio.sleep(0.01)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        async with asyncio.timeout(5):
            await server.ended.wait()
            while any(thread.name == "mail" for thread in threading.enumerate()):
                await asyncio.sleep(0.01)


async def test_silent_servers_hold_up_neither_files_nor_other_mailboxes(tmp_path: Path) -> None:
    source = mail_source(tmp_path, limits=SourceLimits(timeout_s=60))
    async with ScriptedImap(greeting=SILENCE).serving() as silent, ScriptedImap().serving() as good:
        stuck = [asyncio.create_task(read_all(source, silent.setting())) for _ in range(40)]
        await asyncio.sleep(0.1)
        async with asyncio.timeout(10):
            assert await asyncio.to_thread(lambda: "a file was read") == "a file was read"
            assert len(await read_all(source, good.setting())) == 2
        for task in stuck:
            task.cancel()
        await asyncio.gather(*stuck, return_exceptions=True)


async def test_what_came_before_a_break_in_the_middle_is_kept_and_the_rest_follows(tmp_path: Path) -> None:
    server = ScriptedImap(mails={uid: a_mail(uid) for uid in range(1, 251)})
    async with server.serving():
        life = MailLife(tmp_path, server.setting())
        # A hundred mails are a page; the sizes of the next hundred are told, then the connection breaks.
        server.answers = {
            "UID FETCH 101": b"* 1 FETCH (UID 101 RFC822.SIZE 9" + HANG_UP,
        }
        await life.collect()
        assert life.failure.reason is Reason.UNREACHABLE
        assert list(map(int, life.subjects)) == list(range(1, 101))
        server.answers = {}
        await life.collect()
        assert list(map(int, life.subjects)) == list(range(1, 251))


async def test_mails_that_vanish_between_search_and_fetch_are_gone(tmp_path: Path) -> None:
    server = ScriptedImap(mails={1: a_mail(1), 2: a_mail(2), 5: a_mail(5)})
    server.answers = {"UID SEARCH": b"* SEARCH 1 2 3 4 5\r\n%t OK done\r\n"}
    async with server.serving():
        life = MailLife(tmp_path, server.setting())
        assert await life.collect_well() == ["1", "2", "5"]


async def test_answers_about_other_mails_are_not_ours(tmp_path: Path) -> None:
    server = ScriptedImap()

    def talkative(command: str) -> bytes:
        noise = (
            rb"* 1 FETCH (FLAGS (\Seen))"
            b"\r\n"
            b"* 9 FETCH (UID 9 BODY[]<0> {5}\r\nnever)\r\n* 3 EXISTS\r\n* 2 EXPUNGE\r\n"
        )
        return noise + server.usual(command) + noise + b"%t OK done\r\n"

    server.answers = {"UID FETCH": talkative}
    async with server.serving():
        life = MailLife(tmp_path, server.setting())
        assert await life.collect_well() == ["1", "2"]


async def test_a_search_that_repeats_the_last_mail_brings_nothing_twice(tmp_path: Path) -> None:
    async with ScriptedImap().serving() as server:
        life = MailLife(tmp_path, server.setting())
        await life.collect_well()
        server.said.clear()
        assert await life.collect_well() == ["1", "2"]
        assert [command for command in server.said if "FETCH" in command] == []
        assert "UID SEARCH UID 3:*" in server.said


@pytest.mark.parametrize("told", [10, 10**9])
async def test_sizes_that_are_wrong_do_no_harm(told: int, tmp_path: Path) -> None:
    server = ScriptedImap(mails={uid: a_mail(uid, body="x" * 50_000 + "end\r\n") for uid in (1, 2)})
    server.answers = {
        "UID FETCH 1,2 (RFC822.SIZE": b"".join(
            b"* %d FETCH (UID %d RFC822.SIZE %d)\r\n" % (uid, uid, told) for uid in (1, 2)
        )
        + b"%t OK done\r\n"
    }
    async with server.serving():
        life = MailLife(tmp_path, server.setting())
        assert await life.collect_well() == ["1", "2"]
        assert [event["body"]["plain"].endswith("xend\r\n") for event in life.events] == [True, True]


async def test_a_mail_that_the_server_does_not_give_is_named_and_those_before_it_are_kept(
    tmp_path: Path,
) -> None:
    server = ScriptedImap(mails={uid: a_mail(uid) for uid in (1, 2, 3)})
    server.answers = {
        "UID FETCH 1,2,3 (BODY": refused(),
        "UID FETCH 2 (BODY": refused("[SERVERBUG]"),
    }
    async with server.serving():
        life = MailLife(tmp_path, server.setting())
        await life.collect()
        assert "does not give the mail with UID 2 (SERVERBUG)" in str(life.failure)
        server.answers = {}
        await life.collect()
        assert life.subjects == ["1", "2", "3"]


@pytest.mark.parametrize("told", ["* OK [UIDVALIDITY 7] ok\r\n* NO [UIDNOTSTICKY] no\r\n", ""])
async def test_where_numbers_mean_nothing_the_time_of_arrival_and_the_message_id_decide(
    told: str, tmp_path: Path
) -> None:
    server = ScriptedImap(examined="* {mails} EXISTS\r\n" + told)
    async with server.serving():
        life = MailLife(tmp_path, server.setting())
        assert await life.collect_well() == ["1", "2"]
        server.mails = {1: a_mail("new"), 2: a_mail(1), 3: a_mail(2)}
        assert await life.collect_well() == ["1", "2", "new"]


async def test_a_mailbox_that_was_restored_from_a_backup_is_noticed(tmp_path: Path) -> None:
    async with ScriptedImap(mails={uid: a_mail(uid) for uid in (1, 2, 3, 4)}).serving() as server:
        life = MailLife(tmp_path, server.setting())
        await life.collect_well()
        # Two mails less, and two new ones that get their numbers.
        server.mails = {1: a_mail(1), 2: a_mail(2)}
        await life.collect_well()
        server.mails |= {3: a_mail("new")}
        assert (await life.collect_well())[4:] == ["new"]


async def test_login_is_not_tried_where_the_server_forbids_it(tmp_path: Path) -> None:
    server = ScriptedImap(capabilities="IMAP4rev1 LOGINDISABLED")
    error = await failure(tmp_path, server)
    assert error.reason is Reason.TLS
    assert "takes no password without TLS" in str(error)
    assert server.said == ["CAPABILITY", "LOGOUT"]


async def test_no_password_goes_where_starttls_is_not_offered_but_required(tmp_path: Path) -> None:
    server = ScriptedImap()
    error = await failure(tmp_path, server, policy=MailPolicy("require"))
    assert error.reason is Reason.TLS
    assert "offers no STARTTLS, so the password was not sent" in str(error)
    assert server.said == ["CAPABILITY", "LOGOUT"]


async def test_a_login_before_tls_is_no_login(tmp_path: Path) -> None:
    server = ScriptedImap(greeting=b"* PREAUTH welcome\r\n", capabilities="IMAP4rev1 STARTTLS")
    error = await failure(tmp_path, server, policy=MailPolicy("require"))
    assert error.reason is Reason.TLS


async def test_a_quoted_password_is_sent_as_it_is(tmp_path: Path) -> None:
    async with ScriptedImap().serving() as server:
        await read_all(mail_source(tmp_path), server.setting())
        assert server.said[1] == 'LOGIN "ops" "p \\"ä\\\\ss"'
        assert server.said[-1] == "LOGOUT"
