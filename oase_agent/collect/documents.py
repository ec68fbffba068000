"""From the bytes of an answer to one parsed document: as fast as possible, as patient as needed.

Sources send more than strict JSON: NaN, integers of any length, halves of surrogate pairs, byte order marks,
UTF-16. The standard library reads all of that, and is the fallback wherever the fast parsers refuse or would
falsify a value. Both build the whole document in memory, so its size is limited.
"""

import json
import mmap
from typing import Any, Final

import msgspec
import orjson

from oase_agent.collect.unstorable import HugeInteger, may_hold_unstorable
from oase_agent.errors import Reason, SourceUnavailable

Body = bytes | mmap.mmap

# Python turns integers of up to 4,300 digits into text and back. Far below, so that sums stay below as well.
_MAX_DIGITS: Final = 1000

# Words that are no JSON, though the standard library reads them; a lone surrogate starts like any other escape.
_LENIENT_MARKS: Final = (b"NaN", b"Infinity", b"\\u")


def read_document(body: Body, *, max_bytes: int) -> Any:
    """Parse a whole answer.

    Raises SourceUnavailable with Reason.NOT_JSON when it is not JSON, with Reason.TOO_LARGE when it is longer than
    `max_bytes`, the option SOURCE_DOCUMENT_MAX_BYTES; RecursionError when it is nested too deep.
    """
    if len(body) > max_bytes:
        raise _refuse_large(body, max_bytes)
    text = bytes(body)
    if not may_hold_unstorable(text):
        try:
            return orjson.loads(text)
        except orjson.JSONDecodeError:
            pass  # the patient parser decides
    return parse_patiently(text)


def parse_patiently(text: bytes, *, offset: int = 0, whole: str = "the answer") -> Any:
    """Parse with the standard library: nothing is falsified, and the lenient forms are read.

    `offset` is the place of `text` within `whole`, for the error. Raises SourceUnavailable with Reason.NOT_JSON,
    telling the position and never the content; RecursionError when it is nested too deep.
    """
    try:
        return json.loads(text, parse_int=_integer)
    except UnicodeDecodeError as error:
        raise not_json(f"{whole} has bytes that are not text, at byte {offset + error.start}") from error
    except json.JSONDecodeError as error:
        raise not_json(f"{whole} is malformed at character {offset + error.pos}") from error


def not_json(what: str) -> SourceUnavailable:
    """Build the error for an answer that cannot be read; `what` carries no content of it."""
    return SourceUnavailable(
        f"The source did not answer with JSON: {what}. Check URL, credentials and what the source sends.",
        Reason.NOT_JSON,
    )


def too_large(what: str, max_bytes: int) -> SourceUnavailable:
    """Build the error for an answer that would need too much memory at once."""
    return SourceUnavailable(
        f"{what}, more than SOURCE_DOCUMENT_MAX_BYTES ({max_bytes}). Answers with RESPONSE_LIST_FLAG set and a "
        "plain dotted RESPONSE_KEY that selects a list are read piece by piece, however large: use such a "
        "RESPONSE_KEY, ask the source for less, or raise SOURCE_DOCUMENT_MAX_BYTES.",
        Reason.TOO_LARGE,
    )


def _refuse_large(body: Body, max_bytes: int) -> SourceUnavailable:
    """Tell a large document from a large something else, without building either."""
    error = too_large(f"The answer has {len(body)} bytes and must be read as one document", max_bytes)
    if json.detect_encoding(body[:4]) != "utf-8":
        return error
    try:
        msgspec.json.decode(body, type=msgspec.Raw)
    except msgspec.DecodeError:
        if not any(body.find(mark) >= 0 for mark in _LENIENT_MARKS):
            return not_json("the answer is malformed or cut off")
    return error


def _integer(digits: str) -> int | str:
    return int(digits) if len(digits) <= _MAX_DIGITS else HugeInteger(digits)
