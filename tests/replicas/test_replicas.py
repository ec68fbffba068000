"""Replicas share the settings, hand them over, and take them over: counted event by event."""

import asyncio
from pathlib import Path

import pytest

from tests.replicas.replica_stage import replica_stage

ENGINES = ("volume", "kubernetes")
LEASE_S = 5.0


@pytest.mark.parametrize("engine", ENGINES)
async def test_replicas_come_go_and_die_and_every_event_arrives_once(tmp_path: Path, engine: str) -> None:
    async with replica_stage(tmp_path, engine, settings=6, lease_s=LEASE_S) as stage:
        first = await stage.start()
        await stage.shared_by(first)
        for name in stage.sources:
            stage.write(name, 20)
        second = await stage.start()
        await stage.shared_by(first, second)
        for name in stage.sources:
            stage.write(name, 20)
        await stage.everything_arrives(20)
        await stage.stop(first)
        await stage.shared_by(second)
        for name in stage.sources:
            stage.write(name, 20)
        third = await stage.start()
        await stage.shared_by(second, third)
        await stage.kill(second)
        for name in stage.sources:
            stage.write(name, 20)
        await stage.shared_by(third)
        await stage.everything_arrives(20)
        assert stage.lost_and_doubled() == (0, 0)


async def test_a_frozen_replica_keeps_its_locks_and_its_settings_wait_for_it(tmp_path: Path) -> None:
    async with replica_stage(tmp_path, "volume", settings=12, lease_s=LEASE_S) as stage:
        first = await stage.start()
        await stage.shared_by(first)
        second = await stage.start()
        await stage.shared_by(first, second)
        waiting = await first.owned(2)
        going_on = await second.owned(2)
        assert waiting
        assert going_on
        first.pause()
        for name in stage.sources:
            stage.write(name, 20)
        async with asyncio.timeout(30):
            while any(stage.arrived_of(name) < 20 for name in going_on):
                await asyncio.sleep(0.1)
        await asyncio.sleep(LEASE_S)
        assert await second.owned(2) == going_on
        assert not any(stage.arrived_of(name) for name in waiting)
        first.resume()
        await stage.everything_arrives(30)
        await stage.shared_by(first, second)
        assert stage.lost_and_doubled() == (0, 0)
