"""What the next owner needs, in the claims of replicas with volumes of their own (decision 16)."""

import asyncio
from contextlib import suppress

import pytest

from oase_agent.coordination.kubernetes.coordinator import KubernetesCoordinator
from oase_agent.coordination.kubernetes.lease import RECORD_ANNOTATION, claim_name
from oase_agent.coordination.kubernetes.membership import Timing
from oase_agent.coordination.rendezvous import token_of, winner
from oase_agent.errors import CoordinationUnavailable, OwnershipLost
from tests.coordination.conftest import BASE, Hands, Neighbourhood, owned_by, sees, until


async def joined(
    neighbourhood: Neighbourhood, token: str, hands: Hands | None = None
) -> KubernetesCoordinator:
    coordinator = KubernetesCoordinator(
        neighbourhood.api(token),
        BASE,
        slots=neighbourhood.slots,
        pod_name=token,
        timing=Timing.of(neighbourhood.lease_s),
        clocks=(hands or Hands()).clocks(),
        keeps_records=True,
    )
    neighbourhood.coordinators.append(coordinator)
    await coordinator.join()
    return coordinator


def record_in(neighbourhood: Neighbourhood, name: str) -> str | None:
    lease = neighbourhood.server.leases[claim_name(BASE, name)]
    text: str | None = lease["metadata"]["annotations"].get(RECORD_ANNOTATION)
    return text


async def test_the_next_owner_gets_the_last_record_with_its_claim(neighbourhood: Neighbourhood) -> None:
    first, second = await joined(neighbourhood, "pod-1"), await joined(neighbourhood, "pod-2")
    claim = await first.claim("web")
    assert claim is not None
    assert claim.record is None
    await first.carry("web", "one")
    await first.carry("web", "two")
    await first.release("web")
    await until(owned_by(second, "web", None))
    taken = await second.claim("web")

    assert taken is not None
    assert (taken.epoch, taken.record) == (2, "two")


async def test_a_release_takes_the_record_that_it_was_entrusted_with(neighbourhood: Neighbourhood) -> None:
    first = await joined(neighbourhood, "pod-1")
    await first.claim("web")
    await first.carry("web", "one")
    first.entrust("web", "last")
    assert record_in(neighbourhood, "web") == "one"

    await first.release("web")

    assert record_in(neighbourhood, "web") == "last"
    assert "web" not in neighbourhood.server.holders("claim")


async def test_a_record_is_not_written_into_a_claim_that_another_one_took(
    neighbourhood: Neighbourhood,
) -> None:
    hands = Hands()
    first, second = await joined(neighbourhood, "pod-1", hands), await joined(neighbourhood, "pod-2")
    await first.claim("web")
    await until(owned_by(second, "web", first.name))
    # The first one is cut off, and its clock stands still: it believes that it is alive.
    neighbourhood.server.weather("pod-1").is_partitioned = True
    async with asyncio.timeout(20):
        while (
            await second.claim("web") is None
            or second.name not in neighbourhood.server.holders("claim")["web"]
        ):
            hands.monotonic_s -= 0.05
            await asyncio.sleep(0.05)
    await second.carry("web", "of the second")
    await neighbourhood.server.heal("pod-1")

    with pytest.raises((OwnershipLost, CoordinationUnavailable)):
        await first.carry("web", "of the first")

    assert record_in(neighbourhood, "web") == "of the second"


async def test_a_record_whose_answer_was_lost_is_written_again(neighbourhood: Neighbourhood) -> None:
    first = await joined(neighbourhood, "pod-1")
    await first.claim("web")
    for number in range(3):
        neighbourhood.server.weather("pod-1").loses_answers = 1 + number
        # The client may ask again by itself; then the claim is not any more as it was when it asked first.
        with suppress(CoordinationUnavailable):
            await first.carry("web", f"lost {number}")
        await neighbourhood.server.heal("pod-1")

        await first.carry("web", f"kept {number}")

        assert record_in(neighbourhood, "web") == f"kept {number}"


async def test_a_claim_that_an_operator_deleted_is_not_ours_any_more(neighbourhood: Neighbourhood) -> None:
    first = await joined(neighbourhood, "pod-1")
    await first.claim("web")
    await first.carry("web", "one")
    await neighbourhood.server.delete(claim_name(BASE, "web"))

    with pytest.raises(OwnershipLost):
        await first.carry("web", "two")

    await until(owned_by(first, "web", None))
    again = await first.claim("web")
    assert again is not None
    assert (again.epoch, again.record) == (1, None)


async def test_a_record_that_is_too_large_for_a_lease_is_refused_with_a_reason(
    neighbourhood: Neighbourhood,
) -> None:
    first = await joined(neighbourhood, "pod-1")
    await first.claim("web")
    await first.carry("web", "one")

    with pytest.raises(CoordinationUnavailable, match="too large"):
        await first.carry("web", "x" * 70_000)

    assert record_in(neighbourhood, "web") == "one"


async def test_what_is_remembered_of_all_claims_holds_no_records_and_a_record_is_no_news(
    neighbourhood: Neighbourhood,
) -> None:
    first, second = await joined(neighbourhood, "pod-1"), await joined(neighbourhood, "pod-2")
    await first.claim("web")
    await until(owned_by(second, "web", first.name))
    before = second._cluster.lease(claim_name(BASE, "web"))
    assert before is not None
    for number in range(5):
        await first.carry("web", f"{number}" * 1_000)

    async def has_seen_it() -> bool:
        seen = second._cluster.lease(claim_name(BASE, "web"))
        return seen is not None and int(seen.version) >= int(before.version) + 5

    async with asyncio.timeout(5):
        while not await has_seen_it():
            await asyncio.sleep(0.02)
    seen = second._cluster.lease(claim_name(BASE, "web"))
    assert seen is not None
    assert RECORD_ANNOTATION not in seen.annotations


async def test_of_two_that_claim_what_is_free_one_gets_it_with_the_record(
    neighbourhood: Neighbourhood,
) -> None:
    first = await joined(neighbourhood, "pod-1")
    others = [await joined(neighbourhood, "pod-2"), await joined(neighbourhood, "pod-3")]
    await first.claim("web")
    await first.carry("web", "one")
    await first.release("web")
    for other in others:
        await until(sees(other, first.name, *(member.name for member in others)))
        await until(owned_by(other, "web", None))

    claims = await asyncio.gather(*(other.claim("web") for other in others))

    [claim] = [claim for claim in claims if claim is not None]
    assert claim.record == "one"


async def test_a_member_asks_for_settings_until_it_does_not(neighbourhood: Neighbourhood) -> None:
    neighbourhood.lease_s = 100.0  # no renewal is counted
    first, second = await joined(neighbourhood, "pod-1"), await joined(neighbourhood, "pod-2")
    await first.wish(())
    assert ("pod-1", "UPDATE") not in neighbourhood.server.requests
    await first.wish({token_of("web"), token_of("db")})
    await first.wish({token_of("web"), token_of("db")})
    assert neighbourhood.server.requests["pod-1", "UPDATE"] == 1

    async def asked() -> frozenset[str]:
        return (await second.view()).wishes.get(first.name, frozenset())

    async with asyncio.timeout(5):
        while await asked() != {token_of("web"), token_of("db")}:
            await asyncio.sleep(0.02)
        await first.wish(())
        while await asked():
            await asyncio.sleep(0.02)


def test_who_asks_for_a_setting_wins_it() -> None:
    members = [f"pod-{number}" for number in range(5)]
    for name in (f"setting {number}" for number in range(50)):
        usual = winner(name, members)
        assert winner(name, members, ["pod-3"]) == "pod-3"
        assert winner(name, members, ["pod-1", "pod-4"]) in {"pod-1", "pod-4"}
        assert winner(name, members, ["who left"]) == usual
