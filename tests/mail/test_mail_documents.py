"""From a mail to the document that becomes an event: every field, and every broken structure (D32)."""

import json
from binascii import b2a_uu
from email.message import EmailMessage
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oase_agent.sources.mail.message import MAX_SOURCE_BYTES, MAX_TEXT_BYTES
from tests.mail.documents import ARRIVED_S, body, document

CUT = "[The agent keeps only the beginning of this mail, which has {} bytes.]\r\n"


def crlf(message: EmailMessage | MIMEMultipart) -> bytes:
    return message.as_bytes().replace(b"\n", b"\r\n")


def test_the_example_of_the_contract() -> None:
    source = (
        "Return-Path: <root@mail.example.com>\r\nDelivered-To: ops@example.com\r\n"
        "Date: Wed, 15 Nov 2023 07:13:30 +0900\r\nMessage-ID: <20231115071330.1@mail.example.com>\r\n"
        "Subject: =?utf-8?B?6Zqc5a6z?= web01\r\nFrom: Zabbix Alert <zabbix@mail.example.com>\r\n"
        "To: ops@example.com,\r\n On Call <oncall@example.com>\r\nContent-Type: text/plain; charset=utf-8\r\n"
        "\r\nhost web01 is down\r\n"
    )
    expected = (
        '{"date":1700000010,"lastchange":1700000010.0,"message_id":"<20231115071330.1@mail.example.com>",'
        '"subject":"障害 web01",'
        '"body":{"raw":"host web01 is down\\r\\n","plain":"host web01 is down\\r\\n","html":""},'
        '"from":"\\"Zabbix Alert\\"<zabbix@mail.example.com>","sender":"\\"Zabbix Alert\\"<zabbix@mail.example.com>",'
        '"to":"ops@example.com,\\"On Call\\"<oncall@example.com>","cc":"","bcc":"",'
        '"reply_to":"\\"Zabbix Alert\\"<zabbix@mail.example.com>","in_reply_to":"",'
        '"return_path":"<root@mail.example.com>","deliver_to":"ops@example.com"}'
    )
    # The order of the fields counts as well.
    assert json.dumps(document(source), ensure_ascii=False, separators=(",", ":")) == expected


def test_a_mail_with_nothing_in_it_is_a_document() -> None:
    found = document(b"")
    assert (found["date"], found["lastchange"], found["message_id"]) == (
        1700000000,
        ARRIVED_S,
        "m_1700000000.0",
    )
    assert found["body"] == {"raw": "", "plain": "", "html": ""}
    texts = (
        "subject",
        "from",
        "sender",
        "to",
        "cc",
        "bcc",
        "reply_to",
        "in_reply_to",
        "return_path",
        "deliver_to",
    )
    assert [found[name] for name in texts] == [""] * 10


@pytest.mark.parametrize(
    ("date", "epoch_s"),
    [
        ("Tue, 14 Nov 2023 22:13:30 +0000", 1_700_000_010),
        ("14 Nov 2023 22:13:30 -0000", 1_700_000_010),
        ("Wed, 15 Nov 2023 07:13:30 +0900 (JST)", 1_700_000_010),
        ("Tue, 14 Nov 23 22:13:30 GMT", 1_700_000_010),
        ("yesterday", 1_700_000_000),
        ("", 1_700_000_000),
        ("Tue, 99 Nov 2023 22:13:30 +0000", 1_700_000_000),
        ("Tue, 14 Nov 99999999 22:13:30 +0000", 1_700_000_000),
    ],
)
def test_a_mail_without_a_readable_date_has_the_time_of_its_arrival(date: str, epoch_s: int) -> None:
    found = document(f"Date: {date}\r\n\r\nx")
    assert (found["date"], found["lastchange"]) == (epoch_s, float(epoch_s))
    assert isinstance(found["lastchange"], float)


def test_other_senders_and_answers() -> None:
    found = document(
        "From: a@test\r\nSender: robot@test\r\nReply-To: Desk <desk@test>, b@test\r\nIn-Reply-To: <1@test>\r\n"
        "Cc: c@test\r\nCC: d@test\r\nBcc: e@test\r\n\r\n"
    )
    assert (found["sender"], found["reply_to"]) == ("robot@test", '"Desk"<desk@test>,b@test')
    assert (found["in_reply_to"], found["cc"], found["bcc"]) == ("<1@test>", "c@test,d@test", "e@test")


@pytest.mark.parametrize(
    ("header", "text"),
    [
        ("=?UTF-8?B?6Zqc5a6z?= =?UTF-8?Q?_web=301?=", "障害 web01"),
        ("Re: =?ISO-2022-JP?B?GyRCPmMzMhsoQg==?= 1", "Re: 障害 1"),
        ("=?shift_jis?B?h0A=?=", "①"),
        ("=?iso-2022-jp?B?GyRCLSEbKEI=?=", "①"),
        ("=?windows-1252?Q?caf=E9_=80?=", "café €"),
        ("=?x-nonsense?Q?caf=E9?=", "café"),
        ("=?utf-8*ja?Q?=E9=9A=9C?=", "障"),
        ("=?utf-8?B?!?=", "=?utf-8?B?!?="),
        ("=?unicode_escape?Q?=5Cud800?=", "\\ud800"),
        ("folded\r\n over\r\n\tlines", "folded over\tlines"),
    ],
)
def test_subjects_are_decoded(header: str, text: str) -> None:
    assert document(f"Subject: {header}\r\n\r\n")["subject"] == text


@pytest.mark.parametrize(
    ("raw", "text"), [("障害".encode(), "障害"), (b"caf\xe9", "café"), (b"a\0b", "a\0b")]
)
def test_bytes_beyond_ascii_in_a_header_are_read_as_well(raw: bytes, text: str) -> None:
    found = document(b"Subject: " + raw + b"\r\nFrom: " + raw + b" <a@test>\r\n\r\n")
    assert found["subject"] == text
    assert found["from"] == f'"{text}"<a@test>'


@pytest.mark.parametrize(
    ("header", "joined"),
    [
        ('"Last, First" <a@test>, b@test', '"Last, First"<a@test>,b@test'),
        ("=?utf-8?Q?Last=2C_First?= <a@test>", '"Last, First"<a@test>'),
        ('"=?utf-8?B?6Zqc5a6z?=" <a@test>', '"障害"<a@test>'),
        (r'"a \"b\"" <a@test>', r'"a \"b\""<a@test>'),
        ("Team: a@test, b@test;", "a@test,b@test"),
        ("undisclosed-recipients:;", "undisclosed-recipients:;"),
        ("<>", "<>"),
    ],
)
def test_addresses_are_joined(header: str, joined: str) -> None:
    assert document(f"To: {header}\r\n\r\n")["to"] == joined


def test_the_body_of_a_mail_in_one_part_is_its_raw_text_too() -> None:
    texts = body(b"Content-Type: text/plain; charset=iso-2022-jp\r\n\r\n\x1b$B>c32\x1b(B\r\n")
    assert texts == {"raw": "障害\r\n", "plain": "障害\r\n", "html": ""}


def test_white_space_of_html_stays_and_rules_for_plain_text_still_find_it() -> None:
    html = '<p class="x">hello  world</p>\r\n\r\n<pre>\ta</pre>'
    texts = body(f"Content-Type: text/html; charset=utf-8\r\n\r\n{html}")
    assert texts == {"raw": html, "plain": html, "html": html}


def test_alternatives_are_kept_apart() -> None:
    message = EmailMessage()
    message.set_content("plain 障害")
    message.add_alternative("<p>html  障害</p>", subtype="html")
    texts = body(crlf(message))
    assert texts["plain"] == "plain 障害\r\n"
    assert texts["html"] == "<p>html  障害</p>\r\n"
    assert texts["raw"].startswith("--===")


def test_nested_parts_are_found_and_attachments_are_left_out() -> None:
    inner = MIMEMultipart("alternative")
    inner.attach(MIMEText("inner plain", "plain", "shift_jis"))
    inner.attach(MIMEText("<b>inner html</b>", "html", "utf-8"))
    related = MIMEMultipart("related")
    related.attach(inner)
    outer = MIMEMultipart("mixed", boundary="a(+)?b")
    outer.attach(related)
    attached = MIMEText("attached log", "plain")
    attached.add_header("Content-Disposition", "attachment", filename="x.log")
    outer.attach(attached)
    named = MIMEText("named log", "plain")
    named.set_param("name", "y.log")
    outer.attach(named)
    outer.attach(MIMEText("-- \nfooter", "plain"))
    forwarded = EmailMessage()
    forwarded.set_content("forwarded")
    message = EmailMessage()
    message["Content-Type"] = "message/rfc822"
    message.set_payload([forwarded])
    outer.attach(message)
    texts = body(crlf(outer))
    assert texts["plain"] == "inner plain\r\n-- \r\nfooter"
    assert texts["html"] == "<b>inner html</b>"


@pytest.mark.parametrize(
    ("source", "plain"),
    [
        (b"Content-Type: multipart/mixed\r\n\r\n--x\r\n\r\nhi\r\n--x--\r\n", "--x\r\n\r\nhi\r\n--x--\r\n"),
        (b"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\nnever ended", "never ended"),
        (b"Content-Type: multipart/mixed; boundary=x\r\n\r\nno parts at all", "no parts at all"),
        (b'Content-Type: ;;;="\r\n\r\nhi', "hi"),
        (b"Content-Type: text\r\n\r\nhi", "hi"),
        (b"Content-Type: text/csv\r\n\r\na,b", "a,b"),
        (b"Content-Type: application/pdf\r\n\r\n%PDF", ""),
        (b"Content-Transfer-Encoding: base64\r\n\r\n!!!", "!!!"),
        (b"Content-Transfer-Encoding: base64\r\n\r\naGk", "hi"),
        (b"Content-Transfer-Encoding: nonsense\r\n\r\nhi", "hi"),
        (b"Content-Transfer-Encoding: x-uuencode\r\n\r\nbegin 644 x\n" + b2a_uu(b"hi") + b" \nend\n", "hi"),
        (b"Content-Transfer-Encoding: " + b"(" * 900 + b"\r\n\r\nhi", "hi"),
        (b"no header at all\r\n\r\nhi", "no header at all\r\n\r\nhi"),
        (b"\r\nonly a body", "only a body"),
        (b"Subject: only a head", ""),
        (b"Subject: x\n\nbare line feeds\n", "bare line feeds\n"),
        (b"Subject: x\r\n\r\n\0nul\0", "\0nul\0"),
    ],
)
def test_broken_structures_are_shown_as_the_text_they_are(source: bytes, plain: str) -> None:
    assert body(source)["plain"] == plain


def test_a_mail_beyond_the_limit_says_that_it_was_cut() -> None:
    whole = b"Subject: x\r\n\r\n" + "障".encode() * 700_000
    source = whole[:MAX_SOURCE_BYTES]
    texts = body(source, size_bytes=len(whole))
    for text in (texts["raw"], texts["plain"]):
        assert text.endswith("障\r\n" + CUT.format(len(whole)))
        assert MAX_TEXT_BYTES < len(text.encode()) < MAX_TEXT_BYTES + 200
    assert texts["html"] == ""


def test_text_before_a_large_attachment_is_whole_and_says_that_more_was_there() -> None:
    message = EmailMessage()
    message.set_content("disk is full")
    message.add_attachment(b"x" * 2_000_000, maintype="application", subtype="octet-stream", filename="x")
    whole = crlf(message)
    texts = body(whole[:MAX_SOURCE_BYTES], size_bytes=len(whole))
    assert texts["plain"] == f"disk is full\r\n{CUT.format(len(whole))}"


def test_a_mail_just_as_long_as_the_limit_is_whole() -> None:
    head = b"Content-Type: application/x\r\n\r\n"
    source = head + b"x" * (MAX_SOURCE_BYTES - len(head))
    assert body(source)["plain"] == ""


UTF_16 = b"; charset=utf-16\r\n\r\n"


@pytest.mark.parametrize(
    "head",
    [
        b"".join(
            b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in range(5000)
        ),
        b"Content-Type: message/rfc822\r\n\r\n" * 10_000,
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\n\r\n" * 50_000,
        b"Content-Type: text/plain" + b";a=b" * 200_000 + UTF_16,
        b"Content-Type: text/plain" + b";\r\n a=b" * 100_000 + UTF_16,
        b"X: 1\r\nContent-Type: text/plain" + b';a="' * 200_000 + UTF_16,
        b"Content-Type: " + b"(" * 500_000 + b"\r\n\r\n",
    ],
    ids=range(7),
)
def test_a_structure_made_to_be_slow_is_not_parsed_but_shown(head: bytes) -> None:
    # Parsed as they are, several of these take minutes.
    found = document(b"Message-ID: <1@test>\r\n" + head + b"the end!")
    assert found["message_id"] == "<1@test>"
    assert found["body"]["plain"] == found["body"]["raw"]
    assert found["body"]["raw"].endswith(("the end!", CUT.format(len(head) + 30)))


@pytest.mark.parametrize(
    "header",
    [
        b"To: " + b"(" * 1_000_000,
        b"To: " + b"a@b," * 250_000,
        b"Subject: " + b"=?a?q?" * 150_000,
        b"Date: Tue, 14 Nov 2023 22:13:" + b"9" * 500_000,
    ],
    ids=lambda header: header[:8],
)
def test_a_header_without_end_is_cut(header: bytes) -> None:
    found = document(b"Message-ID: <1@test>\r\n" + header + b"\r\n\r\nthe end")
    assert found["body"]["plain"] == "the end"
    assert len(json.dumps(found)) < 200_000


@given(st.binary(max_size=300))
def test_any_bytes_are_a_document(source: bytes) -> None:
    document(source)
    document(b"Content-Type: multipart/mixed; boundary=x\r\nSubject: " + source + b"\r\n\r\n--x\r\n" + source)


@given(st.text(), st.text())
def test_what_was_written_is_what_is_read(subject: str, text: str) -> None:
    message = EmailMessage()
    subject = " ".join(subject.encode("utf-8", "ignore").decode().split())
    text = text.encode("utf-8", "ignore").decode()
    message["Subject"] = "".join(letter for letter in subject if letter.isprintable()).strip()
    message.set_payload(text, "utf-8")
    found = document(message.as_bytes())
    assert found["subject"].split() == message["Subject"].split()
    assert found["body"]["plain"].splitlines() == text.splitlines()
