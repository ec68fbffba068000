"""What keeping events costs, against bare writes of the same bytes, and how a large backlog starts and drains."""

import os
import shutil
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from benchmarks.backlog import backlog_of_hundreds, backlog_of_ones, backlog_of_ten_settings
from benchmarks.bare_loop import EVENT_BYTES
from benchmarks.command import Benchmark, Place, run
from benchmarks.report import Row
from benchmarks.spooled import commit, made_events, open_spool
from oase_agent.spool.queue import SettingQueue

_POST_BYTES = 512 * 1024
_PIECE_BYTES = 256 * 1024
# Enough commits of each size for a figure, in bounded time.
_COMMITS = {1: 500, 100: 300, 1000: 100, 50_000: 5}


def commits(place: Place) -> Iterator[Row]:
    """Commit collections of several sizes; the same bytes written barely in turn, so that both meet the same disk."""
    for batch, times in _COMMITS.items():
        wanted = max(2, times // 10) if place.quick else times
        made = made_events(batch, EVENT_BYTES)
        content = b"\n".join(made)
        ids = [str(number) for number in range(batch)]
        bare: list[float] = []
        ours: list[float] = []
        with_ids: list[float] = []
        directory = place.directory / f"bare-{batch}"
        directory.mkdir()
        queue = _queue(place.directory / f"queue-{batch}")
        knowing = _queue(place.directory / f"ids-{batch}")
        for number in range(wanted):
            bare.append(seconds(partial(_write_barely, directory, number, content)))
            ours.append(seconds(partial(commit, queue, made)))
            fresh = [f"{number}-{one}" for one in ids]
            with_ids.append(seconds(partial(commit, knowing, made, fresh)))
        yield from _compared(batch, bare, ours, with_ids)


def _compared(
    batch: int, bare: Sequence[float], ours: Sequence[float], with_ids: Sequence[float]
) -> Iterator[Row]:
    baseline = 1 / statistics.median(bare)
    of = f"collections of {batch:,} events"
    yield Row(f"{of}: write, fsync, rename, fsync of the directory", _middle(bare), "/s")
    yield Row(f"{of}: commit", _middle(ours), "/s", baseline)
    yield Row(f"{of}: commit, with an id each", _middle(with_ids), "/s", baseline)


def draining(place: Place) -> Iterator[Row]:
    """Read and settle a queue in pieces of a POST, without a network."""
    events = 20_000 if place.quick else 200_000
    for batch in (100, 1000):
        rates: list[float] = []
        for number in range(2 if place.quick else 3):
            queue = _queue(place.directory / f"{batch}-{number}")
            made = made_events(batch, EVENT_BYTES)
            for _ in range(events // batch):
                commit(queue, made)
            while queue.pack():
                pass
            rates.append(events / seconds(partial(drain, queue)))
        yield Row(f"drain of {events:,} events in collections of {batch:,}", rates, "events/s")


def drain(queue: SettingQueue) -> None:
    """Read and settle everything in pieces of a POST."""
    queue.learn_position(None)
    while sent := queue.peek(_POST_BYTES):
        queue.before_sending(sent[-1])
        queue.settle(sent)


def _queue(directory: Path) -> SettingQueue:
    queue = open_spool(directory).queue("log-page-01")
    queue.open()
    return queue


def _write_barely(directory: Path, number: int, content: bytes) -> None:
    temporary = directory / "new"
    with temporary.open("wb", buffering=0) as file:
        # In pieces like the spool's: one write of many megabytes is slower.
        for start in range(0, len(content), _PIECE_BYTES):
            file.write(content[start : start + _PIECE_BYTES])
        os.fsync(file.fileno())
    temporary.rename(directory / str(number))
    descriptor = os.open(directory, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def seconds(work: Callable[[], object]) -> float:
    """Return how long `work` takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _middle(seconds: Sequence[float]) -> list[float]:
    """Return rates at the slowest twentieth, the median and the fastest twentieth: single outliers say little."""
    ordered = sorted(seconds)
    edge = len(ordered) // 20
    return [1 / ordered[-1 - edge], 1 / statistics.median(ordered), 1 / ordered[edge]]


def _alone(section: Callable[[Place], Iterator[Row]]) -> Callable[[Place], Iterator[Row]]:
    """Give the room back after a section: a backlog has gigabytes."""

    def then_emptied(place: Place) -> Iterator[Row]:
        try:
            yield from section(place)
        finally:
            shutil.rmtree(place.directory)

    return then_emptied


BENCHMARK = Benchmark(
    "spool",
    __doc__ or "",
    {
        "commits": _alone(commits),
        "draining": _alone(draining),
        "backlog-of-hundreds": _alone(backlog_of_hundreds),
        "backlog-of-ten-settings": _alone(backlog_of_ten_settings),
        "backlog-of-ones": _alone(backlog_of_ones),
    },
)

if __name__ == "__main__":
    raise SystemExit(run(BENCHMARK))
