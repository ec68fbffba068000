"""The harness has teeth: each of these mistakes, put into the agent on purpose, must be caught by it."""

import asyncio
import errno
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from oase_agent.deliver.course import Course
from oase_agent.disk import NewFile
from oase_agent.spool import journal, recovery
from oase_agent.spool.collection_file import CollectionFile
from oase_agent.spool.journal import Journal
from oase_agent.spool.queue import SettingQueue
from tests.crash.simulated_disk import Loss, Point, SimulatedDisk
from tests.crash.story import Teller
from tests.crash.test_crash_points import every_point

Mistake = Callable[[pytest.MonkeyPatch], type[SimulatedDisk]]


class NoFileSync(SimulatedDisk):
    def sync(self, descriptor: int) -> None:
        self._step("sync", lambda: None)


class NoDirectorySync(SimulatedDisk):
    def sync_directory(self, directory: Path) -> None:
        self._step("sync directory", lambda: None)


def no_file_sync(_patch: pytest.MonkeyPatch) -> type[SimulatedDisk]:
    return NoFileSync


def no_directory_sync(_patch: pytest.MonkeyPatch) -> type[SimulatedDisk]:
    return NoDirectorySync


def published_before_it_is_synced(patch: pytest.MonkeyPatch) -> type[SimulatedDisk]:
    def publish(self: Any, name: str) -> None:
        descriptor, self._descriptor = self._descriptor, None
        self._disk.rename(self._path, self._directory / name)
        self._disk.sync_directory(self._directory)
        self._disk.sync(descriptor)
        self._disk.close(descriptor)

    patch.setattr(NewFile, "publish", publish)
    return SimulatedDisk


def unlinked_before_the_checkpoint(patch: pytest.MonkeyPatch) -> type[SimulatedDisk]:
    save = Journal.save

    def hasty(self: Any, checkpoint: Any) -> None:
        for name in self._settled_files:
            self._disk.unlink(self._directory / str(name))
        save(self, checkpoint)

    patch.setattr(Journal, "save", hasty)
    return SimulatedDisk


def the_cursor_and_ids_before_the_events(patch: pytest.MonkeyPatch) -> type[SimulatedDisk]:
    commit = SettingQueue.commit

    def hasty(self: Any, file: CollectionFile, cursor: Any, sighting: Any) -> Any:
        with self._opened() as opened:
            opened.save(
                replace(
                    opened.checkpoint,
                    cursor_time=cursor.last_fetched_time,
                    ids=opened.checkpoint.ids + tuple(sighting.new.packed()),
                )
            )
        return commit(self, file, cursor, sighting)

    patch.setattr(SettingQueue, "commit", hasty)
    return SimulatedDisk


def group_times_from_the_wall_clock(patch: pytest.MonkeyPatch) -> type[SimulatedDisk]:
    collecting = SettingQueue.collecting

    def wall_clock(self: Any, fetched_time: int, *, expected_bytes: int = 0) -> Any:
        with self._opened() as opened:
            opened.checkpoint = replace(opened.checkpoint, group_time=fetched_time - 1)
        return collecting(self, fetched_time, expected_bytes=expected_bytes)

    patch.setattr(SettingQueue, "collecting", wall_clock)
    return SimulatedDisk


def refused_means_delivered(patch: pytest.MonkeyPatch) -> type[SimulatedDisk]:
    patch.setattr(Course, "_fenced", lambda self, sent, refused, latest: self._delivered(sent))
    patch.setattr(SettingQueue, "position_is_known", True)
    return SimulatedDisk


def stamped_anew_when_refused(patch: pytest.MonkeyPatch) -> type[SimulatedDisk]:
    def again(self: Any, _sent: Any, _refused: int, latest: int) -> None:
        self.queue._wire.maybe_through = self.queue._wire.sent_through = 0
        self.queue.learn_position(latest)

    patch.setattr(Course, "_fenced", again)
    patch.setattr(SettingQueue, "position_is_known", True)
    return SimulatedDisk


def no_position_probe(patch: pytest.MonkeyPatch) -> type[SimulatedDisk]:
    patch.setattr(SettingQueue, "position_is_known", True)
    patch.setattr(SettingQueue, "owns", lambda self, latest: True)
    return SimulatedDisk


def sent_without_noting_it(patch: pytest.MonkeyPatch) -> type[SimulatedDisk]:
    patch.setattr(Journal, "may_send", lambda self, last: True)
    return SimulatedDisk


def ids_only_in_memory(patch: pytest.MonkeyPatch) -> type[SimulatedDisk]:
    publish = CollectionFile.publish
    patch.setattr(
        CollectionFile,
        "publish",
        lambda self, cursor, collected, *, ids=(), letter=None: publish(
            self, cursor, collected, letter=letter
        ),
    )
    return SimulatedDisk


def memory_believed_after_an_error(patch: pytest.MonkeyPatch) -> type[SimulatedDisk]:
    patch.setattr(Journal, "leave", _leave_before_saving(Journal.leave))
    return SimulatedDisk


def _leave_before_saving(leave: Any) -> Any:
    def hasty(self: Any, last: Any, **events: int) -> None:
        self.waiting.files.clear()
        leave(self, last, **events)

    return hasty


def dead_letters_settled_first(patch: pytest.MonkeyPatch) -> type[SimulatedDisk]:
    bury = SettingQueue.bury

    def hasty(self: Any, outgoing: Any, reason: str, *, answer: str, attempts: int) -> int:
        with self._opened() as opened:
            opened.leave(outgoing, dead=outgoing.count)
        with self._opened() as opened:
            patch_leave = opened.leave
            opened.leave = lambda *_args, **_events: None
            try:
                return bury(self, outgoing, reason, answer=answer, attempts=attempts)
            finally:
                opened.leave = patch_leave

    patch.setattr(SettingQueue, "bury", hasty)
    return SimulatedDisk


MISTAKES: tuple[Mistake, ...] = (
    no_file_sync,
    no_directory_sync,
    published_before_it_is_synced,
    unlinked_before_the_checkpoint,
    the_cursor_and_ids_before_the_events,
    group_times_from_the_wall_clock,
    refused_means_delivered,
    stamped_anew_when_refused,
    no_position_probe,
    sent_without_noting_it,
    ids_only_in_memory,
    memory_believed_after_an_error,
    dead_letters_settled_first,
)


def is_caught(teller: Teller) -> bool:
    """Run what the harness runs, in a drawn order, until something is wrong."""
    ending = teller.tell()
    if ending.faults:
        return True
    points = list(every_point(len(ending.calls)))
    random.Random(1).shuffle(points)
    return any(
        teller.tell([(point, loss)], seed=point.call).faults
        or teller.tell(fail_at=(point.call, errno.EIO)).faults
        for point in points
        for loss in Loss
    )


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.__name__)
def test_a_seeded_mistake_is_caught(
    loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch, mistake: Mistake
) -> None:
    disk = mistake(monkeypatch)

    assert is_caught(Teller(loop, disk))


def test_a_missing_directory_sync_at_recovery_is_caught_by_a_power_cut_after_a_kill(
    loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    recover = recovery.recover

    def trusting(disk: Any, directory: Path, *more: Any) -> Any:
        sync = disk.sync_directory
        disk.sync_directory = lambda _directory: None
        try:
            return recover(disk, directory, *more)
        finally:
            disk.sync_directory = sync

    monkeypatch.setattr(journal, "recover", trusting)
    teller = Teller(loop)
    # What a kill leaves visible but not durable is what was renamed a moment before.
    kills = [
        Point(call, is_after=True)
        for call, name in enumerate(teller.tell().calls)
        if name.startswith("rename")
    ]

    ends = [(kill, Point(cut, is_after=True)) for kill in kills for cut in range(40)]
    random.Random(1).shuffle(ends)

    assert any(teller.tell([(kill, Loss.NOTHING), (cut, Loss.UNSYNCED)]).faults for kill, cut in ends)
