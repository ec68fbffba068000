"""The spool's promises, one test or more a number (design section 4). Real files in a temporary directory."""

from pathlib import Path

import pytest

from tests.spool.queue_stage import Clock, SyncLog, collect, ids_in, open_queue, waiting_ids


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_p1_commit_syncs_the_file_then_renames_it_then_syncs_the_directory(
    tmp_path: Path, clock: Clock
) -> None:
    disk = SyncLog()
    queue = open_queue(tmp_path, clock, disk)
    queue.open()
    disk.calls.clear()

    collect(queue, "1", "2")

    assert disk.calls == ["sync", "rename out", "sync directory"]


def test_p1_what_was_committed_is_there_after_a_restart(tmp_path: Path, clock: Clock) -> None:
    collect(open_queue(tmp_path, clock), "1", "2")

    assert waiting_ids(open_queue(tmp_path, clock)) == ["1", "2"]


def test_p2_batches_leave_in_the_order_they_came(tmp_path: Path, clock: Clock) -> None:
    queue = open_queue(tmp_path, clock)
    for number in range(5):
        collect(queue, str(number), time=1_700_000_000 + number)

    assert waiting_ids(queue) == ["0", "1", "2", "3", "4"]
    times = [batch.group_time for batch in queue.peek(10**9)]
    assert times == sorted(set(times))


def test_p2_group_times_rise_although_the_clock_goes_back_an_hour(tmp_path: Path, clock: Clock) -> None:
    queue = open_queue(tmp_path, clock)
    collect(queue, "1", time=1_700_000_000)
    collect(queue, "2", time=1_700_000_000 - 3600)

    first, second = queue.peek(10**9)
    assert second.group_time == first.group_time + 1


def test_p3_a_settled_batch_leaves_and_its_file_goes_with_the_next_but_one_checkpoint(
    tmp_path: Path, clock: Clock
) -> None:
    queue = open_queue(tmp_path, clock)
    collect(queue, "1")
    collect(queue, "2")

    assert queue.settle(queue.peek(1)) == 1
    assert waiting_ids(queue) == ["2"]
    assert len(list((tmp_path / "web-01").glob("out.*"))) == 2
    queue.settle(queue.peek(1))
    assert [path.name[:14] for path in (tmp_path / "web-01").glob("out.*")] == ["out.0000000002"]


def test_p3_a_checkpoint_is_durable_before_the_file_it_settles_is_unlinked(
    tmp_path: Path, clock: Clock
) -> None:
    disk = SyncLog()
    queue = open_queue(tmp_path, clock, disk)
    for event_id in ("1", "2", "3"):
        collect(queue, event_id)
    queue.settle(queue.peek(1))
    disk.calls.clear()

    queue.settle(queue.peek(1))

    assert disk.calls[:3] == ["sync", "rename state", "sync directory"]
    assert "unlink out" in disk.calls[3:]


def test_p4_the_oldest_batch_stays_the_oldest_after_a_restart(tmp_path: Path, clock: Clock) -> None:
    queue = open_queue(tmp_path, clock)
    for event_id in ("1", "2", "3"):
        collect(queue, event_id)
    queue.settle(queue.peek(1))
    before = queue.peek(1)

    assert open_queue(tmp_path, clock).peek(1) == before
    assert ids_in(before) == ["2"]


def test_p5_the_cursor_is_that_of_the_newest_file_after_a_restart(tmp_path: Path, clock: Clock) -> None:
    queue = open_queue(tmp_path, clock)
    collect(queue, "1", time=1_700_000_005)

    assert open_queue(tmp_path, clock).read_cursor().last_fetched_time == 1_700_000_005


def test_p5_the_cursor_of_a_new_setting_is_durable_before_anything_is_collected(
    tmp_path: Path, clock: Clock
) -> None:
    open_queue(tmp_path, clock).open()
    clock.now += 500

    assert open_queue(tmp_path, clock).read_cursor().last_fetched_time == 1_700_000_000


def test_an_empty_collection_writes_nothing_and_moves_the_cursor(tmp_path: Path, clock: Clock) -> None:
    disk = SyncLog()
    queue = open_queue(tmp_path, clock, disk)
    queue.open()
    disk.calls.clear()

    collect(queue, time=1_700_000_030)

    assert disk.calls == []
    assert queue.read_cursor().last_fetched_time == 1_700_000_030


def test_p6_a_damaged_batch_is_set_aside_and_the_others_stay(tmp_path: Path, clock: Clock) -> None:
    queue = open_queue(tmp_path, clock)
    for event_id in ("1", "2", "3"):
        collect(queue, event_id, text="x" * 50)
    [file] = (tmp_path / "web-01").glob("out.0000000002-*")
    file.write_bytes(file.read_bytes().replace(b"xxxxx", b"xxyxx", 1))

    assert waiting_ids(queue) == ["1"]
    queue.settle(queue.peek(1))
    assert waiting_ids(queue) == ["3"]
    [kept] = (tmp_path / "web-01" / "bad").iterdir()
    assert kept.name.startswith(f"{file.name}.")
    assert b"xxyxx" in kept.read_bytes()
    figures = queue.figures()
    assert figures is not None
    assert (figures.collected, figures.delivered, figures.waiting, figures.dead) == (3, 1, 1, 1)


def test_p6_a_file_without_its_footer_is_set_aside_and_its_whole_batches_stay(
    tmp_path: Path, clock: Clock
) -> None:
    queue = open_queue(tmp_path, clock)
    collect(queue, *map(str, range(2500)))
    [file] = (tmp_path / "web-01").glob("out.*")
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(lines[:2]) + lines[2][:100])

    again = open_queue(tmp_path, clock)

    assert waiting_ids(again) == [str(number) for number in range(2000)]
    assert [path.name for path in (tmp_path / "web-01" / "bad").iterdir()] == [file.name]


def test_p6_a_damaged_checkpoint_falls_back_to_the_one_before(tmp_path: Path, clock: Clock) -> None:
    queue = open_queue(tmp_path, clock)
    for event_id in ("1", "2", "3"):
        collect(queue, event_id)
    queue.settle(queue.peek(1))
    queue.settle(queue.peek(1))
    newest = max((tmp_path / "web-01").glob("state.*"))
    newest.write_bytes(newest.read_bytes()[:-30])

    again = open_queue(tmp_path, clock)

    # "2" is back, as maybe sent: the workspace's position will settle it.
    assert waiting_ids(again) == ["2", "3"]
    assert again.may_have_been_sent


def test_c3_an_id_that_is_still_known_is_not_collected_again_also_after_a_restart(
    tmp_path: Path, clock: Clock
) -> None:
    collect(open_queue(tmp_path, clock), "1", "x-2")
    queue = open_queue(tmp_path, clock)
    collect(queue, "1", "x-2", "3")

    assert waiting_ids(queue) == ["1", "x-2", "3"]


def test_o3_collected_is_delivered_and_waiting_and_dead(tmp_path: Path, clock: Clock) -> None:
    queue = open_queue(tmp_path, clock)
    for number in range(6):
        collect(queue, f"{number}a", f"{number}b")
    queue.settle(queue.peek(1))
    queue.bury(queue.peek(1)[0], "content_refused", answer="no", attempts=1)

    for counted in (queue, open_queue(tmp_path, clock)):
        counted.open()
        figures = counted.figures()
        assert figures is not None
        assert (figures.collected, figures.delivered, figures.waiting, figures.dead) == (12, 2, 8, 2)
