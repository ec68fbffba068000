"""Packing: many small files become one, and nothing else changes."""

import contextlib
import json
from pathlib import Path

import pytest

from oase_agent.errors import SpoolUnavailable
from oase_agent.spool.batch_file import FileName
from oase_agent.spool.packing import PackLimits
from oase_agent.spool.queue import SettingQueue
from tests.spool.queue_stage import (
    ENOUGH_BYTES,
    SETTING,
    START,
    Clock,
    FailingDisk,
    Witness,
    account_of,
    collect,
    files_in,
    flip,
    ids_in,
    open_queue,
    waiting_ids,
)

MANY = PackLimits().start_files + 4
IDS = [str(number) for number in range(MANY)]


def backlog(queue: SettingQueue, *, text: str = "") -> None:
    """Leave one file of one event for each id; with `text`, the events differ in length."""
    for number, event_id in enumerate(IDS):
        collect(queue, event_id, time=START + number, text=text * (1 + number % 7))


def widest(directory: Path) -> FileName:
    names = [FileName.parse(path.name) for path in files_in(directory, "out")]
    return max((name for name in names if name is not None), key=lambda name: name.last - name.first)


def test_a_short_backlog_is_not_packed(tmp_path: Path) -> None:
    queue = open_queue(tmp_path, Clock())
    for event_id in IDS[:20]:
        collect(queue, event_id)

    assert not queue.pack()
    assert len(files_in(tmp_path, "out")) == 20


def test_a_pack_replaces_all_files_but_the_oldest_and_keeps_every_batch(tmp_path: Path) -> None:
    queue = open_queue(tmp_path, Clock())
    backlog(queue)
    before = queue.peek(ENOUGH_BYTES)

    assert queue.pack()
    assert not queue.pack()

    assert [path.name for path in files_in(tmp_path, "out")] == [
        "out.0000000001-0000000001.000001.jsonl",
        f"out.0000000002-{MANY:010}.000001.jsonl",
    ]
    after = queue.peek(ENOUGH_BYTES)
    assert ids_in(after) == IDS
    assert [batch.group_time for batch in after] == [batch.group_time for batch in before]
    assert account_of(queue) == (MANY, 0, MANY, 0)


def test_a_packed_queue_reads_the_same_after_a_restart_and_knows_its_ids_and_cursor(tmp_path: Path) -> None:
    queue = open_queue(tmp_path, Clock())
    backlog(queue)
    queue.pack()

    again = open_queue(tmp_path, Clock())

    assert waiting_ids(again) == IDS
    assert again.read_cursor().last_fetched_time == START + MANY - 1
    assert account_of(again) == (MANY, 0, MANY, 0)
    assert collect(again, *IDS, time=START + 1000).events == 0


def test_packs_are_at_most_one_mebibyte_and_are_not_packed_again_without_end(tmp_path: Path) -> None:
    queue = open_queue(tmp_path, Clock())
    for number in range(300):
        collect(queue, str(number), time=START + number, text="x" * 8_000)

    while queue.pack():
        pass

    sizes = [path.stat().st_size for path in files_in(tmp_path, "out")]
    assert max(sizes) < 1024 * 1024 + 64 * 1024
    assert waiting_ids(queue) == [str(number) for number in range(300)]


def test_a_pack_drains_in_order_and_leaves_no_file_behind(tmp_path: Path) -> None:
    queue = open_queue(tmp_path, Clock())
    backlog(queue, text="x")
    queue.pack()

    left: list[str] = []
    while batches := queue.peek(3_000):
        left += ids_in(batches)
        queue.settle(batches)
    queue.checkpoint()
    collect(queue, "last")
    queue.settle(queue.peek(1))

    assert left == IDS
    assert account_of(queue) == (MANY + 1, MANY + 1, 0, 0)
    assert len(files_in(tmp_path, "out")) <= 1


def test_what_was_under_way_while_the_files_were_packed_is_settled_and_nothing_else(tmp_path: Path) -> None:
    # The place where a sent batch ended in its file says nothing about the pack that took the file's place.
    witness = Witness()
    queue = open_queue(tmp_path, Clock(), telemetry=witness)
    backlog(queue, text="x")
    under_way = queue.peek(1_000)
    assert 3 <= len(under_way) <= 20
    queue.before_sending(under_way[-1])

    assert queue.pack()
    queue.settle(under_way)

    assert waiting_ids(queue) == IDS[len(under_way) :]
    assert witness.damages == []
    assert account_of(queue) == (MANY, len(under_way), MANY - len(under_way), 0)


def test_what_was_buried_while_the_files_were_packed_leaves_alone(tmp_path: Path) -> None:
    witness = Witness()
    queue = open_queue(tmp_path, Clock(), telemetry=witness)
    backlog(queue, text="x")
    first, second, third = queue.peek(1_000)[:3]
    assert queue.pack()

    for batch in (first, second, third):
        queue.bury(batch, "content_refused", answer="no", attempts=1)

    assert waiting_ids(queue) == IDS[3:]
    assert witness.damages == []


@pytest.mark.parametrize("takes_effect", [False, True])
def test_an_error_at_any_call_of_packing_loses_nothing(tmp_path: Path, takes_effect: bool) -> None:
    disk = FailingDisk()
    queue = open_queue(tmp_path, Clock(), disk)
    backlog(queue)
    for nth in (*range(1, 8), 9, 100, 250):
        disk.arm(nth, takes_effect=takes_effect)
        for _ in range(2):
            with contextlib.suppress(SpoolUnavailable):
                queue.pack()
        disk.disarm()
        assert waiting_ids(queue) == IDS
        assert account_of(queue) == (MANY, 0, MANY, 0)


def test_a_killed_pack_leaves_singles_that_recovery_removes(tmp_path: Path) -> None:
    disk = FailingDisk()
    queue = open_queue(tmp_path, Clock(), disk)
    backlog(queue)
    # Changes of a pack: create, writes, sync, close, rename, directory sync, and then one unlink for each file.
    all_files = files_in(tmp_path, "out")
    disk.arm(MANY + 4 + 40)
    with pytest.raises(SpoolUnavailable, match="volume failed"):
        queue.pack()
    left = files_in(tmp_path, "out")
    assert 2 < len(left) < len(all_files)

    again = open_queue(tmp_path, Clock())

    assert waiting_ids(again) == IDS
    assert len(files_in(tmp_path, "out")) == 2
    assert widest(tmp_path).last == MANY


def test_a_damaged_footer_found_while_packing_costs_no_batch(tmp_path: Path) -> None:
    witness = Witness()
    queue = open_queue(tmp_path, Clock(), telemetry=witness)
    backlog(queue)
    victim = files_in(tmp_path, "out")[10]
    flip(victim, victim.stat().st_size - 15)

    with pytest.raises(SpoolUnavailable, match="checksum"):
        queue.pack()

    assert waiting_ids(queue) == IDS
    assert account_of(queue) == (MANY, 0, MANY, 0)
    assert [path.name for path in (tmp_path / SETTING / "bad").iterdir()] == [victim.name]
    assert len(witness.damages) == 1


def test_a_damaged_batch_within_a_pack_is_set_aside_alone(tmp_path: Path) -> None:
    witness = Witness()
    queue = open_queue(tmp_path, Clock(), telemetry=witness)
    backlog(queue)
    queue.pack()
    pack = files_in(tmp_path, "out")[1]
    content = pack.read_bytes()
    pack.write_bytes(content.replace(b'"id": "7"', b'"id": "x"', 1))

    left: list[str] = []
    again = open_queue(tmp_path, Clock(), telemetry=witness)
    while batches := again.peek(2_000):
        left += ids_in(batches)
        again.settle(batches)

    assert left == [event_id for event_id in IDS if event_id != "7"]
    assert account_of(again) == (MANY, MANY - 1, 0, 1)
    [kept] = (tmp_path / SETTING / "bad").iterdir()
    assert json.loads(kept.read_bytes())["ev"][0]["id"] == "x"
