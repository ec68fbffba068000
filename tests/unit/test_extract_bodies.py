"""Answers that are large, mapped, oddly encoded, or no JSON at all; serial ids and the newest event."""

import json
import mmap
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from oase_agent.collect.expressions import compile_expression
from oase_agent.collect.extract import ExtractedSlice, ExtractionRules, Labels, NewestEvent, extract_events
from oase_agent.errors import Reason, SettingRejected, SourceUnavailable

LABELS = Labels("setting a", "id-a", 1_700_000_000, 1_700_003_600)


def rules(
    key: str | None = "result", id_key: str | None = "id", *, response_is_list: bool = True
) -> ExtractionRules:
    return ExtractionRules(
        None if key is None else compile_expression(key, column="RESPONSE_KEY"),
        None if id_key is None else compile_expression(id_key, column="EVENT_ID_KEY"),
        response_is_list,
    )


def slices(
    body: bytes | mmap.mmap, by: ExtractionRules, *, limit: int = 1 << 20, slice_bytes: int = 1 << 18
) -> Generator[ExtractedSlice, None, None]:
    return extract_events(
        body,
        by,
        LABELS,
        first_serial=1_700_000_000_000_000,
        is_new=lambda _: True,
        whole_document_max_bytes=limit,
        slice_bytes=slice_bytes,
    )


def ids(body: bytes, by: ExtractionRules, *, limit: int = 1 << 20) -> list[str]:
    return [
        json.loads(event)["_exastro_oase_event_id"]
        for some in slices(body, by, limit=limit)
        for event in some.events
    ]


def newest(body: Any, by: ExtractionRules, slice_bytes: int = 1 << 18) -> NewestEvent | None:
    best: NewestEvent | None = None
    for some in slices(json.dumps(body).encode(), by, slice_bytes=slice_bytes):
        if some.newest is not None and some.newest.outranks(best):
            best = some.newest
    return best


TWO = {"result": [{"id": "7", "name": "é"}, {"id": "8"}]}


@pytest.mark.parametrize("coding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "utf-32-be"])
def test_every_encoding_of_json_is_read(coding: str) -> None:
    assert ids(json.dumps(TWO, ensure_ascii=False).encode(coding), rules()) == ["7", "8"]


NO_JSON = [
    b"",
    b"   ",
    b"<html>login secret</html>",
    b'{"result":[{"id":"7"}',
    b'{"result":[1,]}',
    b'{"result":[]} secret',
    b'{"result":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    b'{"result":' + b'{"a":' * 100_000,
    b"[" * 2000,
]


@pytest.mark.parametrize("body", [*NO_JSON, b'{"result":["caf\xe9 secret"]}', b"\xff\xfe\x00"])
@pytest.mark.parametrize("key", ["result", None, "result[]", "result | [0]"])
def test_what_is_no_json_fails_the_collection_without_telling_content(body: bytes, key: str | None) -> None:
    with pytest.raises(SourceUnavailable) as caught:
        list(slices(body, rules(key)))
    assert caught.value.reason is Reason.NOT_JSON
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("body", NO_JSON)
def test_what_is_no_json_is_told_from_what_is_too_large(body: bytes) -> None:
    with pytest.raises(SourceUnavailable) as caught:
        list(slices(body, rules("result[]"), limit=-1))
    assert caught.value.reason is Reason.NOT_JSON


def test_a_list_under_a_plain_path_may_be_larger_than_the_limit_for_documents() -> None:
    body = json.dumps(TWO).encode()
    assert ids(body, rules(), limit=10) == ["7", "8"]
    assert ids(b"\xef\xbb\xbf" + json.dumps(TWO["result"]).encode(), rules(None), limit=10) == ["7", "8"]


@pytest.mark.parametrize(
    ("body", "by"),
    [
        (json.dumps(TWO).encode(), rules("result[]")),
        (json.dumps(TWO).encode(), rules(response_is_list=False)),
        (json.dumps(TWO).encode(), rules("other")),
        (b'{"result":[{"id":NaN}]}', rules()),
        (b'{"result":["\\ud800"]}', rules()),
        (json.dumps(TWO).encode("utf-16"), rules()),
    ],
)
def test_what_needs_the_whole_document_is_limited_and_names_the_remedy(
    body: bytes, by: ExtractionRules
) -> None:
    with pytest.raises(
        SourceUnavailable, match=r"SOURCE_DOCUMENT_MAX_BYTES \(20\).*plain dotted RESPONSE_KEY"
    ) as caught:
        list(slices(body, by, limit=20))
    assert caught.value.reason is Reason.TOO_LARGE
    assert list(slices(body, by))


def test_an_event_id_key_that_fails_on_an_event_rejects_the_setting() -> None:
    with pytest.raises(SettingRejected, match="EVENT_ID_KEY") as caught:
        list(slices(b'{"result":[{"id":5}]}', rules(id_key="length(id)")))
    assert caught.value.reason is Reason.EXPRESSION


@pytest.mark.parametrize("key", ["result", "result[]"])
def test_slices_have_at_most_a_thousand_events_and_none_is_empty(key: str) -> None:
    body = json.dumps({"result": [{"id": number} for number in range(2500)]}).encode()
    found = list(slices(body, rules(key)))
    assert [len(some.events) for some in found] == [1000, 1000, 500]
    known = extract_events(
        body, rules(key), LABELS, first_serial=1, is_new=lambda _: False, whole_document_max_bytes=1 << 20
    )
    assert list(known) == []


def test_large_events_make_short_slices_on_both_ways() -> None:
    body = json.dumps({"result": [{"id": number, "x": "x" * 400_000} for number in range(6)]}).encode()
    for key in ("result", "result[]"):
        found = list(slices(body, rules(key), limit=4 << 20))
        assert sum(len(some.events) for some in found) == 6
        assert max(sum(map(len, some.events)) for some in found) < 1_500_000


def test_serial_ids_count_on_over_slices_and_skip_events_with_an_id() -> None:
    body = json.dumps({"result": ["a", {"id": "7"}, "b", {"x": 1}] * 2}).encode()
    for slice_bytes in (1, 1 << 18):
        found = [
            json.loads(event)["_exastro_oase_event_id"]
            for some in slices(body, rules(), slice_bytes=slice_bytes)
            for event in some.events
        ]
        serials = [str(1_700_000_000_000_000 + number) for number in range(6)]
        assert found == [serials[0], "7", *serials[1:4], "7", *serials[4:]]


@pytest.mark.parametrize("slice_bytes", [1, 1 << 18])
@pytest.mark.parametrize(
    ("event_ids", "expected"),
    [
        (["999", "1000", "998"], "1000"),
        ([9, 10, 2], "10"),
        (["007", "7", "07"], "07"),
        (["b", "a"], "b"),
        (["99", "a", "100"], "a"),
        (["", "5"], ""),
        (["9" * 5000, "1" + "0" * 5000], "1" + "0" * 5000),
        (["²", "5"], "²"),
        (["٣", "4"], "٣"),
        (["-5", "4"], "-5"),
    ],
)
def test_the_newest_event_has_the_highest_id_and_the_later_one_wins_a_tie(
    event_ids: list[Any], expected: str, slice_bytes: int
) -> None:
    found = newest({"result": [{"id": event_id} for event_id in event_ids]}, rules(), slice_bytes)
    assert found is not None
    assert found.event_id == expected
    assert json.loads(found.data)["_exastro_oase_event_id"] == expected


def test_of_events_with_the_same_id_the_later_one_is_the_newest() -> None:
    for slice_bytes in (1, 1 << 18):
        found = newest(
            {"result": [{"id": "7", "n": 1}, {"id": "7", "n": 2}, {"id": "6"}]}, rules(), slice_bytes
        )
        assert found is not None
        assert json.loads(found.data)["n"] == 2


def test_events_that_are_flagged_or_refused_are_never_the_newest() -> None:
    body = {
        "result": [{"id": "5"}, "text", {"id": "9", "v": 2**64}, {"id": "8", "_exastro_not_available": "x"}]
    }
    found = newest(body, rules())
    assert found is not None
    assert found.event_id == "5"
    assert newest({"result": ["text"]}, rules()) is None


@pytest.mark.parametrize(
    "body", [b'{"result":[{"id":"7"},{"id":"8"}]}', b'{"result":["\xff"]}', b'{"result":[', b"{}"]
)
def test_a_mapped_answer_can_be_closed_afterwards_even_after_an_error(tmp_path: Path, body: bytes) -> None:
    (tmp_path / "answer").write_bytes(body)
    error = None
    with (
        (tmp_path / "answer").open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
    ):
        try:
            list(slices(mapped, rules()))
        except SourceUnavailable as caught:
            error = caught  # its traceback keeps every frame alive
    assert (error is None) == (body in (b"{}", b'{"result":[{"id":"7"},{"id":"8"}]}'))


def test_a_mapped_answer_can_be_closed_when_the_reader_stops_halfway(tmp_path: Path) -> None:
    (tmp_path / "answer").write_bytes(
        json.dumps({"result": [{"id": number} for number in range(100)]}).encode()
    )
    with (
        (tmp_path / "answer").open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
    ):
        found = slices(mapped, rules(), slice_bytes=50)
        with closing(found):
            assert next(found).events
