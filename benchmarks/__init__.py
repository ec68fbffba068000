"""Benchmarks: what the agent costs, against a baseline measured in the same run (design sections 10 and 11).

    python -m benchmarks                 all of them, with quick sizes
    python -m benchmarks.limit           the bare loop: what Python allows on this machine
    python -m benchmarks.extract         from an answer to labelled events, against parsing it as a whole
    python -m benchmarks.spool           commits, draining and large backlogs, against bare writes
    python -m benchmarks.compression     what compressing waiting batches gains in room and costs in time
    python -m benchmarks.end_to_end      the real agent as a process of its own, between simulators in others

Everything happens on loopback and in a temporary directory. A figure that passes its budget is marked `over`; it
never fails a run, because a time means nothing without the machine it was measured on: `results/` keeps both.
"""
