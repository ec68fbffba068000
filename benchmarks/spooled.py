"""Spools without an agent: filled for it to find, and read after it."""

import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.agent_process import AgentPlace
from oase_agent.disk import Disk
from oase_agent.model import Cursor
from oase_agent.spool.collection_file import BatchLimits
from oase_agent.spool.known_ids import IdPolicy
from oase_agent.spool.limits import SpoolLimits
from oase_agent.spool.queue import SettingQueue
from oase_agent.spool.spool import Spool
from oase_agent.telemetry import Telemetry

# How often the running agent packs small files.
_MAINTENANCE_S = 10.0
_ROOM_BYTES = 2**40


class UnsyncedDisk(Disk):
    """Writes the same files without waiting for the disk: to fill a large spool in bearable time."""

    def sync(self, descriptor: int) -> None:
        """Leave it to the kernel."""

    def sync_directory(self, directory: Path) -> None:
        """Leave it to the kernel."""


def open_spool(directory: Path, disk: Disk | None = None, *, batches: BatchLimits | None = None) -> Spool:
    """Own and open the spool in a directory."""
    # Sentences for operators about what a benchmark does to a spool would only disturb its table.
    quiet = logging.getLogger("benchmarks.spooled")
    quiet.addHandler(logging.NullHandler())
    quiet.propagate = False
    spool = Spool(
        directory,
        limits=SpoolLimits(_ROOM_BYTES, 0),
        ids=IdPolicy(168),
        now=time.time,
        telemetry=Telemetry(logger=quiet),
        disk=disk,
        batches=batches,
    )
    if not spool.try_own():
        raise RuntimeError(f"Another process owns {directory}.")
    spool.open_existing()
    return spool


def made_events(count: int, event_bytes: int) -> list[bytes]:
    """Return labelled events of about the given size, as they stand in a batch."""
    padding = b"x" * max(0, event_bytes - 160)
    return [
        b'{"id":"%d","message":"%b","_exastro_oase_event_id":"%d","_exastro_fetched_time":1700000000,'
        b'"_exastro_end_time":1700003600}' % (number, padding, number)
        for number in range(count)
    ]


def commit(queue: SettingQueue, events: Sequence[bytes], ids: Sequence[str] = ()) -> None:
    """Keep one collection of events, of which these ids are new."""
    sighting = queue.sighting()
    for event_id in ids:
        sighting.is_new(event_id)
    now = int(time.time())
    with queue.collecting(now, expected_bytes=sum(map(len, events))) as file:
        file.add(events)
        queue.commit(file, Cursor(now), sighting)


def fill(place: AgentPlace, events: int, batch: int, event_bytes: int, disk: Disk | None = None) -> None:
    """Fill the spool of an agent that does not run, evenly over its settings, packing as the agent would."""
    spool = open_spool(place.spool_directory, disk)
    queues = [spool.queue(name) for name in place.setting_names]
    made = made_events(batch, event_bytes)
    maintain = _every(_MAINTENANCE_S, spool.maintain)
    for number in range(events // batch):
        commit(queues[number % len(queues)], made)
        maintain()
    spool.close()


def delivered_in(place: AgentPlace) -> int:
    """Return how many events an agent that has ended knows to be delivered."""
    spool = open_spool(place.spool_directory)
    figures = []
    for queue in spool.queues():
        queue.open()
        figures.append(queue.figures())
    spool.disown()
    return sum(one.delivered for one in figures if one is not None)


def _every(seconds: float, work: Callable[[], None]) -> Callable[[], None]:
    last = time.monotonic()

    def when_due() -> None:
        nonlocal last
        if time.monotonic() - last >= seconds:
            work()
            last = time.monotonic()

    return when_due
