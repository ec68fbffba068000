"""The extraction agrees with a plain, slow reading of contract section 7, whatever sources send."""

import contextlib
import json
import math
from collections.abc import Iterator, Sequence
from typing import Any

import jmespath
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from oase_agent.collect.expressions import compile_expression
from oase_agent.collect.extract import ExtractedSlice, ExtractionRules, Labels, extract_events
from oase_agent.errors import AgentError

SERIAL = 1_700_000_000_000_000
LABELS = Labels("setting a", "id-a", 1_700_000_000, 1_700_003_600)
KNOWN = frozenset({"7", "None", "a", "0"})
FAST = settings(
    derandomize=True, max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)

NAMES = st.sampled_from(["id", "result", "a", "b", "_exastro_not_available", "é", "[", '"', "\\", "\0"])
STRICT_TEXTS = st.text(st.sampled_from('7a,[]{}":\\\n\0é\U0001f600'), max_size=6)
TEXTS = st.text(st.sampled_from('7a,[]{}":\\\n\0é\U0001f600\ud800\udc00'), max_size=6)
INTEGERS = st.integers(-5, 9) | st.sampled_from(
    [2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 2**64, 10**30, 1_700_000_000_123_456_789]
)


def values(texts: st.SearchStrategy[str], floats: st.SearchStrategy[float]) -> st.SearchStrategy[Any]:
    scalars = st.one_of(st.none(), st.booleans(), INTEGERS, floats, texts, st.just(""))
    return st.recursive(
        scalars,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES | texts, inner, max_size=4),
        max_leaves=12,
    )


def lists(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    alike = st.fixed_dictionaries({"id": inner, "a": inner})
    return st.lists(alike, max_size=8) | st.lists(
        st.dictionaries(NAMES, inner, max_size=4) | inner, max_size=8
    )


# Strict JSON takes the fast path; the wide sense of Python's json module sends the whole document to the slow one.
STRICT = values(STRICT_TEXTS, st.floats(allow_nan=False, allow_infinity=False))
VALUES = values(TEXTS, st.floats())
LISTS = lists(STRICT) | lists(VALUES)
DOCUMENTS = st.one_of(
    VALUES, LISTS, st.fixed_dictionaries({"result": LISTS}), st.fixed_dictionaries({"a": VALUES})
)
KEYS = st.sampled_from(
    [None, "result", "a", "a.b", " result ", "result[]", "result[*].a", "@", "[0]", "result[?a]"]
)
ID_KEYS = st.sampled_from([None, "id", "a.b", "a", "[id, a]", "id || a"])
RULES = st.builds(
    lambda key, id_key, response_is_list: ExtractionRules(
        None if key is None else compile_expression(key, column="RESPONSE_KEY"),
        None if id_key is None else compile_expression(id_key, column="EVENT_ID_KEY"),
        response_is_list,
    ),
    KEYS,
    ID_KEYS,
    st.booleans(),
)


def extract(body: bytes, rules: ExtractionRules, slice_bytes: int = 1 << 18) -> list[ExtractedSlice]:
    return list(
        extract_events(
            body,
            rules,
            LABELS,
            first_serial=SERIAL,
            is_new=lambda event_id: event_id not in KNOWN,
            whole_document_max_bytes=1 << 20,
            slice_bytes=slice_bytes,
        )
    )


def extract_asking_together(body: bytes, rules: ExtractionRules, slice_bytes: int) -> list[ExtractedSlice]:
    def is_new(event_id: str) -> bool:
        raise AssertionError(event_id)

    def are_new(event_ids: Sequence[str]) -> list[bool]:
        assert len(event_ids) <= 1000
        return [event_id not in KNOWN for event_id in event_ids]

    return list(
        extract_events(
            body,
            rules,
            LABELS,
            first_serial=SERIAL,
            is_new=is_new,
            are_new=are_new,
            whole_document_max_bytes=1 << 20,
            slice_bytes=slice_bytes,
        )
    )


def events_of(slices: list[ExtractedSlice]) -> list[Any]:
    return [json.loads(event) for some in slices for event in some.events]


def refused_of(slices: list[ExtractedSlice]) -> list[Any]:
    return [json.loads(event.text) for some in slices for event in some.refused]


class Model:
    """The decision table of contract section 7, one line per rule."""

    def __init__(self, key: str | None, id_key: str | None, *, response_is_list: bool) -> None:
        self.key, self.id_key, self.flag = key, id_key, response_is_list
        self.serial = SERIAL

    def events(self, body: Any) -> Iterator[dict[str, Any]]:
        selected = body if self.key is None else jmespath.search(self.key, body)
        if self.key is not None and selected is None:
            for one in body if isinstance(body, list) else [body]:
                yield self.labelled(one, "RESPONSE_KEY not found")
        elif self.flag and isinstance(selected, list):
            for one in selected:
                yield from self.element(one)
        elif isinstance(selected, list):
            whole = selected is body
            reason = (
                "event format is Invalid.(not Object)"
                if whole
                else "RESPONSE_LIST_FLAG is incorrect.(List Type)"
            )
            yield self.labelled(body, reason)
        elif self.flag and isinstance(selected, dict):
            yield self.labelled(selected, "RESPONSE_LIST_FLAG is incorrect.(Not List Type)")
        elif not self.flag and selected in ({}, ""):
            return
        elif isinstance(selected, dict):
            yield from self.element(selected)
        elif self.key is None:
            yield self.labelled(body, "event format is Invalid.(not Object)")
        else:
            yield self.labelled(body, "RESPONSE_KEY value is Invalid.(not Object and not List)")

    def element(self, one: Any) -> Iterator[dict[str, Any]]:
        if not isinstance(one, dict):
            yield self.labelled(one, "event format is Invalid.(not Object)")
        elif self.id_key is None:
            yield self.labelled(one, None)
        elif (found := jmespath.search(self.id_key, one)) is None:
            yield self.labelled(one, "EVENT_ID_KEY not found")
        elif str(found) not in KNOWN:
            yield self.labelled(one, None, str(found))

    def labelled(self, one: Any, reason: str | None, event_id: str | None = None) -> dict[str, Any]:
        event = dict(one) if isinstance(one, dict) else {"_exastro_raw_data": one}
        if event_id is None:
            event_id = str(self.serial)
            self.serial += 1
        event["_exastro_oase_event_id"] = event_id.encode("utf-8", "backslashreplace").decode()
        if reason is not None:
            event["_exastro_not_available"] = reason
        event["_exastro_event_collection_settings_name"] = "setting a"
        event["_exastro_event_collection_settings_id"] = "id-a"
        event["_exastro_fetched_time"] = 1_700_000_000
        event["_exastro_end_time"] = 1_700_003_600
        return event


def storable(value: Any) -> bool:
    if isinstance(value, dict):
        return all("\0" not in name and storable(name) and storable(inner) for name, inner in value.items())
    if isinstance(value, list):
        return all(map(storable, value))
    if isinstance(value, str):
        return not any("\ud800" <= letter <= "\udfff" for letter in value)
    if isinstance(value, float):
        return math.isfinite(value)
    return not isinstance(value, int) or -(2**63) <= value < 2**63


def exactly(values: list[Any]) -> list[str]:
    """As text, because NaN equals nothing, and 1 equals True."""
    return [json.dumps(value, sort_keys=True) for value in values]


@FAST
@given(document=DOCUMENTS, key=KEYS, id_key=ID_KEYS, response_is_list=st.booleans(), spaced=st.booleans())
def test_any_document_gives_the_events_of_the_decision_table(
    document: Any, key: str | None, id_key: str | None, response_is_list: bool, spaced: bool
) -> None:
    body = json.dumps(document, indent=2 if spaced else None).encode()
    rules = ExtractionRules(
        None if key is None else compile_expression(key, column="RESPONSE_KEY"),
        None if id_key is None else compile_expression(id_key, column="EVENT_ID_KEY"),
        response_is_list,
    )
    expected = list(Model(key, id_key, response_is_list=response_is_list).events(json.loads(body)))
    slices = extract(body, rules)
    assert exactly(events_of(slices)) == exactly([event for event in expected if storable(event)])
    assert exactly(refused_of(slices)) == exactly([event for event in expected if not storable(event)])


@FAST
@given(
    elements=LISTS, id_key=ID_KEYS, slice_bytes=st.integers(1, 60), spaced=st.booleans(), plain=st.booleans()
)
def test_slicing_does_not_change_the_result(
    elements: list[Any], id_key: str | None, slice_bytes: int, spaced: bool, plain: bool
) -> None:
    separators = (" ,\n", " : ") if spaced else (",", ":")
    body = json.dumps({"result": elements}, separators=separators, ensure_ascii=plain).encode(
        "utf-8", "surrogatepass"
    )
    rules = ExtractionRules(
        compile_expression("result", column="RESPONSE_KEY"),
        None if id_key is None else compile_expression(id_key, column="EVENT_ID_KEY"),
        response_is_list=True,
    )
    whole, cut = extract(body, rules), extract(body, rules, slice_bytes)
    assert exactly(events_of(cut)) == exactly(events_of(whole))
    assert exactly(refused_of(cut)) == exactly(refused_of(whole))
    assert extract_asking_together(body, rules, slice_bytes) == cut


@FAST
@given(body=st.binary(max_size=60), rules=RULES)
@example(body=b"", rules=ExtractionRules(None, None, response_is_list=True))
@example(body=b"\xef\xbb\xbf", rules=ExtractionRules(None, None, response_is_list=True))
def test_arbitrary_bytes_raise_nothing_but_errors_of_the_agent(body: bytes, rules: ExtractionRules) -> None:
    with contextlib.suppress(AgentError):
        extract(body, rules, slice_bytes=8)


@FAST
@given(
    document=DOCUMENTS,
    rules=RULES,
    at=st.integers(0, 200),
    inserted=st.binary(max_size=3)
    | st.sampled_from([b"[" * 3000, b"]", b",", b'"', b"\\", b"NaN", b"1e999", b"9" * 5000]),
    dropped=st.integers(0, 3),
    coding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32-le"]),
)
def test_damaged_documents_raise_nothing_but_errors_of_the_agent(
    document: Any, rules: ExtractionRules, at: int, inserted: bytes, dropped: int, coding: str
) -> None:
    body = json.dumps(document).encode(coding)
    at = min(at, len(body))
    with contextlib.suppress(AgentError):
        extract(body[:at] + inserted + body[at + dropped :], rules, slice_bytes=16)
