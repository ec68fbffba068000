r"""Bytes of a mail as text, whatever they claim to be: nothing is dropped, nothing raises. Pure.

Mails lie about their charset more often than not: what is declared is tried first, then what is usual, and what
still is no text stays readable as `\xNN`.
"""

import codecs
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Final

from oase_agent.sources.mail.japanese import decode_cp50221, decode_cp51932

# Codecs of Python that are no charset of mail: some are slow on hostile input, some yield halves of surrogate pairs.
_NOT_OF_MAIL: Final = frozenset(
    {"punycode", "idna", "unicode_escape", "raw_unicode_escape", "undefined", "mbcs", "oem", "charmap"}
)

# What senders mean: supersets that hold the characters of vendors, such as a circled digit in "shift_jis".
_SUPERSETS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "ascii": ("ascii", "utf-8", "cp1252"),
        "iso8859-1": ("cp1252", "latin-1"),  # as browsers read it (WHATWG Encoding)
        "shift_jis": ("cp932", "shift_jisx0213"),
        "cp932": ("cp932", "shift_jisx0213"),
        "iso2022_jp": ("iso2022_jp", "cp50221", "iso2022_jp_3"),
        "euc_jp": ("euc_jp", "cp51932", "euc_jisx0213"),
        "gb2312": ("gb18030",),
        "gbk": ("gb18030",),
        "big5": ("cp950", "big5hkscs"),
        "euc_kr": ("cp949",),
    }
)
# Names that Python does not know.
_ALIASES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "x-sjis": "cp932",
        "cp943c": "cp932",
        "windows-31j": "cp932",
        "cswindows31j": "cp932",
        "cp50220": "iso2022_jp",
        "cp50221": "iso2022_jp",
        "cp51932": "euc_jp",
        "eucjp-ms": "euc_jp",
        "x-euc-jp": "euc_jp",
        "unicode-1-1-utf-7": "utf-7",
        "iso-8859-8-i": "iso8859-8",
        "x-gbk": "gbk",
        "utf8mb4": "utf-8",
    }
)
_OURS: Final[Mapping[str, Callable[[bytes], str]]] = MappingProxyType(
    {"cp50221": decode_cp50221, "cp51932": decode_cp51932}
)
_STATEFUL: Final = frozenset({"iso2022_jp", "iso2022_kr", "hz", "utf-7"})
_LONGEST_CHARACTER: Final = 4
_SURROGATES: Final = re.compile("[\ud800-\udfff]")


def decoded(data: bytes, charset: str | None, *, is_cut: bool = False) -> str:
    r"""Return `data` as text that UTF-8 can write: by its declared charset, else as UTF-8, else by Windows-1252.

    Bytes that are no character anywhere become `\xNN`. Of a text that `is_cut` half a character at
    its end is left out.
    """
    codec = _codec(charset)
    for candidate in (*_candidates(codec), "utf-8"):
        text = _strictly(data, candidate, is_cut=is_cut)
        if text is not None:
            return storable(text)
    # Neither: some bytes are damaged. A charset that was declared and is known says best what the others are.
    return storable(data.decode(codec or "cp1252", "backslashreplace"))


def decoded_whole(data: bytes, charset: str | None, *, is_cut: bool = False) -> str:
    """Return a text that may have parts in several charsets, `charset` being the one of the first.

    UTF-8 comes first here, because single-byte charsets read everything and prove nothing.
    """
    codec = _codec(charset)
    for candidate in (*(_candidates(codec) if codec in _STATEFUL else ()), "utf-8"):
        text = _strictly(data, candidate, is_cut=is_cut)
        if text is not None:
            return storable(text)
    return decoded(data, charset, is_cut=is_cut)


def storable(text: str) -> str:
    r"""Return `text` without halves of surrogate pairs, which the workspace cannot store: they become `\udNNN`."""
    if text.isascii() or _SURROGATES.search(text) is None:
        return text
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _codec(charset: str | None) -> str | None:
    """Return Python's name of a declared charset, or None for one that is not known."""
    name = (
        (charset or "").partition("*")[0].strip().strip("\"'").lower()
    )  # a language may follow: RFC 2231, 5
    try:
        codec = codecs.lookup(_ALIASES.get(name, name))
    except (LookupError, ValueError):  # a NUL in the name
        return None
    is_text = getattr(codec, "_is_text_encoding", True)
    return codec.name if is_text and codec.name.replace("-", "_") not in _NOT_OF_MAIL else None


def _candidates(codec: str | None) -> tuple[str, ...]:
    return () if codec is None else _SUPERSETS.get(codec, (codec,))


def _strictly(data: bytes, codec: str, *, is_cut: bool) -> str | None:
    for missing in range(_LONGEST_CHARACTER if is_cut else 1):
        some = data[: len(data) - missing]
        with suppress(UnicodeError, LookupError):
            return _OURS[codec](some) if codec in _OURS else some.decode(codec)
    return None
