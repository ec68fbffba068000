"""Members and claims of replicas that share the settings by Leases (decision 15)."""

import asyncio
import time

import pytest

from oase_agent.errors import AgentError, CoordinationUnavailable, OwnershipLost
from tests.coordination.conftest import LEASE_S, Neighbourhood, owned_by, sees, until


async def test_replicas_see_each_other_come_and_go(neighbourhood: Neighbourhood) -> None:
    first, second = await neighbourhood.joined("pod-1"), await neighbourhood.joined("pod-2")
    await until(sees(first, first.name, second.name))
    await second.leave()
    await until(sees(first, first.name))


async def test_of_two_that_claim_a_setting_one_gets_it_and_the_other_learns_who(
    neighbourhood: Neighbourhood,
) -> None:
    first, second = await neighbourhood.joined("pod-1"), await neighbourhood.joined("pod-2")
    claims = await asyncio.gather(first.claim("web"), second.claim("web"))
    [claim] = [claim for claim in claims if claim is not None]
    winner, loser = (first, second) if claims[0] is claim else (second, first)
    assert (claim.setting_name, claim.epoch) == ("web", 1)
    await until(owned_by(loser, "web", winner.name))
    assert await loser.claim("db") is not None


async def test_a_released_setting_is_free_and_its_next_owner_writes_under_a_higher_epoch(
    neighbourhood: Neighbourhood,
) -> None:
    first, second = await neighbourhood.joined("pod-1"), await neighbourhood.joined("pod-2")
    assert await first.claim("web") is not None
    await until(owned_by(second, "web", first.name))
    await first.release("web")
    await until(owned_by(second, "web", None))
    claim = await second.claim("web")
    assert claim is not None
    assert claim.epoch == 2


async def test_the_settings_of_a_replica_that_died_are_free_after_its_lease_and_not_before(
    neighbourhood: Neighbourhood,
) -> None:
    first, second = await neighbourhood.joined("pod-1"), await neighbourhood.joined("pod-2")
    await until(sees(second, first.name, second.name))
    assert await first.claim("web") is not None
    await until(owned_by(second, "web", first.name))
    neighbourhood.server.weather("pod-1").is_partitioned = True
    began_s = asyncio.get_running_loop().time()
    await until(owned_by(second, "web", None))
    assert asyncio.get_running_loop().time() - began_s > LEASE_S * 0.5
    claim = await second.claim("web")
    assert claim is not None
    assert claim.epoch == 2


async def test_a_replica_that_was_taken_for_dead_is_not_sure_in_time_and_confirms_nothing(
    neighbourhood: Neighbourhood,
) -> None:
    first, second = await neighbourhood.joined("pod-1"), await neighbourhood.joined("pod-2")
    await until(sees(second, first.name, second.name))
    assert await first.claim("web") is not None
    await until(owned_by(second, "web", first.name))
    neighbourhood.server.weather("pod-1").is_partitioned = True
    await until(owned_by(second, "web", None))
    assert not first.is_sure
    await neighbourhood.server.heal("pod-1")
    committed_at_s = time.monotonic()
    with pytest.raises(AgentError):
        await first.confirm(committed_at_s)
    name = first.name
    await first.join()
    assert first.name != name
    await first.confirm(time.monotonic())
    with pytest.raises(OwnershipLost):
        await first.confirm(committed_at_s)


async def test_confirming_after_the_own_lease_was_taken_is_ownership_lost(
    neighbourhood: Neighbourhood,
) -> None:
    first = await neighbourhood.joined("pod-1")
    await first.confirm(time.monotonic())
    [lease] = neighbourhood.server.leases.values()
    taken = {**lease, "spec": {**lease["spec"], "holderIdentity": ""}}
    await neighbourhood.server.replace(lease["metadata"]["name"], taken)
    with pytest.raises(OwnershipLost):
        await first.confirm(float("inf"))
    assert not first.is_sure


async def test_a_lost_answer_to_a_renewal_is_no_loss_of_the_membership(neighbourhood: Neighbourhood) -> None:
    first = await neighbourhood.joined("pod-1")
    neighbourhood.server.weather("pod-1").loses_answers = 1
    await asyncio.sleep(LEASE_S * 1.5)
    assert first.is_sure


async def test_a_replica_beyond_the_slots_stands_by(neighbourhood: Neighbourhood) -> None:
    neighbourhood.slots = 1
    await neighbourhood.joined("pod-1")
    second = neighbourhood.replica("pod-2")
    with pytest.raises(CoordinationUnavailable, match="COORDINATION_SLOTS"):
        await second.join()


async def test_what_the_role_forbids_is_told_with_the_remedy(neighbourhood: Neighbourhood) -> None:
    first = await neighbourhood.joined("pod-1")
    assert await first.claim("web") is not None
    neighbourhood.server.allowed_names = lambda _name: False
    with pytest.raises(CoordinationUnavailable, match="Role of the chart"):
        await first.release("web")
