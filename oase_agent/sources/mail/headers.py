"""The headers of a mail as texts: encoded words decoded, addresses in the form of contract section 8. Pure.

Structure is read before encoded words are decoded, because a decoded name may hold a comma or a quote.
"""

import re
from collections.abc import Iterable
from datetime import UTC
from email.errors import MessageError
from email.header import decode_header
from email.utils import getaddresses, parsedate_to_datetime
from typing import Final

from oase_agent.sources.mail.charsets import decoded, storable

# What the parsers of the standard library raise for broken mail, documented or not.
PARSER_ERRORS: Final = (
    MessageError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    NameError,
    AssertionError,
    ArithmeticError,
    RecursionError,
)

# No honest header is longer, and parsing addresses takes time that grows faster than their number.
MAX_HEADER_CHARACTERS: Final = 64 * 1024
_CUT: Final = " [cut by the agent]"
_FOLD: Final = re.compile(r"\r?\n")


class Headers:
    """The headers of one mail by name, the case of which does not matter; values as they came (`raw_items`)."""

    def __init__(self, raw_items: Iterable[tuple[str, str]]) -> None:
        self._values: dict[str, list[str]] = {}
        for name, value in raw_items:
            self._values.setdefault(name.lower(), []).append(value)

    def __bool__(self) -> bool:
        return bool(self._values)

    def line(self, name: str) -> str:
        """Return the first header of that name on one line, encoded words as they are; empty if there is none."""
        values = self._values.get(name, [""])
        return _bounded(_one_line(values[0]))

    def text(self, name: str) -> str:
        """Return the first header of that name with its encoded words decoded (RFC 2047)."""
        return _words_decoded(self.line(name))

    def addresses(self, name: str) -> str:
        """Return all addresses of the headers of that name, joined by commas: `a@b` or `"Name"<a@b>`.

        What cannot be read as addresses comes as text.
        """
        whole = _bounded(", ".join(_one_line(value) for value in self._values.get(name, ())))
        if not whole:
            return ""
        try:
            found = getaddresses([whole])
        except PARSER_ERRORS:
            found = [("", "")]
        # This is how the library says that it does not trust what it read.
        if ("", "") in found:
            return _words_decoded(whole)
        return ",".join(_address(display_name, address) for display_name, address in found)

    def epoch_s(self, name: str) -> float | None:
        """Return the time of a header in epoch seconds, or None if it is missing or no date."""
        try:
            moment = parsedate_to_datetime(self.line(name))
            # "-0000" means UTC with nothing said about the place (RFC 5322, 3.3).
            return moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()
        except PARSER_ERRORS:
            return None


def _address(display_name: str, address: str) -> str:
    if not display_name:
        return address
    name = _words_decoded(display_name).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{name}"<{address}>'


def _one_line(value: str) -> str:
    """Unfold a header (RFC 5322, 2.2.3); bytes beyond ASCII come from the parser as halves of surrogate pairs."""
    line = _FOLD.sub("", value).strip()
    return line if line.isascii() else decoded(line.encode("utf-8", "surrogateescape"), None)


def _bounded(line: str) -> str:
    return line if len(line) <= MAX_HEADER_CHARACTERS else line[:MAX_HEADER_CHARACTERS] + _CUT


def _words_decoded(line: str) -> str:
    if "=?" not in line:
        return line
    try:
        pieces = decode_header(line)
    except PARSER_ERRORS:
        return line
    # What is in no encoding, whatever it says, comes out as nothing.
    return storable("".join(_piece(piece, charset) for piece, charset in pieces)) or line


def _piece(piece: bytes | str, charset: str | None) -> str:
    if isinstance(piece, str):
        return piece
    if charset is not None:
        return decoded(piece, charset)
    # What stands between encoded words comes in the form of Python's string literals.
    try:
        return piece.decode("raw-unicode-escape")
    except UnicodeError:
        return piece.decode("latin-1")
