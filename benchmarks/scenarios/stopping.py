"""SIGTERM in the middle of delivering: how long until the process is gone, and is what was sent settled."""

import shutil
from collections.abc import Iterator

from benchmarks.bare_loop import EVENT_BYTES
from benchmarks.command import Place
from benchmarks.report import Row, at_most
from benchmarks.spooled import delivered_in
from benchmarks.stage import stage

_LATENCY_S = 0.3
_EVENTS = 20_000


def stopping(place: Place) -> Iterator[Row]:
    """Stop an agent several times while a workspace that takes 0.3 s a POST is being fed."""
    seconds: list[float] = []
    unsettled: list[float] = []
    for number in range(2 if place.quick else 7):
        directory = place.directory / str(number)
        directory.mkdir()
        with stage(directory, workspace_latency_s=_LATENCY_S) as scene, scene.agent() as agent:
            scene.wait_for_polls(1)
            scene.sources.call("fill", place=0, count=_EVENTS, event_bytes=EVENT_BYTES)
            scene.wait_for_events(1)
            seconds.append(agent.terminate())
            stored = scene.workspace.call("count")
            unsettled.append(stored - delivered_in(scene.place))
        shutil.rmtree(directory)
    what = f"SIGTERM with POSTs of {_LATENCY_S} s under way"
    yield Row(f"{what}: to exit", seconds, "s", budget=at_most(2))
    yield Row(f"{what}: events stored and not known to be", unsettled, "", budget=at_most(0))
