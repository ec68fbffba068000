"""The state of the reference agent becomes queues: everything once, in order, however often it is interrupted."""

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from oase_agent.collect.unstorable import find_unstorable
from oase_agent.disk import Disk
from oase_agent.errors import AgentError, SpoolUnavailable
from oase_agent.spool.known_ids import IdPolicy
from oase_agent.spool.limits import SpoolLimits, VolumeSpace
from oase_agent.spool.outgoing import Outgoing
from oase_agent.spool.queue import SettingQueue
from oase_agent.spool.reference_state import MARKER_NAME, Imported, reference_file, take_over
from oase_agent.spool.spool import Spool
from tests.spool.queue_stage import (
    ENOUGH_BYTES,
    START,
    Clock,
    FailingDisk,
    Witness,
    account_of,
    collect,
    ids_in,
)

# The schema of contract 9.2: no keys, no indexes.
SCHEMA = """
CREATE TABLE events (event_collection_settings_name TEXT, id TEXT, event TEXT, fetched_time INTEGER,
                     sent_flag BOOLEAN);
CREATE TABLE sent_timestamp (event_collection_settings_name TEXT, fetched_time INTEGER, sent_flag BOOLEAN);
CREATE TABLE last_fetched_time (event_collection_settings_name TEXT, last_fetched_time INTEGER);
"""
AGENT = "agent-1"
FIRST = START - 1000


@dataclass(frozen=True, slots=True)
class Row:
    """A row of `events`."""

    event_id: Any
    event: Any
    fetched_time: Any = FIRST
    sent: Any = 0
    setting: Any = "web"


@dataclass(slots=True)
class OldVolume:
    """A volume with a reference agent's file, and the new agent's spool on it."""

    root: Path
    clock: Clock = field(default_factory=Clock)
    witness: Witness = field(default_factory=Witness)

    @property
    def file(self) -> Path:
        """The old file."""
        return reference_file(self.root, AGENT)

    @property
    def directory(self) -> Path:
        """The directory of the new agent."""
        return self.root / AGENT

    def write(self, rows: Iterable[Row], cursors: Iterable[tuple[Any, Any]] = (("web", FIRST),)) -> None:
        """Write the old file."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(self.file)) as database:
            database.executescript(SCHEMA)
            database.executemany(
                "INSERT INTO events VALUES (?, ?, ?, ?, ?)",
                [(row.setting, row.event_id, row.event, row.fetched_time, row.sent) for row in rows],
            )
            database.executemany("INSERT INTO last_fetched_time VALUES (?, ?)", list(cursors))
            database.commit()

    def spool(self, disk: Disk | None = None) -> Spool:
        """Return the spool as a new process sees it."""
        spool = Spool(
            self.directory,
            limits=SpoolLimits(None, 0),
            ids=IdPolicy(retention_h=168),
            now=self.clock,
            telemetry=self.witness,
            disk=disk,
            space=lambda _directory: VolumeSpace(10**12, 10**12),
        )
        (disk or Disk()).make_directory(self.directory)
        return spool

    def take(self, spool: Spool | None = None, disk: Disk | None = None) -> tuple[Imported, ...]:
        """Take the old state over."""
        return take_over(
            spool or self.spool(disk), disk or Disk(), self.directory, self.file, fault_of=find_unstorable
        )

    def queue(self, name: str = "web") -> SettingQueue:
        """Return a queue as a process after the take-over sees it."""
        spool = self.spool()
        spool.open_existing()
        assert name in {queue.setting_name for queue in spool.queues()}
        return spool.queue(name)


@pytest.fixture
def volume(tmp_path: Path) -> OldVolume:
    """Give an empty volume."""
    return OldVolume(tmp_path)


def text_of(event_id: object, **fields: object) -> str:
    """Return an event as the reference stored it."""
    return json.dumps({"id": event_id, "_exastro_oase_event_id": event_id, **fields})


def rows(*ids: str, fetched_time: int = FIRST, sent: int = 0, setting: str = "web") -> Sequence[Row]:
    """Return rows of events."""
    return [Row(event_id, text_of(event_id), fetched_time, sent, setting) for event_id in ids]


def drained(queue: SettingQueue) -> list[Outgoing]:
    """Return all batches that wait, and settle those that are posted."""
    queue.learn_position(None)
    found: list[Outgoing] = []
    while batches := queue.peek(ENOUGH_BYTES):
        found += batches
        if batches[0].is_refused:
            queue.bury(batches[0], "unstorable_value", answer="", attempts=0)
        else:
            queue.settle(batches)
    return found


def is_known(queue: SettingQueue, event_id: str) -> bool:
    return not queue.sighting().is_new(event_id)


# -- what comes over ----------------------------------------------------------------------------------------


def test_cursor_ids_and_unsent_events_come_over(volume: OldVolume) -> None:
    volume.write(
        [*rows("1", "2", sent=1), *rows("3", "4", fetched_time=FIRST + 5)], cursors=[("web", FIRST + 7)]
    )

    assert volume.take() == (Imported("web", FIRST + 7, 2, 4, 0),)

    queue = volume.queue()
    assert queue.read_cursor().last_fetched_time == FIRST + 7
    assert [is_known(queue, event_id) for event_id in "12345"] == [True, True, True, True, False]
    assert account_of(queue) == (2, 0, 2, 0)
    [batch] = drained(queue)
    assert batch.group_time == FIRST + 5
    assert json.loads(batch.events) == [json.loads(text_of("3")), json.loads(text_of("4"))]


def test_generations_become_batches_in_the_order_of_their_times(volume: OldVolume) -> None:
    volume.write(
        [*rows("c", fetched_time=30), *rows("a", fetched_time=10), *rows("b1", "b2", fetched_time=20)]
    )

    volume.take()

    batches = drained(volume.queue())
    assert [(batch.group_time, ids_in([batch])) for batch in batches] == [
        (10, ["a"]),
        (20, ["b1", "b2"]),
        (30, ["c"]),
    ]


def test_a_large_generation_becomes_several_batches_and_order_stays(volume: OldVolume) -> None:
    many = [str(number) for number in range(5000)]
    volume.write([*rows(*many), *rows("last", fetched_time=FIRST + 2)])

    [taken] = volume.take()

    batches = drained(volume.queue())
    assert (taken.unsent_events, taken.known_ids) == (5001, 5001)
    assert ids_in(batches) == [*many, "last"]
    assert [batch.group_time for batch in batches] == [FIRST + place for place in range(6)]


def test_settings_that_are_not_configured_any_more_come_over(volume: OldVolume) -> None:
    volume.write(
        [*rows("1", setting="left"), *rows("2", setting="日本")], cursors=[("日本", FIRST), ("idle", 500)]
    )

    assert [taken.setting for taken in volume.take()] == ["idle", "left", "日本"]

    assert ids_in(drained(volume.queue("left"))) == ["1"]
    assert ids_in(drained(volume.queue("日本"))) == ["2"]
    assert volume.queue("idle").read_cursor().last_fetched_time == 500


def test_ids_are_known_without_any_unsent_event_also_after_a_restart(volume: OldVolume) -> None:
    many = [f"alert-{number}" for number in range(5000)]
    volume.write(rows(*many, sent=1))

    volume.take()

    queue = volume.queue()
    sighting = queue.sighting()
    assert not any(map(sighting.is_new, many))
    assert account_of(queue) == (0, 0, 0, 0)
    assert collect(queue, "alert-7", "new").events == 1


def test_both_ids_of_an_event_are_known(volume: OldVolume) -> None:
    # Defect D6: the column holds the event's message_id where it has one.
    volume.write([Row("<mail@host>", text_of("7", message_id="<mail@host>"), sent=1)])

    volume.take()

    queue = volume.queue()
    assert is_known(queue, "7")
    assert is_known(queue, "<mail@host>")


def test_the_newest_event_is_the_one_with_the_highest_number_of_the_last_generation(
    volume: OldVolume,
) -> None:
    unavailable = text_of("5000", _exastro_not_available="EVENT_ID_KEY not found")
    volume.write(
        [
            *rows("9999", sent=1),
            *rows("1000", "999", fetched_time=FIRST + 1, sent=1),
            Row("5000", unavailable, FIRST + 1, 1),
        ]
    )

    volume.take()

    event = volume.queue().read_cursor().last_event
    assert event is not None
    assert json.loads(event)["id"] == "1000"


def test_what_the_former_agent_posted_under_our_name_is_not_posted_again(volume: OldVolume) -> None:
    volume.write([*rows("1", fetched_time=FIRST), *rows("2", fetched_time=FIRST + 5)])
    volume.take()

    for queue in (volume.queue(), volume.queue()):
        assert queue.may_have_been_sent
    assert queue.learn_position(FIRST) is True

    assert ids_in(queue.peek(ENOUGH_BYTES)) == ["2"]
    assert account_of(queue) == (2, 1, 1, 0)
    assert volume.witness.foreign_writers == 0


def test_a_setting_that_has_collected_by_itself_keeps_its_cursor_and_its_events(volume: OldVolume) -> None:
    volume.write(rows("1", "2"))
    collect(volume.spool().queue("web"), "2", "3", time=START - 5)

    volume.take()

    queue = volume.queue()
    assert queue.read_cursor().last_fetched_time == START - 5
    assert ids_in(drained(queue)) == ["2", "3", "1"]


# -- what is odd --------------------------------------------------------------------------------------------


def test_empty_tables_bring_nothing_and_are_done_with(volume: OldVolume) -> None:
    volume.write([], cursors=[])

    assert volume.take() == ()

    assert (volume.directory / MARKER_NAME).exists()


def test_no_file_or_an_empty_one_is_nothing_to_take_over(volume: OldVolume) -> None:
    assert volume.take() == ()

    volume.file.parent.mkdir()
    volume.file.touch()
    assert volume.take() == ()
    assert not (volume.directory / MARKER_NAME).exists()


@pytest.mark.parametrize(
    "event",
    [
        '{"id": "odd", "value": NaN}',
        '{"id": "odd", "value": -Infinity}',
        '{"id": "odd", "value": 18446744073709551616}',
        '{"id": "odd", "value": ' + "9" * 5000 + "}",
        '{"id": "odd", "value": "\\ud800"}',
        '{"id": "odd", "a\\u0000b": 1}',
        '{"id": "odd", "deep": ' + "[" * 5000 + "]" * 5000 + "}",
        '["odd"]',
        '"odd"',
        "odd",
        "",
        None,
        7,
        b"\xff\xfe",
    ],
    ids=lambda event: repr(event)[:30],
)
def test_what_cannot_be_delivered_becomes_a_dead_letter_and_the_rest_goes_on(
    volume: OldVolume, event: object
) -> None:
    volume.write([*rows("1"), Row("odd", event), *rows("2")])

    [taken] = volume.take()

    assert (taken.unsent_events, taken.unreadable) == (2, 1)
    queue = volume.queue()
    assert ids_in(batch for batch in drained(queue) if not batch.is_refused) == ["1", "2"]
    assert account_of(queue) == (3, 2, 0, 1)
    assert is_known(queue, "odd")


def test_sent_events_that_cannot_be_read_are_no_trouble(volume: OldVolume) -> None:
    volume.write([Row("a", "no JSON", sent=1), Row("b", '{"id": "b", "x": NaN}', sent=1)])

    assert volume.take() == (Imported("web", FIRST, 0, 2, 0),)


def test_events_without_ids_come_over_all(volume: OldVolume) -> None:
    volume.write([Row(None, f'{{"n": {number}}}', FIRST + number // 2) for number in range(6)])

    [taken] = volume.take()

    assert (taken.unsent_events, taken.known_ids) == (6, 0)
    events = [event for batch in drained(volume.queue()) for event in json.loads(batch.events)]
    assert [event["n"] for event in events] == [0, 1, 2, 3, 4, 5]


def test_a_row_that_is_there_twice_is_one_event(volume: OldVolume) -> None:
    volume.write([*rows("1", "1", "2"), *rows("1", fetched_time=FIRST + 1)])

    [taken] = volume.take()

    # The same id in a later generation was collected again, and says so by its time.
    assert (taken.unsent_events, taken.known_ids) == (3, 2)
    assert ids_in(drained(volume.queue())) == ["1", "2", "1"]


def test_columns_of_wrong_types_lose_nothing(volume: OldVolume) -> None:
    volume.write(
        [
            Row(11, text_of("1"), None, None),
            Row(b"12", text_of("2").encode(), "abc", "no"),
            Row(13.5, text_of("3"), -5, 0.0),
            Row("4", text_of("4"), 2**63 - 1, 0),
            Row("5", text_of("5"), FIRST + 0.5, 0),
            Row("6", text_of("6"), FIRST, 1.0),
            Row("7", text_of("7"), FIRST, 0, setting=None),
            Row("8", text_of("8"), FIRST, 0, setting=b"web"),
        ],
        cursors=[("web", None), ("web", "soon"), ("web", FIRST + 2.5), ("web", 2**62), (None, 5), ("", 6)],
    )

    [taken] = volume.take()

    assert (taken.cursor_time, taken.unsent_events) == (FIRST + 2, 5)
    batches = drained(volume.queue())
    assert sorted(ids_in(batches)) == ["1", "2", "3", "4", "5"]
    assert [batch.group_time for batch in batches] == sorted({batch.group_time for batch in batches})
    assert max(batch.group_time for batch in batches) < START
    marker = json.loads((volume.directory / MARKER_NAME).read_bytes())
    assert marker["unsent_events_without_setting"] == 2


def test_a_cursor_in_the_future_is_now(volume: OldVolume) -> None:
    volume.write([], cursors=[("web", START + 10_000)])

    assert volume.take()[0].cursor_time == START


# -- the old file -------------------------------------------------------------------------------------------


def trace(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Return the content and the time of every file."""
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in sorted(folder.iterdir())}


def test_the_old_file_stays_as_it_is(volume: OldVolume) -> None:
    volume.write(rows("1"))
    os.utime(volume.file, ns=(1_600_000_000_000_000_001, 1_600_000_000_000_000_001))
    before = trace(volume.file.parent)

    volume.take()

    assert trace(volume.file.parent) == before
    assert not list(volume.directory.glob("reference-copy*"))


def test_an_unfinished_transaction_is_rolled_back_in_the_copy_only(volume: OldVolume, tmp_path: Path) -> None:
    volume.write([*rows("1"), *rows(*map(str, range(10, 3000)), sent=1)])
    other = tmp_path / "writer"
    other.mkdir()
    writer = sqlite3.connect(volume.file, isolation_level=None)
    writer.execute("PRAGMA cache_size = 5")  # so that changed pages reach the file before the commit
    writer.execute("BEGIN")
    writer.execute("UPDATE events SET event = 'torn', sent_flag = 0")
    # What a kill would leave: the file and its journal, as they are now.
    torn = {path.name: path.read_bytes() for path in volume.file.parent.iterdir()}
    writer.close()
    for name, content in torn.items():
        (volume.file.parent / name).write_bytes(content)
    assert f"{volume.file.name}-journal" in torn
    assert b"torn" in torn[volume.file.name]
    before = trace(volume.file.parent)

    [taken] = volume.take()

    assert (taken.unsent_events, taken.unreadable, taken.known_ids) == (1, 0, 2991)
    assert ids_in(drained(volume.queue())) == ["1"]
    assert trace(volume.file.parent) == before


def test_what_stands_in_a_write_ahead_log_counts(volume: OldVolume) -> None:
    volume.write(rows("1"))
    with closing(sqlite3.connect(volume.file, isolation_level=None)) as writer:
        writer.execute("PRAGMA journal_mode = WAL")
        writer.execute("INSERT INTO events VALUES ('web', '2', ?, ?, 0)", (text_of("2"), FIRST))
        assert volume.file.with_name(f"{volume.file.name}-wal").stat().st_size > 0

        volume.take()

    assert ids_in(drained(volume.queue())) == ["1", "2"]


def truncated(volume: OldVolume) -> None:
    content = volume.file.read_bytes()
    volume.file.write_bytes(content[: len(content) // 2])


def scribbled(volume: OldVolume) -> None:
    content = bytearray(volume.file.read_bytes())
    content[8192:12288] = b"\xa5" * 4096
    volume.file.write_bytes(content)


def no_database(volume: OldVolume) -> None:
    volume.file.write_bytes(b"no database at all, but long enough to look at" * 100)


def without_a_table(volume: OldVolume) -> None:
    with closing(sqlite3.connect(volume.file)) as database:
        database.execute("DROP TABLE last_fetched_time")


def without_a_column(volume: OldVolume) -> None:
    with closing(sqlite3.connect(volume.file)) as database:
        database.execute("ALTER TABLE events RENAME COLUMN sent_flag TO other")


@pytest.mark.parametrize("damage", [truncated, scribbled, no_database, without_a_table, without_a_column])
def test_a_state_that_cannot_be_read_is_told_and_tried_again(volume: OldVolume, damage: Any) -> None:
    whole = [*rows(*map(str, range(1000)))]
    volume.write(whole)
    damage(volume)

    for _ in range(2):
        with pytest.raises(SpoolUnavailable, match="sqlite/ag_oase_agent-1, cannot be read"):
            volume.take()
    assert not (volume.directory / MARKER_NAME).exists()

    volume.file.unlink()
    volume.write(whole)
    assert volume.take()[0].unsent_events == 1000
    assert len(ids_in(drained(volume.queue()))) == 1000


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_told(volume: OldVolume) -> None:
    volume.write(rows("1"))
    volume.file.chmod(0)

    with pytest.raises(SpoolUnavailable, match="cannot be copied \\(Permission denied\\)"):
        volume.take()


# -- once ---------------------------------------------------------------------------------------------------


def test_a_second_start_does_nothing(volume: OldVolume) -> None:
    volume.write(rows("1"))
    volume.take()
    drained(volume.queue())
    before = {path: path.stat().st_mtime_ns for path in volume.directory.rglob("*")}

    assert volume.take() == ()

    assert {path: path.stat().st_mtime_ns for path in volume.directory.rglob("*")} == before


def test_the_marker_tells_what_was_done(volume: OldVolume) -> None:
    volume.write([*rows("1", sent=1), *rows("2"), Row("3", "odd")])

    volume.take()

    assert json.loads((volume.directory / MARKER_NAME).read_bytes()) == {
        "taken_from": "ag_oase_agent-1",
        "settings": [
            {
                "setting": "web",
                "cursor_time": FIRST,
                "unsent_events": 1,
                "known_ids": 3,
                "unreadable": 1,
            }
        ],
        "unsent_events_without_setting": 0,
    }


STORY = [
    *rows("1", "2", sent=1),
    *rows("3", "4", fetched_time=FIRST + 1),
    Row(None, '{"no": "id"}', FIRST + 1),
    Row("5", "odd", FIRST + 2),
    *rows("6", fetched_time=FIRST + 3),
    *rows("7", sent=1, setting="calm"),
    *rows("8", setting="other"),
]
STORY_CURSORS = [("web", FIRST + 3), ("calm", FIRST + 4), ("other", FIRST + 5)]


def faults(volume: OldVolume) -> Iterator[str]:
    """Yield what is not as the story wants it."""
    queue = volume.queue()
    if account_of(queue) != (5, 0, 5, 0):
        yield f"account {account_of(queue)}"
    events = [
        event
        for batch in drained(queue)
        for event in json.loads(batch.events)
        if not batch.is_refused or event["event"] == "odd"
    ]
    if [event.get("id", "-") for event in events] != ["3", "4", "-", "-", "6"]:
        yield f"web: {events}"
    if ids_in(drained(volume.queue("other"))) != ["8"]:
        yield "other"
    for name, ids in (("web", "123456"), ("calm", "7"), ("other", "8")):
        if not all(is_known(volume.queue(name), event_id) for event_id in ids):
            yield f"{name}: an id is not known"
    for name, time in STORY_CURSORS:
        if volume.queue(name).read_cursor().last_fetched_time != time:
            yield f"{name}: cursor"


def calls_of_the_story(root: Path) -> int:
    volume = OldVolume(root)
    volume.write(STORY, STORY_CURSORS)
    disk = FailingDisk()
    spool = volume.spool(disk)
    disk.changes = 0
    volume.take(spool, disk)
    assert list(faults(volume)) == []
    return disk.changes


@pytest.mark.parametrize("takes_effect", [False, True])
@pytest.mark.parametrize("is_killed", [False, True])
def test_an_import_that_is_interrupted_at_any_call_ends_well(
    memory_path: Path, *, takes_effect: bool, is_killed: bool
) -> None:
    calls = calls_of_the_story(memory_path / "whole")
    assert calls > 30
    found: dict[str, list[str]] = {}
    for nth in range(1, calls + 1):
        volume = OldVolume(memory_path / str(nth))
        volume.write(STORY, STORY_CURSORS)
        disk = FailingDisk()
        spool = volume.spool(disk)
        disk.arm(nth, takes_effect=takes_effect)
        try:
            volume.take(spool, disk)
        except (AgentError, OSError):
            disk.disarm()
            # The agent tries again with the same spool, or, killed, with a new one.
            had_marker = (volume.directory / MARKER_NAME).exists()
            taken = volume.take(volume.spool() if is_killed else spool, Disk())
            counts = {each.setting: (each.unsent_events, each.known_ids, each.unreadable) for each in taken}
            assert had_marker or counts == {"web": (4, 6, 1), "calm": (0, 1, 0), "other": (1, 1, 0)}, (
                disk.failed
            )
        assert disk.failed
        if trouble := list(faults(volume)):
            found[f"{nth} {disk.failed}"] = trouble
    assert found == {}
