"""Replicas on an ordinary day: what the API server is asked, and what each of them needs."""

import time
from collections.abc import Iterator

from benchmarks.agent_process import INTERVAL_S
from benchmarks.command import Place
from benchmarks.processes import Remote
from benchmarks.replica_stage import ReplicaStage, replica_stage
from benchmarks.report import Row, at_most

_MEMORY_MIB = 64
_MANY_SETTINGS = 1_000
_MANY_INTERVAL_S = 60
_VERBS = ("LIST", "WATCH", "GET", "UPDATE", "CREATE")


def ten_settings(place: Place) -> Iterator[Row]:
    """Watch one replica that owns ten settings without news: the idle agent, with coordination."""
    for engine in ("kubernetes", "volume"):
        directory = place.directory / engine
        directory.mkdir()
        with replica_stage(directory, engine, settings=10) as scene:
            scene.start()
            scene.wait_until_shared()
            yield from _watched(scene, f"{engine}, 1 replica, 10 settings every {INTERVAL_S} s", place)


def a_thousand_settings(place: Place) -> Iterator[Row]:
    """Watch three replicas that share a thousand settings, without news and with news at every poll."""
    with replica_stage(place.directory, "kubernetes", settings=_MANY_SETTINGS) as scene:
        for _ in range(3):
            scene.start(EXECUTE_INTERVAL=str(_MANY_INTERVAL_S))
        scene.wait_until_shared()
        what = f"3 replicas, {_MANY_SETTINGS:,} settings every {_MANY_INTERVAL_S} s"
        yield from _watched(scene, f"{what}, no news", place)
        # One line a second: each poll of each setting brings some.
        scene.page.call("write_steadily", per_s=1.0, event_bytes=200)
        time.sleep(5 if place.quick else _MANY_INTERVAL_S)
        yield from _watched(scene, f"{what}, news at every poll", place)


def _watched(scene: ReplicaStage, what: str, place: Place) -> Iterator[Row]:
    seconds = 20 if place.quick else 180
    processes = [replica.process for replica in scene.replicas]
    asked_before = _asked(scene.leases)
    cpu_before_s = [process.cpu_s() for process in processes]
    time.sleep(seconds)
    asked = _asked(scene.leases)
    cpu_s = [process.cpu_s() - before_s for process, before_s in zip(processes, cpu_before_s, strict=True)]
    memory = [process.memory() for process in processes]
    for verb in _VERBS if scene.leases else ():
        per_minute = (asked.get(verb, 0) - asked_before.get(verb, 0)) / seconds * 60
        yield Row(f"{what}: {verb} a minute, all replicas", [per_minute], "")
    yield Row(f"{what}: CPU of each", [used_s / seconds * 100 for used_s in cpu_s], "% of a core")
    yield Row(f"{what}: RSS", [one.rss_mib for one in memory], "MiB", budget=at_most(_MEMORY_MIB))
    yield Row(f"{what}: RssAnon", [one.anon_mib for one in memory], "MiB", budget=at_most(_MEMORY_MIB))


def _asked(leases: Remote | None) -> dict[str, int]:
    found: dict[str, int] = leases.call("requests") if leases else {}
    return found
