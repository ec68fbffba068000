"""One response of many events, from the poll that brought it to the POST that completed it."""

import statistics
from collections.abc import Iterator

from benchmarks.bare_loop import EVENT_BYTES, measure_bare_loop
from benchmarks.command import Place
from benchmarks.processes import MemoryWatch
from benchmarks.report import Row, at_most, ratio_at_least
from benchmarks.stage import Stage, stage

_RATIO = 0.8
_OWN_MEMORY_MIB = 64


def one_response(place: Place) -> Iterator[Row]:
    """Compare with the bare loop of the same minute, whose receiver reads without parsing."""
    runs = 2 if place.quick else 7
    for events in (20_000,) if place.quick else (50_000, 200_000):
        outcome = measure_bare_loop(events, runs, place.directory)
        yield Row(f"bare loop, {events:,} events", outcome.result, "events/s")
        bare = statistics.median(outcome.result)
        for is_unread, receiver in ((True, "receiver only reads"), (False, "receiver parses and judges")):
            directory = place.directory / f"{events}-{is_unread}"
            directory.mkdir()
            with stage(directory, is_unread=is_unread) as scene:
                yield from _one_size(scene, events, runs, bare, receiver)


def _one_size(scene: Stage, events: int, runs: int, bare: float, receiver: str) -> Iterator[Row]:
    rates: list[float] = []
    cpu: list[float] = []
    with scene.agent() as agent, MemoryWatch(agent.pid) as watch:
        scene.wait_for_polls(1)
        for done in range(runs):
            filled_at_s = scene.sources.call("fill", place=0, count=events, event_bytes=EVENT_BYTES)
            cpu_before_s = agent.cpu_s()
            ended_at_s = scene.wait_for_events((done + 1) * events)
            [polls] = scene.sources.call("polls")
            began_at_s = next(at_s for at_s in polls if at_s >= filled_at_s)
            rates.append(events / (ended_at_s - began_at_s))
            cpu.append((agent.cpu_s() - cpu_before_s) * 100_000 / events)
        peak_rss_mib = agent.memory().peak_rss_mib
    what = f"one response of {events:,}, {receiver}"
    yield Row(what, rates, "events/s", bare, ratio_at_least(_RATIO))
    yield Row(f"{what}: CPU per 100,000 events", cpu, "s")
    yield Row(f"{what}: peak RssAnon", [watch.peak_anon_mib], "MiB", budget=at_most(_OWN_MEMORY_MIB))
    yield Row(f"{what}: peak RSS, mapped files included", [peak_rss_mib], "MiB")
