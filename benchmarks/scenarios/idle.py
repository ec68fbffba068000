"""An agent with nothing to do: ten settings whose sources report nothing new."""

import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.agent_process import INTERVAL_S
from benchmarks.command import Place
from benchmarks.report import Row, at_most
from benchmarks.stage import stage
from oase_agent.spool.limits import RESERVE_NAME

_SETTINGS = 10
_MEMORY_MIB = 56
_CPU_PERCENT = 0.5


def idle(place: Place) -> Iterator[Row]:
    """Watch it poll in vain."""
    seconds = 6 if place.quick else 30
    for interval_s in (INTERVAL_S,) if place.quick else (INTERVAL_S, 5):
        directory = place.directory / str(interval_s)
        directory.mkdir()
        with (
            stage(directory, sources=_SETTINGS) as scene,
            scene.agent(EXECUTE_INTERVAL=str(interval_s)) as agent,
        ):
            scene.wait_for_polls(2)
            before_s = agent.cpu_s()
            files_before = _names(scene.place.spool_directory)
            time.sleep(seconds)
            percent = (agent.cpu_s() - before_s) / seconds * 100
            memory = agent.memory()
            files = len(_names(scene.place.spool_directory) ^ files_before)
        what = f"idle, {_SETTINGS} settings every {interval_s} s"
        yield Row(f"{what}: RSS", [memory.rss_mib], "MiB", budget=at_most(_MEMORY_MIB))
        yield Row(f"{what}: RssAnon", [memory.anon_mib], "MiB")
        yield Row(f"{what}: CPU", [percent], "% of a core", budget=at_most(_CPU_PERCENT))
        yield Row(f"{what}: files written or removed in {seconds} s", [files], "", budget=at_most(0))


def _names(directory: Path) -> set[str]:
    # Every write of the spool makes a new name. The reserve is written once in a life, a while after the start.
    return {str(path) for path in directory.rglob("*") if path.name != RESERVE_NAME}
