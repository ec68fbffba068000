"""What is known of the others, whatever becomes of lists and watches: nobody dies of our own deafness."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from oase_agent.coordination.kubernetes.coordinator import KubernetesCoordinator
from oase_agent.coordination.kubernetes.lease import CLAIM, Lease
from tests.coordination.conftest import BASE, LEASE_S, Hands, Neighbourhood, owned_by, sees, until


def joins(replica: KubernetesCoordinator) -> Callable[[], Awaitable[bool]]:
    async def is_back() -> bool:
        await replica.join()
        return replica.is_sure

    return is_back


async def test_a_watch_that_is_silent_is_replaced_and_nobody_dies_of_it(neighbourhood: Neighbourhood) -> None:
    first, second = await neighbourhood.joined("pod-1"), await neighbourhood.joined("pod-2")
    await until(sees(first, first.name, second.name))
    neighbourhood.server.weather("pod-1").is_silent = True
    assert await second.claim("web") is not None
    await until(owned_by(first, "web", second.name))
    await asyncio.sleep(LEASE_S)
    assert set((await first.view()).members) == {first.name, second.name}
    assert second.is_sure


async def test_after_an_outage_of_the_api_server_everybody_goes_on_with_its_own(
    neighbourhood: Neighbourhood,
) -> None:
    replicas = [await neighbourhood.joined(f"pod-{number}") for number in range(3)]
    names = [replica.name for replica in replicas]
    for replica in replicas:
        await until(sees(replica, *names))
        assert await replica.claim(f"logs of {replica.name}") is not None
    neighbourhood.server.weather().is_partitioned = True
    await asyncio.sleep(LEASE_S * 1.6)
    assert not any(replica.is_sure for replica in replicas)
    await neighbourhood.server.heal()
    await asyncio.gather(*(until(joins(replica)) for replica in replicas))
    assert [replica.name for replica in replicas] == names
    for replica in replicas:
        await until(sees(replica, *names))
        for name in names:
            await until(owned_by(replica, f"logs of {name}", name))


async def test_who_could_not_hear_counts_anew_for_everybody(neighbourhood: Neighbourhood) -> None:
    hands = Hands()
    first, second = await neighbourhood.joined("pod-1", hands), await neighbourhood.joined("pod-2")
    await until(sees(first, first.name, second.name))
    assert await second.claim("web") is not None
    # Asleep for an hour: what the others did meanwhile is not known.
    hands.monotonic_s = hands.wall_s = 3600.0
    assert not first.is_sure
    assert set((await first.view()).members) == {first.name, second.name}
    await until(owned_by(first, "web", second.name))
    assert second.is_sure


async def test_a_standby_takes_the_slot_of_one_that_died_even_if_nobody_else_lives(
    neighbourhood: Neighbourhood,
) -> None:
    neighbourhood.slots = 1
    first = await neighbourhood.joined("pod-1")
    second = neighbourhood.replica("pod-2")

    standing_by = asyncio.create_task(until(joins(second), seconds=LEASE_S * 6))
    await asyncio.sleep(LEASE_S)
    assert not standing_by.done()
    neighbourhood.server.weather("pod-1").is_partitioned = True
    await standing_by
    assert not first.is_sure


async def test_a_claim_that_somebody_deletes_is_free_and_can_be_made_again(
    neighbourhood: Neighbourhood,
) -> None:
    first = await neighbourhood.joined("pod-1")
    assert await first.claim("web") is not None
    await until(owned_by(first, "web", first.name))
    [name] = [name for name in neighbourhood.server.leases if name.startswith(f"{BASE}-c-")]
    await neighbourhood.server.delete(name)
    await until(owned_by(first, "web", None))
    assert await first.claim("web") is not None
    await until(owned_by(first, "web", first.name))


async def test_a_member_lease_that_somebody_deletes_frees_its_settings(neighbourhood: Neighbourhood) -> None:
    first, second = await neighbourhood.joined("pod-1"), await neighbourhood.joined("pod-2")
    assert await first.claim("web") is not None
    await until(owned_by(second, "web", first.name))
    [name] = [name for name, holder in neighbourhood.server.holders("member").items() if holder == first.name]
    await neighbourhood.server.delete(name)
    await until(owned_by(second, "web", None))
    await until(sees(second, second.name))


async def test_news_that_are_older_than_what_is_known_change_nothing(neighbourhood: Neighbourhood) -> None:
    first = await neighbourhood.joined("pod-1")
    assert await first.claim("web") is not None
    cluster = first._cluster
    [known] = cluster.claims()
    for older in (Lease(known.name, CLAIM, "somebody else", 7, version="9"), Lease(known.name, CLAIM)):
        cluster.note(older)
        assert cluster.lease(known.name) == (known if older.version else older)
        cluster.note(known)


async def test_what_is_created_while_a_list_is_under_way_is_not_gone_when_it_comes(
    neighbourhood: Neighbourhood,
) -> None:
    first = await neighbourhood.joined("pod-1")
    neighbourhood.server.weather("pod-1").late_lists_s = 1.0
    # Else the watch after the list would tell at once what the list did not.
    neighbourhood.server.weather("pod-1").is_silent = True
    before = neighbourhood.server.requests["pod-1", "LIST"]
    neighbourhood.server.end_watches()

    async def is_listing() -> bool:
        return neighbourhood.server.requests["pod-1", "LIST"] > before

    await until(is_listing)
    assert await first.claim("web") is not None
    began_s = time.monotonic()
    while time.monotonic() - began_s < 2.0:
        assert (await first.view()).owners["web"] == first.name
        await asyncio.sleep(0.02)


async def test_a_server_that_ends_every_watch_at_once_is_not_asked_without_end(
    neighbourhood: Neighbourhood,
) -> None:
    first = await neighbourhood.joined("pod-1")
    neighbourhood.server.ends_watches = True
    neighbourhood.server.end_watches()
    await asyncio.sleep(2.0)
    assert neighbourhood.server.requests["pod-1", "LIST"] < 6
    neighbourhood.server.ends_watches = False
    await until(sees(first, first.name))
