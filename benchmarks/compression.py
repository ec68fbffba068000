"""What compressing waiting batches gains in room and costs in time, with events of 0.7 KB that differ.

Whether 72 hours at 100 events a second fit the default volume is told from the bytes that files take per event, their
footers with an id for each event and the rounding to blocks included.
"""

import os
import shutil
import statistics
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from benchmarks.agent_process import AgentPlace
from benchmarks.command import Benchmark, Place, run
from benchmarks.processes import MemoryWatch
from benchmarks.report import Row, at_most
from benchmarks.spool import drain, seconds
from benchmarks.spooled import UnsyncedDisk, commit, open_spool
from benchmarks.stage import stage
from benchmarks.zabbix_problems import ZabbixProblems
from oase_agent.disk import Disk
from oase_agent.spool.collection_file import BatchLimits
from oase_agent.spool.compression import Compression, CompressionMode
from oase_agent.spool.queue import SettingQueue

_MODES = (CompressionMode.OFF, CompressionMode.ALWAYS)
_OUTAGE_EVENTS = 72 * 3600 * 100
# 80 % of the default volume of 10 GiB.
_SPOOL_MAX_GIB = 8.0
_GIB = 1024**3
# A POST with events is larger than the question for the workspace's position.
_SMALLEST_POST_BYTES = 32 * 1024


def room(place: Place) -> Iterator[Row]:
    """Fill queues and see what their files take."""
    events = 6_000 if place.quick else 60_000
    for batch in (1, 3, 10, 100, 300):
        for mode in _MODES:
            # Small collections are all alike, and each costs as much time as a large one.
            yield from _taken(place, min(events, 3_000 * batch), batch, mode)
    yield from _taken(place, events, 100, CompressionMode.ALWAYS, noise_characters=128)


def _taken(
    place: Place, events: int, batch: int, mode: CompressionMode, noise_characters: int = 0
) -> Iterator[Row]:
    directory = place.directory / f"{batch}-{mode}-{noise_characters}"
    queue = _queue(directory, mode, UnsyncedDisk())
    made = ZabbixProblems(1, noise_characters)
    posted_bytes = 0
    for number in range(events // batch):
        drawn = made.draw(batch)
        posted_bytes += sum(map(len, drawn))
        commit(queue, drawn, [f"{48_200_000 + number * batch + one}" for one in range(batch)])
    while queue.pack():
        pass
    paths = list(directory.rglob("out.*"))
    per_event = sum(path.stat().st_blocks * 512 for path in paths) / events
    noise = f", {noise_characters} random digits each" if noise_characters else ""
    what = f"{mode}, collections of {batch}{noise}"
    yield Row(f"{what}: {posted_bytes / events:.0f} bytes per event take", [per_event], "bytes")
    budget = at_most(_SPOOL_MAX_GIB)
    yield Row(f"{what}: 72 h at 100 events/s", [per_event * _OUTAGE_EVENTS / _GIB], "GiB", budget=budget)
    shutil.rmtree(directory)


def commits(place: Place) -> Iterator[Row]:
    """Commit the same collections in turn with and without, so that both meet the same disk."""
    for batch, times in {10: 300, 100: 300, 300: 200, 50_000: 7}.items():
        wanted = max(3, times // 20) if place.quick else times
        drawn = ZabbixProblems(2).draw(batch)
        queues = {mode: _queue(place.directory / f"{batch}-{mode}", mode) for mode in _MODES}
        times_s: dict[CompressionMode, list[float]] = {mode: [] for mode in _MODES}
        for _ in range(wanted):
            for mode in _MODES:
                times_s[mode].append(seconds(partial(commit, queues[mode], drawn)))
        of = f"commit of {batch:,} events"
        yield from _compared(of, {mode: [1000 * one for one in times_s[mode]] for mode in _MODES}, "ms")


def drains(place: Place) -> Iterator[Row]:
    """Read and settle a queue in pieces of a POST, without a network."""
    events = 12_000 if place.quick else 120_000
    for batch in (100, 300):
        rates: dict[CompressionMode, list[float]] = {mode: [] for mode in _MODES}
        cpu_s: dict[CompressionMode, list[float]] = {mode: [] for mode in _MODES}
        for number in range(3 if place.quick else 7):
            drawn = ZabbixProblems(number).draw(batch)
            for mode in _MODES:
                directory = place.directory / f"{batch}-{mode}-{number}"
                queue = _queue(directory, mode, UnsyncedDisk())
                for _ in range(events // batch):
                    commit(queue, drawn)
                while queue.pack():
                    pass
                before_s = _cpu_s()
                rates[mode].append(events / seconds(partial(drain, queue)))
                cpu_s[mode].append((_cpu_s() - before_s) / events * 100_000)
                shutil.rmtree(directory)
        of = f"drain of {events:,} events in collections of {batch}"
        yield from _compared(of, rates, "events/s")
        yield from _compared(f"{of}: CPU for 100,000", cpu_s, "s")


def agents(place: Place) -> Iterator[Row]:
    """Let a real agent drain a backlog into a workspace that parses and judges."""
    events = 20_000 if place.quick else 400_000
    rates: dict[CompressionMode, list[float]] = {mode: [] for mode in _MODES}
    cpu_s: dict[CompressionMode, list[float]] = {mode: [] for mode in _MODES}
    anon_mib: dict[CompressionMode, list[float]] = {mode: [] for mode in _MODES}
    for number in range(1 if place.quick else 5):
        for mode in _MODES:
            directory = place.directory / f"{mode}-{number}"
            directory.mkdir()
            with stage(directory) as scene:
                _fill(scene.place, events, mode)
                with scene.agent(SPOOL_COMPRESSION=mode) as agent, MemoryWatch(agent.pid) as watch:
                    last_at_s = scene.wait_for_events(events)
                    cpu_s[mode].append(agent.cpu_s() / events * 100_000)
                    posts = scene.workspace.call("posts")
            first_at_s = min(at_s for at_s, size in posts if size >= _SMALLEST_POST_BYTES)
            rates[mode].append(events / (last_at_s - first_at_s))
            anon_mib[mode].append(watch.peak_anon_mib)
            shutil.rmtree(directory)
    of = f"agent, {events:,} events in collections of 100"
    yield from _compared(f"{of}: drain", rates, "events/s")
    yield from _compared(f"{of}: CPU for 100,000, start included", cpu_s, "s")
    yield from _compared(f"{of}: peak RssAnon", anon_mib, "MiB")


def _fill(place: AgentPlace, events: int, mode: CompressionMode) -> None:
    limits = BatchLimits(compression=Compression(mode))
    spool = open_spool(place.spool_directory, UnsyncedDisk(), batches=limits)
    queue = spool.queue(place.setting_names[0])
    drawn = ZabbixProblems(3).draw(100)
    for _ in range(events // 100):
        commit(queue, drawn)
    spool.maintain()
    spool.close()


def _compared(what: str, found: dict[CompressionMode, list[float]], unit: str) -> Iterator[Row]:
    plain, compressed = (_middle(found[mode]) for mode in _MODES)
    yield Row(f"{what}, plain", plain, unit)
    yield Row(f"{what}, compressed", compressed, unit, statistics.median(plain))


def _middle(values: Sequence[float]) -> list[float]:
    """Return the values without a twentieth at each end: single outliers say little."""
    edge = len(values) // 20
    return sorted(values)[edge : len(values) - edge]


def _cpu_s() -> float:
    times = os.times()
    return times.user + times.system


def _queue(directory: Path, mode: CompressionMode, disk: Disk | None = None) -> SettingQueue:
    limits = BatchLimits(compression=Compression(mode))
    queue = open_spool(directory, disk, batches=limits).queue("log-page-01")
    queue.open()
    return queue


BENCHMARK = Benchmark(
    "compression", __doc__ or "", {"room": room, "commits": commits, "drains": drains, "agents": agents}
)

if __name__ == "__main__":
    raise SystemExit(run(BENCHMARK))
