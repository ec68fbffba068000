"""A large backlog: filling it, starting with it, and draining it into a workspace that parses and judges."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.agent_process import AgentPlace
from benchmarks.bare_loop import EVENT_BYTES
from benchmarks.command import Place
from benchmarks.processes import MIB, MemoryWatch, run_fresh
from benchmarks.report import Row, at_least, at_most
from benchmarks.spooled import UnsyncedDisk, fill, open_spool
from benchmarks.stage import Stage, stage

# A POST with events is larger than the question for the workspace's position.
_SMALLEST_POST_BYTES = 32 * 1024


@dataclass(frozen=True, slots=True)
class _Backlog:
    events: int
    batch: int
    settings: int = 1
    is_synced: bool = True
    is_unread: bool = False

    def __str__(self) -> str:
        settings = f", {self.settings} settings" if self.settings > 1 else ""
        receiver = ", receiver only reads" if self.is_unread else ""
        return f"{self.events:,} events in collections of {self.batch:,}{settings}{receiver}"


def backlog_of_hundreds(place: Place) -> Iterator[Row]:
    """One setting, collections of 100 events; then without the cost of a workspace that parses."""
    events = 20_000 if place.quick else 1_000_000
    yield from _measured(_Backlog(events, 100), place.directory / "parsed", "512KiB")
    yield from _measured(_Backlog(events, 100), place.directory / "parsed-1MiB", "1MiB")
    yield from _measured(_Backlog(events, 100, is_unread=True), place.directory / "unread", "1MiB")


def backlog_of_ten_settings(place: Place) -> Iterator[Row]:
    """The same, spread over ten settings, which are delivered side by side."""
    events = 20_000 if place.quick else 1_000_000
    yield from _measured(_Backlog(events, 100, settings=10), place.directory / "ten", "1MiB")


def backlog_of_ones(place: Place) -> Iterator[Row]:
    """Collections of a single event: a million files, if nobody packed them."""
    events = 2_000 if place.quick else 1_000_000
    yield from _measured(_Backlog(events, 1, is_synced=False), place.directory / "ones", "1MiB")


def _measured(backlog: _Backlog, directory: Path, post_bytes: str) -> Iterator[Row]:
    directory.mkdir()
    with stage(directory, sources=backlog.settings, is_unread=backlog.is_unread) as scene:
        yield from _filled(backlog, scene)
        yield from _recovered(backlog, scene)
        yield from _drained(backlog, scene, post_bytes)


def _filled(backlog: _Backlog, scene: Stage) -> Iterator[Row]:
    disk = None if backlog.is_synced else UnsyncedDisk()
    outcome = run_fresh(_fill, scene.place, backlog.events, backlog.batch, disk, patience_s=1200)
    how = "" if backlog.is_synced else " (without waiting for the disk)"
    files = list(scene.place.spool_directory.rglob("out.*"))
    size_mib = sum(path.stat().st_size for path in files) / MIB
    yield Row(f"{backlog}: fill{how}", [backlog.events / outcome.result], "events/s")
    yield Row(f"{backlog}: RssAnon growth while filling", [outcome.growth_mib], "MiB")
    yield Row(f"{backlog}: {size_mib:,.0f} MiB in files", [len(files)], "")


def _recovered(backlog: _Backlog, scene: Stage) -> Iterator[Row]:
    outcome = run_fresh(_recover, scene.place.spool_directory)
    seconds, waiting = outcome.result
    if waiting != backlog.events:
        raise RuntimeError(f"{backlog.events} events were kept and {waiting} recovered.")
    yield Row(f"{backlog}: recovery", [seconds], "s")
    yield Row(f"{backlog}: RssAnon growth at most, recovering", [outcome.growth_mib], "MiB")
    yield Row(f"{backlog}: RssAnon after recovery", [outcome.last_anon_mib], "MiB", budget=at_most(64))


def _drained(backlog: _Backlog, scene: Stage, post_bytes: str) -> Iterator[Row]:
    with scene.agent(MAX_POST_BYTES=post_bytes) as agent, MemoryWatch(agent.pid) as watch:
        last_at_s = scene.wait_for_events(backlog.events, patience_s=300)
        cpu_s = agent.cpu_s()
        peak_rss_mib = agent.memory().peak_rss_mib
        posts = scene.workspace.call("posts")
    first_at_s = next(at_s for at_s, size in posts if size >= min(_SMALLEST_POST_BYTES, max(posts)[1]))
    rate = backlog.events / (last_at_s - first_at_s)
    what = f"{backlog}, MAX_POST_BYTES {post_bytes}"
    yield Row(f"{what}: start to first POST", [first_at_s - agent.started_at_s], "s", budget=at_most(2))
    yield Row(f"{what}: drain", [rate], "events/s", budget=at_least(100_000))
    yield Row(f"{what}: CPU of the agent", [cpu_s], "s")
    yield Row(f"{what}: peak RssAnon", [watch.peak_anon_mib], "MiB", budget=at_most(64))
    yield Row(f"{what}: peak RSS, page cache aside", [peak_rss_mib], "MiB")


def _fill(place: AgentPlace, events: int, batch: int, disk: UnsyncedDisk | None) -> float:
    began = time.perf_counter()
    fill(place, events, batch, EVENT_BYTES, disk)
    return time.perf_counter() - began


def _recover(directory: Path) -> tuple[float, int]:
    began = time.perf_counter()
    spool = open_spool(directory)
    waiting = 0
    for queue in spool.queues():
        queue.open()
        figures = queue.figures()
        waiting += figures.waiting if figures else 0
    return time.perf_counter() - began, waiting
