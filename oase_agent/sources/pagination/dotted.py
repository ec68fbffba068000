"""What stands at a dotted path of a JSON document, without building the rest of it.

    next            links.next            "@odata.nextLink"            meta."next.token"

Names are joined by dots; one that holds a dot, a blank or a quotation mark stands in quotation marks, as a JSON text.
"""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from mmap import mmap
from typing import Any, Final

import msgspec

from oase_agent.errors import Reason, SourceUnavailable
from oase_agent.sources.raw_json import find_raw

# A document that is not strict JSON (NaN, halves of surrogate pairs, UTF-16) is built as a whole up to this size.
_LENIENT_MAX_BYTES: Final = 8 * 1024 * 1024

_QUOTED: Final = r'"(?:[^"\\]|\\.)*"'
_NAME: Final = re.compile(rf'\s*({_QUOTED}|[^\s."]+)\s*(\.|$)')

_STRING: Final = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'


def _containers(levels: int) -> bytes:
    """Return the pattern of an object or a list with so many levels. It gives nothing back: matching is linear."""
    inner = b"|" + _containers(levels - 1) if levels > 1 else b""
    return rb'[\[{](?:[^"\[\]{}]++|' + _STRING + inner + rb")*+[\]}]"


# Most elements of a list are one token; what is nested deeper falls apart into brackets and the rest.
_TOKEN: Final = re.compile(_containers(4) + b"|" + _STRING + rb"|[,\[\]{}]", re.DOTALL)
_EMPTY_LIST: Final = re.compile(rb"\[[ \t\r\n]*+\]")
_COMMA: Final = ord(",")
_OPENING: Final = b"[{"


def parse_path(text: str) -> tuple[str, ...]:
    """Return the names of a dotted path. Raises ValueError, with the end of a sentence, for a text that is none."""
    names: list[str] = []
    at = 0
    while match := _NAME.match(text, at):
        name, dot = match.groups()
        names.append(_unquoted(name))
        at = match.end()
        if not dot:
            return tuple(names)
    raise ValueError(_NO_PATH)


@contextmanager
def text_at(content: bytes | mmap, path: tuple[str, ...]) -> Iterator[memoryview | None]:
    """Give the JSON text of what a path selects, or None when there is nothing; an empty path selects everything.

    Raises SourceUnavailable with Reason.NOT_JSON for content that is no JSON document.
    """
    found = _raw_at(content, path)
    if found is None:
        yield None
        return
    with memoryview(found) as text:
        yield text


def is_one_of(text: memoryview, *others: bytes) -> bool:
    """Tell whether a short JSON text is one of some."""
    return len(text) <= max(map(len, others)) and text.tobytes() in others


def count_elements(text: memoryview) -> int | None:
    """Return how many elements a list has, whose valid JSON text is given; None for what is no list.

    Nothing is built: a list may have a hundred million elements.
    """
    if text[0] != ord("["):
        return None
    if _EMPTY_LIST.fullmatch(text):
        return 0
    depth = commas = 0
    for token in _TOKEN.finditer(text, 1, len(text) - 1):
        start = token.start()
        if token.end() - start > 1:
            continue
        mark = text[start]
        if mark == _COMMA:
            commas += depth == 0
        else:
            depth += 1 if mark in _OPENING else -1
    return commas + 1


_NO_PATH: Final = 'is not a dotted path such as links.next or "@odata.nextLink"'


def _unquoted(name: str) -> str:
    if not name.startswith('"'):
        return name
    try:
        return str(json.loads(name))
    except ValueError as error:
        raise ValueError(_NO_PATH) from error


def _raw_at(content: bytes | mmap, path: tuple[str, ...]) -> Any:
    """Return something with the buffer of the JSON text at `path`, or None."""
    try:
        return find_raw(content, path)
    except msgspec.ValidationError:
        return None  # the path leads through something that is no object
    except (msgspec.DecodeError, RecursionError):
        return _patiently_at(content, path)


def _patiently_at(content: bytes | mmap, path: tuple[str, ...]) -> bytes | None:
    """Do the same with the standard library, which reads more than strict JSON."""
    if len(content) > _LENIENT_MAX_BYTES:
        raise _not_json()
    try:
        found = json.loads(content[:])
        for name in path:
            if not isinstance(found, dict) or name not in found:
                return None
            found = found[name]
        return json.dumps(found).encode("ascii")
    except (ValueError, RecursionError) as error:
        raise _not_json() from error


def _not_json() -> SourceUnavailable:
    return SourceUnavailable(
        "The source did not answer with JSON, so that the place of the next page cannot be read from it. Check URL, "
        "credentials and what the source sends.",
        Reason.NOT_JSON,
    )
