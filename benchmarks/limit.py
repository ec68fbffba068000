"""What Python allows: the bare loop, without order, ids, crash safety or bounded memory (design section 11)."""

from collections.abc import Iterator

from benchmarks.bare_loop import measure_bare_loop
from benchmarks.command import Benchmark, Place, run
from benchmarks.report import Row


def bare_loop(place: Place) -> Iterator[Row]:
    """Measure the loop at two sizes."""
    runs = 3 if place.quick else 9
    for events in (20_000,) if place.quick else (50_000, 200_000):
        outcome = measure_bare_loop(events, runs, place.directory)
        yield Row(f"bare loop, {events:,} events of 500 bytes", outcome.result, "events/s")
        yield Row(f"bare loop, {events:,} events: peak RssAnon", [outcome.peak_anon_mib], "MiB")


BENCHMARK = Benchmark("limit", __doc__ or "", {"bare-loop": bare_loop})

if __name__ == "__main__":
    raise SystemExit(run(BENCHMARK))
