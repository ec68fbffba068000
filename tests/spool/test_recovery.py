"""What a crash, a fault or a bad block leaves behind, and what the next life makes of it."""

import contextlib
import json
import zlib
from pathlib import Path

import pytest

from oase_agent.disk import Disk
from oase_agent.errors import Reason, SpoolUnavailable
from oase_agent.model import Cursor
from oase_agent.spool.batch_file import FileName
from oase_agent.spool.known_ids import IdPolicy
from oase_agent.spool.queue import SettingQueue
from tests.spool.queue_stage import (
    ENOUGH_BYTES,
    SETTING,
    SETTING_ID,
    START,
    Clock,
    FailingDisk,
    SyncLog,
    Witness,
    account_of,
    collect,
    collect_answer,
    dead_ids,
    files_in,
    flip,
    ids_in,
    open_queue,
    waiting_ids,
)


@pytest.fixture
def witness() -> Witness:
    return Witness()


def filled(directory: Path, *batches: str, batch_events: int = 1000) -> SettingQueue:
    """Collect one file for each text, with one event for each of its letters."""
    queue = open_queue(directory, Clock(), batch_events=batch_events)
    for number, letters in enumerate(batches):
        collect(queue, *letters, time=START + 10 * number)
    return queue


def reopened(directory: Path, witness: Witness | None = None) -> SettingQueue:
    return open_queue(directory, Clock(), telemetry=witness or Witness())


def bad_files(directory: Path) -> list[str]:
    bad = directory / SETTING / "bad"
    return sorted(path.name for path in bad.iterdir()) if bad.exists() else []


def cut(path: Path, keep: int) -> None:
    path.write_bytes(path.read_bytes()[:keep])


# -- what a crash leaves ------------------------------------------------------------------------------------


def test_the_directory_is_synced_before_it_is_believed(tmp_path: Path) -> None:
    filled(tmp_path, "a")
    disk = SyncLog()

    open_queue(tmp_path, Clock(), disk).open()

    but_for_the_old_claim = [call for call in disk.calls if call != "unlink 000001"]
    assert but_for_the_old_claim[0] == "sync directory"


def test_the_parents_of_a_directory_are_synced_although_it_is_there(tmp_path: Path) -> None:
    # A killed process may have made it and not synced its parent; then a power cut takes the directory away
    # with all that was kept in it since.
    filled(tmp_path, "a")

    class Places(Disk):
        def __init__(self) -> None:
            self.synced: list[Path] = []

        def sync_directory(self, directory: Path) -> None:
            super().sync_directory(directory)
            self.synced.append(directory)

    disk = Places()
    open_queue(tmp_path, Clock(), disk).open()

    assert tmp_path in disk.synced


def test_temporary_files_are_removed_and_foreign_ones_are_left_alone(tmp_path: Path) -> None:
    filled(tmp_path, "a")
    directory = tmp_path / SETTING
    foreign = [".nfs0000000000000001", "lost+found", "notes.txt", "out.jsonl", "state.json", "OUT.x"]
    for name in ["tmp.1.0", "tmp.99.3", *foreign]:
        (directory / name).write_bytes(b"x")

    queue = reopened(tmp_path)

    assert waiting_ids(queue) == ["a"]
    assert files_in(tmp_path, "tmp") == []
    assert {path.name for path in directory.iterdir()} >= set(foreign)


def test_a_file_that_is_ahead_of_the_checkpoint_counts(tmp_path: Path) -> None:
    queue = filled(tmp_path, "ab")
    queue.settle(queue.peek(0))
    collect(queue, "c", "d", time=START + 7)

    again = reopened(tmp_path)

    assert waiting_ids(again) == ["c", "d"]
    assert again.read_cursor() == Cursor(START + 7)
    assert account_of(again) == (4, 2, 2, 0)
    assert collect(again, "a", "c").events == 0


def test_settled_files_go_only_when_both_checkpoints_call_them_settled(tmp_path: Path) -> None:
    queue = filled(tmp_path, "a", "b", "c", "d")
    for _ in range(3):
        queue.settle(queue.peek(0))

    assert [path.name[11:14] for path in files_in(tmp_path, "out")] == ["003", "004"]
    again = reopened(tmp_path)
    assert waiting_ids(again) == ["d"]
    again.settle(again.peek(0))
    again.begin_collection("id-2")
    again.checkpoint()
    assert files_in(tmp_path, "out") == []


def test_two_checkpoints_are_kept_however_often_the_agent_starts(tmp_path: Path) -> None:
    for number in range(6):
        queue = reopened(tmp_path)
        collect(queue, str(number))
        queue.settle(queue.peek(0))

    assert len(files_in(tmp_path, "state")) == 2


def test_bulks_of_ids_do_not_pile_up_however_often_the_agent_starts(tmp_path: Path) -> None:
    for number in range(4):
        queue = reopened(tmp_path)
        collect(queue, *(f"{number}-{serial}" for serial in range(2500)))
        queue.settle(queue.peek(ENOUGH_BYTES))

    assert len(files_in(tmp_path, "seen")) <= 2


def test_orphan_bulks_of_ids_are_removed_and_those_in_use_stay(tmp_path: Path) -> None:
    queue = filled(tmp_path)
    collect(queue, *map(str, range(2500)))
    queue.settle(queue.peek(ENOUGH_BYTES))
    [used] = files_in(tmp_path, "seen")
    orphan = used.with_name("seen.000009.0000000001.txt")
    orphan.write_bytes(used.read_bytes())

    again = reopened(tmp_path)

    assert collect(again, *map(str, range(2500))).events == 0
    collect(again, "new")
    assert files_in(tmp_path, "seen") == [used]


def test_a_name_is_never_written_twice_whatever_fails(tmp_path: Path) -> None:
    class Names(FailingDisk):
        def __init__(self) -> None:
            super().__init__()
            self.published: list[str] = []

        def rename(self, source: Path, target: Path) -> None:
            super().rename(source, target)
            self.published.append(target.name)

    disk = Names()
    queue = open_queue(tmp_path, Clock(), disk)
    for number in range(60):
        disk.arm(1 + number % 11, takes_effect=number % 2 == 0)
        try:
            collect(
                queue, *(f"{number}-{serial}" for serial in range(50 * (number % 3))), time=START + number
            )
            if batches := queue.peek(0):
                queue.settle(batches)
        except SpoolUnavailable:
            pass

    assert len(disk.failed) > 20
    assert len(disk.published) == len(set(disk.published))


def test_recovery_may_fail_at_any_call_and_be_repeated(tmp_path: Path) -> None:
    for nth in range(1, 20):
        directory = tmp_path / str(nth)
        filled(directory, "ab", "cd")
        damaged = files_in(directory, "out")[0]
        cut(damaged, damaged.stat().st_size - 3)
        (directory / SETTING / "tmp.1.0").write_bytes(b"x")
        disk = FailingDisk()
        queue = open_queue(directory, Clock(), disk)
        disk.arm(nth)
        for _ in range(3):
            try:
                queue.open()
            except SpoolUnavailable:
                continue
        disk.disarm()

        assert waiting_ids(queue) == ["a", "b", "c", "d"], disk.failed
        assert len(bad_files(directory)) == 1, disk.failed


def test_a_damaged_file_is_kept_although_the_agent_dies_after_rescuing_its_batches(tmp_path: Path) -> None:
    # The rescued file then covers the damaged one, which still is the only copy of what could not be read.
    queue = open_queue(tmp_path, Clock(), batch_events=2)
    collect(queue, *"abcdef")
    [path] = files_in(tmp_path, "out")
    lines = path.read_bytes().splitlines(keepends=True)
    lines[1] = lines[1].replace(b'"id": "c"', b'"id": "X"')
    lines[3] = lines[3].replace(b'"v":1', b'"v":7')
    path.write_bytes(b"".join(lines))
    disk = FailingDisk()
    dying = open_queue(tmp_path, Clock(), disk)
    # Changes: the claim (create, close, an unlink), directory sync, then the rescued file: create, 3 writes, sync,
    # close, rename, directory sync.
    disk.arm(13)
    with pytest.raises(SpoolUnavailable):
        dying.open()
    assert len(files_in(tmp_path, "out")) == 2

    again = reopened(tmp_path)

    assert waiting_ids(again) == ["a", "b", "e", "f"]
    assert bad_files(tmp_path) == [path.name]


# -- damaged files ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["footer", "first line", "end"])
def test_a_damaged_file_keeps_its_whole_batches_and_adds_up(
    tmp_path: Path, place: str, witness: Witness
) -> None:
    filled(tmp_path, "ab", "cdef", "gh", batch_events=2)
    damaged = files_in(tmp_path, "out")[1]
    size = damaged.stat().st_size
    if place == "footer":
        flip(damaged, size - 40)
    elif place == "first line":
        flip(damaged, 40)
    else:
        cut(damaged, size - 5)

    queue = reopened(tmp_path, witness)
    left: list[str] = []
    while batches := queue.peek(0):
        left += ids_in(batches)
        queue.settle(batches)

    assert left == (list("abefgh") if place == "first line" else list("abcdefgh"))
    collected, delivered, waiting, dead = account_of(queue)
    assert (collected, delivered, waiting) == (8, len(left), 0)
    assert dead == 8 - len(left)
    assert len(bad_files(tmp_path)) == 1
    assert len(witness.damages) == 1


def test_what_was_lost_with_a_damaged_file_is_accounted_for_in_every_later_life(
    tmp_path: Path, witness: Witness
) -> None:
    filled(tmp_path, "ab", "cd", "ef")
    damaged = files_in(tmp_path, "out")[1]
    damaged.write_bytes(bytes(damaged.stat().st_size))

    assert account_of(reopened(tmp_path, witness)) == (6, 0, 4, 2)
    assert account_of(reopened(tmp_path, witness)) == (6, 0, 4, 2)
    assert bad_files(tmp_path) == [damaged.name]


def test_a_hole_left_by_a_damaged_file_does_not_keep_a_poisoned_batch_from_being_narrowed(
    tmp_path: Path, witness: Witness
) -> None:
    filled(tmp_path, "ab", "cdef")
    damaged = files_in(tmp_path, "out")[0]
    damaged.write_bytes(bytes(damaged.stat().st_size))
    queue = reopened(tmp_path, witness)
    [head] = queue.peek(0)

    queue.narrow(head, 1)

    assert waiting_ids(queue) == ["c"]


def test_a_file_that_vanished_is_told_and_accounted_for(tmp_path: Path, witness: Witness) -> None:
    queue = filled(tmp_path, "ab", "cd", "ef")
    queue.begin_collection("id-2")
    queue.checkpoint()
    files_in(tmp_path, "out")[2].unlink()

    again = reopened(tmp_path, witness)

    assert waiting_ids(again) == ["a", "b", "c", "d"]
    collected, delivered, waiting, dead = account_of(again)
    assert collected == delivered + waiting + dead
    assert len(witness.damages) == 1


def test_damage_in_what_has_left_already_brings_nothing_back(tmp_path: Path, witness: Witness) -> None:
    queue = open_queue(tmp_path, Clock(), batch_events=1)
    collect(queue, *"abcd")
    for _ in range(3):
        queue.settle(queue.peek(0))
    [path] = files_in(tmp_path, "out")
    flip(path, path.read_bytes().index(b'"id": "b"') + 7)

    again = reopened(tmp_path, witness)

    assert waiting_ids(again) == ["d"]
    assert account_of(again) == (4, 3, 1, 0)


def test_damage_in_a_batch_of_which_a_part_has_left_counts_only_the_rest(
    tmp_path: Path, witness: Witness
) -> None:
    queue = filled(tmp_path, "abcdef", "g")
    [head] = queue.peek(0)
    queue.narrow(head, 2)
    queue.settle(queue.peek(0))
    path = files_in(tmp_path, "out")[0]
    flip(path, path.read_bytes().index(b'"id": "f"') + 7)

    again = reopened(tmp_path, witness)

    assert waiting_ids(again) == ["g"]
    assert account_of(again) == (7, 2, 1, 4)


def test_a_newline_that_was_damaged_takes_two_batches_and_adds_up(tmp_path: Path, witness: Witness) -> None:
    queue = open_queue(tmp_path, Clock(), batch_events=2)
    collect(queue, *"abcdef")
    [path] = files_in(tmp_path, "out")
    flip(path, path.read_bytes().index(b"\n"))

    again = reopened(tmp_path, witness)

    assert waiting_ids(again) == ["e", "f"]
    assert account_of(again) == (6, 0, 2, 4)


# -- damaged checkpoints ------------------------------------------------------------------------------------


def test_a_damaged_checkpoint_gives_the_one_before_and_everything_may_have_been_sent(
    tmp_path: Path, witness: Witness
) -> None:
    queue = filled(tmp_path, "a", "b", "c")
    queue.settle(queue.peek(0))
    queue.settle(queue.peek(0))
    times = {ids_in([batch])[0]: batch.group_time for batch in queue.peek(ENOUGH_BYTES)}
    newest = files_in(tmp_path, "state")[-1]
    flip(newest, 20)

    again = reopened(tmp_path, witness)

    assert waiting_ids(again) == ["b", "c"]
    assert again.may_have_been_sent
    assert bad_files(tmp_path) == [newest.name]
    # The workspace has "b": its position says so.
    assert again.learn_position(again.peek(0)[0].group_time)
    assert waiting_ids(again) == ["c"]
    assert again.peek(0)[0].group_time == times["c"]
    assert account_of(again) == (3, 2, 1, 0)


def test_a_checkpoint_of_long_ago_is_not_believed_when_the_newest_two_are_damaged(
    tmp_path: Path, witness: Witness
) -> None:
    for number in range(5):
        queue = reopened(tmp_path)
        collect(queue, str(number), time=START + 100 * number)
        queue.settle(queue.peek(0))
    collect(queue, "last", time=START + 900)
    for path in files_in(tmp_path, "state")[-2:]:
        flip(path, 20)

    again = reopened(tmp_path, witness)

    # The file of "4" is still there, because only the newest checkpoint called it settled.
    assert waiting_ids(again) == ["4", "last"]
    assert again.may_have_been_sent
    assert again.read_cursor().last_fetched_time == START + 900
    collected, delivered, waiting, dead = account_of(again)
    assert (collected, waiting) == (6, 2)
    assert collected == delivered + waiting + dead


def test_both_checkpoints_damaged_the_batches_tell_where_things_stand(
    tmp_path: Path, witness: Witness
) -> None:
    queue = filled(tmp_path, "a", "b", "cd")
    queue.settle(queue.peek(0))
    collect(queue, "e", time=START + 77)
    for path in files_in(tmp_path, "state"):
        flip(path, 20)

    again = reopened(tmp_path, witness)

    assert waiting_ids(again)[-4:] == ["b", "c", "d", "e"]
    assert again.may_have_been_sent
    assert again.read_cursor().last_fetched_time == START + 77
    assert len(witness.damages) == 2
    collected, delivered, waiting, dead = account_of(again)
    assert collected == delivered + waiting + dead


def test_both_checkpoints_damaged_the_known_ids_are_not_thrown_away(tmp_path: Path, witness: Witness) -> None:
    queue = filled(tmp_path)
    ids = [str(number) for number in range(2500)]
    collect(queue, *ids)
    queue.settle(queue.peek(ENOUGH_BYTES))
    collect(queue, "last")
    queue.settle(queue.peek(ENOUGH_BYTES))
    collect(queue, "waiting")
    assert len(files_in(tmp_path, "seen")) == 1
    for path in files_in(tmp_path, "state"):
        flip(path, 20)

    again = reopened(tmp_path, witness)

    assert collect(again, *ids).events == 0


def test_a_batch_in_parts_is_not_taken_for_stored_as_a_whole_when_the_newest_checkpoint_is_lost(
    tmp_path: Path, witness: Witness
) -> None:
    # A part was stored and the agent died; the older checkpoint does not know of parts.
    queue = filled(tmp_path, "abcdef")
    [head] = queue.peek(0)
    queue.before_sending(head)
    queue.narrow(head, 2)
    [part] = queue.peek(0)
    queue.before_sending(part)
    newest = files_in(tmp_path, "state")[-1]
    flip(newest, 20)

    again = reopened(tmp_path, witness)
    again.learn_position(part.group_time)

    assert waiting_ids(again) == ["c", "d", "e", "f"]


def test_moved_times_are_known_although_the_newest_checkpoint_is_lost(
    tmp_path: Path, witness: Witness
) -> None:
    # Durability study 2.3: write it twice, into both generations, before the first POST.
    queue = filled(tmp_path, "x", "ab", "cd")
    queue.settle(queue.peek(0))
    foreign = queue.peek(0)[0].group_time + 500
    assert not queue.learn_position(foreign)
    [moved, *_] = queue.peek(0)
    queue.before_sending(moved)
    # The workspace stores it, and the agent dies.
    flip(files_in(tmp_path, "state")[-1], 20)

    again = reopened(tmp_path, witness)
    assert again.learn_position(moved.group_time)

    assert waiting_ids(again) == ["c", "d"]


@pytest.mark.parametrize("generations", [1, 2])
def test_a_checkpoint_of_a_newer_agent_stops_this_setting_and_stays_untouched(
    tmp_path: Path, generations: int
) -> None:
    queue = filled(tmp_path, "a", "b")
    queue.settle(queue.peek(0))
    for path in files_in(tmp_path, "state")[-generations:]:
        body = path.read_bytes()[: -len("\n#crc32=00000000\n")]
        newer = json.loads(body)
        newer["checkpoint"]["1"]["v"] = 2
        text = json.dumps(newer).encode()
        path.write_bytes(text + b"\n#crc32=%08x\n" % zlib.crc32(text))
    before = {path: path.read_bytes() for path in (tmp_path / SETTING).glob("*.*")}

    again = reopened(tmp_path)
    with pytest.raises(SpoolUnavailable, match="newer") as caught:
        again.open()

    assert caught.value.reason is Reason.DAMAGED
    assert SETTING in str(caught.value)
    assert {path: path.read_bytes() for path in (tmp_path / SETTING).glob("*.*")} == before


def test_a_file_of_a_newer_agent_stops_this_setting_and_nothing_is_removed(tmp_path: Path) -> None:
    queue = filled(tmp_path, "a", "b", "c")
    queue.settle(queue.peek(0))
    newest = files_in(tmp_path, "out")[-1]
    lines = newest.read_bytes().splitlines(keepends=True)
    footer = lines[-1][: lines[-1].index(b',"crc"')].replace(b'{"v":1,', b'{"v":2,')
    newest.write_bytes(b"".join([*lines[:-1], b'%b,"crc":"%08x"}\n' % (footer, zlib.crc32(footer))]))
    before = {path.name for path in (tmp_path / SETTING).iterdir()}

    with pytest.raises(SpoolUnavailable, match="newer"):
        reopened(tmp_path).open()

    assert {path.name for path in (tmp_path / SETTING).iterdir()} == before


def test_damaged_known_ids_are_set_aside_and_told(tmp_path: Path, witness: Witness) -> None:
    queue = filled(tmp_path)
    collect(queue, *map(str, range(2500)))
    queue.settle(queue.peek(ENOUGH_BYTES))
    [bulk] = files_in(tmp_path, "seen")
    flip(bulk, 100)

    again = reopened(tmp_path, witness)

    assert collect(again, "1").events == 1
    assert bad_files(tmp_path) == [bulk.name]
    assert ["known ids" in trouble for trouble in witness.damages] == [True]


# -- what an error in the middle of life leaves -------------------------------------------------------------


def test_a_batch_that_was_never_sent_is_not_proved_stored_by_a_foreign_time(tmp_path: Path) -> None:
    # `sent_hi` reaches 64 batches ahead; a batch collected in this life cannot have been sent in an earlier one.
    queue = filled(tmp_path, "a")
    queue.settle(queue.peek(0))

    again = reopened(tmp_path)
    collect(again, "b", time=START + 50)
    [batch] = again.peek(0)
    again.learn_position(batch.group_time)

    assert waiting_ids(again) == ["b"]


def test_an_empty_collection_survives_that_the_journal_was_opened_anew_meanwhile(tmp_path: Path) -> None:
    disk = FailingDisk()
    queue = open_queue(tmp_path, Clock(), disk, policy=IdPolicy(retention_h=168))
    collect(queue, *map(str, range(300)))
    collect(queue, "x-1", "x-2")
    sighting = queue.sighting()
    with queue.collecting(START + 5) as file:
        # The deliverer meets an error while the collector reads its answer.
        disk.arm(1)
        with pytest.raises(SpoolUnavailable):
            queue.settle(queue.peek(0))
        for known in (*map(str, range(300)), "x-1", "x-2"):
            assert not sighting.is_new(known)
        with contextlib.suppress(SpoolUnavailable):
            queue.commit(file, Cursor(START + 5), sighting)

    assert collect(queue, *map(str, range(300)), "x-1", "x-2", time=START + 9).events == 0


def test_a_collection_with_events_is_asked_for_again_when_its_numbers_were_given_away(tmp_path: Path) -> None:
    queue = filled(tmp_path, "a", "b")
    sighting = queue.sighting()
    assert sighting.is_new("c")
    with queue.collecting(START + 50) as file:
        file.add([b'{"id":"c"}'])
        [first, _] = queue.peek(ENOUGH_BYTES)
        queue.requeue([first])
        with pytest.raises(SpoolUnavailable, match="moved on"):
            queue.commit(file, Cursor(START + 50), sighting)

    assert waiting_ids(queue) == ["b", "a"]
    assert queue.read_cursor().last_fetched_time == START + 10
    assert collect(queue, "c", time=START + 60).events == 1
    assert waiting_ids(queue) == ["b", "a", "c"]
    assert account_of(queue) == (3, 0, 3, 0)


def test_requeued_batches_are_in_the_queue_once_whatever_fails(tmp_path: Path) -> None:
    for nth in range(1, 16):
        for takes_effect in (False, True):
            directory = tmp_path / f"{nth}-{takes_effect}"
            disk = FailingDisk()
            queue = open_queue(directory, Clock(), disk)
            for event_id in "abc":
                collect(queue, event_id)
            [first, *_] = queue.peek(ENOUGH_BYTES)
            disk.arm(nth, takes_effect=takes_effect)
            with contextlib.suppress(SpoolUnavailable):
                queue.requeue([first])
            disk.disarm()

            again = reopened(directory)
            assert sorted(waiting_ids(again)) == ["a", "b", "c"], disk.failed
            assert account_of(again) == (3, 0, 3, 0), disk.failed


def test_a_refused_batch_between_others_leaves_only_with_a_letter(tmp_path: Path) -> None:
    queue = open_queue(tmp_path, Clock(), batch_events=2)
    collect_answer(queue, ["1", "2"], refused=["3", "4"])
    collect(queue, "5")
    queue.settle(queue.peek(0))
    refused = queue.peek(0)[0]
    queue.bury(refused, "unstorable_value", answer="", attempts=0)
    [last] = queue.peek(0)
    queue.before_sending(last)
    flip(files_in(tmp_path, "state")[-1], 20)

    again = reopened(tmp_path)
    again.learn_position(last.group_time)

    assert account_of(again) == (5, 3, 0, 2)
    assert dead_ids(tmp_path) == ["3", "4"]


def test_the_setting_id_is_durable_with_the_first_checkpoint(tmp_path: Path) -> None:
    queue = filled(tmp_path, "a")
    queue.before_sending(queue.peek(0)[0])

    assert reopened(tmp_path).setting_id == SETTING_ID


def test_a_setting_id_that_nobody_tells_any_more_stays_the_one_that_was_learned(tmp_path: Path) -> None:
    queue = filled(tmp_path, "a")
    queue.begin_collection("")
    assert queue.setting_id == SETTING_ID


def test_file_names_carry_the_numbers_of_their_batches_and_a_new_epoch_for_each_life(tmp_path: Path) -> None:
    filled(tmp_path, "ab")
    collect(reopened(tmp_path), "c")

    names = [FileName.parse(path.name) for path in files_in(tmp_path, "out")]
    assert names == [FileName(1, 1, 1), FileName(2, 2, 2)]
