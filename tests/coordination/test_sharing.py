"""The rules O1 to O5 of sharing, by locks on a real directory and by Leases of a real server."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from oase_agent.coordination.coordinator import Claim
from oase_agent.coordination.rendezvous import winner
from tests.coordination.conftest import Neighbourhood
from tests.coordination.sharing_stage import NAMES, Stage, by_leases, by_locks


@pytest.fixture(params=["volume", "kubernetes"])
async def stage(
    request: pytest.FixtureRequest, neighbourhood: Neighbourhood, tmp_path: Path
) -> AsyncIterator[Stage]:
    is_volume = request.param == "volume"
    new_coordinator = by_locks(tmp_path) if is_volume else by_leases(neighbourhood)
    async with AsyncExitStack() as stack:
        yield Stage(new_coordinator, neighbourhood.server, stack)


async def test_one_replica_takes_everything(stage: Stage) -> None:
    only = await stage.replica()
    await stage.until(lambda: only.worker.names == set(NAMES))
    assert {held.claim.epoch for held in only.sharing.held.values()} == {1}


async def test_o2_a_second_replica_gets_its_share_handed_over(stage: Stage) -> None:
    first = await stage.replica()
    await stage.until(lambda: first.worker.names == set(NAMES))
    second = await stage.replica()
    await stage.until(lambda: bool(second.worker.names) and set(stage.at_work) == set(NAMES))
    moved = second.worker.names
    assert 0 < len(moved) < len(NAMES)
    assert {line for line in first.worker.told if line.startswith("hand over")} == {
        f"hand over {name}" for name in moved
    }
    assert not any(line.startswith("drop") for line in first.worker.told + second.worker.told)


async def test_o1_what_another_still_finishes_is_waited_for(stage: Stage) -> None:
    first = await stage.replica()
    await stage.until(lambda: first.worker.names == set(NAMES))
    first.worker.slow = {name: asyncio.Event() for name in NAMES}
    second = await stage.replica()
    await asyncio.sleep(0.6)
    assert second.worker.names == set()
    for finished in first.worker.slow.values():
        finished.set()
    await stage.until(lambda: bool(second.worker.names) and set(stage.at_work) == set(NAMES))


async def test_o5_a_setting_that_takes_long_to_finish_holds_up_no_other(stage: Stage) -> None:
    first = await stage.replica()
    await stage.until(lambda: first.worker.names == set(NAMES))
    second = stage.new_replica()
    await second.coordinator.join()
    members = [first.coordinator.name, second.coordinator.name]
    to_move = [name for name in NAMES if winner(name, members) == second.coordinator.name]
    first.worker.slow = {to_move[0]: asyncio.Event()}
    await stage.until(lambda: first.worker.names == set(NAMES) - set(to_move[1:]))
    first.worker.slow[to_move[0]].set()
    await second.coordinator.leave()


async def test_who_leaves_frees_everything_at_once(stage: Stage) -> None:
    first = await stage.replica()
    second = await stage.replica()
    await stage.until(lambda: set(stage.at_work) == set(NAMES) and bool(second.worker.names))
    await second.sharing.leave(1.0)
    await stage.until(lambda: first.worker.names == set(NAMES))


async def test_a_setting_that_cannot_be_opened_here_is_released_and_tried_again(stage: Stage) -> None:
    only = stage.new_replica()
    only.worker.refuses = {NAMES[0]}
    async with only.running():
        await stage.until(lambda: only.worker.names == set(NAMES[1:]))
        only.worker.refuses = set()
        await stage.until(lambda: only.worker.names == set(NAMES))


async def test_a_setting_that_another_still_has_costs_no_busy_wait(stage: Stage) -> None:
    first = await stage.replica()
    await stage.until(lambda: first.worker.names == set(NAMES))
    first.worker.slow = {name: asyncio.Event() for name in NAMES}
    second = await stage.replica()
    asked: list[str] = []
    claim = second.coordinator.claim

    async def counted(setting_name: str) -> Claim | None:
        asked.append(setting_name)
        return await claim(setting_name)

    second.coordinator.claim = counted  # type: ignore[method-assign]
    await asyncio.sleep(2.0)
    # At most once a look, and there are four looks a second.
    assert len(asked) <= 10 * len(NAMES)
    for finished in first.worker.slow.values():
        finished.set()


async def test_a_setting_that_is_not_wanted_any_more_is_handed_over(stage: Stage) -> None:
    only = await stage.replica()
    await stage.until(lambda: only.worker.names == set(NAMES))
    only.sharing.want(NAMES[1:])
    await stage.until(lambda: only.worker.names == set(NAMES[1:]))
    assert f"hand over {NAMES[0]}" in only.worker.told


async def test_o3_a_setting_that_the_volume_says_is_another_replicas_is_dropped_and_taken_anew(
    stage: Stage,
) -> None:
    only = await stage.replica()
    await stage.until(lambda: only.worker.names == set(NAMES))
    only.worker.told.clear()
    only.sharing.lost(NAMES[0])
    await stage.until(lambda: only.worker.names == set(NAMES) and len(only.worker.told) == 2)
    dropped, taken = only.worker.told
    assert dropped == f"drop {NAMES[0]}"
    assert taken.startswith(f"take {NAMES[0]} ")


async def test_the_moves_are_told(stage: Stage) -> None:
    only = await stage.replica(NAMES[:1])
    await stage.until(lambda: bool(only.sharing.held))
    [move] = only.facts.moves
    assert (move.setting, move.change) == (NAMES[0], "taken")
