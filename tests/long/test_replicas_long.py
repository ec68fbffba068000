"""A hundred disturbances of replicas for each engine: events counted one by one, other choices each time.

The environment sets `DISTURBANCES`, and `DISTURBANCE_SEED` to repeat the choices of a run; both are printed.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.replicas.disturbances import Disturber, count_through_disturbances
from tests.replicas.replica_stage import replica_stage

pytestmark = pytest.mark.long

DISTURBANCES = int(os.environ.get("DISTURBANCES", "100"))
SEED = int(os.environ.get("DISTURBANCE_SEED", time.time_ns() % 1_000_000))
LEASE_S = 5.0
SETTINGS = 12


@pytest.mark.parametrize("engine", ["volume", "kubernetes"])
async def test_no_event_is_lost_or_doubled_over_a_hundred_disturbances(
    tmp_path: Path, engine: str, count: Callable[[str, object], None]
) -> None:
    async with replica_stage(tmp_path, engine, settings=SETTINGS, lease_s=LEASE_S) as stage:
        disturber = Disturber(stage, LEASE_S, SEED)

        await count_through_disturbances(stage, disturber, DISTURBANCES)

        kinds = ", ".join(f"{name} {times}" for name, times in sorted(disturber.counts.items()))
        count(f"replicas ({engine}), seed {SEED}: disturbances", f"{DISTURBANCES} ({kinds})")
        count(f"replicas ({engine}): events, lost, doubled", (stage.written, *stage.lost_and_doubled()))
