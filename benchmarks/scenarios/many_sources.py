"""Many sources that take a second each: nobody waits for anybody (promise C2)."""

import statistics
import time
from collections.abc import Iterator
from itertools import pairwise

from benchmarks.agent_process import INTERVAL_S
from benchmarks.command import Place
from benchmarks.processes import MemoryWatch
from benchmarks.report import Row, at_least, at_most
from benchmarks.stage import stage

_LATENCY_S = 1.0
# How much longer than configured an interval may be on average.
_LATE = 1.01


def many_sources(place: Place) -> Iterator[Row]:
    """Count the polls of every source against the interval."""
    seconds = 12 if place.quick else 45
    for count in (20,) if place.quick else (20, 200):
        directory = place.directory / str(count)
        directory.mkdir()
        with (
            stage(directory, sources=count, source_latency_s=_LATENCY_S) as scene,
            scene.agent() as agent,
            MemoryWatch(agent.pid) as watch,
        ):
            scene.wait_for_polls(1)
            began_at_s, cpu_before_s = time.time(), agent.cpu_s()
            time.sleep(seconds)
            cpu_s = agent.cpu_s() - cpu_before_s
            polls = scene.sources.call("polls")
            rss_mib = agent.memory().peak_rss_mib
        counts = [sum(at_s >= began_at_s for at_s in one) for one in polls]
        gaps = [[after - before for before, after in pairwise(one)] for one in polls]
        what = f"{count} sources of {_LATENCY_S:.0f} s"
        expected = seconds / INTERVAL_S
        # One poll may fall just outside the window.
        fewest = [float(min(counts))]
        yield Row(f"{what}: polls of a source in {seconds} s", counts, "", expected)
        yield Row(f"{what}: the fewest of any source", fewest, "", expected, at_least(expected - 1))
        mean = list(map(statistics.mean, gaps))
        yield Row(
            f"{what}: mean time between polls of a source", mean, "s", INTERVAL_S, at_most(_LATE * INTERVAL_S)
        )
        yield Row(f"{what}: longest time between polls of a source", list(map(max, gaps)), "s", INTERVAL_S)
        yield Row(f"{what}: CPU", [cpu_s / seconds * 100], "% of a core")
        yield Row(f"{what}: CPU of one poll", [cpu_s / sum(counts) * 1000], "ms")
        yield Row(f"{what}: peak RssAnon", [watch.peak_anon_mib], "MiB", budget=at_most(64))
        yield Row(f"{what}: peak RSS", [rss_mib], "MiB")
