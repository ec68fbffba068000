"""The rules O3 to O7 of sharing where only Leases can break what they are about: outages, refusals, deletions."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress

import pytest

from oase_agent.coordination.rendezvous import winner
from oase_agent.errors import OwnershipLost
from tests.coordination.conftest import LEASE_S, Neighbourhood
from tests.coordination.sharing_stage import NAMES, Stage, by_leases


@pytest.fixture
async def leases(neighbourhood: Neighbourhood) -> AsyncIterator[Stage]:
    async with AsyncExitStack() as stack:
        yield Stage(by_leases(neighbourhood), neighbourhood.server, stack)


async def test_o7_a_setting_that_cannot_be_opened_is_not_tried_without_end(leases: Stage) -> None:
    only = leases.new_replica(NAMES[:1])
    only.worker.refuses = {NAMES[0]}
    async with only.running():
        await asyncio.sleep(3.0)
    # Each attempt claims and releases.
    assert 2 <= leases.server.requests["pod-1", "CREATE"] + leases.server.requests["pod-1", "UPDATE"] < 30


async def test_o7_what_the_role_forbids_is_not_asked_without_end(leases: Stage) -> None:
    # A claim may be created by any name; a Role names those that may be replaced.
    leases.server.allowed_names = lambda name: "-m-" in name
    only = leases.new_replica()
    async with only.running():
        await leases.until(lambda: only.worker.names == set(NAMES))
        only.sharing.want([])
        await asyncio.sleep(3.0)
        asked = leases.server.requests["pod-1", "UPDATE"]
        assert only.worker.names == set()
        assert len(NAMES) <= asked < 10 * len(NAMES)
        leases.server.allowed_names = lambda _name: True
        await leases.until(lambda: leases.server.holders("claim") == {})


async def test_o4_owners_go_on_while_the_engine_cannot_be_asked_and_are_sure(leases: Stage) -> None:
    only = await leases.replica()
    await leases.until(lambda: only.worker.names == set(NAMES))
    leases.server.weather().is_partitioned = True
    await asyncio.sleep(LEASE_S * 0.25)
    assert only.worker.names == set(NAMES)
    await leases.server.heal()
    await asyncio.sleep(LEASE_S * 0.25)
    assert not any(line.startswith("drop") for line in only.worker.told)


async def test_o3_everything_is_dropped_when_the_membership_is_not_sure_and_taken_again_afterwards(
    leases: Stage,
) -> None:
    only = await leases.replica()
    await leases.until(lambda: only.worker.names == set(NAMES))
    name = only.coordinator.name
    leases.server.weather().is_partitioned = True
    await leases.until(lambda: only.worker.names == set())
    await leases.until(lambda: only.sharing.trouble is not None)
    assert not any(line.startswith("hand over") for line in only.worker.told)
    await leases.server.heal()
    # Nobody took it for dead: it need not wait for its own lease to end.
    await leases.until(lambda: only.worker.names == set(NAMES))
    assert only.coordinator.name == name


async def test_o6_a_new_membership_waits_for_the_moves_of_the_one_before(leases: Stage) -> None:
    first = await leases.replica()
    await leases.until(lambda: first.worker.names == set(NAMES))
    slow = first.worker.slow_to_drop = asyncio.Event()
    [slot] = leases.server.holders("member")
    await leases.server.delete(slot)
    with suppress(OwnershipLost):
        await first.coordinator.confirm(time.monotonic())
    # Two looks.
    await asyncio.sleep(2.5)
    # Its name is gone, and nothing may be claimed under a new one while the old one's work goes on.
    assert leases.server.holders("member") == {}
    slow.set()
    await leases.until(lambda: first.worker.names == set(NAMES) and bool(leases.server.holders("member")))


async def test_a_replica_that_was_taken_for_dead_gives_way_and_takes_its_share_again(leases: Stage) -> None:
    first = await leases.replica()
    second = await leases.replica()
    await leases.until(lambda: set(leases.at_work) == set(NAMES) and bool(second.worker.names))
    leases.server.weather("pod-2").is_partitioned = True
    await leases.until(lambda: first.worker.names == set(NAMES))
    await leases.server.heal("pod-2")
    members = [first.coordinator, second.coordinator]

    def is_shared() -> bool:
        names = [member.name for member in members]
        share = {name for name in NAMES if winner(name, names) == second.coordinator.name}
        return second.worker.names == share and set(leases.at_work) == set(NAMES)

    await leases.until(is_shared)


async def test_a_claim_that_somebody_deletes_is_made_again(leases: Stage) -> None:
    only = await leases.replica()
    await leases.until(lambda: only.worker.names == set(NAMES))
    for lease in list(leases.server.leases):
        if "-c-" in lease:
            await leases.server.delete(lease)
    await leases.until(lambda: leases.server.holders("claim").keys() == set(NAMES))
    await leases.until(lambda: only.worker.names == set(NAMES))


async def test_who_has_left_joins_no_more(leases: Stage) -> None:
    only = leases.new_replica()
    sharing = asyncio.create_task(only.sharing.run())
    await leases.until(lambda: only.worker.names == set(NAMES))
    await only.sharing.leave(5.0)
    assert sharing.done()
    assert leases.server.holders("member") == {}
    assert leases.server.holders("claim") == {}


async def test_who_leaves_while_the_api_server_is_away_drops_everything_in_time(leases: Stage) -> None:
    only = leases.new_replica()
    sharing = asyncio.create_task(only.sharing.run())
    await leases.until(lambda: only.worker.names == set(NAMES))
    leases.server.weather().is_partitioned = True
    async with asyncio.timeout(5):
        await only.sharing.leave(1.0)
    assert sharing.done()
    assert only.worker.names == set()
