"""The workspace goes away for a minute: collecting goes on, and the log stays short."""

import time
from collections.abc import Iterator

from benchmarks.agent_process import INTERVAL_S
from benchmarks.bare_loop import EVENT_BYTES
from benchmarks.command import Place
from benchmarks.processes import MIB, MemoryWatch
from benchmarks.report import Row, at_most
from benchmarks.stage import stage

_SOURCES = 10


def outage(place: Place) -> Iterator[Row]:
    """Count what is logged meanwhile and how long it takes until everything arrived."""
    away_s = 6 if place.quick else 60
    with (
        stage(place.directory, sources=_SOURCES) as scene,
        scene.agent() as agent,
        MemoryWatch(agent.pid) as watch,
    ):
        scene.wait_for_polls(2)
        scene.sources.call("write_steadily", per_s=100 / INTERVAL_S, event_bytes=EVENT_BYTES)
        scene.wait_for_events(1)
        log_before, cpu_before_s = agent.log_bytes(), agent.cpu_s()
        scene.workspace.call("refuse")
        time.sleep(away_s)
        scene.sources.call("stop_writing")
        cpu_s = agent.cpu_s() - cpu_before_s
        before = scene.workspace.call("count")
        scene.workspace.call("resume")
        back_at_s = time.time()
        first_s = scene.wait_for_events(before + 1) - back_at_s
        logged = agent.log_bytes() - log_before
    what = f"workspace away for {away_s} s"
    yield Row(f"{what}: log", [logged / MIB], "MiB", budget=at_most(0.1))
    yield Row(f"{what}: log", [logged], "bytes")
    yield Row(f"{what}: CPU meanwhile", [cpu_s / away_s * 100], "% of a core")
    yield Row(f"{what}: from its return to the first event", [first_s], "s")
    yield Row(f"{what}: peak RssAnon", [watch.peak_anon_mib], "MiB", budget=at_most(64))
