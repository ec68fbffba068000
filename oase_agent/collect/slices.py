"""A list of any length, element by element, in the memory of a few hundred of them.

msgspec finds the list in the answer and checks the grammar without building anything. The text of the list is then
cut into windows that end between two elements, and orjson parses one window at a time.
"""

import functools
import re
from collections.abc import Iterator
from typing import Any, Final, cast

import msgspec
import orjson

from oase_agent.collect.documents import Body, parse_patiently, too_large
from oase_agent.collect.unstorable import MAX_NESTING, may_hold_unstorable

# Large enough that the work per window does not count, small enough that its objects stay in the CPU's cache.
SLICE_BYTES: Final = 256 * 1024
SLICE_ELEMENTS: Final = 1000

_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_LIST_START: Final = ord("[")
_COMMA: Final = ord(",")
_OPENING: Final = b"{["
_BLANKS: Final = b" \t\r\n"

# orjson refuses text nested deeper than 1,024 levels. In this many brackets more, that leaves an element one level
# less than it may have (it may still be wrapped), so that deep nesting shows without a look at every bracket. With
# another limit in orjson nothing would be accepted wrongly: the patient parser reads what orjson refuses, and
# orjson writes 254 levels at most.
_DEPTH: Final = 1024 - MAX_NESTING
_DEPTH_OPEN: Final = b"[" * (_DEPTH + 1)
_DEPTH_CLOSE: Final = b"]" * (_DEPTH + 1)

# The start of an object up to its first colon: `{"eventid":`. Most lists repeat it in every element.
_HEAD: Final = re.compile(rb'[ \t\r\n]*(\{[ \t\r\n]*"(?:[^"\\]|\\.)*"[ \t\r\n]*:)')
_HEAD_MAX_BYTES: Final = 1024
_STRING: Final = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
# Everything up to the next bracket outside strings. Nothing in it is ever given back, so a match is linear.
_TO_BRACKET: Final = re.compile(rb'(?:[^"\[\]{}]++|' + _STRING + rb")*+[\[\]{}]", re.DOTALL)
# A whole string, a comma, a bracket, or the start of a string that the window cuts off.
_TOKEN: Final = re.compile(_STRING + rb'|[,\[\]{}"]', re.DOTALL)


def find_list(body: Body, path: tuple[str, ...]) -> memoryview | None:
    """Return the JSON text of the list that a plain path selects, or None when there is none.

    None also stands for an answer that is not strict JSON: reading it as one document tells what it is. An empty
    `path` selects the answer itself. The view keeps `body` from being closed: release it. UTF-8 is not checked.
    """
    shape, names = _shape(path)
    strict: Body | memoryview = memoryview(body)[3:] if body[:3] == _BYTE_ORDER_MARK else body
    try:
        found = msgspec.json.decode(strict, type=shape)
    except (msgspec.DecodeError, RecursionError):
        return None
    for _ in range(names):
        if found is msgspec.UNSET:
            return None
        found = found.value
    if found is msgspec.UNSET:
        return None
    text = memoryview(found)
    if text[0] == _LIST_START:
        return text
    text.release()
    return None


def read_slices(
    text: memoryview, *, slice_bytes: int = SLICE_BYTES, max_element_bytes: int
) -> Iterator[tuple[list[Any], bool]]:
    """Yield the elements of a list in order, some at a time, and whether they must be looked at closely.

    `text` is the valid JSON text of a list, brackets included. A slice has at most 1,000 elements and about
    `slice_bytes` of the text, or one element that is longer. The flag is False when no element can hold a value
    that the workspace refuses. Raises SourceUnavailable: Reason.TOO_LARGE for an element beyond both
    `slice_bytes` and `max_element_bytes`, Reason.NOT_JSON for bytes that are not UTF-8; RecursionError for deep
    nesting.
    """
    start, end = 1, len(text) - 1
    match = _HEAD.match(bytes(text[start : start + _HEAD_MAX_BYTES]))
    head = match[1] if match else None
    window_bytes = slice_bytes
    while start < end:
        window = bytes(text[start : min(start + window_bytes, end)])
        taken = _take(window, head, start, is_last=start + window_bytes >= end)
        if taken is None:
            if window_bytes >= max_element_bytes:
                raise too_large(f"One element of the list has over {window_bytes} bytes", max_element_bytes)
            window_bytes *= 2
            continue
        elements, suspicious, used = taken
        while elements:
            # Passed on without a name here: labels outweigh small elements many times, the caller must be able
            # to let go of them.
            yield elements[:SLICE_ELEMENTS], suspicious
            del elements[:SLICE_ELEMENTS]
        start += used + 1  # one more for the comma
        window_bytes = slice_bytes


def _take(
    window: bytes, head: bytes | None, start: int, *, is_last: bool
) -> tuple[list[Any], bool, int] | None:
    """Parse the whole elements at the start of a window: these, the flag, and the bytes they use.

    None when the first element is longer than the window.
    """
    cut = len(window) if is_last else _guess_cut(window, head)
    if cut > 0:
        taken = _parse(window, cut, start, patient=is_last)
        if taken is not None:
            return taken
    cut = _exact_cut(window)
    return _parse(window, cut, start, patient=True) if cut > 0 else None


def _parse(window: bytes, cut: int, start: int, *, patient: bool) -> tuple[list[Any], bool, int] | None:
    """Parse a window up to `cut`; None when that fails and `patient` does not insist.

    In a valid list, a beginning that parses as a list of its own can only end between two elements. So a success
    proves a guess, and a failure says that the guess was wrong or that only the patient parser reads the values.
    """
    text = window[:cut]
    elements = None if may_hold_unstorable(text) else _parse_strictly(text)
    if elements is not None:
        return elements, False, cut
    if not patient:
        return None
    return parse_patiently(b"[" + text + b"]", offset=start - 1, whole="the list of events"), True, cut


def _parse_strictly(text: bytes) -> list[Any] | None:
    """Parse elements with orjson; None when it refuses them, or when one is nested too deep."""
    try:
        elements = orjson.loads(_DEPTH_OPEN + text + _DEPTH_CLOSE)
    except orjson.JSONDecodeError:
        return None
    for _ in range(_DEPTH):
        elements = elements[0]
    return cast("list[Any]", elements)


def _guess_cut(window: bytes, head: bytes | None) -> int:
    """Return where the last comma before an element like the first one seems to stand, or -1."""
    return window.rfind(b",") if head is None else _comma_before(window, window.rfind(head))


def _exact_cut(window: bytes) -> int:
    """Return where the last comma between two elements stands, or -1. Far slower than a good guess."""
    at = depth = opened = closed = 0
    while found := _TO_BRACKET.match(window, at):
        at = found.end()
        if window[at - 1] in _OPENING:
            if depth == 0:
                opened = at - 1
            depth += 1
        else:
            depth -= 1
            if depth == 0:
                closed = at
    cut = _comma_before(window, opened)
    for token in _TOKEN.finditer(window, closed):
        mark = token[0]
        if mark == b",":
            cut = token.start()
        elif len(mark) == 1:
            break  # an element, or a string, that the window cuts off
    return cut


def _comma_before(window: bytes, at: int) -> int:
    """Return the place of the comma right before `at`, blanks aside, or -1."""
    at -= 1
    while at > 0 and window[at] in _BLANKS:
        at -= 1
    return at if at > 0 and window[at] == _COMMA else -1


@functools.lru_cache(maxsize=1024)
def _shape(path: tuple[str, ...]) -> tuple[Any, int]:
    """Build the types that lead msgspec along a path; kept, because every class made leaves cyclic garbage."""
    shape: Any = msgspec.Raw
    for name in reversed(path):
        fields = [("value", shape | msgspec.UnsetType, msgspec.UNSET)]
        shape = msgspec.defstruct("Level", fields, rename={"value": name}, gc=False)
    return shape, len(path)
