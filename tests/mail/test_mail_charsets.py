"""Bodies in every charset, and in none: no byte of a mail is dropped (D32)."""

from base64 import b64encode

import pytest

from oase_agent.sources.mail.message import MAX_SOURCE_BYTES
from tests.mail.documents import body


@pytest.mark.parametrize(
    "charset",
    ["utf-8", "iso-2022-jp", "shift_jis", "euc-jp", "cp932", "utf-16", "UTF-7", "x-sjis", '"utf-8"'],
)
@pytest.mark.parametrize("encoding", ["8bit", "base64", "quoted-printable"])
def test_japanese_in_every_charset_and_encoding(charset: str, encoding: str) -> None:
    text = "障害が発生しました\r\nweb01"
    data = text.encode({"x-sjis": "cp932", '"utf-8"': "utf-8"}.get(charset, charset))
    head = f"Content-Type: text/plain; charset={charset}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n"
    assert body(head.encode() + _encoded(data, encoding))["plain"] == text


def _encoded(data: bytes, encoding: str) -> bytes:
    match encoding:
        case "base64":
            return b64encode(data)
        case "quoted-printable":
            return "".join(f"={byte:02X}" for byte in data).encode()
    return data


@pytest.mark.parametrize(
    ("charset", "data", "text"),
    [
        ("windows-1252", b"caf\xe9 \x80", "café €"),
        ("iso-8859-1", b"caf\xe9 \x93x\x94", "café “x”"),
        ("us-ascii", "障害".encode(), "障害"),
        ("utf-8", b"caf\xe9", "caf\\xe9"),
        ("shift_jis", "①㈱髙".encode("cp932"), "①㈱髙"),
        ("iso-2022-jp", b"\x1b$B\x2d\x21\x2d\x6a>c\x1b(B ok \x1b(I12\x1b(B", "①㈱障 ok ｱｲ"),
        ("euc-jp", b"\xad\xa1\xbe\xe3\x8e\xb1 ok", "①障ｱ ok"),
        ("iso-2022-jp", b"\x1b$B\xff\xff\x1b(B", "\\xff\\xff"),
        ("gb2312", "镕".encode("gbk"), "镕"),
        ("x-unknown", "障害".encode(), "障害"),
        ("x-unknown", b"caf\xe9 \x81", "café \\x81"),
        ("zip", b"x", "x"),
        ("punycode", b"caf-dma", "caf-dma"),
        ("utf-7", b"+2AA-", "\\ud800"),
        ("utf\0-8", b"x", "x"),
    ],
)
def test_nothing_of_a_body_is_dropped_whatever_its_charset_claims(
    charset: str, data: bytes, text: str
) -> None:
    source = f"Content-Type: text/plain; charset={charset}\r\n\r\n".encode() + data
    assert body(source)["plain"] == text


@pytest.mark.parametrize("charset", ["utf-8", "iso-2022-jp", "euc-jp", "shift_jis"])
@pytest.mark.parametrize("length", range(4))
def test_a_cut_in_the_middle_of_a_character_garbles_nothing(charset: str, length: int) -> None:
    head = f"Content-Type: text/plain; charset={charset}\r\nX: {'x' * length}\r\n\r\n".encode()
    whole = head + ("障害\r\n" * 300_000).encode(charset)
    texts = body(whole[:MAX_SOURCE_BYTES], size_bytes=len(whole))
    assert set(texts["plain"].partition("[")[0]) == set("障害\r\n")
    assert set(texts["raw"].partition("[")[0]) == set("障害\r\n")
