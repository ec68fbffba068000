"""Known ids: what is remembered, for how long, in how many bytes, and what makes it go (promise C3)."""

import base64
import random
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from oase_agent.disk import Disk
from oase_agent.spool import id_run
from oase_agent.spool.batch_file import Damage
from oase_agent.spool.id_run import IdRun, key_of, keys_of, packed_count
from oase_agent.spool.ids_file import IdsName, read_ids, write_ids
from oase_agent.spool.known_ids import IdPolicy, KnownIds
from tests.spool.queue_stage import START, Clock, collect, files_in, open_queue

POLICY = IdPolicy(retention_h=168)
HOUR = START // 3600
_IDS = st.text(max_size=6) | st.integers(0, 2**70).map(str) | st.sampled_from(["0", "00", "007", "7", "-7"])
# What Python reads as a number, though it is not written as one here.
_NEARLY_NUMBERS = st.sampled_from(
    ["+7", " 7", "7 ", "7_0", "１２", "-0", str(10**18 - 1), str(10**18), "9" * 5000]
)
# Few different halves, so that keys share them.
_ROWS = st.lists(
    st.tuples(st.integers(0, 9) | st.integers(0, 2**64 - 1), st.integers(0, 2), st.integers(0, 5)),
    max_size=40,
)
Row = tuple[int, int, int]


def answer(known: KnownIds, hour: int, *ids: str, policy: IdPolicy = POLICY) -> list[str]:
    """Take in a complete answer that reports these ids; return those that were new."""
    sighting = known.sighting(hour)
    new = [event_id for event_id in ids if sighting.is_new(event_id)]
    known.absorb(sighting, policy)
    return new


def unknown(known: KnownIds, *ids: str) -> list[str]:
    """Return which ids are not known; changes nothing."""
    sighting = known.sighting(HOUR)
    return [event_id for event_id in ids if sighting.is_new(event_id)]


def run_of(rows: list[Row]) -> IdRun:
    """Return an unsorted run of keys with their hours."""
    run = IdRun()
    for high, low, hour in rows:
        run.high.append(high)
        run.low.append(low)
        run.hours.append(hour)
    return run


def rows_of(run: IdRun) -> list[Row]:
    return list(zip(run.high, run.low, run.hours, strict=True))


def model_of(*lists: list[Row]) -> dict[tuple[int, int], int]:
    """Return the keys and their last hours as a plain dict."""
    return {(high, low): hour for rows in lists for high, low, hour in rows}


@contextmanager
def few_keys_at_once(*, dense: int = 2, sparse: int = 2) -> Iterator[None]:
    """Let some dozen keys go the ways of many thousands."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("_MERGED_AT_ONCE", "_SORTED_AT_ONCE", "_PACKED_AT_ONCE"):
            patch.setattr(id_run, name, 4)
        patch.setattr(id_run, "_DENSE", dense)
        patch.setattr(id_run, "_SPARSE", sparse)
        yield


# -- keys ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["0", "7", "42", "999999999999999999"])
def test_decimal_ids_are_kept_exactly(text: str) -> None:
    assert key_of(text) == (int(text), 0)


@pytest.mark.parametrize(
    "text", ["", "007", "00", "-7", "+7", "1.0", " 7", "7\n", "１２", "1" * 19, "abc", "\ud800"]
)
def test_other_ids_are_kept_as_128_bits_that_no_decimal_id_can_have(text: str) -> None:
    high, low = key_of(text)
    assert low % 2 == 1
    assert 0 <= high < 2**64
    assert low < 2**64


@given(
    st.lists(_IDS | _NEARLY_NUMBERS, max_size=8) | st.lists(st.integers(0, 10**18 - 1).map(str), max_size=8)
)
def test_the_keys_of_many_ids_are_those_of_each(ids: list[str]) -> None:
    highs, lows = keys_of(ids)

    assert list(zip(highs, lows, strict=True)) == [key_of(event_id) for event_id in ids]


def test_leading_zeros_make_another_id() -> None:
    known = KnownIds()
    answer(known, HOUR, "7")

    assert answer(known, HOUR, "007", "7", "07") == ["007", "07"]


@given(st.lists(st.text(), unique=True, max_size=30))
def test_different_ids_have_different_keys(ids: list[str]) -> None:
    assert len({key_of(event_id) for event_id in ids}) == len(ids)


def test_the_ids_given_to_templates_are_the_decimal_ones_as_text() -> None:
    known = KnownIds()
    answer(known, HOUR, "30", "007", "4", "x", "0")

    assert sorted(known.exact_ids()) == ["0", "30", "4"]


# -- runs ---------------------------------------------------------------------------------------------------


@given(st.lists(st.lists(_IDS, max_size=12), max_size=8))
def test_known_ids_behave_like_a_set(answers: list[list[str]]) -> None:
    known, model = KnownIds(), set[str]()
    for ids in answers:
        assert answer(known, HOUR, *ids) == [event_id for event_id in ids if event_id not in model]
        model.update(ids)
        assert len(known) == len(model)
        assert {event_id for event_id in model if known.sighting(HOUR).is_new(event_id)} == set()


def test_a_merge_of_runs_is_sorted_and_without_repeats_and_the_later_hour_counts() -> None:
    first, second = IdRun(), IdRun()
    for run, hour, numbers in ((first, 5, (1, 3, 9)), (second, 8, (9, 2, 3, 3))):
        for number in numbers:
            run.high.append(number)
            run.low.append(0)
            run.hours.append(hour)

    merged = first.merged(second)

    assert list(zip(merged.high, merged.hours, strict=True)) == [(1, 5), (2, 8), (3, 8), (9, 8)]


@given(_ROWS, _ROWS, st.sampled_from([0, 2, 1000]))
@example([(0, 0, 0), (0, 2, 0)], [(0, 0, 1), (0, 1, 1), (0, 2, 1)], 0)
def test_a_merge_of_runs_is_what_a_dict_would_be(first: list[Row], second: list[Row], sparse: int) -> None:
    with few_keys_at_once(sparse=sparse):
        merged = run_of(first).in_order().merged(run_of(second))

    assert list(merged.high) == sorted(merged.high)
    assert sorted(rows_of(merged)) == sorted((*key, hour) for key, hour in model_of(first, second).items())


def test_a_merge_changes_neither_run() -> None:
    first, second = run_of([(1, 0, 1), (5, 0, 1)]), run_of([(1, 0, 2), (3, 0, 2)])

    first.merged(second)

    assert (rows_of(first), rows_of(second)) == ([(1, 0, 1), (5, 0, 1)], [(1, 0, 2), (3, 0, 2)])


@given(_ROWS, st.data(), st.integers(0, 6), st.integers(0, 6))
def test_what_is_kept_is_what_is_reported_or_young_without_the_first_of_the_oldest(
    rows: list[Row], data: st.DataObject, oldest: int, surplus: int
) -> None:
    run = run_of(rows).in_order()
    reported = bytearray(data.draw(st.lists(st.integers(0, 1), min_size=len(run), max_size=len(run))))
    expected, over = [], surplus
    for row, is_reported in zip(rows_of(run), reported, strict=True):
        if not is_reported and row[2] == oldest and over > 0:
            over -= 1
        elif is_reported or row[2] >= oldest:
            expected.append(row)

    assert rows_of(run.kept(reported, oldest, surplus)) == expected


@given(
    _ROWS, st.lists(st.tuples(st.integers(0, 12), st.integers(0, 2)), max_size=12), st.sampled_from([0, 1000])
)
def test_the_places_of_many_keys_are_those_of_each(
    rows: list[Row], keys: list[tuple[int, int]], dense: int
) -> None:
    run = run_of(rows).in_order()
    with few_keys_at_once(dense=dense):
        places = run.places([high for high, _ in keys], [low for _, low in keys])

    assert list(places or [-1] * len(keys)) == [run.find(*key) for key in keys]


@given(st.lists(st.lists(_IDS, max_size=9), max_size=4), st.lists(_IDS | _NEARLY_NUMBERS, max_size=9))
def test_asking_for_many_ids_notes_and_answers_what_asking_for_each_does(
    history: list[list[str]], ids: list[str]
) -> None:
    known = KnownIds()
    for some in history:
        answer(known, HOUR, *some)
    together, one_by_one = known.sighting(HOUR), known.sighting(HOUR)

    assert together.are_new(ids) == [one_by_one.is_new(event_id) for event_id in ids]
    assert together.reported == one_by_one.reported
    assert rows_of(together.new) == rows_of(one_by_one.new)


def test_a_sighting_that_was_taken_in_is_of_no_known_ids_and_answers_nothing() -> None:
    known = KnownIds()
    sighting = known.sighting(HOUR)
    sighting.is_new("1")
    assert sighting.is_of(known)
    known.absorb(sighting, POLICY)

    assert not sighting.is_of(known)
    with pytest.raises(ValueError, match="zip"):
        sighting.is_new("2")
    assert unknown(known, "1", "2") == ["2"]


def test_keys_that_share_a_half_are_told_apart() -> None:
    run = IdRun()
    for low in (9, 1, 5):
        run.high.append(77)
        run.low.append(low)
        run.hours.append(1)
    merged = IdRun().merged(run)

    assert [merged.low[merged.find(77, low)] for low in (1, 5, 9)] == [1, 5, 9]
    assert merged.find(77, 3) == -1
    assert merged.find(78, 1) == -1


def test_thousands_of_small_answers_end_in_two_sorted_runs() -> None:
    known = KnownIds()
    numbers = list(range(5000))
    random.Random(1).shuffle(numbers)
    for number in numbers:
        answer(known, HOUR, str(number), f"t{number}")

    assert len(known) == 10_000
    for run in known.runs:
        assert list(run.high) == sorted(run.high)


@given(st.lists(st.tuples(st.integers(0, 2**32 - 1), _IDS), unique_by=lambda pair: pair[1], max_size=40))
def test_packed_ids_are_read_back(pairs: list[tuple[int, str]]) -> None:
    run = IdRun()
    for hour, event_id in pairs:
        high, low = key_of(event_id)
        run.high.append(high)
        run.low.append(low)
        run.hours.append(hour)

    packed = list(run.packed())
    again = IdRun.unpacked(packed)

    found = sorted(zip(again.high, again.low, again.hours, strict=True))
    assert found == sorted((*key_of(event_id), hour) for hour, event_id in pairs)
    assert len(pairs) <= packed_count(packed) <= len(pairs) + len(packed)


@given(_ROWS)
def test_packed_ids_are_pairs_of_little_endian_numbers_some_at_a_time_by_hour(rows: list[Row]) -> None:
    expected = []
    for start in range(0, len(rows), 4):
        by_hour = sorted(rows[start : start + 4], key=itemgetter(2))
        for hour, some in groupby(by_hour, key=itemgetter(2)):
            pairs = b"".join(struct.pack("<QQ", high, low) for high, low, _ in some)
            expected.append((hour, base64.b64encode(pairs).decode()))

    with few_keys_at_once():
        assert list(run_of(rows).packed()) == expected


@pytest.mark.parametrize("packed", ["AAAAAAAAAAA=", "AAAA", "no base64"])
def test_a_text_that_is_not_packed_keys_is_refused(packed: str) -> None:
    with pytest.raises(ValueError, match=r"key|bytes|Invalid|padding|base64"):
        IdRun.unpacked([(1, packed)])


def test_a_bulk_file_is_read_back_and_every_flipped_bit_is_detected(tmp_path: Path) -> None:
    known = KnownIds()
    answer(known, HOUR, "1", "x")
    answer(known, HOUR + 1, "2")
    name = IdsName(1, 2)
    write_ids(Disk(), tmp_path, name, known)
    path = tmp_path / str(name)
    again = KnownIds()
    again.add(read_ids(Disk(), path))
    assert answer(again, HOUR, "1", "x", "2", "3") == ["3"]

    content = path.read_bytes()
    for place in range(len(content) * 8):
        damaged = bytearray(content)
        damaged[place // 8] ^= 1 << place % 8
        path.write_bytes(damaged)
        with pytest.raises(Damage):
            read_ids(Disk(), path)


def test_a_hundred_thousand_ids_take_about_two_megabytes() -> None:
    known = KnownIds()
    answer(known, HOUR, *map(str, range(100_000)))

    sizes = [array.itemsize * len(array) for run in known.runs for array in (run.high, run.low, run.hours)]
    assert sum(sizes) == 2_000_000


# -- forgetting ---------------------------------------------------------------------------------------------


def test_an_id_is_remembered_for_the_whole_retention_after_its_last_report() -> None:
    known = KnownIds()
    for hour in range(HOUR, HOUR + 40):
        answer(known, hour, "1", "2")
    last = HOUR + 39

    for hour in range(last + 1, last + POLICY.retention_h):
        answer(known, hour, "2")

    assert answer(known, last + POLICY.retention_h - 1, "1") == []


def test_an_id_is_forgotten_after_the_retention() -> None:
    known = KnownIds()
    answer(known, HOUR, "1", "2")

    answer(known, HOUR + POLICY.retention_h + POLICY.refresh_h + 1, "2")

    assert answer(known, HOUR + POLICY.retention_h + POLICY.refresh_h + 1, "1", "2") == ["1"]


@given(
    st.lists(
        st.tuples(st.integers(0, 40), st.lists(st.sampled_from("abcdefgh12345"), max_size=6)), max_size=12
    ),
    st.integers(1, 60),
)
def test_what_is_remembered_and_forgotten_is_what_a_dict_of_hours_tells(
    answers: list[tuple[int, list[str]]], retention_h: int
) -> None:
    policy, known, model = IdPolicy(retention_h), KnownIds(), dict[str, int]()
    hour, swept = HOUR, 0
    for later, ids in answers:
        hour += later
        assert answer(known, hour, *ids, policy=policy) == [one for one in ids if one not in model]
        if hour > swept:
            swept = hour
            due = hour - policy.refresh_h
            model |= {one: hour for one in ids if model.get(one, hour) <= due}
            oldest = hour - policy.retention_h - policy.refresh_h
            model = {one: last for one, last in model.items() if one in ids or last >= oldest}
        model |= {one: hour for one in ids if one not in model}

    packed = [(last, base64.b64decode(keys)) for last, keys in known.packed()]
    told = sorted((keys[at : at + 16], last) for last, keys in packed for at in range(0, len(keys), 16))
    assert told == sorted((struct.pack("<QQ", *key_of(one)), last) for one, last in model.items())


def test_an_id_that_is_still_reported_is_never_forgotten() -> None:
    known = KnownIds()
    answer(known, HOUR, "1")

    for hour in range(HOUR, HOUR + 5 * POLICY.retention_h, 7):
        assert answer(known, hour, "1") == []


def test_a_long_stop_forgets_nothing_that_the_source_still_reports() -> None:
    known = KnownIds()
    answer(known, HOUR, "1", "2")

    assert answer(known, HOUR + 50 * POLICY.retention_h, "1", "2", "3") == ["3"]


def test_looking_at_an_answer_that_fails_forgets_nothing() -> None:
    known = KnownIds()
    answer(known, HOUR, "1")

    for hour in range(HOUR, HOUR + 1000, 50):
        known.sighting(hour).is_new("2")

    assert answer(known, HOUR + 1000, "1") == []


def test_a_report_is_noted_again_only_after_some_hours() -> None:
    known = KnownIds()
    answer(known, HOUR, "1")

    changed = []
    for hour in range(HOUR, HOUR + 25):
        sighting = known.sighting(hour)
        assert not sighting.is_new("1")
        if known.absorb(sighting, POLICY):
            changed.append(hour - HOUR)

    assert POLICY.refresh_h == 10
    assert changed == [10, 20]


def test_a_clock_that_goes_back_forgets_nothing() -> None:
    known = KnownIds()
    answer(known, HOUR, "1")
    answer(known, HOUR - 2000, "2")

    assert answer(known, HOUR - 1990, "1", "2") == []


def test_ids_no_longer_reported_are_at_most_a_hundred_thousand_and_reported_ones_are_not_counted() -> None:
    known = KnownIds()
    reported = [f"r{number}" for number in range(150)]
    policy = IdPolicy(retention_h=168, max_unreported=100)
    for hour in range(30):
        gone = [f"{hour}-{number}" for number in range(10)]
        answer(known, HOUR + hour, *reported, *gone, policy=policy)

    answer(known, HOUR + 30, *reported, policy=policy)
    assert len(known) == 250
    # The oldest went first.
    assert unknown(known, *(f"29-{number}" for number in range(10)), *reported) == []
    assert len(unknown(known, *(f"0-{number}" for number in range(10)))) == 10


def test_the_bound_looks_only_at_the_hours_of_ids_that_are_no_longer_reported() -> None:
    known, policy = KnownIds(), IdPolicy(retention_h=168, max_unreported=2)
    reported, gone, later = [*"abcde"], [*"1234"], [*"56"]
    answer(known, HOUR, *reported, policy=policy)
    answer(known, HOUR + 1, *reported, *gone, policy=policy)
    answer(known, HOUR + 2, *reported, *gone, *later, policy=policy)

    answer(known, HOUR + 3, *reported, policy=policy)

    assert unknown(known, *reported, *gone, *later) == gone


def test_the_bound_forgets_no_more_than_it_must() -> None:
    # All ids of a first collection share one hour: an answer that is empty once must not make all of them new again.
    known = KnownIds()
    policy = IdPolicy(retention_h=168, max_unreported=100)
    ids = [str(number) for number in range(120)]
    answer(known, HOUR, *ids, policy=policy)

    answer(known, HOUR, policy=policy)

    assert len(unknown(known, *ids)) <= 20


# -- on the volume ------------------------------------------------------------------------------------------


def test_ids_beyond_two_thousand_move_to_a_bulk_file_and_all_are_known_after_a_restart(
    tmp_path: Path,
) -> None:
    queue = open_queue(tmp_path, Clock())
    ids = [f"id-{number}" for number in range(5000)]
    for start in range(0, 5000, 500):
        collect(queue, *ids[start : start + 500], time=START + start)
        queue.settle(queue.peek(0))

    assert len(files_in(tmp_path, "seen")) in {1, 2}
    newest = files_in(tmp_path, "state")[-1]
    assert newest.stat().st_size < 64 * 1024
    again = open_queue(tmp_path, Clock())
    assert collect(again, *ids, "new").events == 1


def test_an_id_that_expired_is_gone_after_a_restart_too(tmp_path: Path) -> None:
    clock = Clock()
    queue = open_queue(tmp_path, clock)
    collect(queue, "1", "2")
    clock.now += 200 * 3600
    collect(queue, "2")
    queue.begin_collection("id-2")
    queue.checkpoint()

    again = open_queue(tmp_path, clock)
    assert collect(again, "1", "2").events == 1


def test_a_stop_of_a_month_forgets_nothing_that_is_still_reported(tmp_path: Path) -> None:
    clock = Clock()
    collect(open_queue(tmp_path, clock), "1", "x", "3")
    clock.now += 30 * 24 * 3600

    assert collect(open_queue(tmp_path, clock), "1", "x").events == 0


# -- a collection in several answers ------------------------------------------------------------------------


def parts(
    known: KnownIds, hour: int, *answers: str, policy: IdPolicy = POLICY, is_resumed: bool = False
) -> list[str]:
    """Take in the answers of one collection, ids separated by blanks; return the ids that were new."""
    new: list[str] = []
    for number, ids in enumerate(answers):
        begins, ends = number == 0 and not is_resumed, number == len(answers) - 1
        sighting = known.sighting(hour, begins=begins, ends=ends)
        new += [event_id for event_id in ids.split() if sighting.is_new(event_id)]
        known.absorb(sighting, policy)
    return new


def test_an_id_of_one_part_is_known_in_the_next_one() -> None:
    assert parts(KnownIds(), HOUR, "1 2", "2 3", "x 1") == ["1", "2", "3", "x"]


def test_an_id_stays_known_whichever_part_reports_it() -> None:
    policy = IdPolicy(retention_h=1)
    known = KnownIds()
    for hour in range(HOUR, HOUR + 50):
        parts(known, hour, "1", "2", "3", policy=policy)

    assert unknown(known, "1", "2", "3") == []


def test_an_id_that_no_part_reports_expires() -> None:
    policy = IdPolicy(retention_h=1)
    known = KnownIds()
    parts(known, HOUR, "1 2", "3", policy=policy)
    for hour in range(HOUR + 1, HOUR + 5):
        parts(known, hour, "1", "3", policy=policy)

    assert unknown(known, "1", "2", "3") == ["2"]


def numbers(first: int, end: int) -> str:
    return " ".join(map(str, range(first, end)))


def test_ids_that_earlier_parts_report_are_not_too_many() -> None:
    policy = IdPolicy(retention_h=168, max_unreported=500)
    known = KnownIds()
    pages = [numbers(first, first + 400) for first in range(0, 4000, 400)]
    parts(known, HOUR, "a", "b", policy=policy)

    assert len(parts(known, HOUR + 1, *pages, policy=policy)) == 4000
    for hour in (HOUR + 2, HOUR + 2, HOUR + 3):
        assert parts(known, hour, *pages, policy=policy) == []


def test_too_many_ids_that_no_part_reports_are_forgotten_oldest_first() -> None:
    policy = IdPolicy(retention_h=168, max_unreported=1000)
    known = KnownIds()
    parts(known, HOUR, numbers(0, 400), numbers(400, 800), policy=policy)
    parts(known, HOUR + 1, numbers(800, 1200), numbers(1200, 1600), policy=policy)
    parts(known, HOUR + 2, "2000", "2001", policy=policy)

    assert len(unknown(known, *numbers(0, 800).split())) == 600
    assert unknown(known, *numbers(800, 1600).split(), "2000", "2001") == []


def test_a_collection_whose_beginning_was_not_seen_lets_nothing_expire() -> None:
    policy = IdPolicy(retention_h=1)
    known = KnownIds()
    known.add(packed_of("1 2 3", HOUR))

    parts(known, HOUR + 100, "2", "3", policy=policy, is_resumed=True)
    assert unknown(known, "1") == []

    parts(known, HOUR + 101, "2", "3", policy=policy)
    assert unknown(known, "1", "2", "3") == ["1"]


def test_an_answer_that_tells_of_no_ids_changes_nothing() -> None:
    policy = IdPolicy(retention_h=1)
    known = KnownIds()
    answer(known, HOUR, "1", policy=policy)

    known.absorb(known.sighting(HOUR + 100, begins=False, ends=False), policy)
    # Nor does it take the place of the answer that notes the ids of this hour.
    answer(known, HOUR + 100, "1", policy=policy)
    answer(known, HOUR + 102, policy=policy)

    assert unknown(known, "1") == []


def packed_of(ids: str, hour: int) -> list[tuple[int, str]]:
    known = KnownIds()
    answer(known, hour, *ids.split())
    return list(known.packed())
