"""What the tests of the spool share: a clock, disks that log or fail, and short ways to collect and to look."""

import errno
import json
import logging
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from oase_agent.disk import Disk
from oase_agent.errors import OwnershipLost
from oase_agent.model import Cursor
from oase_agent.spool.collection_file import BatchLimits
from oase_agent.spool.compression import Compression
from oase_agent.spool.known_ids import IdPolicy
from oase_agent.spool.outgoing import Outgoing
from oase_agent.spool.packing import PackLimits
from oase_agent.spool.queue import Kept, QueueFigures, QueueTools, SettingQueue
from oase_agent.telemetry import Telemetry

START = 1_700_000_000
SETTING = "web-01"
SETTING_ID = "id-web-01"
ENOUGH_BYTES = 10**9


class Clock:
    """Wall clock that stands still until a test moves it."""

    def __init__(self, now: float = START) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class SyncLog(Disk):
    """A disk that tells what it did, in order."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def sync(self, descriptor: int) -> None:
        super().sync(descriptor)
        self.calls.append("sync")

    def rename(self, source: Path, target: Path) -> None:
        super().rename(source, target)
        self.calls.append(f"rename {target.name.split('.')[0]}")

    def sync_directory(self, directory: Path) -> None:
        super().sync_directory(directory)
        self.calls.append("sync directory")

    def unlink(self, path: Path) -> None:
        super().unlink(path)
        self.calls.append(f"unlink {path.name.split('.')[0]}")


class FailingDisk(Disk):
    """A disk whose n-th change from now on fails once: before it takes effect, or after (a lost reply of NFS)."""

    def __init__(self) -> None:
        self.failed: list[str] = []
        self.changes = 0
        self._left: int | None = None
        self._error = errno.EIO
        self._takes_effect = False

    def arm(self, nth: int, error: int = errno.EIO, *, takes_effect: bool = False) -> None:
        """Let the `nth` change fail, counted from 1."""
        self._left, self._error, self._takes_effect = nth, error, takes_effect

    def disarm(self) -> None:
        """Work."""
        self._left = None

    def create(self, path: Path, mode: int = 0o600) -> int:
        # An opened descriptor would leak if the call failed after taking effect.
        self._fail_if_due("create", path)
        return super().create(path, mode)

    def write(self, descriptor: int, data: bytes | memoryview) -> None:
        if self._is_due():
            super().write(descriptor, memoryview(data)[: len(data) // 2])
            self._raise("write", None)
        super().write(descriptor, data)

    def sync(self, descriptor: int) -> None:
        self._fail_if_due("sync", None)
        super().sync(descriptor)

    def close(self, descriptor: int) -> None:
        super().close(descriptor)
        self._fail_if_due("close", None)

    def rename(self, source: Path, target: Path) -> None:
        self._around("rename", target, lambda: super(FailingDisk, self).rename(source, target))

    def unlink(self, path: Path) -> None:
        self._around("unlink", path, lambda: super(FailingDisk, self).unlink(path))

    def sync_directory(self, directory: Path) -> None:
        self._fail_if_due("sync directory", directory)
        super().sync_directory(directory)

    def _is_due(self) -> bool:
        self.changes += 1
        if self._left is None:
            return False
        self._left -= 1
        return self._left == 0

    def _fail_if_due(self, call: str, path: Path | None) -> None:
        if self._is_due():
            self._raise(call, path)

    def _around(self, call: str, path: Path, act: Callable[[], None]) -> None:
        is_due = self._is_due()
        if not is_due or self._takes_effect:
            act()
        if is_due:
            self._raise(call, path)

    def _raise(self, call: str, path: Path | None) -> None:
        self._left = None
        self.failed.append(call if path is None else f"{call} {path.name}")
        raise OSError(self._error, os.strerror(self._error))


class Witness(Telemetry):
    """A telemetry that remembers what the spool told."""

    def __init__(self) -> None:
        # Without a level that passes: thousands of stories would fill the log.
        super().__init__(logger=logging.Logger("oase_agent.witness", logging.CRITICAL + 1))
        self.damages: list[str] = []
        self.foreign_writers = 0
        self.resolved_events = 0

    def spool_damaged(self, setting: str, trouble: str) -> None:
        super().spool_damaged(setting, trouble)
        self.damages.append(trouble)

    def foreign_writer(self, setting: str) -> None:
        super().foreign_writer(setting)
        self.foreign_writers += 1

    def fence_resolved(self, setting: str, events: int) -> None:
        super().fence_resolved(setting, events)
        self.resolved_events += events


def open_queue(
    directory: Path,
    clock: Clock,
    disk: Disk | None = None,
    *,
    telemetry: Telemetry | None = None,
    policy: IdPolicy | None = None,
    on_full: Callable[[], None] = lambda: None,
    batch_events: int = 1000,
    compression: Compression | None = None,
    on_taken_over: Callable[[str, OwnershipLost], None] = lambda _name, _error: None,
    packing: PackLimits | None = None,
) -> SettingQueue:
    """Return the queue in `directory`, as a new process sees it."""
    tools = QueueTools(
        disk or Disk(),
        policy or IdPolicy(retention_h=168),
        clock,
        telemetry or Telemetry(),
        on_full,
        BatchLimits(events=batch_events, compression=compression or Compression()),
        sent_window=2,  # a checkpoint with every batch that leaves
        on_taken_over=on_taken_over,
        packing=packing or PackLimits(),
    )
    return SettingQueue(directory / SETTING, SETTING, tools)


def collect(queue: SettingQueue, *ids: str, time: int = START, **extra: object) -> Kept:
    """Collect an answer that holds these ids; those that are known are left out."""
    return collect_answer(queue, ids, time=time, extra=extra)


def collect_answer(
    queue: SettingQueue,
    ids: Iterable[str],
    *,
    refused: Iterable[str] = (),
    time: int = START,
    extra: Mapping[str, object] = MappingProxyType({}),
) -> Kept:
    """Collect an answer with events, and events that the workspace could not store."""
    queue.begin_collection(SETTING_ID)
    sighting = queue.sighting()
    new = [event_id for event_id in ids if sighting.is_new(event_id)]
    unstorable = [event_id for event_id in refused if sighting.is_new(event_id)]
    with queue.collecting(time) as file:
        file.add(event_text(event_id, **extra) for event_id in new)
        file.add_refused(("it has a NUL", json.dumps({"id": event_id})) for event_id in unstorable)
        return queue.commit(file, Cursor(time), sighting)


def event_text(event_id: str, **extra: object) -> bytes:
    """Return an event as the collector gives it."""
    return json.dumps({"id": event_id, "_exastro_oase_event_id": event_id, **extra}).encode()


def ids_in(batches: Iterable[Outgoing]) -> list[str]:
    """Return the ids of the events in batches that are posted."""
    return [event["id"] for batch in batches for event in json.loads(batch.events)]


def waiting_ids(queue: SettingQueue) -> list[str]:
    """Return the ids that are sent next, as far as one look goes."""
    return ids_in(queue.peek(ENOUGH_BYTES))


def figures_of(queue: SettingQueue) -> QueueFigures:
    """Return the accounting of a queue, which is opened if need be."""
    queue.open()
    figures = queue.figures()
    assert figures is not None
    return figures


def account_of(queue: SettingQueue) -> tuple[int, int, int, int]:
    """Return collected, delivered, waiting and dead events."""
    figures = figures_of(queue)
    return figures.collected, figures.delivered, figures.waiting, figures.dead


def files_in(directory: Path, kind: str) -> list[Path]:
    """Return the files of a kind (`out`, `state`, `seen`, `tmp`) of the queue in `directory`, oldest first."""
    return sorted((directory / SETTING).glob(f"{kind}.*"))


def dead_letters(directory: Path) -> list[dict[str, Any]]:
    """Return the dead letters of the queue in `directory`, oldest first."""
    paths = sorted((directory / SETTING / "dead").glob("*.json"))
    return [json.loads(path.read_bytes()) for path in paths]


def dead_ids(directory: Path) -> list[str]:
    """Return the ids of the events in dead letters, those set aside when they were collected included."""
    events = [event for letter in dead_letters(directory) for event in letter["events"]]
    return [json.loads(event["event"])["id"] if "why" in event else event["id"] for event in events]


def flip(path: Path, offset: int, mask: int = 1) -> None:
    """Damage one byte of a file."""
    content = bytearray(path.read_bytes())
    content[offset] ^= mask
    path.write_bytes(content)
