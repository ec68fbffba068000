"""A replica dies, stops in order, or joins: how long its settings have no owner, at the default timings."""

import time
from collections.abc import Iterator, Sequence

from benchmarks.agent_process import INTERVAL_S
from benchmarks.command import Place
from benchmarks.replica_stage import Replica, ReplicaStage, replica_stage
from benchmarks.report import Row, at_most

_SETTINGS = 30
_CRASH_S, _PLANNED_S = 30, 2
_INTERVAL_OF_MANY_S = 60


def takeover_by_leases(place: Place) -> Iterator[Row]:
    """Measure with Leases of 25 s."""
    yield from _takeover(place, "kubernetes", runs=2 if place.quick else 10)


def takeover_by_locks(place: Place) -> Iterator[Row]:
    """Measure with locks on the volume."""
    yield from _takeover(place, "volume", runs=3 if place.quick else 20)


def takeover_of_a_thousand(place: Place) -> Iterator[Row]:
    """Measure with a thousand settings, of which the replica owned a third."""
    runs = 1 if place.quick else 3
    yield from _takeover(place, "kubernetes", runs=runs, settings=1_000, interval_s=_INTERVAL_OF_MANY_S)


def _takeover(
    place: Place, engine: str, *, runs: int, settings: int = _SETTINGS, interval_s: int = INTERVAL_S
) -> Iterator[Row]:
    gone: dict[str, list[float]] = {"killed": [], "stopped": []}
    joined: list[float] = []
    found: list[float] = []
    interval = {"EXECUTE_INTERVAL": str(interval_s)}
    with replica_stage(place.directory, engine, settings=settings) as scene:
        for _ in range(3):
            scene.start(**interval)
        scene.wait_until_shared()
        for number in range(runs):
            for how in gone:
                gone[how] += _end_one(scene, number, how)
                scene.wait_until_shared()
                moves, shares = _join(scene, interval)
                joined += moves
                found.append(shares)
    what = f"{engine}, {settings:,} settings"
    yield from _shares(f"{what}: killed → another replica owns the setting", gone["killed"], _CRASH_S)
    yield from _shares(f"{what}: SIGTERM → another replica owns the setting", gone["stopped"], _PLANNED_S)
    yield from _shares(f"{what}: joined; hand-over begins → the new one owns the setting", joined, _PLANNED_S)
    yield Row(f"{what}: joined → it owns its whole share", found, "s")


def _end_one(scene: ReplicaStage, number: int, how: str) -> list[float]:
    """End one replica; return for each of its settings after how many seconds another one owned it."""
    replica = scene.replicas[number % len(scene.replicas)]
    names = replica.owned()
    ended_at_s = time.time()
    if how == "killed":
        replica.process.kill()
    else:
        replica.process.terminate()
    scene.replicas.remove(replica)
    return [at_s - ended_at_s for at_s in scene.taken_after(ended_at_s, names).values()]


def _join(scene: ReplicaStage, environment: dict[str, str]) -> tuple[list[float], float]:
    """Let one join; return the seconds without an owner of each setting that moved, and until all had moved."""
    old = list(scene.replicas)
    replica = scene.start(**environment)
    replica.process.wait_for_line("replica_joined")
    joined_at_s = time.time()
    scene.wait(lambda: bool(replica.owned()))
    scene.wait_until_shared()
    taken = {change.setting: change.at_s for change in replica.changes()}
    given = _given(old, since_s=joined_at_s - 1)
    moves = [at_s - given[name] for name, at_s in taken.items() if name in given]
    return moves, max(taken.values()) - joined_at_s


def _given(replicas: Sequence[Replica], *, since_s: float) -> dict[str, float]:
    """Return when replicas began to hand settings over."""
    return {
        change.setting: change.at_s - change.seconds
        for replica in replicas
        for change in replica.changes()
        if change.action == "setting_handed_over" and change.at_s >= since_s
    }


def _shares(what: str, seconds: Sequence[float], budget_s: float) -> Iterator[Row]:
    ordered = sorted(seconds)
    yield Row(f"{what} ({len(ordered)})", ordered, "s", budget=at_most(budget_s))
    yield Row(f"{what}, p99", [ordered[int(len(ordered) * 0.99)]], "s", budget=at_most(budget_s))
