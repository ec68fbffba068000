"""Hide secrets in what is shown or recorded, in every form in which a request or an answer may carry them (S3).

A secret is found whatever the case of its letters; as it is; as JSON, URLs, forms and HTML write it, also one within
the other; and within base64. What is searched may be large: it is read in place and yielded piece by piece.
"""

import re
from base64 import b64encode
from collections.abc import Iterable, Iterator
from mmap import mmap

from oase_agent.model import MASK, Secret

# A shorter text occurs everywhere: hiding it would hide the report. What is shown of a request does not rely on
# this, because it is rendered without the secrets in the first place.
SHORTEST = 4
# JSON has no number of asterisks: where a secret of digits is hidden in a document, it stays a document.
_MASKED_DIGITS = b"9" * len(MASK)
_PIECE_BYTES = 256 * 1024
# Writers put these before a character; a text within a text within a text has eight of them at most.
_BACKSLASHES = rb"\\{0,8}"
# HTML within HTML, and within a URL.
_ENTITY = rb"(?:&|%%26)(?:amp(?:;|%%3[Bb]))?%b(?:;|%%3[Bb])"
_NAMED_ENTITIES = {"&": b"amp", "<": b"lt", ">": b"gt", '"': b"quot", "'": b"apos"}
# In base64, this many leading characters still hold bits of the 0, 1 or 2 bytes before the secret.
_FOREIGN_CHARACTERS = (0, 2, 3)
# The two digits that are no letters have others in URLs, and are escaped there and in JSON.
_IN_BASE64 = {ord("+"): rb"(?:[+-]|%2[Bb])", ord("/"): rb"(?:\\{0,8}/|_|%2[Ff])"}


class Masker:
    """Replaces secrets by the mask; those of fewer than 4 characters are not looked for."""

    def __init__(self, secrets: Iterable[Secret]) -> None:
        self._texts = frozenset(text for secret in secrets if len(text := secret.reveal()) >= SHORTEST)
        # Longest first: a secret may be a part of another one.
        in_order = sorted(self._texts, key=lambda text: (-len(text), text))
        forms = [form for text in in_order for form in (_written(text), *_in_base64(text))]
        self._pattern = re.compile(b"|".join(forms)) if forms else None

    def and_also(self, secrets: Iterable[Secret]) -> "Masker":
        """Return a masker of these secrets, too."""
        more = [secret for secret in secrets if secret.reveal() not in self._texts]
        return Masker([*map(Secret, self._texts), *more]) if more else self

    def mask(self, text: str) -> str:
        """Return `text` without secrets."""
        if self._pattern is None:
            return text
        masked = self._pattern.sub(MASK.encode(), text.encode("utf-8", "surrogatepass"))
        return masked.decode("utf-8", "replace")

    def masked(self, data: bytes | mmap) -> Iterator[bytes]:
        """Yield a document without secrets, in pieces of at most 256 KiB."""
        position = 0
        for match in () if self._pattern is None else self._pattern.finditer(data):
            yield from _pieces(data, position, match.start())
            yield _MASKED_DIGITS if match[0].isdigit() else MASK.encode()
            position = match.end()
        yield from _pieces(data, position, len(data))


def _pieces(data: bytes | mmap, start: int, end: int) -> Iterator[bytes]:
    for position in range(start, end, _PIECE_BYTES):
        yield data[position : min(position + _PIECE_BYTES, end)]


def _written(text: str) -> bytes:
    """Return the pattern of a text in every notation; backslashes before it go with it: one must not be left."""
    return _BACKSLASHES + b"".join(map(_character, text))


def _character(character: str) -> bytes:
    plain = _in_any_case(character.encode("utf-8", "surrogatepass"))
    if character.isascii() and character.isalnum():
        return plain  # nobody escapes these, and they make up most of the long secrets
    cases = sorted({character, character.lower(), character.upper()})
    return b"(?:%b)" % b"|".join(form for case in cases for form in _notations(case))


def _notations(text: str) -> Iterator[bytes]:
    """Yield the patterns of one character, whose upper case may be two."""
    data, units = text.encode("utf-8", "surrogatepass"), text.encode("utf-16-be", "surrogatepass")
    yield _BACKSLASHES + _in_any_case(data)
    yield b"".join(
        rb"\\{1,8}u" + _in_any_case(units[at : at + 2].hex().encode()) for at in range(0, len(units), 2)
    )
    yield b"".join(rb"%(?:25){0,2}" + _in_any_case(b"%02x" % byte) for byte in data)
    numbers = [(ord(character), _in_any_case(b"%x" % ord(character))) for character in text]
    yield b"".join(_ENTITY % (rb"(?:#|%%23)(?:0{0,4}%d|[xX]0{0,4}%b)" % number) for number in numbers)
    if text == " ":
        yield rb"\+"
    if text in _NAMED_ENTITIES:
        yield _ENTITY % _NAMED_ENTITIES[text]
    if len(text) == 1 and 0x80 <= ord(text) <= 0xFF:
        yield re.escape(bytes([ord(text)]))


def _in_any_case(text: bytes) -> bytes:
    return b"".join(
        b"[%c%c]" % (letter | 0x20, letter & ~0x20)
        if (letter | 0x20) in range(0x61, 0x7B)
        else re.escape(bytes([letter]))
        for letter in text
    )


def _in_base64(text: str) -> Iterator[bytes]:
    """Yield what base64 makes of `text` wherever it stands in what is encoded, such as after `user:`."""
    data = text.encode("utf-8", "replace")
    for before, foreign in enumerate(_FOREIGN_CHARACTERS):
        encoded = b64encode(bytes(before) + data)
        sure = encoded[foreign : (before + len(data)) * 8 // 6]
        yield b"".join(_IN_BASE64.get(digit, bytes([digit])) for digit in sure)
