"""The record that travels in a claim: what it keeps, and what it leaves out where its bounds do not allow more."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oase_agent.model import Cursor
from oase_agent.spool.batch_file import Damage, NewerFormat
from oase_agent.spool.handover_record import (
    MAX_BOOKMARK_BYTES,
    MAX_EVENT_BYTES,
    MAX_FORMERS,
    MAX_IDS,
    MAX_RECORD_BYTES,
    Former,
    HandoverRecord,
    parse_record,
)
from oase_agent.spool.id_run import IdRun, PackedIds, key_of

HOUR = 472_222


def packed(*groups: tuple[int, list[str]]) -> tuple[PackedIds, ...]:
    run = IdRun()
    for hour, ids in groups:
        for high, low in map(key_of, ids):
            run.high.append(high)
            run.low.append(low)
            run.hours.append(hour)
    return tuple(run.in_order().packed())


def hours_of(record: HandoverRecord) -> dict[tuple[int, int], int]:
    run = IdRun.unpacked(record.ids)
    return {(high, low): hour for high, low, hour in zip(run.high, run.low, run.hours, strict=True)}


def record_of(**fields: object) -> HandoverRecord:
    wanted = {"line": "l", "home": "a", "epoch": 3, "seq": 17, "settled": 16, "group_time": 1_700_000_123}
    return HandoverRecord(**{"cursor": Cursor(1_700_000_100), **wanted, **fields})  # type: ignore[arg-type]


numbers = st.integers(0, 10**12)
texts = st.text(max_size=40)
ids = st.lists(
    st.tuples(st.integers(0, 2**32 - 1), st.lists(numbers.map(str) | texts, max_size=5)), max_size=5
)


@given(
    st.builds(
        HandoverRecord,
        line=st.text("0123456789abcdef", min_size=1, max_size=16),
        home=st.text("0123456789abcdef", min_size=1, max_size=16),
        epoch=numbers,
        seq=numbers,
        settled=numbers,
        group_time=numbers,
        cursor=st.builds(
            Cursor,
            numbers,
            st.none()
            | st.dictionaries(texts, texts | numbers, max_size=3).map(lambda e: json.dumps(e).encode()),
            st.none() | texts,
        ),
        ids=ids.map(lambda groups: packed(*groups)),
        formers=st.lists(
            st.builds(Former, st.text("abc", max_size=8), numbers, numbers, st.none() | numbers), max_size=4
        ).map(lambda formers: tuple(sorted(formers, key=lambda former: former.epoch))),
        forgot=st.booleans(),
    )
)
def test_what_is_written_is_read(record: HandoverRecord) -> None:
    found = parse_record(record.text())

    assert hours_of(found) == hours_of(record)
    assert (found.cursor, found.formers) == (record.cursor, record.formers)
    assert (found.line, found.forgot) == (record.line, record.forgot)
    assert (found.home, found.epoch, found.seq, found.settled, found.group_time) == (
        record.home,
        record.epoch,
        record.seq,
        record.settled,
        record.group_time,
    )


@given(st.text(max_size=60) | st.binary(max_size=60).map(lambda data: data.decode("latin-1")))
def test_what_no_agent_wrote_is_damage_and_nothing_else(text: str) -> None:
    with pytest.raises(Damage):
        parse_record(text)


@pytest.mark.parametrize("name", json.loads(record_of().text()))
def test_a_record_without_one_of_its_fields_is_damage(name: str) -> None:
    document = json.loads(record_of(ids=packed((HOUR, ["1", "b"]))).text())
    del document[name]

    with pytest.raises(Damage):
        parse_record(json.dumps(document))


def test_ids_that_unpack_to_more_than_they_say_are_damage() -> None:
    document = json.loads(record_of(ids=packed((HOUR, [str(number) for number in range(500)]))).text())
    document["ids"]["n"] = 499

    with pytest.raises(Damage):
        parse_record(json.dumps(document))


def test_a_newer_agents_record_is_told_apart() -> None:
    with pytest.raises(NewerFormat):
        parse_record('{"v":2,"anything":[]}')


def test_of_many_ids_the_ones_last_reported_stay() -> None:
    old, new = [f"old {number}" for number in range(900)], [f"new {number}" for number in range(900)]
    record = record_of(ids=packed((HOUR, old), (HOUR + 1, new)))

    text = record.text()

    assert len(text.encode()) <= MAX_RECORD_BYTES
    kept = hours_of(parse_record(text))
    assert set(map(key_of, new)) <= kept.keys()
    assert 900 < len(kept) < 1_800


def test_thousands_of_decimal_ids_fit() -> None:
    known = [str(10_000_000 + 3 * number) for number in range(MAX_IDS)]

    found = parse_record(record_of(ids=packed((HOUR, known))).text())

    assert hours_of(found).keys() == set(map(key_of, known))


def test_the_ids_make_room_for_an_event_and_an_event_that_is_too_large_stays_behind() -> None:
    known = packed((HOUR, [f"id {number}" for number in range(3_000)]))
    large = json.dumps({"text": "x" * (MAX_EVENT_BYTES - 20)}).encode()
    too_large = json.dumps({"text": "x" * MAX_EVENT_BYTES}).encode()

    alone, beside, without = (
        parse_record(record_of(cursor=Cursor(5, event), ids=known).text())
        for event in (None, large, too_large)
    )

    assert beside.cursor.last_event == large
    assert without.cursor.last_event is None
    assert len(hours_of(beside)) < len(hours_of(alone)) == len(hours_of(without))


def test_the_largest_of_everything_is_within_the_bounds() -> None:
    record = record_of(
        cursor=Cursor(2**40, b'{"a":"%b"}' % (b"\\u0000" * 1_360), "\0" * (MAX_BOOKMARK_BYTES // 6 - 1)),
        ids=packed((HOUR, [f"id {number}" for number in range(50_000)])),
        formers=tuple(Former(f"{number:016x}", 2**40 + number, 2**40, 2**40) for number in range(100)),
    )

    text = record.text()

    assert len(text.encode()) <= MAX_RECORD_BYTES
    found = parse_record(text)
    assert found.cursor == record.cursor
    assert len(hours_of(found)) > 400
    # Of the volumes those that owned the setting last.
    assert found.formers == record.formers[-MAX_FORMERS:]
    assert found.forgot


def test_a_bookmark_that_is_too_large_stays_behind() -> None:
    found = parse_record(record_of(cursor=Cursor(5, None, "\0" * MAX_BOOKMARK_BYTES)).text())

    assert found.cursor == Cursor(5)
