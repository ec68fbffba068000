"""Three replicas among random kills, pauses, partitions and scale events; `make test-long` has hundreds of these."""

import random
from pathlib import Path

import pytest

from tests.replicas.disturbances import Disturber, count_through_disturbances
from tests.replicas.replica_stage import replica_stage

ENGINES = ("volume", "kubernetes")
LEASE_S = 5.0
DISTURBANCES = 6


@pytest.mark.parametrize("engine", ENGINES)
async def test_no_event_is_lost_or_doubled_whatever_happens_to_replicas(tmp_path: Path, engine: str) -> None:
    async with replica_stage(tmp_path, engine, settings=6, lease_s=LEASE_S) as stage:
        disturber = Disturber(stage, LEASE_S, seed=random.randrange(10**6))
        await count_through_disturbances(stage, disturber, DISTURBANCES)
