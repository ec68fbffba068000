"""A list of any length, element by element, in the memory of a few hundred of them.

msgspec finds the list in the answer and checks the grammar without building anything. The text of the list is then
cut into windows that end between two elements, and orjson parses one window at a time.
"""

import re
from collections.abc import Iterator
from typing import Any, Final, cast

import msgspec
import orjson

from oase_agent.collect.documents import Body, parse_patiently, too_large
from oase_agent.collect.unstorable import MAX_NESTING, may_hold_unstorable
from oase_agent.sources.raw_json import find_raw

# Large enough that the work per window does not count, small enough that its objects stay in the CPU's cache. A
# little below 256 KiB, so that a quarter of it, which the glance at it takes, is no large block (cli/memory.py).
SLICE_BYTES: Final = 250 * 1024
SLICE_ELEMENTS: Final = 1000

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
_DEPTH_BYTES: Final = len(_DEPTH_OPEN)

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
    try:
        found = find_raw(body, path)
    except (msgspec.DecodeError, RecursionError):
        return None
    if found is None:
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
    usual = window = _Window(min(slice_bytes, end - start))
    while start < end:
        # Released at once, whatever happens: what remembers it, an error even, would keep the answer open.
        with text[start : min(start + window.size_bytes, end)] as part:
            taken = _take(window, part, head, start, is_last=start + len(part) == end)
        if taken is None:
            if window.size_bytes >= max_element_bytes:
                raise too_large(
                    f"One element of the list has over {window.size_bytes} bytes", max_element_bytes
                )
            window = _Window(window.size_bytes * 2)
            continue
        elements, suspicious, used = taken
        while elements:
            # Passed on without a name here: labels outweigh small elements many times, the caller must be able
            # to let go of them.
            yield elements[:SLICE_ELEMENTS], suspicious
            del elements[:SLICE_ELEMENTS]
        start += used + 1  # one more for the comma
        window = usual


class _Window:
    """Text that is looked at, between brackets, in memory that is used again.

    Blocks of this size are new pages from the kernel each time (see cli/memory.py): three copies of the text would
    cost as much as parsing it.
    """

    __slots__ = ("_buffer", "_view", "size_bytes")

    def __init__(self, size_bytes: int) -> None:
        self.size_bytes = size_bytes
        self._buffer = bytearray(size_bytes + 2 * _DEPTH_BYTES)
        self._view = memoryview(self._buffer)
        self._view[:_DEPTH_BYTES] = _DEPTH_OPEN

    def load(self, part: memoryview) -> None:
        """Take another part of the text."""
        self._view[_DEPTH_BYTES : _DEPTH_BYTES + len(part)] = part

    def guess_cut(self, length: int, head: bytes | None) -> int:
        """Return where the last comma before an element like the first one seems to stand, or less than 1."""
        text, end = self._buffer, _DEPTH_BYTES + length
        if head is None:
            return text.rfind(b",", _DEPTH_BYTES, end) - _DEPTH_BYTES
        return _comma_before(text, text.rfind(head, _DEPTH_BYTES, end)) - _DEPTH_BYTES

    def parse(self, cut: int) -> list[Any] | None:
        """Parse the elements up to `cut`, whatever follows: it is overwritten.

        None when they may hold values that the workspace refuses, when orjson refuses them, or when one is nested
        too deep.
        """
        end = _DEPTH_BYTES + cut
        if may_hold_unstorable(self._buffer, _DEPTH_BYTES, end):
            return None
        self._view[end : end + _DEPTH_BYTES] = _DEPTH_CLOSE
        try:
            elements = orjson.loads(self._view[: end + _DEPTH_BYTES])
        except orjson.JSONDecodeError:
            return None
        for _ in range(_DEPTH):
            elements = elements[0]
        return cast("list[Any]", elements)


def _take(
    window: _Window, part: memoryview, head: bytes | None, start: int, *, is_last: bool
) -> tuple[list[Any], bool, int] | None:
    """Parse the whole elements at the start of a part: these, the flag, and the bytes they use.

    None when the first element is longer than the part. In a valid list, a beginning that parses as a list of its
    own can only end between two elements. So a success proves a guess, and a failure says that the guess was wrong
    or that only the patient parser reads the values.
    """
    window.load(part)
    cut = len(part) if is_last else window.guess_cut(len(part), head)
    if cut > 0:
        elements = window.parse(cut)
        if elements is not None:
            return elements, False, cut
    text = bytes(part)
    if not is_last:
        cut = _exact_cut(text)
        if cut <= 0:
            return None
        window.load(part)
        elements = window.parse(cut)
        if elements is not None:
            return elements, False, cut
    whole = b"[" + text[:cut] + b"]"
    return parse_patiently(whole, offset=start - 1, whole="the list of events"), True, cut


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


def _comma_before(window: bytes | bytearray, at: int) -> int:
    """Return the place of the comma right before `at`, blanks aside, or -1."""
    at -= 1
    while at > 0 and window[at] in _BLANKS:
        at -= 1
    return at if at > 0 and window[at] == _COMMA else -1
