"""TLS from the start, STARTTLS and plaintext: what REQUEST_METHOD_ID and IMAP_TLS lead to, at a real Dovecot."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from oase_agent.errors import Reason, SourceUnavailable
from oase_agent.model import RequestMethod, Setting
from oase_agent.sources.mail.route import MailPolicy
from oase_agent.sources.options import SourceOptions
from oase_agent.sources.routes import SourceTls
from oase_agent.tls import client_context
from tests.mail.dovecot import Dovecot, Mailbox, needs_dovecot
from tests.mail.mail_stage import NOW_S, SETTING, a_mail, mail_source, read_all
from tests.mail.scripted_imap import ScriptedImap
from tests.unit.source_servers import Authority

REQUIRED, OFF = MailPolicy("require"), MailPolicy("off")
TLS, STARTTLS, PLAINTEXT = RequestMethod.IMAP_TLS, RequestMethod.IMAP_STARTTLS, RequestMethod.IMAP_PLAINTEXT


@pytest.fixture
def mailbox(tls_dovecot: Dovecot) -> Mailbox:
    mailbox = tls_dovecot.new_mailbox()
    mailbox.deliver(a_mail("one"), arrived_s=NOW_S)
    return mailbox


def at(server: Dovecot, mailbox: Mailbox, method: RequestMethod, **columns: Any) -> Setting:
    port = server.tls_port if method is TLS else server.port
    return replace(
        SETTING, url="localhost", port=port, username=mailbox.user, request_method=method, **columns
    )


async def read(place: Path, setting: Setting, authority: Authority | None = None, **source: Any) -> int:
    tls = SourceTls(client_context(ca_file=authority.file if authority else None))
    return len(await read_all(mail_source(place, **({"tls": tls} | source)), setting))


async def failure(place: Path, setting: Setting, **source: Any) -> SourceUnavailable:
    with pytest.raises(SourceUnavailable) as caught:
        await read(place, setting, **source)
    return caught.value


@needs_dovecot
@pytest.mark.parametrize(
    ("method", "policy", "is_encrypted"),
    [
        (TLS, MailPolicy(), True),
        (STARTTLS, MailPolicy(), True),
        (STARTTLS, OFF, True),
        (PLAINTEXT, MailPolicy(), True),
        (PLAINTEXT, REQUIRED, True),
        (PLAINTEXT, OFF, False),
    ],
)
async def test_how_the_login_travels(
    method: RequestMethod,
    policy: MailPolicy,
    is_encrypted: bool,
    tls_dovecot: Dovecot,
    mailbox: Mailbox,
    authority: Authority,
    tmp_path: Path,
) -> None:
    setting = at(tls_dovecot, mailbox, method)
    assert await read(tmp_path, setting, authority, policy=policy) == 1
    (login,) = [line for line in tls_dovecot.log_of(mailbox.user) if "Login:" in line]
    assert (", TLS" in login) is is_encrypted


@needs_dovecot
@pytest.mark.parametrize("method", [TLS, STARTTLS, PLAINTEXT])
async def test_a_certificate_that_nobody_vouches_for_is_refused_and_nothing_falls_back(
    method: RequestMethod, tls_dovecot: Dovecot, mailbox: Mailbox, tmp_path: Path
) -> None:
    error = await failure(tmp_path, at(tls_dovecot, mailbox, method))
    assert error.reason is Reason.TLS
    assert "is not trusted" in str(error)
    assert "SOURCE_CA_FILE" in str(error)
    assert tls_dovecot.log_of(mailbox.user) == []


@needs_dovecot
async def test_a_certificate_must_be_for_the_name_of_the_setting(
    tls_dovecot: Dovecot, mailbox: Mailbox, authority: Authority, tmp_path: Path
) -> None:
    setting = replace(at(tls_dovecot, mailbox, TLS), url="127.0.0.1")
    error = await failure(tmp_path, setting, authority=authority)
    assert "is not valid for '127.0.0.1'" in str(error)


@needs_dovecot
async def test_the_operator_may_list_an_exception_or_give_a_setting_its_own_trust(
    tls_dovecot: Dovecot, mailbox: Mailbox, authority: Authority, tmp_path: Path
) -> None:
    setting = at(tls_dovecot, mailbox, TLS)
    excepted = SourceTls(client_context(), [f"localhost:{tls_dovecot.tls_port}"])
    assert await read(tmp_path, setting, tls=excepted) == 1
    options = SourceOptions(tls=client_context(ca_file=authority.file))
    assert await read(tmp_path, setting, options_of=lambda _name: options) == 1


@needs_dovecot
async def test_tls_where_the_server_speaks_plaintext_and_the_other_way_round(
    tls_dovecot: Dovecot, mailbox: Mailbox, tmp_path: Path
) -> None:
    wrong_port = replace(at(tls_dovecot, mailbox, TLS), port=tls_dovecot.port)
    error = await failure(tmp_path, wrong_port)
    assert error.reason is Reason.TLS
    assert "check PORT" in str(error)


async def test_what_is_sent_between_starttls_and_tls_is_refused_and_no_password_follows(
    authority: Authority, tmp_path: Path
) -> None:
    injected = b"%t OK begin\r\n* CAPABILITY IMAP4rev1\r\nA1 OK logged in\r\n"
    server = ScriptedImap(
        capabilities="IMAP4rev1 STARTTLS",
        answers={"STARTTLS": injected},
        tls=authority.server_context("127.0.0.1"),
    )
    async with server.serving():
        error = await failure(tmp_path, server.setting(), authority=authority)
    assert error.reason is Reason.TLS
    assert "sent something in clear between STARTTLS and TLS" in str(error)
    assert server.said == ["CAPABILITY", "STARTTLS"]


async def test_what_was_said_before_tls_is_forgotten(authority: Authority, tmp_path: Path) -> None:
    def capability(_command: str) -> bytes:
        return b"* CAPABILITY IMAP4rev1 %b\r\n%%t OK done\r\n" % (
            b"AUTH=PLAIN" if "STARTTLS" in server.said else b"STARTTLS LOGINDISABLED"
        )

    server = ScriptedImap(
        answers={
            "CAPABILITY": capability,
            "AUTHENTICATE PLAIN": b"+ \r\n",
            "": b"%t OK done\r\n",
        },
        tls=authority.server_context("127.0.0.1"),
    )
    async with server.serving():
        with pytest.raises(SourceUnavailable):
            await read(tmp_path, server.setting(), authority)
    assert server.said[:4] == ["CAPABILITY", "STARTTLS", "CAPABILITY", "AUTHENTICATE PLAIN"]


async def test_a_refused_starttls_does_not_fall_back(tmp_path: Path) -> None:
    server = ScriptedImap(capabilities="IMAP4rev1 STARTTLS", answers={"STARTTLS": b"%t NO not now\r\n"})
    async with server.serving():
        error = await failure(tmp_path, server.setting(), policy=MailPolicy(plaintext_hosts=("127.0.0.1",)))
    assert error.reason is Reason.TLS
    assert server.said == ["CAPABILITY", "STARTTLS", "LOGOUT"]
