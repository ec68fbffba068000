"""One mail as the document that becomes an event: fields, order and types of contract section 8. Pure.

The structure is read by the standard library's modern policy. Whatever a mail is, it becomes a document: what cannot
be read as MIME is shown as the text that it is (defect D32).
"""

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default as modern_policy
from typing import Any, Final

from oase_agent.sources.mail.charsets import decoded, decoded_whole
from oase_agent.sources.mail.headers import PARSER_ERRORS, Headers

# Of each text of `body`, in UTF-8: the three of them, with all headers, pass a gateway that allows 1 MiB.
MAX_TEXT_BYTES: Final = 256 * 1024

# The parser's time grows with nesting times lines, with parts, and with the square of a header about content.
_MAX_NESTING: Final = 30
_MAX_NESTED_LINES: Final = 1_500_000
_MAX_PARTS: Final = 2000
_MAX_LONG_HEADERS: Final = 16
_NESTING: Final = re.compile(rb"boundary[ \t]*\*?[0*]*=|message/(?:rfc822|global|partial)", re.IGNORECASE)
_LONG_HEADER: Final = re.compile(
    rb"^content-[a-z-]{1,40}[ \t]*:(?:[^\n]|\n[ \t]){1024}(?P<longer>(?:[^\n]|\n[ \t]){3072})?",
    re.IGNORECASE | re.MULTILINE,
)
_CONTENT_HEADER: Final = re.compile(
    rb"^content-[^\n]*(?:\n|\Z)(?:[ \t][^\n]*(?:\n|\Z))*", re.IGNORECASE | re.MULTILINE
)
_BODY: Final = re.compile(rb"\A\r?\n|\n\r?\n")


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail as the server gave it: `source` is the beginning of its text, `size_bytes` what the whole of it has.

    `arrived_s` is when the server got it (INTERNALDATE), in epoch seconds.
    """

    uid: int
    arrived_s: float
    size_bytes: int
    source: bytes

    @property
    def is_cut(self) -> bool:
        """Whether `source` is not all of it. Sizes that servers tell are sometimes estimates, so some bytes pass."""
        return len(self.source) < self.size_bytes and len(self.source) >= MAX_SOURCE_BYTES


# Text parts stand at the beginning, attachments behind them.
MAX_SOURCE_BYTES: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class _Leaf:
    """An inline text of a mail; `is_end` tells that nothing follows it."""

    text: str
    is_html: bool
    charset: str | None
    is_end: bool


def mail_document(mail: Mail, setting_name: str) -> dict[str, Any]:
    """Return the document of a mail.

    A mail without a readable Date has the time of its arrival; one without Message-ID gets one from the name of the
    setting and that time, as the predecessor gave it.
    """
    message = _parsed(mail.source)
    headers = Headers(message.raw_items())
    sent_s = headers.epoch_s("date")
    moment_s = mail.arrived_s if sent_s is None else sent_s
    sender = headers.addresses("from")
    return {
        "date": int(moment_s),
        "lastchange": moment_s,
        "message_id": headers.line("message-id") or f"{setting_name}_{moment_s}",
        "subject": headers.text("subject"),
        "body": _body(mail, message, headers),
        "from": sender,
        # Servers fill these two in when they describe a mail, and the predecessor asked them (RFC 3501, 7.4.2).
        "sender": headers.addresses("sender") or sender,
        "to": headers.addresses("to"),
        "cc": headers.addresses("cc"),
        "bcc": headers.addresses("bcc"),
        "reply_to": headers.addresses("reply-to") or sender,
        "in_reply_to": headers.text("in-reply-to"),
        "return_path": headers.line("return-path"),
        "deliver_to": headers.line("delivered-to"),
    }


def _parsed(source: bytes) -> EmailMessage:
    """Parse a mail; what is nested beyond measure is parsed as headers and one text."""
    if _is_tame(source):
        try:
            return message_from_bytes(source, EmailMessage, policy=modern_policy)
        except PARSER_ERRORS:
            pass
    start = _body_start(source)
    head = _CONTENT_HEADER.sub(b"", source[:start])
    message = message_from_bytes(head, EmailMessage, policy=modern_policy)
    message.set_payload(source[start:].decode("ascii", "surrogateescape"))
    return message


def _is_tame(source: bytes) -> bool:
    """Tell whether the structure of a mail can be parsed in a time that fits its size."""
    nesting = sum(1 for _ in _NESTING.finditer(source))
    if nesting > _MAX_NESTING or nesting * source.count(b"\n") > _MAX_NESTED_LINES:
        return False
    if nesting and source.count(b"\n--") > _MAX_PARTS:
        return False
    long_headers = list(itertools.islice(_LONG_HEADER.finditer(source), _MAX_LONG_HEADERS + 1))
    return len(long_headers) <= _MAX_LONG_HEADERS and not any(header["longer"] for header in long_headers)


def _body(mail: Mail, message: EmailMessage, headers: Headers) -> dict[str, str]:
    leaves = list(_leaves(message, is_cut=mail.is_cut))
    charset = next((leaf.charset for leaf in leaves), None)
    has_head = headers or mail.source.startswith((b"\r\n", b"\n"))
    body = mail.source[_body_start(mail.source) :] if has_head else mail.source
    html = _joined(leaf.text for leaf in leaves if leaf.is_html)
    # Rules written for the predecessor look for a mail that is nothing but HTML here.
    is_html_alone = bool(leaves) and all(leaf.is_html for leaf in leaves) and not message.is_multipart()
    plain = html if is_html_alone else _joined(leaf.text for leaf in leaves if not leaf.is_html)
    html_is_cut = mail.is_cut and any(leaf.is_html and leaf.is_end for leaf in leaves)
    return {
        "raw": _bounded(decoded_whole(body, charset, is_cut=mail.is_cut), mail, is_cut=mail.is_cut),
        "plain": _bounded(plain, mail, is_cut=mail.is_cut),
        "html": _bounded(html, mail, is_cut=html_is_cut),
    }


def _body_start(source: bytes) -> int:
    blank_line = _BODY.search(source)
    return len(source) if blank_line is None else blank_line.end()


def _leaves(message: EmailMessage, *, is_cut: bool) -> Iterator[_Leaf]:
    """Yield the inline texts of a mail in their order, at whatever depth."""
    waiting: list[EmailMessage] = [message]
    while waiting:
        part = waiting.pop()
        content_type = _content_type(part)
        if part.is_multipart():
            # An attached mail is an attachment.
            if not content_type.startswith("message/"):
                children = [child for child in part.iter_parts() if isinstance(child, EmailMessage)]
                waiting.extend(reversed(children))
        elif part is message or not _is_attachment(part):
            # A multipart without parts is broken: what it holds is text.
            is_alone = part is message and content_type.startswith(("text/", "multipart/"))
            if content_type in {"text/plain", "text/html"} or is_alone:
                is_end = not waiting
                text, charset = _text(part, is_cut=is_cut and is_end)
                yield _Leaf(text, content_type == "text/html", charset, is_end)


def _text(part: EmailMessage, *, is_cut: bool) -> tuple[str, str | None]:
    """Return the text of a part, and the charset that it declares."""
    try:
        charset = part.get_content_charset()
    except PARSER_ERRORS:
        charset = None
    try:
        data = part.get_payload(decode=True)
    except PARSER_ERRORS:
        data = None
    if not data:
        # What is in no transfer encoding, whatever the header says, comes out as nothing.
        del part["content-transfer-encoding"]
        data = part.get_payload(decode=True)
    return decoded(data if isinstance(data, bytes) else b"", charset, is_cut=is_cut), charset


def _content_type(part: EmailMessage) -> str:
    try:
        return part.get_content_type()
    except PARSER_ERRORS:
        return "text/plain"  # RFC 2045, 5.2


def _is_attachment(part: EmailMessage) -> bool:
    try:
        return part.get_content_disposition() == "attachment" or part.get_filename() is not None
    except PARSER_ERRORS:
        return False


def _joined(texts: Iterator[str]) -> str:
    whole = ""
    for text in texts:
        whole += text if not whole or whole.endswith("\n") else f"\r\n{text}"
    return whole


def _bounded(text: str, mail: Mail, *, is_cut: bool) -> str:
    data = text.encode()
    if len(data) > MAX_TEXT_BYTES:
        text, is_cut = data[:MAX_TEXT_BYTES].decode("utf-8", "ignore"), True
    if not is_cut:
        return text
    end = "" if not text or text.endswith("\n") else "\r\n"
    return f"{text}{end}[The agent keeps only the beginning of this mail, which has {mail.size_bytes} bytes.]\r\n"
