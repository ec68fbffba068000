"""One setting's way to the workspace: what goes next, and how one bad event is found among many."""

import json
import math
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oase_agent.deliver.course import Course
from oase_agent.deliver.verdicts import Delivered, Fenced, Sent, SettingRefused, Unclear
from oase_agent.errors import Reason
from oase_agent.retry import MIN_DELAY_S, RetryPolicy
from oase_agent.spool.queue import SettingQueue
from tests.spool.queue_stage import (
    ENOUGH_BYTES,
    START,
    Clock,
    Witness,
    account_of,
    collect_answer,
    dead_ids,
    dead_letters,
    ids_in,
    open_queue,
    waiting_ids,
)


class Road:
    """A course over a real queue, and a workspace that refuses every request with a poisoned event in it."""

    def __init__(self, directory: Path, *, batch_events: int = 1000) -> None:
        self.directory = directory
        self.clock = Clock()
        self.witness = Witness()
        self.batch_events = batch_events
        self.queue: SettingQueue = open_queue(
            directory, self.clock, telemetry=self.witness, batch_events=batch_events
        )
        self.course = Course(self.queue, self.witness, now=self.clock, random=lambda: 0.5)
        self.requests: list[list[str]] = []
        self.stored: list[str] = []

    def restart(self) -> None:
        self.__init__(self.directory, batch_events=self.batch_events)  # type: ignore[misc]

    def collect(self, ids: Iterable[str]) -> None:
        collect_answer(self.queue, ids)
        self.queue.learn_position(None)

    def deliver(self, poisoned: set[str], *, max_bytes: int = ENOUGH_BYTES, at_most: int = 10_000) -> None:
        """Send until nothing waits."""
        for _ in range(at_most):
            sent = self.course.load(max_bytes, 0)
            if not sent.batches:
                return
            self.queue.before_sending(sent.batches[-1])
            ids = ids_in(sent.batches)
            self.requests.append(ids)
            if poisoned & set(ids):
                self.course.narrow(sent, Reason.CONTENT_REFUSED, "no")
            else:
                self.stored += ids
                self.course.apply(sent, Delivered())
        pytest.fail(f"still waiting after {at_most} requests: {waiting_ids(self.queue)[:5]}")


def names(count: int) -> list[str]:
    return [str(number) for number in range(count)]


@pytest.mark.parametrize("count", [1, 2, 3, 10, 1000])
def test_one_poisoned_event_is_found_in_logarithmically_many_requests(tmp_path: Path, count: int) -> None:
    most = 0
    for place in sorted({0, 1, count // 3, count // 2, count - 2, count - 1} & set(range(count))):
        road = Road(tmp_path / str(place))
        road.collect(names(count))
        poison = str(place)

        road.deliver({poison})

        assert road.stored == [name for name in names(count) if name != poison]
        assert dead_ids(road.directory) == [poison]
        assert account_of(road.queue) == (count, count - 1, 0, 1)
        most = max(most, len(road.requests))
    # One request would be needed without poison.
    assert most - 1 <= 2 * math.log2(count) + 2


def test_two_poisoned_events_are_both_found_and_nothing_else(tmp_path: Path) -> None:
    for number, pair in enumerate([("0", "1"), ("0", "99"), ("49", "50"), ("98", "99"), ("13", "77")]):
        road = Road(tmp_path / str(number))
        road.collect(names(100))

        road.deliver(set(pair))

        assert road.stored == [name for name in names(100) if name not in pair]
        assert dead_ids(road.directory) == list(pair)
        assert len(road.requests) - 1 <= 2 * (2 * math.log2(100) + 2)


@pytest.mark.parametrize("poison", ["0", "17", "34", "35", "69"])
def test_poison_in_a_request_of_several_batches_is_found(tmp_path: Path, poison: str) -> None:
    road = Road(tmp_path, batch_events=5)
    road.collect(names(70))

    road.deliver({poison})

    assert road.stored == [name for name in names(70) if name != poison]
    assert dead_ids(tmp_path) == [poison]
    assert len(road.requests) - 1 <= 2 * math.log2(70) + 4


@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    count=st.integers(1, 40),
    batch_events=st.integers(1, 8),
    poisoned=st.sets(st.integers(0, 39), max_size=6),
    max_bytes=st.sampled_from([1, 300, ENOUGH_BYTES]),
)
def test_exactly_the_poisoned_events_are_set_aside(
    tmp_path_factory: pytest.TempPathFactory,
    count: int,
    batch_events: int,
    poisoned: set[int],
    max_bytes: int,
) -> None:
    road = Road(tmp_path_factory.mktemp("road"), batch_events=batch_events)
    bad = {str(number) for number in poisoned if number < count}
    road.collect(names(count))

    road.deliver(bad, max_bytes=max_bytes)

    assert road.stored == [name for name in names(count) if name not in bad]
    assert set(dead_ids(road.directory)) == bad
    assert account_of(road.queue) == (count, count - len(bad), 0, len(bad))


def test_group_times_rise_over_parts_and_batches(tmp_path: Path) -> None:
    road = Road(tmp_path, batch_events=8)
    road.collect(names(24))
    times: list[int] = []
    for _ in range(100):
        sent = road.course.load(1, 0)
        if not sent.batches:
            break
        if "3" in ids_in(sent.batches):
            road.course.narrow(sent, Reason.CONTENT_REFUSED, "no")
        else:
            times += [batch.group_time for batch in sent.batches]
            road.course.apply(sent, Delivered())

    assert len(times) > 3
    assert times == sorted(set(times))


def test_a_search_goes_on_after_a_restart(tmp_path: Path) -> None:
    road = Road(tmp_path)
    road.collect(names(100))
    for _ in range(4):
        sent = road.course.load(ENOUGH_BYTES, 0)
        if "60" in ids_in(sent.batches):
            road.course.narrow(sent, Reason.CONTENT_REFUSED, "no")
        else:
            road.stored += ids_in(sent.batches)
            road.course.apply(sent, Delivered())
    before = road.stored

    road.restart()
    road.queue.learn_position(None)
    road.deliver({"60"})

    assert before + road.stored == [name for name in names(100) if name != "60"]
    assert dead_ids(tmp_path) == ["60"]


def test_a_search_goes_on_beside_a_hole_that_damage_left(tmp_path: Path) -> None:
    road = Road(tmp_path)
    road.collect(["gone"])
    collect_answer(road.queue, names(10), time=START + 5)
    first = min((tmp_path / "web-01").glob("out.*"))
    first.write_bytes(bytes(first.stat().st_size))

    road.restart()
    road.queue.learn_position(None)
    road.deliver({"4"}, at_most=40)

    assert dead_ids(tmp_path) == ["4"]


def test_events_that_the_workspace_cannot_store_are_buried_and_never_sent(tmp_path: Path) -> None:
    road = Road(tmp_path)
    collect_answer(road.queue, ["1", "2"], refused=["x", "y"])
    collect_answer(road.queue, [], refused=["z"], time=START + 5)
    collect_answer(road.queue, ["3"], time=START + 9)
    road.queue.learn_position(None)

    road.deliver(set())

    assert road.stored == ["1", "2", "3"]
    assert dead_ids(tmp_path) == ["x", "y", "z"]
    assert {letter["reason"] for letter in dead_letters(tmp_path)} == {Reason.UNSTORABLE_VALUE.value}
    assert account_of(road.queue) == (6, 3, 0, 3)


def test_a_course_with_a_search_under_way_shares_no_request(tmp_path: Path) -> None:
    road = Road(tmp_path)
    road.collect(names(4))
    sent = road.course.load(ENOUGH_BYTES, 0)
    alone = [road.course.is_alone]

    road.course.narrow(sent, Reason.CONTENT_REFUSED, "no")
    alone.append(road.course.is_alone)
    road.deliver({"1"})
    alone.append(road.course.is_alone)

    assert alone == [False, True, False]


# -- verdicts -----------------------------------------------------------------------------------------------


def loaded(road: Road, *ids: str) -> Sent:
    for number, event_id in enumerate(ids):
        collect_answer(road.queue, [event_id], time=START + 10 * number)
    road.queue.learn_position(None)
    sent = road.course.load(ENOUGH_BYTES, 0)
    road.queue.before_sending(sent.batches[-1])
    return sent


def test_what_was_stored_by_a_lost_attempt_is_delivered(tmp_path: Path) -> None:
    road = Road(tmp_path)
    sent = loaded(road, "a", "b", "c")
    road.queue.answer_lost(sent.batches[1])

    road.course.apply(sent, Fenced(2, sent.batches[1].group_time))

    assert account_of(road.queue) == (3, 3, 0, 0)
    assert road.witness.resolved_events == 2
    assert road.witness.foreign_writers == 0


def test_a_time_of_ours_that_was_answered_is_a_foreigners(tmp_path: Path) -> None:
    road = Road(tmp_path)
    sent = loaded(road, "a")

    road.course.apply(sent, Fenced(1, sent.batches[0].group_time))

    assert waiting_ids(road.queue) == ["a"]
    [again] = road.queue.peek(0)
    assert again.group_time == sent.batches[0].group_time + 1
    assert road.witness.foreign_writers == 1


def test_a_foreign_time_between_ours_moves_the_refused_ones_to_the_end(tmp_path: Path) -> None:
    road = Road(tmp_path)
    sent = loaded(road, "a", "b", "c")

    road.course.apply(sent, Fenced(1, sent.batches[0].group_time + 3))

    assert waiting_ids(road.queue) == ["a"]
    [again] = road.queue.peek(0)
    assert again.group_time > sent.batches[-1].group_time
    assert account_of(road.queue) == (3, 2, 1, 0)


def test_a_refused_setting_is_buried_with_its_reason(tmp_path: Path) -> None:
    road = Road(tmp_path)
    sent = loaded(road, "a", "b")

    road.course.apply(sent, SettingRefused(Reason.DISCARDED_SETTING, "discarded"))

    assert [(letter["reason"], letter["answer"]) for letter in dead_letters(tmp_path)] == [
        ("discarded_setting", "discarded")
    ] * 2
    assert account_of(road.queue) == (2, 0, 0, 2)


def test_an_answer_that_nobody_knows_leaves_a_copy(tmp_path: Path) -> None:
    road = Road(tmp_path)

    road.course.apply(loaded(road, "a"), Unclear("the moon is full"))

    [letter] = dead_letters(tmp_path)
    assert (letter["reason"], letter["answer"]) == ("unknown_answer", "the moon is full")


def test_a_batch_that_may_be_stored_already_is_not_split(tmp_path: Path) -> None:
    # Its first part would be taken for the whole, and the rest sent a second time.
    road = Road(tmp_path)
    road.collect(names(10))
    sent = road.course.load(ENOUGH_BYTES, 0)
    road.queue.before_sending(sent.batches[0])
    road.queue.answer_lost(sent.batches[0])  # in truth, it was stored
    time = sent.batches[0].group_time

    road.course.narrow(sent, Reason.TOO_LARGE, "refused for its size (413)")
    stored_twice: list[str] = []
    for _ in range(5):
        again = road.course.load(ENOUGH_BYTES, 0)
        if not again.batches:
            break
        if again.batches[0].group_time <= time:
            road.course.apply(again, Fenced(1, time))
        else:
            stored_twice += ids_in(again.batches)
            road.course.apply(again, Delivered())

    assert stored_twice == []


# -- waiting ------------------------------------------------------------------------------------------------


def test_waits_grow_and_a_success_ends_them(tmp_path: Path) -> None:
    road = Road(tmp_path)
    policy = RetryPolicy()
    waits = []
    for _ in range(3):
        road.course.back_off(100.0, policy)
        waits.append(road.course.not_before_s - 100.0)

    assert waits == [1.5, 2.5, 4.5]
    assert road.course.is_alone
    road.course.succeeded()
    assert road.course.not_before_s == 0
    road.course.back_off(100.0, policy, retry_after_s=30.0)
    assert 130 <= road.course.not_before_s <= 132


def test_after_a_restart_a_request_of_an_earlier_life_is_given_a_moment(tmp_path: Path) -> None:
    road = Road(tmp_path)
    road.queue.before_sending(loaded(road, "a").batches[0])

    road.restart()

    assert road.course.must_settle_down(100.0)
    assert road.course.not_before_s == 100.0 + MIN_DELAY_S
    assert not road.course.must_settle_down(101.0)


def test_a_new_queue_waits_for_nothing(tmp_path: Path) -> None:
    road = Road(tmp_path)
    collect_answer(road.queue, ["a"])

    assert not road.course.must_settle_down(100.0)


def test_a_letter_tells_the_number_of_attempts(tmp_path: Path) -> None:
    road = Road(tmp_path)
    sent = loaded(road, "a")
    road.course.back_off(1.0, RetryPolicy())
    road.course.back_off(1.0, RetryPolicy())

    road.course.refuse(sent, Reason.CONTENT_REFUSED, json.dumps("no"))

    assert dead_letters(tmp_path)[0]["attempts"] == 3
