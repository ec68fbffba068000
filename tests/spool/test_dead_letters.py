"""Dead letters: kept before the batch leaves, once, as it was."""

import json
from pathlib import Path
from typing import Any

import pytest

from oase_agent.disk import Disk
from oase_agent.errors import SpoolUnavailable
from oase_agent.spool.dead import DeadLetter, DeathCertificate, bury
from tests.spool.queue_stage import (
    SETTING,
    Clock,
    FailingDisk,
    SyncLog,
    account_of,
    collect,
    collect_answer,
    dead_ids,
    dead_letters,
    files_in,
    open_queue,
    waiting_ids,
)


def letter(seq: int = 7, first_event: int = 0, *events: bytes) -> DeadLetter:
    certificate = DeathCertificate("content_refused", "no", 3, 1_700_000_000.5)
    return DeadLetter(SETTING, seq, first_event, events or (b'{"id":"1"}',), certificate)


def test_a_letter_tells_where_it_comes_from_and_why(tmp_path: Path) -> None:
    bury(Disk(), tmp_path, letter(7, 250, b'{"id":"1","n":1.10}', b'{"id":"2"}'))

    [path] = (tmp_path / "dead").iterdir()
    assert path.name.startswith("0000000007.0250")
    assert json.loads(path.read_bytes()) == {
        "v": 1,
        "refused": False,
        "setting": SETTING,
        "seq": 7,
        "first_event": 250,
        "reason": "content_refused",
        "answer": "no",
        "attempts": 3,
        "buried_at": 1_700_000_000.5,
        "events": [{"id": "1", "n": 1.1}, {"id": "2"}],
    }
    assert b'{"id":"1","n":1.10}' in path.read_bytes()


def test_the_same_letter_again_changes_nothing(tmp_path: Path) -> None:
    bury(Disk(), tmp_path, letter())
    [path] = (tmp_path / "dead").iterdir()
    before = path.read_bytes()

    bury(Disk(), tmp_path, letter())

    assert [path.read_bytes() for path in (tmp_path / "dead").iterdir()] == [before]


def test_a_letter_with_more_events_of_the_same_batch_is_kept_although_a_smaller_one_is_there(
    tmp_path: Path,
) -> None:
    # A part was buried, its checkpoint was lost, and then the whole batch is given up.
    bury(Disk(), tmp_path, letter(7, 0, b'{"id":"1"}'))
    bury(Disk(), tmp_path, letter(7, 0, b'{"id":"1"}', b'{"id":"2"}'))

    kept = [json.loads(path.read_bytes()) for path in (tmp_path / "dead").iterdir()]
    assert {event["id"] for each in kept for event in each["events"]} == {"1", "2"}


def test_the_letter_is_durable_before_the_checkpoint_that_lets_the_batch_leave(tmp_path: Path) -> None:
    disk = SyncLog()
    queue = open_queue(tmp_path, Clock(), disk)
    collect(queue, "1")
    [batch] = queue.peek(0)
    disk.calls.clear()

    queue.bury(batch, "content_refused", answer="no", attempts=1)

    renames = [call for call in disk.calls if call.startswith("rename")]
    assert renames == ["rename 0000000001", "rename state"]
    place = disk.calls.index("rename 0000000001")
    assert disk.calls[place - 1] == "sync"
    assert disk.calls[place + 1] == "sync directory"


def test_an_error_at_any_call_of_burying_leaves_one_letter_and_right_numbers(tmp_path: Path) -> None:
    for nth in range(1, 14):
        for takes_effect in (False, True):
            directory = tmp_path / f"{nth}-{takes_effect}"
            disk = FailingDisk()
            queue = open_queue(directory, Clock(), disk)
            collect(queue, "1", "2")
            collect(queue, "3")
            [batch] = queue.peek(0)
            disk.arm(nth, takes_effect=takes_effect)
            try:
                queue.bury(batch, "content_refused", answer="no", attempts=1)
            except SpoolUnavailable:
                again = queue.peek(0)
                if again[0].seq == batch.seq:
                    queue.bury(again[0], "content_refused", answer="no", attempts=2)
            disk.disarm()

            assert dead_ids(directory) == ["1", "2"], disk.failed
            assert waiting_ids(queue) == ["3"]
            assert account_of(queue) == (3, 0, 1, 2)
            assert account_of(open_queue(directory, Clock())) == (3, 0, 1, 2)


def test_events_that_were_refused_when_collected_are_buried_with_their_own_reasons(tmp_path: Path) -> None:
    queue = open_queue(tmp_path, Clock())
    collect_answer(queue, [], refused=["1", "2"])
    [batch] = queue.peek(10**9)
    assert batch.is_refused

    queue.bury(batch, "unstorable_value", answer="set aside when it was collected", attempts=0)

    [kept] = dead_letters(tmp_path)
    assert [event["why"] for event in kept["events"]] == ["it has a NUL"] * 2
    assert dead_ids(tmp_path) == ["1", "2"]
    assert account_of(queue) == (2, 0, 0, 2)


def test_parts_of_one_batch_are_letters_of_their_own(tmp_path: Path) -> None:
    queue = open_queue(tmp_path, Clock())
    collect(queue, *"abcdef")
    for count in (1, 2):
        [head] = queue.peek(0)
        queue.narrow(head, count)
        [part] = queue.peek(0)
        queue.bury(part, "content_refused", answer="no", attempts=1)

    kept: list[Any] = [(each["first_event"], len(each["events"])) for each in dead_letters(tmp_path)]
    assert kept == [(0, 1), (1, 2)]
    assert waiting_ids(queue) == ["d", "e", "f"]
    assert account_of(open_queue(tmp_path, Clock())) == (6, 0, 3, 3)


def test_burying_costs_the_same_however_many_letters_there_are(tmp_path: Path) -> None:
    # A backlog of one unknown setting can be a million letters: looking through all of them for each is not bearable.
    class Listing(Disk):
        def __init__(self) -> None:
            self.listed = 0

        def names(self, directory: Path) -> list[str]:
            found = super().names(directory)
            self.listed += len(found)
            return found

    disk = Listing()
    (tmp_path / "dead").mkdir()
    for number in range(200):
        (tmp_path / "dead" / f"{number:010}.0000.json").write_bytes(b"{}")

    bury(disk, tmp_path, letter(5000))

    assert disk.listed < 200


def test_a_kill_while_burying_leaves_no_temporary_file_for_ever(tmp_path: Path) -> None:
    queue = open_queue(tmp_path, Clock())
    collect(queue, "1")
    dead = tmp_path / SETTING / "dead"
    dead.mkdir()
    (dead / "tmp.1.5").write_bytes(b'{"v":1')

    open_queue(tmp_path, Clock()).open()

    assert [path.name for path in dead.glob("tmp.*")] == []


@pytest.mark.parametrize("name", ["state", "out"])
def test_what_left_is_gone_from_the_volume(tmp_path: Path, name: str) -> None:
    queue = open_queue(tmp_path, Clock())
    for event_id in "123":
        collect(queue, event_id)
    while batches := queue.peek(0):
        queue.bury(batches[0], "content_refused", answer="no", attempts=1)
    collect(queue, "4")
    queue.bury(queue.peek(0)[0], "content_refused", answer="no", attempts=1)

    assert len(files_in(tmp_path, name)) <= 2
