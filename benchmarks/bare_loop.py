"""The bare loop of design section 11: the least that must happen to an answer, without any promise.

Read the answer over loopback, parse it, add four fields to every event, write and sync them, post them. It holds
everything in memory at once, knows no ids, and loses events whenever it is killed.
"""

import asyncio
import gc
import os
import time
from pathlib import Path

import aiohttp
import orjson
import uvloop

from benchmarks.processes import Outcome, Remote, run_fresh
from benchmarks.servers import Sink, Sources

EVENT_BYTES = 500
_FIELDS = {
    "_exastro_event_collection_settings_name": "log-page-01",
    "_exastro_event_collection_settings_id": "00000000-0000-0000-0000-000000000000",
    "_exastro_fetched_time": 1_700_000_000,
    "_exastro_end_time": 1_700_003_600,
}


def measure_bare_loop(events: int, runs: int, directory: Path) -> Outcome:
    """Run the loop in a fresh process, its servers in others; the result is events/s, one figure a run."""
    with Remote(Sources, count=1) as sources, Remote(Sink) as sink:
        sources.call("fill", place=0, count=events, event_bytes=EVENT_BYTES)
        return run_fresh(_loop, sources.address[0], sink.address, directory / "bare-loop", events, runs)


def _loop(source_url: str, sink_url: str, path: Path, events: int, runs: int) -> list[float]:
    # Both give the upper end (design section 11); the agent runs with the same.
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        seconds = runner.run(_rounds(source_url, sink_url, path, runs))
    return [events / one for one in seconds]


async def _rounds(source_url: str, sink_url: str, path: Path, runs: int) -> list[float]:
    async with aiohttp.ClientSession() as session:
        return [await _round(session, source_url, sink_url, path) for _ in range(runs)]


async def _round(session: aiohttp.ClientSession, source_url: str, sink_url: str, path: Path) -> float:
    began = time.perf_counter()
    async with session.get(source_url) as answer:
        body = await answer.read()
    events = orjson.loads(body)["lines"]
    for event in events:
        event.update(_FIELDS)
    content = orjson.dumps(events)
    with path.open("wb", buffering=0) as file:
        file.write(content)
        os.fsync(file.fileno())
    async with session.post(sink_url, data=content) as answer:
        await answer.read()
    return time.perf_counter() - began
