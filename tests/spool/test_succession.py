"""From owner to owner where each has a volume of its own: by a record in the claim, and what they left behind."""

import errno
import json
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oase_agent.disk import Disk
from oase_agent.errors import SpoolUnavailable
from oase_agent.spool.packing import PackLimits
from oase_agent.spool.succession import Inherited
from tests.spool.queue_stage import (
    SETTING,
    Clock,
    account_of,
    collect,
    collect_answer,
    dead_letters,
    files_in,
    open_queue,
    waiting_ids,
)
from tests.spool.succession_stage import LostAnswer, Owner, World, begun


def test_the_next_owner_asks_from_where_the_last_one_came_to(tmp_path: Path) -> None:
    world, first = begun(tmp_path)
    cursor = first.queue.read_cursor()

    second = world.take("b")

    assert second.queue.read_cursor() == cursor
    second.collect()
    assert waiting_ids(second.queue) == []


def test_the_first_owner_tells_its_cursor_before_it_has_events(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.take("a")
    world.write(3)

    # The first one died before it collected anything; the second one has no cursor of its own.
    second = world.take("b")
    second.collect()
    second.deliver_all()

    assert (world.lost, world.doubled) == ([], [])


def test_what_was_committed_and_not_told_is_collected_by_the_next_owner_alone(tmp_path: Path) -> None:
    world, first = begun(tmp_path)
    world.write(3)
    first.collect()

    second = world.take("b")
    second.collect()
    second.deliver_all()
    back = world.take("a")

    assert back.inherited == Inherited(dropped=3)
    assert waiting_ids(back.queue) == []
    back.collect()
    back.deliver_all()
    assert (world.lost, world.doubled) == ([], [])
    assert account_of(back.queue) == (2, 2, 0, 0)


def test_what_was_dropped_stays_out_whatever_a_power_cut_brings_back(tmp_path: Path) -> None:
    world, first = begun(tmp_path)
    left = world.write(2)
    first.collect()
    first.carry()
    world.write(2)
    first.collect()
    before = {path.name: path.read_bytes() for path in files_in(tmp_path / "a", "out")}
    second = world.take("b")
    second.collect()
    second.deliver_all()

    assert world.take("a").inherited == Inherited(kept=2, dropped=2)
    for name, content in before.items():
        (tmp_path / "a" / SETTING / name).write_bytes(content)
    back = world.take("a")

    assert waiting_ids(back.queue) == left
    back.deliver_all()
    assert (world.lost, world.doubled) == ([], [])
    [told] = world.telemetry.damages
    assert "it was never sent" in told


class KeepsFiles(Disk):
    """A disk on which no batches can be removed."""

    def unlink(self, path: Path) -> None:
        if path.name.startswith("out."):
            raise OSError(errno.EIO, "Input/output error")
        super().unlink(path)


def test_what_was_dropped_stays_out_although_it_could_not_be_removed(tmp_path: Path) -> None:
    world, first = begun(tmp_path)
    left = world.write(2)
    first.collect()
    first.carry()
    world.write(2)
    first.collect()
    second = world.take("b")
    second.collect()
    second.deliver_all()
    with pytest.raises(SpoolUnavailable):
        open_queue(tmp_path / "a", world.clock, KeepsFiles()).succession.inherit(SETTING, 3, world.record)

    # Also if there are no replicas any more who share anything.
    assert waiting_ids(open_queue(tmp_path / "a", world.clock)) == left
    back = world.take("a")

    assert waiting_ids(back.queue) == left
    back.deliver_all()
    assert (world.lost, world.doubled) == ([], [])


def test_of_what_was_not_told_nothing_stays_although_a_part_of_it_is_buried(tmp_path: Path) -> None:
    world, first = begun(tmp_path)
    collect_answer(first.queue, ["sent by others"], refused=["unstorable"], time=int(world.clock.now))
    # What the workspace cannot store is buried without a request, and without a record.
    while (batches := first.queue.peek(1)) and not batches[0].is_refused:
        first.queue.bury(batches[0], "content_refused", answer="no", attempts=1)
    world.write(1)
    second = world.take("b")
    second.collect()
    second.deliver_all()

    back = world.take("a")

    assert back.inherited == Inherited(dropped=1)
    assert waiting_ids(back.queue) == []
    assert account_of(back.queue) == (3, 2, 0, 1)


def test_what_was_dropped_is_collected_again_by_its_own_volume_if_nobody_else_did(tmp_path: Path) -> None:
    world, first = begun(tmp_path)
    lost_with_b = world.write(3)
    first.collect()
    # It owned the setting and told something else, so that the record is not the first one's any more.
    second = world.take("b")
    second.hand_over()

    back = world.take("a")
    assert waiting_ids(back.queue) == []
    back.collect()

    assert waiting_ids(back.queue) == lost_with_b
    back.deliver_all()
    assert (world.lost, world.doubled) == ([], [])


def test_what_was_told_and_not_sent_waits_for_its_volume(tmp_path: Path) -> None:
    world, first = begun(tmp_path)
    left = world.write(3)
    first.collect()
    first.carry()

    second = world.take("b")
    world.write(2)
    second.collect()
    second.deliver_all()
    assert world.lost == left

    back = world.take("a")
    assert back.inherited == Inherited(kept=3)
    back.deliver_all()
    assert (world.lost, world.doubled) == ([], [])
    assert world.telemetry.foreign_writers == 0


@pytest.mark.parametrize("is_stored", [True, False])
def test_a_request_without_an_answer_is_judged_by_the_position_that_the_next_owner_found(
    tmp_path: Path, is_stored: bool
) -> None:
    world, first = begun(tmp_path)
    world.write(4)
    first.collect()
    with pytest.raises(LostAnswer):
        first.deliver(stores=is_stored, answers=False)

    second = world.take("b")
    world.write(2)
    second.collect()
    second.deliver_all()
    back = world.take("a")

    assert back.inherited == (Inherited(stored=4) if is_stored else Inherited(kept=4))
    back.deliver_all()
    assert (world.lost, world.doubled) == ([], [])


def test_the_position_that_counts_is_that_of_the_first_owner_after_it(tmp_path: Path) -> None:
    world, first = begun(tmp_path)
    world.write(2)
    first.collect()
    with pytest.raises(LostAnswer):
        first.deliver(answers=False)
    # Takes the setting, and dies before it sends anything: it found nothing, and hides nothing.
    world.write(1)
    world.take("b").collect()
    third = world.take("c")
    third.collect()
    third.deliver_all()
    fourth = world.take("b")
    world.write(1)
    fourth.collect()
    fourth.deliver_all()

    back = world.take("a")

    assert back.inherited == Inherited(stored=2)
    back.deliver_all()
    assert (world.lost, world.doubled) == ([], [])


def test_where_nobody_sent_anything_since_the_present_position_judges(tmp_path: Path) -> None:
    world, first = begun(tmp_path)
    world.write(2)
    first.collect()
    with pytest.raises(LostAnswer):
        first.deliver(answers=False)
    second = world.take("b")
    world.write(1)
    second.collect()
    second.carry()

    back = world.take("a")
    assert back.inherited == Inherited(kept=2)
    back.deliver_all()
    again = world.take("b")
    again.deliver_all()

    assert (world.lost, world.doubled) == ([], [])
    assert world.telemetry.foreign_writers == 0


def test_group_times_only_rise_from_owner_to_owner_and_follow_the_clock(tmp_path: Path) -> None:
    world, owner = begun(tmp_path)
    times = [world.fence.latest or 0]
    for volume in "baba":
        world.write(2)
        owner.collect()
        owner.carry()  # left behind by everyone
        world.clock.now += 10_000
        owner = world.take(volume)
        world.write(2)
        owner.collect()
        owner.deliver_all()
        times.append(world.fence.latest or 0)

    assert times == sorted(set(times))
    # What was lifted above others' times does not let the queue run ahead of the clock.
    assert times[-1] <= world.clock.now + 10
    world.take("a").deliver_all()
    world.take("b").deliver_all()
    assert (world.lost, world.doubled) == ([], [])


def test_group_times_rise_also_if_the_clock_of_the_next_owner_is_behind(tmp_path: Path) -> None:
    world, first = begun(tmp_path)
    world.write(1)
    first.collect()
    first.carry()
    second = world.take("b")
    world.clock.now += 10_000
    world.write(1)
    second.collect()
    second.carry()
    given = json.loads(world.record or "")["ft"]

    world.clock.now -= 20_000
    back = world.take("a")
    world.source.append((given + 1, "new"))
    back.collect()
    back.carry()

    assert json.loads(world.record or "")["ft"] > given


def test_a_record_is_due_for_every_new_batch_time_and_position(tmp_path: Path) -> None:
    world, first = begun(tmp_path)
    assert not first.carry()
    world.write(1)
    first.collect()
    assert first.queue.succession.is_due()
    assert first.carry()
    assert not first.queue.succession.is_due()
    # The workspace cannot store it, so it has no time of its own.
    collect_answer(first.queue, [], refused=["unstorable"], time=int(world.clock.now))
    assert first.carry()
    # A foreign writer: what waits is sent under later times.
    world.fence.latest = int(world.clock.now) + 500
    first.learn_position()
    assert first.carry()

    second = world.take("b")
    world.write(1)
    second.collect()
    assert second.carry()
    second.learn_position()
    assert second.carry()
    assert not second.carry()


def test_a_cursor_that_moved_without_events_is_told_now_and_then(tmp_path: Path) -> None:
    world, first = begun(tmp_path)
    world.clock.now += 1_000
    world.source.clear()
    first.collect()

    assert first.queue.succession.due() is None
    assert first.queue.succession.due(max_cursor_lag_s=1_200) is None
    assert first.queue.succession.due(max_cursor_lag_s=900) is not None


def test_the_settings_own_last_writer_goes_on_with_all_it_has(tmp_path: Path) -> None:
    world, first = begun(tmp_path)
    world.write(2)
    first.collect()
    first.carry()
    world.write(1)
    first.collect()

    again = world.take("a")

    assert again.inherited == Inherited(kept=3)
    again.deliver_all()
    assert (world.lost, world.doubled) == ([], [])


def test_a_planned_hand_over_tells_everything(tmp_path: Path) -> None:
    world, first = begun(tmp_path)
    world.write(2)
    first.collect()
    first.hand_over()

    second = world.take("b")
    second.collect()
    assert waiting_ids(second.queue) == []
    world.take("a").deliver_all()
    assert (world.lost, world.doubled) == ([], [])


def test_before_the_next_owner_asks_for_the_position_a_last_request_may_still_arrive(tmp_path: Path) -> None:
    world, first = begun(tmp_path)
    world.write(1)
    first.collect()
    first.carry()

    second = world.take("b")
    before = second.queue.may_have_been_sent
    second.learn_position()
    assert (before, second.queue.may_have_been_sent) == (True, False)

    back = world.take("a")
    back.deliver_all()
    back.hand_over()
    assert not world.take("b").queue.may_have_been_sent


def test_a_lost_record_loses_nothing(tmp_path: Path) -> None:
    world, first = begun(tmp_path)
    world.write(2)
    first.collect()
    first.carry()
    second = world.take("b")
    world.write(2)
    second.collect()
    second.deliver_all()
    # An operator deletes the claim.
    world.record = None

    third = world.take("b")
    back = world.take("a")

    assert third.inherited.is_first
    # Nothing tells which of these were delivered.
    assert back.inherited == Inherited(kept=2, is_unjudged=True)
    back.deliver_all()
    assert world.lost == []


def test_a_record_that_cannot_be_read_is_left_alone(tmp_path: Path) -> None:
    world, first = begun(tmp_path)
    world.write(2)
    first.collect()
    world.record = '{"v":1}'

    with pytest.raises(SpoolUnavailable, match="claim Lease cannot be used"):
        world.take("a")
    world.record = '{"v":2}'
    with pytest.raises(SpoolUnavailable, match="newer agent"):
        world.take("a")

    world.record = None
    assert world.take("a").inherited == Inherited(is_first=True, kept=2)


def test_batches_that_came_back_from_dead_letters_are_not_dropped(tmp_path: Path) -> None:
    world, first = begun(tmp_path)
    world.write(2)
    first.collect()
    [batch] = first.queue.peek(1)
    first.queue.bury(batch, "content_refused", answer="no", attempts=1)
    first.carry()
    [letter] = (tmp_path / "a" / SETTING / "dead").iterdir()
    (tmp_path / "a" / SETTING / "replay" / letter.name).touch()
    # It entered the queue again, and the others were not told when its owner died.
    assert first.queue.replay() == 2
    second = world.take("b")
    world.write(1)
    second.collect()
    second.deliver_all()

    back = world.take("a")
    assert back.inherited.dropped == 0
    assert len(dead_letters(tmp_path / "a")) == 1
    assert back.queue.replay() == 2

    back.deliver_all()
    assert (world.lost, world.doubled) == ([], [])
    assert account_of(back.queue) == (4, 4, 0, 0)


def test_a_pack_does_not_join_what_others_were_told_of_with_what_they_were_not(tmp_path: Path) -> None:
    world = World(tmp_path)
    first = world.take("a")
    tools = PackLimits(start_files=2, run_files=2)
    for number in range(6):
        world.write(1)
        first.collect()
        if number == 3:
            first.carry()

    assert first.queue.succession.packing(tools).through == 4
    first.carry()
    assert first.queue.succession.packing(tools).through == 6


def test_without_a_claim_there_is_no_succession(tmp_path: Path) -> None:
    queue = open_queue(tmp_path, Clock())
    collect(queue, "1")

    assert queue.succession.due() is None
    assert queue.succession.last() is None
    assert not queue.succession.is_due()
    limits = PackLimits()
    assert queue.succession.packing(limits) is limits


def test_a_volume_that_forgot_gives_no_batch_number_twice(tmp_path: Path) -> None:
    world, first = begun(tmp_path)
    shutil.copytree(tmp_path / "a", tmp_path / "older")
    world.write(2)
    first.collect()
    first.carry()
    assert world.record is not None
    counted = json.loads(world.record)
    shutil.rmtree(tmp_path / "a")
    shutil.copytree(tmp_path / "older", tmp_path / "a")

    back = world.take("a")
    assert back.queue.read_cursor().last_fetched_time == counted["cursor"]["time"]
    world.write(1)
    back.collect()
    back.carry()

    assert json.loads(world.record)["seq"] > counted["seq"]


# -- stories --------------------------------------------------------------------------------------------------

steps = st.sampled_from(
    [
        "write",
        "write",
        "collect",
        "collect",
        "carry",
        "position",
        "deliver",
        "deliver one",
        "answer lost",
        "request lost",
        "reopen",
        "hand over",
        "take a",
        "take b",
        "take c",
    ]
)


def act(world: World, owner: Owner, step: str) -> Owner:
    """Do one thing; returns who owns the setting then. A take without a hand-over is a crash before it."""
    match step:
        case "write":
            world.write(3)
        case "collect":
            owner.collect()
        case "carry":
            owner.carry()
        case "position":
            owner.learn_position()
        case "deliver":
            owner.deliver()
        case "deliver one":
            owner.deliver(1)
        case "answer lost" | "request lost":
            try:
                owner.deliver(stores=step == "answer lost", answers=False)
            except LostAnswer:
                owner.queue.doubt_position()
        case "reopen":
            return world.take(owner.volume)
        case "hand over":
            owner.hand_over()
            return world.take("b" if owner.volume == "a" else "a")
        case _:
            return world.take(step[-1])
    return owner


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(steps, max_size=40))
def test_whatever_happens_every_event_arrives_once(
    tmp_path_factory: pytest.TempPathFactory, story: list[str]
) -> None:
    world = World(tmp_path_factory.mktemp("story"))
    owner = world.take("a")
    for step in story:
        owner = act(world, owner, step)

    # Everybody comes back once, the last one twice: what it collected last is there by then.
    for volume in "abcab":
        owner = world.take(volume)
        owner.collect()
        owner.deliver_all()

    assert (world.lost, world.doubled) == ([], [])
    assert world.telemetry.foreign_writers == 0
    assert world.telemetry.damages == []
