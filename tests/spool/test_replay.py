"""Letters that enter the queue again: what is revived, what is not, and how it is counted."""

import json
import os
from pathlib import Path

from oase_agent.disk import Disk
from oase_agent.spool.dead import (
    DeadLetter,
    DeathCertificate,
    LetterName,
    bury,
    letter_names,
    mark_for_replay,
    marked_letters,
    read_letter,
    remove_letter,
)
from oase_agent.spool.queue import SettingQueue
from tests.spool.queue_stage import (
    ENOUGH_BYTES,
    SETTING,
    Clock,
    Witness,
    account_of,
    collect,
    collect_answer,
    dead_ids,
    event_text,
    flip,
    ids_in,
    open_queue,
    waiting_ids,
)

DISK = Disk()


def with_letters(directory: Path, *ids: str, witness: Witness | None = None) -> SettingQueue:
    """Return a queue whose events all became letters, one each."""
    queue = open_queue(directory, Clock(), telemetry=witness)
    for event_id in ids:
        collect(queue, event_id)
        [batch] = queue.peek(0)
        queue.bury(batch, "content_refused", answer="no", attempts=3)
    return queue


def names(directory: Path) -> list[LetterName]:
    return letter_names(DISK, directory / SETTING)


def mark_all(directory: Path) -> None:
    for name in names(directory):
        mark_for_replay(DISK, directory / SETTING, name)


def test_marked_letters_wait_again_behind_what_waits_and_above_its_time(tmp_path: Path) -> None:
    queue = with_letters(tmp_path, "1", "2")
    collect(queue, "3")
    [waiting] = queue.peek(ENOUGH_BYTES)
    mark_all(tmp_path)

    assert queue.replay() == 2

    batches = queue.peek(ENOUGH_BYTES)
    assert ids_in(batches) == ["3", "1", "2"]
    assert waiting.group_time < batches[1].group_time < batches[2].group_time
    assert names(tmp_path) == marked_letters(DISK, tmp_path / SETTING) == []
    assert account_of(queue) == account_of(open_queue(tmp_path, Clock())) == (3, 0, 3, 0)


def test_a_letter_that_was_not_marked_stays(tmp_path: Path) -> None:
    queue = with_letters(tmp_path, "1", "2")
    mark_for_replay(DISK, tmp_path / SETTING, names(tmp_path)[1])

    assert queue.replay() == 1

    assert waiting_ids(queue) == ["2"]
    assert dead_ids(tmp_path) == ["1"]
    assert account_of(queue) == (2, 0, 1, 1)


def test_a_mark_twice_is_one_replay(tmp_path: Path) -> None:
    queue = with_letters(tmp_path, "1")
    mark_all(tmp_path)
    mark_all(tmp_path)

    assert (queue.replay(), queue.replay()) == (1, 0)
    assert waiting_ids(queue) == ["1"]


def test_what_is_refused_once_more_is_a_letter_of_its_own(tmp_path: Path) -> None:
    queue = with_letters(tmp_path, "1")
    [before] = names(tmp_path)
    mark_all(tmp_path)
    queue.replay()

    [batch] = queue.peek(0)
    queue.bury(batch, "content_refused", answer="no", attempts=1)

    [after] = names(tmp_path)
    assert after.seq > before.seq
    assert account_of(queue) == (1, 0, 0, 1)


def test_a_letter_keeps_every_byte_of_its_events(tmp_path: Path) -> None:
    odd = b'{ "n":1.10, "big":123456789012345678901234567890, "e":1E5, "s":"\\u00e9" }'
    certificate = DeathCertificate("content_refused", "no", 3, 1_700_000_000.0)
    letter = DeadLetter(SETTING, 3, 1, [odd, b"{}"], certificate)

    bury(DISK, tmp_path, letter)

    [name] = letter_names(DISK, tmp_path)
    assert read_letter(DISK, tmp_path, name) == letter


def test_one_bad_letter_blocks_neither_the_others_nor_the_queue_and_is_told(tmp_path: Path) -> None:
    for damage in ("truncated", "flipped", "other version", "empty", "a directory"):
        directory, witness = tmp_path / damage, Witness()
        queue = with_letters(directory, "1", "2", "3", witness=witness)
        path = directory / SETTING / "dead" / str(names(directory)[1])
        content = path.read_bytes()
        if damage == "flipped":
            flip(path, content.rindex(b'"2"') + 1)
        elif damage == "a directory":
            path.unlink()
            path.mkdir()
        else:
            path.write_bytes(
                {"truncated": content[:-9], "other version": content.replace(b'"v":1', b'"v":2')}.get(
                    damage, b""
                )
            )
        mark_all(directory)

        assert queue.replay() == 2, damage
        assert queue.replay() == 0

        assert waiting_ids(queue) == ["1", "3"]
        assert [name.seq for name in names(directory)] == [2]
        assert account_of(queue) == (3, 0, 2, 1)
        [told] = witness.damages
        assert path.name in told


def test_a_mark_without_a_letter_is_removed(tmp_path: Path) -> None:
    queue = with_letters(tmp_path, "1")
    [name] = names(tmp_path)
    mark_all(tmp_path)
    os.unlink(tmp_path / SETTING / "dead" / str(name))

    assert queue.replay() == 0

    assert marked_letters(DISK, tmp_path / SETTING) == []
    assert account_of(queue) == (1, 0, 0, 1)


def test_a_letter_of_refused_values_that_is_marked_by_hand_never_becomes_a_post(tmp_path: Path) -> None:
    queue = open_queue(tmp_path, Clock())
    collect_answer(queue, [], refused=["1"])
    queue.bury(queue.peek(0)[0], "unstorable_value", answer="", attempts=0)
    mark_all(tmp_path)

    assert queue.replay() == 1

    [batch] = queue.peek(0)
    assert batch.is_refused
    queue.bury(batch, "unstorable_value", answer="", attempts=0)
    assert dead_ids(tmp_path) == ["1"]
    assert account_of(queue) == (1, 0, 0, 1)


def test_a_removed_letter_stays_counted(tmp_path: Path) -> None:
    queue = with_letters(tmp_path, "1", "2")
    mark_all(tmp_path)

    remove_letter(DISK, tmp_path / SETTING, names(tmp_path)[0])

    assert queue.replay() == 1
    assert waiting_ids(queue) == ["2"]
    assert account_of(queue) == (2, 0, 1, 1)


def test_the_letters_of_a_queue_that_begins_anew_are_neither_lost_nor_mistaken_for_its_own(
    tmp_path: Path,
) -> None:
    with_letters(tmp_path, "old")
    for path in (tmp_path / SETTING).glob("*.json*"):
        path.unlink()

    queue = with_letters(tmp_path, "new")
    collect(queue, "waits")

    assert sorted(dead_ids(tmp_path)) == ["new", "old"]
    again = open_queue(tmp_path, Clock())
    again.open()
    assert sorted(dead_ids(tmp_path)) == ["new", "old"]


def test_after_damage_no_letter_is_given_up(tmp_path: Path) -> None:
    queue = with_letters(tmp_path, "1")
    collect(queue, "2")
    queue.bury(queue.peek(0)[0], "content_refused", answer="no", attempts=1)
    flip(sorted((tmp_path / SETTING).glob("state.*"))[-1], 20)

    again = open_queue(tmp_path, Clock())
    again.open()

    assert dead_ids(tmp_path) == ["1", "2"]
    # Its events wait, too: a mark must not double them.
    mark_all(tmp_path)
    again.replay()
    assert sorted(waiting_ids(again)) == ["1", "2"]


def test_a_name_tells_what_is_in_the_letter() -> None:
    letter = DeadLetter(SETTING, 7, 250, [event_text("1")], DeathCertificate("r", "", 1, 0.0))

    assert LetterName.parse(str(letter.name)) == letter.name
    assert str(letter.name).startswith("0000000007.0250-0251.")
    assert [LetterName.parse(odd) for odd in ("", "x.json", f"../{letter.name}", f"{letter.name}.tmp")] == [
        None,
        None,
        None,
        None,
    ]
    assert json.loads(letter.events[0])["id"] == "1"
