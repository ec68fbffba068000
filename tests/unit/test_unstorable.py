"""Values that the workspace refuses are found exactly, and cost nothing where there are none."""

import json
from typing import Any

import pytest

from oase_agent.collect.expressions import compile_expression
from oase_agent.collect.extract import ExtractedSlice, ExtractionRules, Labels, RefusedEvent, extract_events
from oase_agent.collect.unstorable import MAX_NESTING, HugeInteger, find_unstorable, may_hold_unstorable

LABELS = Labels("setting a", "id-a", 1_700_000_000, 1_700_003_600)
RULES = ExtractionRules(
    compile_expression("result", column="RESPONSE_KEY"), compile_expression("id", column="EVENT_ID_KEY"), True
)

INTEGER = "it has an integer beyond signed 64 bit"
FINITE = "it has a number that is not finite (NaN, Infinity or too large)"
SURROGATE = "it has a lone surrogate in a text"
SURROGATE_NAME = "it has a lone surrogate in a field name"
NUL_NAME = "it has a NUL character in a field name"
NESTED = f"it is nested deeper than {MAX_NESTING} levels"


def nested(levels: int) -> Any:
    value: Any = {}
    for _ in range(levels - 1):
        value = {"a": value}
    return value


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (
            {
                "a": 2**63 - 1,
                "b": -(2**63),
                "c": True,
                "d": None,
                "e": 1e308,
                "f": "\0",
                "": 1,
                "$x.y": "é\U0001f600",
            },
            None,
        ),
        ({"a": 2**63}, INTEGER),
        ({"a": [{"b": -(2**63) - 1}]}, INTEGER),
        ({"a": HugeInteger("9" * 5000)}, INTEGER),
        ({"a": float("nan")}, FINITE),
        ([[float("-inf")]], FINITE),
        ({"a": "x\ud800"}, SURROGATE),
        (["\udfff"], SURROGATE),
        ({"x\udc00": 1}, SURROGATE_NAME),
        ({"a": {"b\0": 1}}, NUL_NAME),
        (nested(MAX_NESTING), None),
        (nested(MAX_NESTING + 1), NESTED),
        (nested(100_000), NESTED),
    ],
)
def test_the_walk_names_what_the_workspace_refuses(value: Any, why: str | None) -> None:
    assert find_unstorable(value) == why


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b'{"ns":1700000000123456789,"old":-1700000000123456789}', False),
        (b"[9219999999999999999]", False),
        (b"[9223372036854775808]", True),
        (b"[-9223372036854775809]", True),
        (b"[10000000000000000000]", True),
        (b"[18446744073709551616]", True),
        (b"[0.1234567890123456]", False),
        (b'{"a\\u0000b":1}', True),
        (b'{"a\\n\\u00e9":1}', False),
    ],
)
def test_the_glance_at_the_raw_text_never_misses_and_passes_nanoseconds(text: bytes, expected: bool) -> None:
    assert may_hold_unstorable(text) is expected


@pytest.mark.parametrize("offset", range(8))
def test_the_glance_finds_an_integer_wherever_it_stands(offset: int) -> None:
    assert may_hold_unstorable(b" " * offset + b"[9223372036854775808]")
    assert not may_hold_unstorable(b" " * offset + b"[9123372036854775808]")


def extract(
    body: bytes, asked: list[str] | None = None, rules: ExtractionRules = RULES
) -> list[ExtractedSlice]:
    def is_new(event_id: str) -> bool:
        if asked is not None:
            asked.append(event_id)
        return True

    return list(
        extract_events(body, rules, LABELS, first_serial=1, is_new=is_new, whole_document_max_bytes=1 << 20)
    )


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (b'"v":123456789012345678901234567890', INTEGER),
        (b'"v":18446744073709551615', INTEGER),
        (b'"v":' + b"9" * 5000, INTEGER),
        (b'"v":NaN', FINITE),
        (b'"v":[-Infinity]', FINITE),
        (b'"v":1e400', FINITE),
        (b'"v":"\\ud800"', SURROGATE),
        (b'"v":{"\\udc00":1}', SURROGATE_NAME),
        (b'"v\\u0000":1', NUL_NAME),
        (b'"v":' + b'{"a":' * 100 + b"1" + b"}" * 100, NESTED),
        (b'"v":' + b"[" * 300 + b"]" * 300, NESTED),
    ],
)
def test_an_unstorable_value_sets_aside_its_event_and_no_other(bad: bytes, why: str) -> None:
    body = b'{"result":[{"id":"1","v":1},{"id":"2",' + bad + b'},{"id":"3","v":1.5}]}'
    asked: list[str] = []
    (only,) = extract(body, asked)
    assert [json.loads(event)["_exastro_oase_event_id"] for event in only.events] == ["1", "3"]
    (refused,) = only.refused
    assert refused.why == why
    assert refused.text.isascii()
    assert json.loads(refused.text)["_exastro_oase_event_id"] == "2"
    assert json.loads(refused.text)["_exastro_end_time"] == 1_700_003_600
    assert asked == ["1", "2", "3"]


def test_an_integer_of_any_length_is_kept_digit_by_digit() -> None:
    digits = "123456789012345678901234567890"
    (only,) = extract(b'{"result":[{"id":' + digits.encode() + b"}]}")
    assert only.refused == [RefusedEvent(only.refused[0].text, INTEGER)]
    assert f'"id": {digits}' in only.refused[0].text
    (longer,) = extract(b'{"result":[{"id":' + b"9" * 5000 + b"}]}")
    assert f'"id": "{"9" * 5000}"' in longer.refused[0].text


def test_an_id_with_a_lone_surrogate_is_asked_for_in_a_form_that_a_file_can_hold() -> None:
    asked: list[str] = []
    (only,) = extract(b'{"result":[{"id":"x\\ud800"}]}', asked)
    assert asked == ["x\\ud800"]
    assert only.events == []
    assert only.refused[0].why == SURROGATE


def test_an_expression_that_makes_an_infinity_sets_its_event_aside() -> None:
    rules = ExtractionRules(compile_expression("r[].{n: to_number(n)}", column="RESPONSE_KEY"), None, True)
    (only,) = extract(b'{"r":[{"n":"1e400"},{"n":"5"}]}', rules=rules)
    assert [json.loads(event)["n"] for event in only.events] == [5]
    assert [refused.why for refused in only.refused] == [FINITE]
