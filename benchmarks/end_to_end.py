"""The real agent as a process of its own, between simulators in other processes, at an interval of three seconds."""

from benchmarks.command import Benchmark, run
from benchmarks.scenarios.idle import idle
from benchmarks.scenarios.many_sources import many_sources
from benchmarks.scenarios.one_response import one_response
from benchmarks.scenarios.outage import outage
from benchmarks.scenarios.steady import steady
from benchmarks.scenarios.stopping import stopping

BENCHMARK = Benchmark(
    "end_to_end",
    __doc__ or "",
    {
        "one-response": one_response,
        "many-sources": many_sources,
        "idle": idle,
        "steady": steady,
        "outage": outage,
        "stopping": stopping,
    },
)

if __name__ == "__main__":
    raise SystemExit(run(BENCHMARK))
