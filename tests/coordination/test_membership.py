"""Our own member Lease: conflicts, lost answers, clocks that jump, sleep, and the reading before a POST."""

import asyncio
import time
from contextlib import suppress

import pytest

from oase_agent.coordination.kubernetes.coordinator import KubernetesCoordinator
from oase_agent.errors import AgentError, CoordinationUnavailable, OwnershipLost
from tests.coordination.conftest import LEASE_S, Hands, Neighbourhood, owned_by, sees, until


def is_sure(replica: KubernetesCoordinator) -> bool:
    return replica.is_sure


async def is_taken_for_dead(neighbourhood: Neighbourhood, replica: KubernetesCoordinator) -> None:
    """Let somebody take the member Lease of a replica, as the others do when it gave no sign."""
    members = neighbourhood.server.holders("member")
    [name] = [name for name, holder in members.items() if holder == replica.name]
    lease = neighbourhood.server.leases[name]
    await neighbourhood.server.replace(name, {**lease, "spec": {**lease["spec"], "holderIdentity": ""}})


async def test_a_lease_that_somebody_else_wrote_without_taking_it_is_renewed(
    neighbourhood: Neighbourhood,
) -> None:
    first = await neighbourhood.joined("pod-1")
    for _ in range(3):
        [(name, lease)] = neighbourhood.server.leases.items()
        # As `kubectl annotate` would.
        annotations = {**lease["metadata"]["annotations"], "seen-by": "an operator"}
        await neighbourhood.server.replace(
            name, {**lease, "metadata": {**lease["metadata"], "annotations": annotations}}
        )
        await asyncio.sleep(LEASE_S * 0.5)
    assert is_sure(first)


async def test_answers_that_are_lost_again_and_again_cost_no_membership(neighbourhood: Neighbourhood) -> None:
    first = await neighbourhood.joined("pod-1")
    for _ in range(3):
        neighbourhood.server.weather("pod-1").loses_answers = 1
        await asyncio.sleep(LEASE_S * 0.6)
        assert is_sure(first)


async def test_a_wall_clock_that_jumps_ends_sureness_and_a_renewal_brings_it_back(
    neighbourhood: Neighbourhood,
) -> None:
    hands = Hands()
    first = await neighbourhood.joined("pod-1", hands)
    assert await first.claim("web") is not None
    name = first.name
    hands.wall_s = -6.0
    assert not is_sure(first)
    with pytest.raises(CoordinationUnavailable):
        await first.confirm(time.monotonic())
    with pytest.raises(CoordinationUnavailable):
        await first.claim("db")
    await first.join()
    assert is_sure(first)
    assert first.name == name
    await until(owned_by(first, "web", name))


async def test_a_small_step_of_the_wall_clock_is_no_reason_to_doubt(neighbourhood: Neighbourhood) -> None:
    hands = Hands()
    first = await neighbourhood.joined("pod-1", hands)
    hands.wall_s = 3.0
    assert is_sure(first)


async def test_who_slept_and_was_not_missed_goes_on_under_its_name(neighbourhood: Neighbourhood) -> None:
    hands = Hands()
    first = await neighbourhood.joined("pod-1", hands)
    name = first.name
    hands.monotonic_s = hands.wall_s = LEASE_S * 0.8
    assert not is_sure(first)
    await first.join()
    assert is_sure(first)
    assert first.name == name


async def test_who_slept_and_was_taken_for_dead_is_somebody_else_afterwards(
    neighbourhood: Neighbourhood,
) -> None:
    hands = Hands()
    first = await neighbourhood.joined("pod-1", hands)
    assert await first.claim("web") is not None
    name, committed_at_s = first.name, hands.clocks().monotonic()
    await is_taken_for_dead(neighbourhood, first)
    hands.monotonic_s = hands.wall_s = LEASE_S * 2
    assert not is_sure(first)
    await first.join()
    assert first.name != name
    await until(sees(first, first.name))
    await until(owned_by(first, "web", None))
    with pytest.raises(OwnershipLost):
        await first.confirm(committed_at_s)
    await first.confirm(hands.clocks().monotonic())


async def test_the_next_renewal_tells_who_was_taken_for_dead(neighbourhood: Neighbourhood) -> None:
    first = await neighbourhood.joined("pod-1")
    await is_taken_for_dead(neighbourhood, first)

    async def knows() -> bool:
        return not is_sure(first)

    await until(knows, seconds=LEASE_S)


async def test_a_burst_of_commits_is_one_reading_and_there_are_two_a_second_at_most(
    neighbourhood: Neighbourhood,
) -> None:
    first = await neighbourhood.joined("pod-1")
    began_s = time.monotonic()
    await asyncio.gather(*(first.confirm(time.monotonic()) for _ in range(20)))
    assert neighbourhood.server.requests["pod-1", "GET"] <= 2
    while time.monotonic() - began_s < 3.0:
        await asyncio.gather(*(first.confirm(time.monotonic()) for _ in range(4)))
    readings = neighbourhood.server.requests["pod-1", "GET"]
    assert 3 <= readings <= 2 * (time.monotonic() - began_s) + 1


async def test_a_reading_that_began_before_the_commit_is_not_enough(neighbourhood: Neighbourhood) -> None:
    first = await neighbourhood.joined("pod-1")
    await first.confirm(time.monotonic())
    before = neighbourhood.server.requests["pod-1", "GET"]
    await first.confirm(time.monotonic())
    assert neighbourhood.server.requests["pod-1", "GET"] == before + 1


async def test_a_reading_serves_what_was_committed_before_it_only_for_a_moment(
    neighbourhood: Neighbourhood,
) -> None:
    first = await neighbourhood.joined("pod-1")
    committed_at_s = time.monotonic()
    await first.confirm(committed_at_s)
    await first.confirm(committed_at_s)
    assert neighbourhood.server.requests["pod-1", "GET"] == 1
    await asyncio.sleep(1.2)
    await first.confirm(committed_at_s)
    assert neighbourhood.server.requests["pod-1", "GET"] == 2


async def test_a_lease_that_was_deleted_is_ownership_lost_before_a_post(neighbourhood: Neighbourhood) -> None:
    first = await neighbourhood.joined("pod-1")
    [name] = neighbourhood.server.leases
    await neighbourhood.server.delete(name)
    with pytest.raises(OwnershipLost):
        await first.confirm(time.monotonic())
    await first.join()
    await first.confirm(time.monotonic())


async def test_who_leaves_gives_its_slot_up_although_an_answer_was_lost(neighbourhood: Neighbourhood) -> None:
    first = await neighbourhood.joined("pod-1")
    neighbourhood.server.weather("pod-1").loses_answers = 3
    # An answer that is lost on a connection in use is asked for again at once, as HTTP allows for a PUT.
    with suppress(AgentError):
        await first.retire()
    neighbourhood.server.weather("pod-1").loses_answers = 1
    await first.leave()
    assert neighbourhood.server.holders("member") == {}


async def test_who_leaves_does_not_wait_for_an_api_server_that_is_away(neighbourhood: Neighbourhood) -> None:
    first = await neighbourhood.joined("pod-1")
    neighbourhood.server.weather().is_partitioned = True
    async with asyncio.timeout(4):
        await first.leave()


async def test_of_two_members_that_bury_a_third_both_go_on(neighbourhood: Neighbourhood) -> None:
    replicas = [await neighbourhood.joined(f"pod-{number}") for number in range(3)]
    first, second, third = replicas
    for replica in replicas:
        await until(sees(replica, *(other.name for other in replicas)))
    neighbourhood.server.weather("pod-2").is_partitioned = True
    await asyncio.gather(
        until(sees(first, first.name, second.name)), until(sees(second, first.name, second.name))
    )
    assert not is_sure(third)
    assert set(neighbourhood.server.holders("member").values()) == {first.name, second.name}
