"""ISO-2022-JP and EUC-JP as Japanese mailers really write them: with characters of vendors such as ① and ㈱.

The standard library's codecs hold to the standards, which lack those characters, and refuse the whole text. The
vendors' table is in its `cp932` codec, so the codes are moved over to that. Pure.
"""

import re
from typing import Final

_ESCAPE: Final = re.compile(rb"\x1b(\$[@B]|\([BJI])")
_DOUBLE: Final = re.compile(rb"[\x21-\x7e]{2}")
_DOUBLES: Final = re.compile(rb"(?:[\x21-\x7e]{2}|[\x00-\x20])*+")
_EUC: Final = re.compile(rb"(?:[\xa1-\xfe]{2})+|(?:\x8e[\xa1-\xdf])+|[\x00-\x7f]+")
_HIGH_OFF: Final = bytes(code & 0x7F for code in range(256))
_HIGH_ON: Final = bytes(code | 0x80 if 0x21 <= code <= 0x5F else code for code in range(256))


def decode_cp50221(data: bytes) -> str:
    """Decode ISO-2022-JP with the characters of vendors and half-width kana; raises UnicodeError."""
    pieces: list[str] = []
    mode, start = b"(B", 0
    for escape in (*_ESCAPE.finditer(data), None):
        pieces.append(_segment(mode, data[start : escape.start() if escape else None]))
        if escape:
            mode, start = escape[1], escape.end()
    return "".join(pieces)


def decode_cp51932(data: bytes) -> str:
    """Decode EUC-JP with the characters of vendors; raises UnicodeError."""
    pieces: list[str] = []
    start = 0
    while start < len(data):
        run = _EUC.match(data, start)
        if run is None:
            raise UnicodeDecodeError("cp51932", data[start : start + 1], 0, 1, "no character")
        text, start = run[0], run.end()
        if text[0] == 0x8E:
            pieces.append(text.replace(b"\x8e", b"").decode("cp932"))
        elif text[0] >= 0xA1:
            pieces.append(_double(text.translate(_HIGH_OFF)))
        else:
            pieces.append(text.decode("ascii"))
    return "".join(pieces)


def _segment(mode: bytes, text: bytes) -> str:
    if mode.startswith(b"$"):
        return _double(text)
    if mode == b"(I":
        return text.translate(_HIGH_ON).decode("cp932")
    return text.decode("ascii")


def _double(text: bytes) -> str:
    """Decode codes of two bytes (JIS X 0208), and line ends between them."""
    if not _DOUBLES.fullmatch(text):
        raise UnicodeDecodeError("cp50221", text[:1], 0, len(text[:1]), "no character")
    return _DOUBLE.sub(lambda code: _shifted(*code[0]), text).decode("cp932")


def _shifted(row: int, cell: int) -> bytes:
    """Return the Shift_JIS form of a code of JIS X 0208 (JIS X 0208:1997, annex 1)."""
    first = (row - 0x21 >> 1) + 0x81
    if first > 0x9F:
        first += 0x40
    if row % 2 == 0:
        return bytes((first, cell + 0x7E))
    return bytes((first, cell + (0x1F if cell < 0x60 else 0x20)))
