"""Run every benchmark with quick sizes."""

from benchmarks.command import run_all
from benchmarks.compression import BENCHMARK as COMPRESSION
from benchmarks.end_to_end import BENCHMARK as END_TO_END
from benchmarks.extract import BENCHMARK as EXTRACT
from benchmarks.limit import BENCHMARK as LIMIT
from benchmarks.replicas import BENCHMARK as REPLICAS
from benchmarks.spool import BENCHMARK as SPOOL

if __name__ == "__main__":
    raise SystemExit(run_all([LIMIT, EXTRACT, SPOOL, COMPRESSION, END_TO_END, REPLICAS], __doc__ or ""))
