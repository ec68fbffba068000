"""Replicas of one agent at the default timings: takeovers, what the API server is asked, and memory."""

from benchmarks.command import Benchmark, run
from benchmarks.scenarios.replicas_steady import a_thousand_settings, ten_settings
from benchmarks.scenarios.takeover import takeover_by_leases, takeover_by_locks, takeover_of_a_thousand

BENCHMARK = Benchmark(
    "replicas",
    __doc__ or "",
    {
        "takeover-kubernetes": takeover_by_leases,
        "takeover-volume": takeover_by_locks,
        "takeover-thousand": takeover_of_a_thousand,
        "ten-settings": ten_settings,
        "thousand-settings": a_thousand_settings,
    },
)

if __name__ == "__main__":
    raise SystemExit(run(BENCHMARK))
