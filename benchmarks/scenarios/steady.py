"""An ordinary day: ten sources, 100 events of each every three seconds, made evenly in time."""

import time
from bisect import bisect_left
from collections.abc import Iterator, Sequence

from benchmarks.agent_process import INTERVAL_S
from benchmarks.bare_loop import EVENT_BYTES
from benchmarks.command import Place
from benchmarks.processes import MemoryWatch
from benchmarks.report import Row, at_most
from benchmarks.stage import Stage, stage

_SOURCES = 10
_EVENTS_PER_INTERVAL = 100
# What is still under way when writing stops: a poll, and its delivery.
_REST_S = INTERVAL_S + 2


def steady(place: Place) -> Iterator[Row]:
    """Measure what an event costs, and how long it takes from its making to the workspace."""
    seconds = 9 if place.quick else 60
    with (
        stage(place.directory, sources=_SOURCES) as scene,
        scene.agent() as agent,
        MemoryWatch(agent.pid) as watch,
    ):
        scene.wait_for_polls(2)
        scene.workspace.call("note_arrivals")
        cpu_before_s = agent.cpu_s()
        scene.sources.call("write_steadily", per_s=_EVENTS_PER_INTERVAL / INTERVAL_S, event_bytes=EVENT_BYTES)
        time.sleep(seconds)
        scene.sources.call("stop_writing")
        time.sleep(_REST_S)
        cpu_s = agent.cpu_s() - cpu_before_s
        peak_rss_mib = agent.memory().peak_rss_mib
        arrivals = scene.workspace.call("arrivals")
        waited_for_poll, waited_for_delivery = _parts(scene, arrivals)
    what = f"{_SOURCES} × {_EVENTS_PER_INTERVAL} events per {INTERVAL_S} s"
    yield Row(f"{what}: CPU per 100,000 events", [cpu_s * 1e5 / len(arrivals)], "s", budget=at_most(5))
    total = [accepted - made for _, made, accepted in arrivals]
    yield Row(f"{what}: made → accepted, p50", [_share(total, 0.5)], "s", budget=at_most(1.6))
    yield Row(f"{what}: made → accepted, p99", [_share(total, 0.99)], "s", budget=at_most(3.2))
    yield Row(f"{what}: made → asked for, p50", [_share(waited_for_poll, 0.5)], "s")
    yield Row(f"{what}: asked for → accepted, p50", [_ms(waited_for_delivery, 0.5)], "ms", budget=at_most(50))
    yield Row(
        f"{what}: asked for → accepted, p99", [_ms(waited_for_delivery, 0.99)], "ms", budget=at_most(250)
    )
    yield Row(f"{what}: peak RssAnon", [watch.peak_anon_mib], "MiB", budget=at_most(64))
    yield Row(f"{what}: peak RSS (VmHWM)", [peak_rss_mib], "MiB")


def _parts(scene: Stage, arrivals: Sequence[tuple[str, float, float]]) -> tuple[list[float], list[float]]:
    """Cut each event's way at the poll that brought it: the first one after it was made."""
    polls = dict(zip(scene.place.setting_names, scene.sources.call("polls"), strict=True))
    before: list[float] = []
    after: list[float] = []
    for name, made, accepted in arrivals:
        asked = polls[name][bisect_left(polls[name], made)]
        before.append(asked - made)
        after.append(accepted - asked)
    return before, after


def _share(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def _ms(seconds: Sequence[float], share: float) -> float:
    return _share(seconds, share) * 1000
