"""From the bytes of an answer to labelled events, against parsing, labelling and encoding it as a whole."""

import gc
import json
import mmap
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from benchmarks.command import Benchmark, Place, run
from benchmarks.processes import run_fresh
from benchmarks.report import Row, at_most
from oase_agent.collect.expressions import compile_expression
from oase_agent.collect.extract import ExtractionRules, Labels, extract_events
from oase_agent.spool.known_ids import KnownIds

_EVENT_BYTES = 500
_DOCUMENT_MAX_BYTES = 8 * 2**20
_LABELS = Labels("log-page-01", "00000000-0000-0000-0000-000000000000", 1_700_000_000, 1_700_003_600)
_GROWTH_MIB = 18  # what design section 11 saw


def _flat(number: int) -> dict[str, Any]:
    fields = {"id": str(number), "time": 1_700_000_000.5, "level": "INFO", "message": ""}
    return fields | {"message": "x" * (_EVENT_BYTES - len(json.dumps(fields)))}


def _nested(number: int) -> dict[str, Any]:
    labels = {f"label_{place}": f"value {place} of {number}" for place in range(8)}
    note = {"summary": f"Host {number} is busy", "links": [{"href": f"/h/{number}"}, {"href": "/all"}]}
    return {"id": str(number), "labels": labels, "annotations": note, "value": number / 3, "active": True}


def _uneven(number: int) -> dict[str, Any]:
    """Begin with another field each time, so that no element looks like the first one."""
    return {f"field_{number}": number} | _flat(number)


SHAPES: dict[str, Callable[[int], dict[str, Any]]] = {"flat": _flat, "nested": _nested, "uneven": _uneven}


def extract(place: Place) -> Iterator[Row]:
    """Compare per size and shape; both sides in fresh processes."""
    runs = 3 if place.quick else 7
    for shape, events in _cases(quick=place.quick):
        path = place.directory / f"{shape}-{events}.json"
        _write(path, SHAPES[shape], events)
        bare = run_fresh(_bare_runs, path, runs)
        yield Row(f"whole document, {events:,} {shape} events", _rates(events, bare.result), "events/s")
        baseline = statistics.median(_rates(events, bare.result))
        yield Row(f"whole document, {events:,} {shape} events: RssAnon growth", [bare.growth_mib], "MiB")
        for knows_ids in (False, True):
            sliced = run_fresh(_extract_runs, path, runs, knows_ids)
            ids = "ids looked up" if knows_ids else "every id new"
            what = f"extract_events, {events:,} {shape} events, {ids}"
            yield Row(what, _rates(events, sliced.result), "events/s", baseline)
            yield Row(f"{what}: RssAnon growth", [sliced.growth_mib], "MiB", budget=at_most(_GROWTH_MIB))
        path.unlink()


def _cases(*, quick: bool) -> Iterator[tuple[str, int]]:
    for shape in SHAPES:
        yield shape, 10_000 if quick else 50_000
    if not quick:
        yield "flat", 200_000


def _write(path: Path, make: Callable[[int], dict[str, Any]], events: int) -> None:
    with path.open("wb") as file:
        file.write(b'{"status":"ok","lines":[')
        for number in range(events):
            file.write((b"," if number else b"") + orjson.dumps(make(number)))
        file.write(b"]}")


def _rates(events: int, seconds: list[float]) -> list[float]:
    return [events / one for one in seconds]


def _timed(work: Callable[[], None], runs: int) -> list[float]:
    # As the agent runs (cli/run.py).
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    seconds: list[float] = []
    for _ in range(runs):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return seconds


def _bare_runs(path: Path, runs: int) -> list[float]:
    fields = _LABELS.fields()

    def work() -> None:
        events = orjson.loads(path.read_bytes())["lines"]
        for event in events:
            event.update(fields)
        for event in events:
            orjson.dumps(event)

    return _timed(work, runs)


@dataclass(frozen=True, slots=True)
class _Mapped:
    """A file in memory the way the agent has a large answer."""

    path: Path

    def read(self, rules: ExtractionRules, is_new: Callable[[str], bool]) -> None:
        with self.path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as body:
            for _ in extract_events(
                body,
                rules,
                _LABELS,
                first_serial=1,
                is_new=is_new,
                whole_document_max_bytes=_DOCUMENT_MAX_BYTES,
            ):
                pass


def _extract_runs(path: Path, runs: int, knows_ids: bool) -> list[float]:
    rules = ExtractionRules(
        response_key=compile_expression("lines", column="RESPONSE_KEY"),
        event_id_key=compile_expression("id", column="EVENT_ID_KEY"),
        response_is_list=True,
    )
    known = KnownIds()

    def work() -> None:
        # None of them is known: every one must be remembered, which is the dearer half.
        _Mapped(path).read(rules, known.sighting(1).is_new if knows_ids else lambda _id: True)

    return _timed(work, runs)


BENCHMARK = Benchmark("extract", __doc__ or "", {"extract": extract})

if __name__ == "__main__":
    raise SystemExit(run(BENCHMARK))
