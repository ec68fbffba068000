"""Where a mail setting leads to, and what of a kept bookmark still means something: rules without a server."""

import json
from dataclasses import replace

import pytest

from oase_agent.errors import SettingRejected
from oase_agent.model import RequestMethod, Secret
from oase_agent.sources.mail.bookmark import OpenMailbox, bookmark_by_time, bookmark_to_go_on
from oase_agent.sources.mail.route import (
    Encryption,
    MailPolicy,
    MailProxy,
    MailRoute,
    mail_proxy_of,
    mail_route,
)
from oase_agent.sources.options import SourceOptions
from oase_agent.sources.routes import SourceTls
from oase_agent.tls import client_context
from tests.mail.mail_stage import DAY_S, NOW_S, SETTING

TLS = SourceTls(client_context())
AUTO, REQUIRE, OFF = MailPolicy("auto"), MailPolicy("require"), MailPolicy("off")


def route(host: str = "mail.test", policy: MailPolicy = AUTO, **columns: object) -> MailRoute:
    setting = replace(SETTING, **columns)  # type: ignore[arg-type]
    return mail_route(setting, host, SourceOptions(), policy, TLS)


@pytest.mark.parametrize(
    ("method", "port", "policy", "encryption"),
    [
        ("3", 993, AUTO, Encryption.TLS),
        ("3", 10_993, OFF, Encryption.TLS),
        ("4", 143, AUTO, Encryption.STARTTLS),
        ("4", 143, OFF, Encryption.STARTTLS),
        ("5", 143, AUTO, Encryption.STARTTLS_IF_OFFERED),
        ("5", 143, REQUIRE, Encryption.STARTTLS),
        ("5", 143, OFF, Encryption.NONE),
        ("5", 993, AUTO, Encryption.TLS),
        ("5", 993, REQUIRE, Encryption.TLS),
        ("5", 993, OFF, Encryption.NONE),
    ],
)
def test_method_port_and_policy_decide_what_comes_before_the_login(
    method: str, port: int, policy: MailPolicy, encryption: Encryption
) -> None:
    assert route(policy=policy, request_method=RequestMethod(method), port=port).encryption is encryption


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        (" Mail.Test. ", "mail.test:143"),
        ("::1", "[::1]:143"),
        ("[::1]", "[::1]:143"),
        ("日本.test", "xn--wgv71a.test:143"),
        ("127.1", "127.0.0.1:143"),
    ],
)
def test_a_host_may_be_written_in_many_ways(host: str, origin: str) -> None:
    assert route(host, port=143).origin == origin


@pytest.mark.parametrize(
    "host", ["", "imap://mail.test", "mail.test:143", "mail.test/INBOX", "user@mail.test", "a b", "a\r\nb"]
)
def test_what_is_no_bare_host_is_rejected_with_what_to_write(host: str) -> None:
    with pytest.raises(SettingRejected, match="is the bare name of the host"):
        route(host)


@pytest.mark.parametrize(
    ("entry", "host", "is_allowed"),
    [
        ("mail.test", "mail.test", True),
        ("mail.test", "MAIL.test.", True),
        ("mail.test:143", "mail.test", True),
        ("mail.test:144", "mail.test", False),
        ("test", "mail.test", False),
        ("[::1]", "::1", True),
        ("[::1]:143", "::1", True),
    ],
)
def test_a_password_may_go_in_clear_to_listed_hosts_only(entry: str, host: str, is_allowed: bool) -> None:
    assert route(host, MailPolicy(plaintext_hosts=(entry,)), port=143).allows_plaintext is is_allowed


@pytest.mark.parametrize(
    ("text", "proxy"),
    [
        (None, None),
        (" ", None),
        ("socks5://u:p%40@proxy.test:1081", MailProxy("proxy.test", 1081, True, "u", Secret("p@"))),
        ("proxy.test:1081", MailProxy("proxy.test", 1081, True)),
        ("socks5://proxy.test", MailProxy("proxy.test", 1080, True)),
        ("https://proxy.test:3128", MailProxy("proxy.test", 3128, True)),
        ("http://[::1]:3128", MailProxy("::1", 3128, False)),
    ],
)
def test_a_proxy_is_read(text: str | None, proxy: MailProxy | None) -> None:
    assert mail_proxy_of(replace(SETTING, proxy=text)) == proxy


def test_a_route_and_its_proxy_print_no_password() -> None:
    assert "secret" not in repr(route(proxy="u:secret@proxy.test:1080"))


OPENED = OpenMailbox(mails=10, uid_validity=7, uid_next=21)
ROUTE = route(port=143)
KEPT = bookmark_by_time(None, SETTING, ROUTE, OPENED, since=NOW_S, highest_uid=20).after(20)


def test_a_bookmark_leads_on_while_its_numbers_mean_the_same() -> None:
    assert bookmark_to_go_on(KEPT.text(), SETTING, ROUTE, OPENED) == KEPT
    assert (KEPT.uid, KEPT.since, KEPT.until) == (20, None, 0)


@pytest.mark.parametrize(
    "kept",
    [
        None,
        "",
        "12",
        "nonsense",
        '{"uid":1}',
        json.dumps(json.loads(KEPT.text()) | {"uid": "20"}),
        json.dumps(json.loads(KEPT.text()) | {"uid": True}),
        json.dumps(json.loads(KEPT.text()) | {"more": 1}),
    ],
)
def test_a_text_that_is_no_bookmark_begins_at_the_cursor(kept: str | None) -> None:
    assert bookmark_to_go_on(kept, SETTING, ROUTE, OPENED) is None
    begun = bookmark_by_time(kept, SETTING, ROUTE, OPENED, since=NOW_S, highest_uid=20)
    assert (begun.uid, begun.since, begun.until) == (0, NOW_S, 20)


@pytest.mark.parametrize(
    ("opened", "port"),
    [
        (replace(OPENED, uid_validity=8), 143),
        (replace(OPENED, uid_validity=None), 143),
        (replace(OPENED, uid_next=20), 143),
        (OPENED, 993),
    ],
)
def test_numbers_that_mean_other_mails_lead_back_by_a_day(opened: OpenMailbox, port: int) -> None:
    there = route(port=port)
    assert bookmark_to_go_on(KEPT.text(), SETTING, there, opened) is None
    begun = bookmark_by_time(KEPT.text(), SETTING, there, opened, since=NOW_S, highest_uid=20)
    assert begun.since == NOW_S - DAY_S


@pytest.mark.parametrize("columns", [{"username": "other"}, {"mailbox_name": "Other"}])
def test_another_mailbox_begins_at_the_cursor(columns: dict[str, str]) -> None:
    other = replace(SETTING, **columns)  # type: ignore[arg-type]
    assert bookmark_to_go_on(KEPT.text(), other, ROUTE, OPENED) is None
    assert bookmark_by_time(KEPT.text(), other, ROUTE, OPENED, since=NOW_S, highest_uid=20).since == NOW_S


def test_a_bookmark_tells_nothing_of_host_user_and_mailbox() -> None:
    assert "ops" not in KEPT.text()
    assert "mail.test" not in KEPT.text()
