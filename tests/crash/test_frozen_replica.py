"""A replica freezes at every call, another one takes it for dead by its Lease, and it thaws (decision 15).

More than in `test_frozen_owner.py`: the check of the own Lease before a POST, freezes around the requests to the
engine, and a replica that opens a queue after it was taken for dead, which knocks the rightful owner out once.
"""

import asyncio
import itertools
from collections.abc import Callable, Sequence

import pytest

from oase_agent.spool.journal import Journal
from oase_agent.spool.queue import SettingQueue
from tests.crash.frozen_owner import Freeze, FrozenTeller, Thaw
from tests.crash.frozen_replica import ReplicaLife, Replicas
from tests.crash.simulated_disk import Point
from tests.crash.story import NAMES
from tests.crash.world import World

THAWS = {
    "before-the-probe-and-the-new-owner-dies": Thaw(0, new_owner_dies=True),
    "between-probe-and-batch": Thaw(1),
    "at-the-end": Thaw(None),
}
# With every call of the disk; at the others freezes around requests are enough, because `test_frozen_owner.py` has
# all calls without Leases.
EVERY_CALL = Thaw(1)


class Telling:
    """Tells stories; `replicas` are those of the last one."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.replicas: Replicas
        self.teller = FrozenTeller(loop, self._gather)

    def _gather(self, world: World) -> Replicas:
        self.replicas = Replicas(world)
        return self.replicas

    def every_freeze(self) -> list[Freeze]:
        _, owner = self.teller.tell(None)
        sides = (False, True)
        calls = itertools.product(range(len(owner.disk.calls)), sides)
        requests = itertools.product(range(owner.requests), sides)
        leases = itertools.product(range(owner.lease_requests), sides)
        return [
            *(Freeze(Point(*point)) for point in calls),
            *(Freeze(Point(*point), is_request=True) for point in requests),
            *(Freeze(Point(*point), is_lease=True) for point in leases),
        ]


@pytest.fixture
def telling(loop: asyncio.AbstractEventLoop) -> Telling:
    return Telling(loop)


def test_the_story_of_a_replica_ends_well_without_a_freeze(telling: Telling) -> None:
    faults, owner = telling.teller.tell(None)

    assert faults == ()
    # A claim for each setting, and one reading before each POST.
    assert owner.lease_requests > len(NAMES) + 5


@pytest.mark.parametrize("thaw", THAWS.values(), ids=THAWS)
def test_a_replica_that_freezes_anywhere_and_comes_back_loses_nothing_and_doubles_nothing(
    telling: Telling, thaw: Thaw, count: Callable[[str, object], None]
) -> None:
    freezes = [
        freeze
        for freeze in telling.every_freeze()
        if thaw == EVERY_CALL or freeze.is_request or freeze.is_lease
    ]

    told = {}
    late_posts = {}
    for freeze in freezes:
        faults, owner = telling.teller.tell(freeze, thaw)
        told[freeze] = (faults, owner.was_frozen)
        late_posts[freeze] = telling.replicas.late_posts
        assert telling.replicas.lives[-1].held == set(NAMES)

    assert all(was_frozen for _, was_frozen in told.values())
    assert {freeze: faults for freeze, (faults, _) in told.items() if faults} == {}
    # Only what was on its way already arrives late; the workspace's fence judges it.
    assert all(late == 0 for freeze, late in late_posts.items() if not freeze.is_lease)
    assert max(late_posts.values()) <= 1
    count(f"freeze points of a replica ({thaw})", len(freezes))


def test_who_opens_a_queue_after_it_was_taken_for_dead_posts_nothing_and_gives_it_back(
    telling: Telling, count: Callable[[str, object], None]
) -> None:
    knocked_out = 0
    for place, name in enumerate(NAMES):
        # It has its claim, and nothing of the queue yet.
        claimed = Freeze(Point(place, is_after=True), is_lease=True)
        for request in range(8):
            faults, _ = telling.teller.tell(claimed, Thaw(request))

            wrong, rightful = telling.replicas.lives
            assert faults == ()
            assert telling.replicas.late_posts == 0
            assert wrong.taken_again == []
            assert rightful.taken_again in ([], [name])
            assert rightful.held == set(NAMES)
            knocked_out += len(rightful.taken_again)
    count("rightful owners that were knocked out and took their setting again", knocked_out)
    assert knocked_out > len(NAMES)


def test_without_the_look_at_its_own_lease_such_a_replica_would_post(
    telling: Telling, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def believe(_self: ReplicaLife, _queues: Sequence[SettingQueue]) -> None:
        return

    monkeypatch.setattr(ReplicaLife, "_confirm", believe)
    claimed = Freeze(Point(0, is_after=True), is_lease=True)
    late = 0
    for request in range(8):
        telling.teller.tell(claimed, Thaw(request))
        late += telling.replicas.late_posts

    assert late > 0


def test_without_both_looks_for_another_owner_a_thawed_replica_would_post(
    telling: Telling, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def believe(_self: ReplicaLife, _queues: Sequence[SettingQueue]) -> None:
        return

    freezes = telling.every_freeze()
    monkeypatch.setattr(ReplicaLife, "_confirm", believe)
    monkeypatch.setattr(Journal, "confirm", lambda _self: None)

    def posts_late(freeze: Freeze) -> bool:
        telling.teller.tell(freeze, Thaw(None))
        return telling.replicas.late_posts > 0

    assert any(posts_late(freeze) for freeze in freezes if not freeze.is_lease and not freeze.is_request)
