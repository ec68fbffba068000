"""The rules O1 to O7 of sharing, by locks on a real directory and by Leases of a real server.

The replicas are of one process; what is shared are the files of the volume, or the Lease API.
"""

import asyncio
import itertools
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from oase_agent.coordination.coordinator import Claim, Coordinator
from oase_agent.coordination.rendezvous import winner
from oase_agent.coordination.sharing import Clock, Sharing
from oase_agent.coordination.volume import VolumeCoordinator
from oase_agent.errors import OwnershipLost, Reason, SpoolUnavailable
from oase_agent.telemetry.ownership import OwnershipFacts
from tests.coordination.conftest import LEASE_S, Neighbourhood
from tests.coordination.lease_api import LeaseServer

NAMES = [f"setting-{number}" for number in range(12)]


class Worker:
    """What owning means in these tests: who works on what, and never two at a time."""

    def __init__(self, at_work: dict[str, "Worker"]) -> None:
        self._at_work = at_work
        self.told: list[str] = []
        self.refuses: set[str] = set()
        self.slow: dict[str, asyncio.Event] = {}
        self.slow_to_drop: asyncio.Event | None = None

    @property
    def names(self) -> set[str]:
        return {name for name, worker in self._at_work.items() if worker is self}

    async def take(self, claim: Claim) -> None:
        if claim.setting_name in self.refuses:
            raise SpoolUnavailable("the volume does not want to", Reason.DISK)
        assert claim.setting_name not in self._at_work
        self._at_work[claim.setting_name] = self
        self.told.append(f"take {claim.setting_name} {claim.epoch}")

    async def hand_over(self, setting_name: str) -> None:
        if setting_name in self.slow:
            await self.slow[setting_name].wait()
        self._stop(setting_name)
        self.told.append(f"hand over {setting_name}")

    async def drop(self, setting_name: str) -> None:
        self._stop(setting_name)
        if self.slow_to_drop is not None:
            await self.slow_to_drop.wait()
        self.told.append(f"drop {setting_name}")

    def _stop(self, setting_name: str) -> None:
        if self._at_work.get(setting_name) is self:
            del self._at_work[setting_name]


class Replica:
    def __init__(self, coordinator: Coordinator, at_work: dict[str, Worker]) -> None:
        self.worker = Worker(at_work)
        self.coordinator = coordinator
        self.facts = OwnershipFacts(CollectorRegistry(), logging.getLogger("test"))
        self.sharing = Sharing(self.coordinator, self.worker, self.facts, Clock(time.time, time.monotonic))

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Replica"]:
        task = asyncio.create_task(self.sharing.run())
        try:
            yield self
        finally:
            await self.sharing.leave(1.0)
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


class Stage:
    def __init__(
        self, new_coordinator: Callable[[], Coordinator], server: LeaseServer, stack: AsyncExitStack
    ) -> None:
        self.at_work: dict[str, Worker] = {}
        # Of no use where locks coordinate.
        self.server = server
        self._new_coordinator = new_coordinator
        self._stack = stack

    def new_replica(self, names: list[str] | None = None) -> Replica:
        replica = Replica(self._new_coordinator(), self.at_work)
        replica.sharing.want(NAMES if names is None else names)
        return replica

    async def replica(self, names: list[str] | None = None) -> Replica:
        return await self._stack.enter_async_context(self.new_replica(names).running())

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not condition():
                await asyncio.sleep(0.02)


def by_locks(directory: Path) -> Callable[[], Coordinator]:
    return lambda: VolumeCoordinator(directory, str)


def by_leases(neighbourhood: Neighbourhood) -> Callable[[], Coordinator]:
    numbers = itertools.count(1)
    return lambda: neighbourhood.replica(f"pod-{next(numbers)}")


@pytest.fixture(params=["volume", "kubernetes"])
async def stage(
    request: pytest.FixtureRequest, neighbourhood: Neighbourhood, tmp_path: Path
) -> AsyncIterator[Stage]:
    is_volume = request.param == "volume"
    new_coordinator = by_locks(tmp_path) if is_volume else by_leases(neighbourhood)
    async with AsyncExitStack() as stack:
        yield Stage(new_coordinator, neighbourhood.server, stack)


@pytest.fixture
async def leases(neighbourhood: Neighbourhood) -> AsyncIterator[Stage]:
    """Give a stage for what only Leases can do."""
    async with AsyncExitStack() as stack:
        yield Stage(by_leases(neighbourhood), neighbourhood.server, stack)


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
