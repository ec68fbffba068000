"""Every row of the input/output table of contract section 7, and the rules of its decision table."""

import itertools
import json
from dataclasses import dataclass, replace
from typing import Any

import pytest

from oase_agent.collect.extract import ExtractionRules, Labels, extract_events
from oase_agent.errors import Reason, SettingRejected
from oase_agent.model import ConnectionMethod, RequestMethod, Setting

SERIAL = 1_700_000_000_000_000
LABELS = Labels("setting a", "id-a", 1_700_000_000, 1_700_003_600)

NOT_FOUND = "RESPONSE_KEY not found"
INVALID = "RESPONSE_KEY value is Invalid.(not Object and not List)"
LIST_TYPE = "RESPONSE_LIST_FLAG is incorrect.(List Type)"
NOT_LIST_TYPE = "RESPONSE_LIST_FLAG is incorrect.(Not List Type)"
NO_ID = "EVENT_ID_KEY not found"
FORMAT = "event format is Invalid.(not Object)"

S, S1 = str(SERIAL), str(SERIAL + 1)
SEVEN = {"id": "7"}
EIGHT = {"id": "8"}
LIST = "1"
NO_LIST = "0"

Expected = tuple[str, str | None, dict[str, Any]]


@dataclass(frozen=True)
class Row:
    """One row: all combinations of `bodies`, `flags` and `id_keys` give `events` (id, reason, payload)."""

    number: int
    bodies: tuple[Any, ...]
    key: str | None
    flags: tuple[str | None, ...]
    id_keys: tuple[str | None, ...]
    known: frozenset[str]
    events: tuple[Expected, ...]


def row(
    number: int,
    body: Any,
    key: str | None,
    flags: str | tuple[str | None, ...],
    id_keys: str | tuple[str | None, ...] | None,
    known: str | None,
    *events: Expected,
) -> Row:
    return Row(
        number,
        (body,),
        key,
        flags if isinstance(flags, tuple) else (flags,),
        id_keys if isinstance(id_keys, tuple) else (id_keys,),
        frozenset({known} if known else ()),
        events,
    )


def raw(value: Any) -> dict[str, Any]:
    return {"_exastro_raw_data": value}


ANY = (LIST, NO_LIST, None)
ONE = {"result": [SEVEN]}
TWO = {"result": [SEVEN, EIGHT]}
OBJECT = {"result": SEVEN}
ROWS = [
    row(1, TWO, "result", LIST, "id", None, ("7", None, SEVEN), ("8", None, EIGHT)),
    row(2, TWO, "result", LIST, "id", "7", ("8", None, EIGHT)),
    row(3, ONE, "result", LIST, "id", "7"),
    row(4, {"result": []}, "result", LIST, "id", "7"),
    row(5, ONE, "nokey", LIST, "id", None, (S, NOT_FOUND, ONE)),
    row(6, {"error": {"code": -1}}, "result", LIST, "id", None, (S, NOT_FOUND, {"error": {"code": -1}})),
    row(7, {"result": None}, "result", LIST, "id", None, (S, NOT_FOUND, {"result": None})),
    row(8, {}, "result", ANY, "id", None, (S, NOT_FOUND, {})),
    row(9, [], "result", ANY, "id", None),
    row(
        10,
        [{"a": 1}, {"a": 2}],
        "result",
        LIST,
        ("id", None),
        None,
        (S, NOT_FOUND, {"a": 1}),
        (S1, NOT_FOUND, {"a": 2}),
    ),
    # The reference aborts in rows 11, 12 and 63, and misses known ids in 60 and 61 (defects D2, D5).
    row(11, [{"a": 1}], "result", NO_LIST, "id", None, (S, NOT_FOUND, {"a": 1})),
    row(12, ["a", "b"], "result", LIST, "id", None, (S, NOT_FOUND, raw("a")), (S1, NOT_FOUND, raw("b"))),
    row(13, "text", "result", LIST, "id", None, (S, NOT_FOUND, raw("text"))),
    row(14, ONE, "result", NO_LIST, "id", None, (S, LIST_TYPE, ONE)),
    row(15, {"result": []}, "result", NO_LIST, None, None, (S, LIST_TYPE, {"result": []})),
    row(16, OBJECT, "result", LIST, "id", None, (S, NOT_LIST_TYPE, SEVEN)),
    row(17, {"result": {}}, "result", LIST, "id", None, (S, NOT_LIST_TYPE, {})),
    row(18, OBJECT, "result", NO_LIST, "id", None, ("7", None, SEVEN)),
    row(19, OBJECT, "result", NO_LIST, "id", "7"),
    row(20, OBJECT, "result", NO_LIST, "uid", None, (S, NO_ID, SEVEN)),
    row(21, OBJECT, "result", NO_LIST, None, None, (S, None, SEVEN)),
    row(22, {"result": {}}, "result", NO_LIST, "id", None),
    row(23, {"result": ""}, "result", NO_LIST, "id", None),
    row(24, {"result": ""}, "result", LIST, "id", None, (S, INVALID, {"result": ""})),
    row(25, {"result": "tok"}, "result", ANY, ("id", None), None, (S, INVALID, {"result": "tok"})),
    row(26, {"result": 5}, "result", ANY, "id", None, (S, INVALID, {"result": 5})),
    row(27, ONE, "result", LIST, "uid", None, (S, NO_ID, SEVEN)),
    row(28, TWO, "result", LIST, None, "7", (S, None, SEVEN), (S1, None, EIGHT)),
    row(29, {"result": [{}]}, "result", LIST, None, None, (S, None, {})),
    row(30, {"result": [{}]}, "result", LIST, "id", None, (S, NO_ID, {})),
    row(31, {"result": [""]}, "result", LIST, None, None, (S, FORMAT, raw(""))),
    row(
        32,
        {"result": ["a", "b"]},
        "result",
        LIST,
        (None, "id"),
        None,
        (S, FORMAT, raw("a")),
        (S1, FORMAT, raw("b")),
    ),
    row(
        33,
        {"result": [["a"], ["b", "c"]]},
        "result",
        LIST,
        None,
        None,
        (S, FORMAT, raw(["a"])),
        (S1, FORMAT, raw(["b", "c"])),
    ),
    row(34, {"result": [None]}, "result", LIST, "id", None, (S, FORMAT, raw(None))),
    row(
        35,
        {"result": [SEVEN, "x", EIGHT]},
        "result",
        LIST,
        "id",
        "7",
        (S, FORMAT, raw("x")),
        ("8", None, EIGHT),
    ),
    row(36, {"result": [SEVEN, SEVEN]}, "result", LIST, "id", None, ("7", None, SEVEN), ("7", None, SEVEN)),
    row(37, {"result": [{"id": 7}]}, "result", LIST, "id", "7"),
    row(38, {"result": [{"id": None}]}, "result", LIST, "id", None, (S, NO_ID, {"id": None})),
    row(
        39,
        {"result": [{"id": 0}, {"id": ""}, {"id": False}]},
        "result",
        LIST,
        "id",
        None,
        ("0", None, {"id": 0}),
        ("", None, {"id": ""}),
        ("False", None, {"id": False}),
    ),
    row(40, SEVEN, None, (NO_LIST, None), "id", None, ("7", None, SEVEN)),
    row(41, SEVEN, None, NO_LIST, "id", "7"),
    row(42, SEVEN, None, NO_LIST, "uid", None, (S, NO_ID, SEVEN)),
    row(43, SEVEN, None, NO_LIST, None, None, (S, None, SEVEN)),
    row(44, {"id": ["a", "b"]}, None, NO_LIST, "id", None, ("['a', 'b']", None, {"id": ["a", "b"]})),
    row(45, SEVEN, None, LIST, "id", None, (S, NOT_LIST_TYPE, SEVEN)),
    row(46, {}, None, (NO_LIST, None), "id", None),
    row(47, {}, None, LIST, "id", None, (S, NOT_LIST_TYPE, {})),
    row(48, [SEVEN, EIGHT], None, LIST, "id", "7", ("8", None, EIGHT)),
    row(49, [SEVEN], None, LIST, "uid", None, (S, NO_ID, SEVEN)),
    row(50, [{}], None, LIST, None, None, (S, None, {})),
    row(51, [], None, LIST, "id", None),
    row(52, [SEVEN], None, NO_LIST, "id", None, (S, FORMAT, raw([SEVEN]))),
    row(53, ["a", "b"], None, LIST, None, None, (S, FORMAT, raw("a")), (S1, FORMAT, raw("b"))),
    row(54, "", None, NO_LIST, "id", None),
    row(55, "", None, LIST, "id", None, (S, FORMAT, raw(""))),
    row(56, "msg", None, ANY, ("id", None), None, (S, FORMAT, raw("msg"))),
    row(57, 5, None, ANY, "id", None, (S, FORMAT, raw(5))),
    row(58, {"r": [SEVEN, EIGHT]}, "r[0]", NO_LIST, "id", "7"),
    row(59, {"r": [{"a": {"b": "7"}}]}, "r", LIST, "a.b", None, ("7", None, {"a": {"b": "7"}})),
    row(60, {"r": [SEVEN, EIGHT]}, "r[]", LIST, "id", "7", ("8", None, EIGHT)),
    row(61, {"r": [{"id": "7", "z": 1}]}, "r[].{id:id}", LIST, "id", "7"),
    row(62, {"r": [SEVEN, EIGHT]}, "r[?id=='8']", LIST, "id", None, ("8", None, EIGHT)),
    row(63, {"r": [{"n": "a"}]}, "r[].n", LIST, None, None, (S, FORMAT, raw("a"))),
]
# What a row lists besides its first example.
MORE = [
    (26, row(26, {"result": False}, "result", ANY, "id", None, (S, INVALID, {"result": False}))),
    (52, row(52, [], None, NO_LIST, "id", None, (S, FORMAT, raw([])))),
    (52, row(52, [{}], None, NO_LIST, "id", None, (S, FORMAT, raw([{}])))),
    (53, row(53, [["a"], ["b"]], None, LIST, None, None, (S, FORMAT, raw(["a"])), (S1, FORMAT, raw(["b"])))),
    (57, row(57, None, None, ANY, "id", None, (S, FORMAT, raw(None)))),
    (57, row(57, True, None, ANY, "id", None, (S, FORMAT, raw(True)))),
    (58, row(58, {"r": [SEVEN, EIGHT]}, "r[0]", NO_LIST, "id", None, ("7", None, SEVEN))),
    (60, row(60, {"r": [SEVEN, EIGHT]}, "r[*]", LIST, "id", "7", ("8", None, EIGHT))),
    (61, row(61, {"r": [{"id": "7", "z": 1}]}, "r[].{id:id}", LIST, "id", None, ("7", None, SEVEN))),
]


def a_setting(key: str | None, flag: str | None, id_key: str | None) -> Setting:
    return Setting(
        id="id-a",
        name="setting a",
        connection_method=ConnectionMethod.OPTIONAL,
        request_method=RequestMethod.GET,
        url="http://source/",
        ttl_s=3600,
        response_is_list=flag == "1",
        response_key=key,
        event_id_key=id_key,
    )


def extracted(body: Any, rules: ExtractionRules, known: frozenset[str] = frozenset()) -> list[dict[str, Any]]:
    slices = extract_events(
        json.dumps(body).encode(),
        rules,
        LABELS,
        first_serial=SERIAL,
        is_new=lambda event_id: event_id not in known,
        whole_document_max_bytes=1 << 20,
    )
    return [json.loads(event) for some in slices for event in some.events]


def labelled(event_id: str, reason: str | None, payload: dict[str, Any]) -> dict[str, Any]:
    return {
        **payload,
        "_exastro_oase_event_id": event_id,
        **({"_exastro_not_available": reason} if reason else {}),
        "_exastro_event_collection_settings_name": "setting a",
        "_exastro_event_collection_settings_id": "id-a",
        "_exastro_fetched_time": 1_700_000_000,
        "_exastro_end_time": 1_700_003_600,
    }


@pytest.mark.parametrize("number", range(1, 64), ids=lambda number: f"row-{number:02}")
def test_the_row_of_the_contract_gives_its_events(number: int) -> None:
    variants = [one for one in ROWS if one.number == number] + [one for place, one in MORE if place == number]
    assert variants
    for one in variants:
        expected = [labelled(*event) for event in one.events]
        for body, flag, id_key in itertools.product(one.bodies, one.flags, one.id_keys):
            rules = ExtractionRules.for_setting(a_setting(one.key, flag, id_key))
            assert extracted(body, rules, one.known) == expected, (body, one.key, flag, id_key)


@pytest.mark.parametrize("text", ["", " ", "a[", "a..b", "nosuch(@)"])
@pytest.mark.parametrize("column", ["RESPONSE_KEY", "EVENT_ID_KEY"])
def test_row_64_a_bad_expression_rejects_the_setting_and_names_the_column(text: str, column: str) -> None:
    keys = {"key": text, "id_key": None} if column == "RESPONSE_KEY" else {"key": None, "id_key": text}
    with pytest.raises(SettingRejected, match=column) as caught:
        ExtractionRules.for_setting(a_setting(flag="1", **keys))
    assert caught.value.reason is Reason.EXPRESSION


@pytest.mark.parametrize(
    ("body", "key", "flag", "event"),
    [
        ([5], "[0]", LIST, (S, INVALID, raw([5]))),
        ([[1]], "[0]", NO_LIST, (S, LIST_TYPE, raw([[1]]))),
        ([1], "@", NO_LIST, (S, FORMAT, raw([1]))),
        ({"a": 5}, "a", NO_LIST, (S, INVALID, {"a": 5})),
        (None, "a", LIST, (S, NOT_FOUND, raw(None))),
    ],
)
def test_a_body_that_is_no_object_is_wrapped_and_keeps_its_first_reason(
    body: Any, key: str, flag: str, event: Expected
) -> None:
    rules = ExtractionRules.for_setting(a_setting(key, flag, "id"))
    assert extracted(body, rules) == [labelled(*event)]


def test_labels_replace_fields_of_the_source_and_come_after_its_own() -> None:
    rules = ExtractionRules.for_setting(a_setting(None, LIST, "id"))
    body = [{"_exastro_end_time": "never", "_exastro_oase_event_id": "forged", "id": "7", "z": 1}]
    assert extracted(body, rules) == [labelled("7", None, {"id": "7", "z": 1})]
    assert list(extracted([{"id": "7", "z": 1}], rules)[0]) == [
        "id",
        "z",
        "_exastro_oase_event_id",
        "_exastro_event_collection_settings_name",
        "_exastro_event_collection_settings_id",
        "_exastro_fetched_time",
        "_exastro_end_time",
    ]


def test_without_a_setting_id_the_label_is_left_to_the_workspace_and_the_source_gives_none() -> None:
    rules = ExtractionRules.for_setting(a_setting(None, LIST, "id"))
    body = json.dumps([{"id": "7", "_exastro_event_collection_settings_id": "forged"}, "no object"]).encode()
    labels = replace(LABELS, setting_id="")
    slices = extract_events(
        body,
        rules,
        labels,
        first_serial=SERIAL,
        is_new=lambda _event_id: True,
        whole_document_max_bytes=1 << 20,
    )
    events = [json.loads(event) for some in slices for event in some.events]
    assert len(events) == 2
    assert not any("_exastro_event_collection_settings_id" in event for event in events)


def test_a_message_id_does_not_stand_in_for_the_event_id() -> None:
    rules = ExtractionRules.for_setting(a_setting(None, LIST, "id"))
    body = [{"id": "7", "message_id": "<m@x>"}]
    assert extracted(body, rules) == [labelled("7", None, {"id": "7", "message_id": "<m@x>"})]
    assert extracted(body, rules, frozenset({"7"})) == []


def test_a_reason_of_the_agent_replaces_one_of_the_source_which_stays_otherwise() -> None:
    rules = ExtractionRules.for_setting(a_setting(None, LIST, "id"))
    own, none = {"id": "7", "_exastro_not_available": "mine"}, {"_exastro_not_available": "mine"}
    assert extracted([own, none], rules) == [labelled("7", None, own), labelled(S, NO_ID, {})]


def test_an_object_selected_twice_is_labelled_twice() -> None:
    rules = ExtractionRules.for_setting(a_setting("[r, r, @]", LIST, None))
    body = {"r": {"a": 1}}
    expected = [
        labelled(S, None, {"a": 1}),
        labelled(S1, None, {"a": 1}),
        labelled(str(SERIAL + 2), None, body),
    ]
    assert extracted(body, rules) == expected
