"""Cutting a list of any length between its elements, and the lifetime of a mapped answer."""

import json
import mmap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from oase_agent.collect.slices import SLICE_ELEMENTS, find_list, read_slices
from oase_agent.collect.unstorable import MAX_NESTING
from oase_agent.errors import Reason, SourceUnavailable

LARGE = 1 << 20


def found(body: bytes, *path: str) -> bytes | None:
    text = find_list(body, path)
    return None if text is None else bytes(text)


def slices(body: bytes, slice_bytes: int, max_element_bytes: int = LARGE) -> list[tuple[list[Any], bool]]:
    text = find_list(body, ())
    assert text is not None
    return list(read_slices(text, slice_bytes=slice_bytes, max_element_bytes=max_element_bytes))


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("body", "path", "expected"),
    [
        (b' { "x": [0], "result" : [1, {"a":2}] , "y":1 } ', ("result",), b'[1, {"a":2}]'),
        (b" [1] \n", (), b"[1]"),
        (b"\xef\xbb\xbf[1]", (), b"[1]"),
        (b'{"a":{"b":{"c":[1]}}}', ("a", "b", "c"), b"[1]"),
        (b'{"a":[1],"a":[2]}', ("a",), b"[2]"),
        (b'{"a":{"b":[1]},"a":{}}', ("a", "b"), None),
        (b'{"\\u0061":[1]}', ("a",), b"[1]"),
        (b'{"a":{}}', ("a",), None),
        (b'{"a":null}', ("a",), None),
        (b'{"a":null}', ("a", "b"), None),
        (b"{}", ("a",), None),
        (b"[]", ("a",), None),
        (b'{"a":[NaN]}', ("a",), None),
        (b'{"a":[1]', ("a",), None),
        (b"", (), None),
        (b"[" * 100_000, (), None),
    ],
)
def test_a_list_is_found_under_a_plain_path(
    body: bytes, path: tuple[str, ...], expected: bytes | None
) -> None:
    assert found(body, *path) == expected


ALIKE = [{"id": number, "text": "x" * 20} for number in range(50)]
LISTS: dict[str, list[Any]] = {
    "empty": [],
    "one": [1],
    "alike": ALIKE,
    "numbers": list(range(200)),
    "texts with structure": ['],[{"', '\\"', "},{", ",", "\\"] * 20,
    "inner objects that look like elements": [{"id": 1, "parts": [{"id": 2}, {"id": 3}]}] * 20,
    "texts that look like elements": [{"id": ',{"id":1},{"id":'}] * 20,
    "heads that never repeat": [{f"k{number}": [number, {"a": [number]}]} for number in range(50)],
    "an element far longer than a slice": [{"id": 1}, {"id": "y" * 900}, {"id": 3}],
    "all kinds": [None, True, 1.5, "", [], {}, [[]], [{"a": {}}], {"b": "c"}] * 6,
    "integers beyond 64 bit": [{"id": 2**63 - 1}, {"id": 2**63}, {"id": 10**40}] * 6,
}


@pytest.mark.parametrize("slice_bytes", [1, 2, 7, 64, 500, LARGE])
@pytest.mark.parametrize(
    "dump", [json.dumps, lambda value: json.dumps(value, indent=3)], ids=["dense", "indented"]
)
@pytest.mark.parametrize("elements", LISTS.values(), ids=LISTS.keys())
def test_the_slices_add_up_to_the_list(
    elements: list[Any], dump: Callable[[Any], str], slice_bytes: int
) -> None:
    parts = slices(dump(elements).encode(), slice_bytes)
    assert [element for part, _ in parts for element in part] == elements
    assert all(part for part, _ in parts)


def test_a_slice_has_about_the_bytes_that_were_asked_for() -> None:
    parts = slices(json.dumps(ALIKE).encode(), 400)
    assert max(len(json.dumps(part)) for part, _ in parts) <= 402
    assert len(parts) < len(json.dumps(ALIKE)) / 300


def test_a_slice_has_at_most_a_thousand_elements() -> None:
    parts = slices(json.dumps([1] * 2500).encode(), LARGE)
    assert [len(part) for part, _ in parts] == [SLICE_ELEMENTS, SLICE_ELEMENTS, 500]


@pytest.mark.parametrize(
    ("element", "suspicious"),
    [
        ({"id": 1_700_000_000_123_456_789}, False),
        ({"id": 2**63 - 1}, True),
        ({"id": 10**30}, True),
        ({"a\0b": 1}, True),
        (1.5e-300, False),
        ({"a": "\U0001f600"}, False),
        (deep(MAX_NESTING - 1), False),
        (deep(MAX_NESTING), True),
        (deep(500), True),
    ],
)
def test_only_slices_with_something_odd_ask_for_a_closer_look(element: Any, suspicious: bool) -> None:
    body = json.dumps([element, *ALIKE]).encode()
    flags = [flag for _, flag in slices(body, 1200)]
    assert flags[0] is suspicious
    assert not any(flags[1:])


def test_a_number_too_large_for_a_float_is_kept_as_infinity_not_refused() -> None:
    assert slices(b"[1, 1e400, -1e400]", LARGE) == [([1, float("inf"), float("-inf")], True)]


def test_an_element_beyond_the_limit_is_refused_by_name_of_the_option() -> None:
    body = json.dumps([{"id": 1}, {"id": "y" * 5000}, {"id": 2}]).encode()
    with pytest.raises(SourceUnavailable, match="SOURCE_DOCUMENT_MAX_BYTES") as caught:
        slices(body, 100, max_element_bytes=2000)
    assert caught.value.reason is Reason.TOO_LARGE


@pytest.mark.parametrize(
    ("body", "first"),
    [
        (b'[{"a":1},{"b":2},{"c":3}]', [{"a": 1}]),
        (b'[{"a":1},5555,66666666666]', [{"a": 1}, 5555]),
        (b'[{"a":1},"b,[",{"c":[]}]', [{"a": 1}, "b,["]),
    ],
)
def test_a_window_is_cut_at_its_last_comma_between_elements(body: bytes, first: list[Any]) -> None:
    # 15 bytes end right after an element, within a number, or within a text; growing is not allowed here.
    parts = slices(body, 15, max_element_bytes=1)
    assert parts[0] == (first, False)
    assert [element for part, _ in parts for element in part] == json.loads(body)


def test_slices_are_small_again_after_a_long_element() -> None:
    body = json.dumps([{"id": "y" * 5000}, *ALIKE]).encode()
    assert max(len(json.dumps(part)) for part, _ in slices(body, 200)[1:]) <= 202


def test_bytes_that_are_no_text_are_told_by_position_in_the_list() -> None:
    body = b'["' + b"a" * 40 + b'","b\xff","c"]'
    with pytest.raises(SourceUnavailable, match=f"at byte {body.index(0xFF)}") as caught:
        slices(body, 20)
    assert caught.value.reason is Reason.NOT_JSON


def test_a_released_view_lets_a_mapped_answer_be_closed(tmp_path: Path) -> None:
    path = tmp_path / "answer"
    path.write_bytes(b'\xef\xbb\xbf{"result":[1,2]}')
    with path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    text = find_list(mapped, ("result",))
    assert text is not None
    with text:
        assert list(read_slices(text, max_element_bytes=LARGE)) == [([1, 2], False)]
    mapped.close()
