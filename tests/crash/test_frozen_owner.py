"""The owner freezes at every single call and request, another process takes over, and the owner thaws.

The lock cannot keep them apart here: that is what happens on a network volume whose lock was lost in a partition.
"""

import asyncio
import itertools
import random
from collections.abc import Callable
from typing import Any

import pytest

from oase_agent.spool import recovery
from oase_agent.spool.journal import Journal
from oase_agent.spool.queue import SettingQueue
from tests.crash.frozen_owner import Freeze, FrozenTeller, Thaw
from tests.crash.simulated_disk import Point


def every_freeze(teller: FrozenTeller) -> list[Freeze]:
    _, owner = teller.tell(None)
    sides = (False, True)
    calls = itertools.product(range(len(owner.disk.calls)), sides)
    requests = itertools.product(range(owner.requests), sides)
    return [
        *(Freeze(Point(call, is_after)) for call, is_after in calls),
        *(Freeze(Point(request, is_after), is_request=True) for request, is_after in requests),
    ]


def test_the_story_ends_well_without_a_freeze(loop: asyncio.AbstractEventLoop) -> None:
    faults, owner = FrozenTeller(loop).tell(None)

    assert faults == ()
    assert not owner.was_frozen
    assert owner.requests > 10


# The new owner's first request asks for the position: the thaw comes before it, between it and the first batch, and
# when the story is over.
THAWS = {
    "before-the-probe-and-the-new-owner-dies": Thaw(0, new_owner_dies=True),
    "between-probe-and-batch": Thaw(1),
    "at-the-end": Thaw(None),
}


@pytest.mark.parametrize("thaw", THAWS.values(), ids=THAWS)
def test_an_owner_that_freezes_anywhere_and_comes_back_loses_nothing_and_doubles_nothing(
    loop: asyncio.AbstractEventLoop, thaw: Thaw, count: Callable[[str, object], None]
) -> None:
    teller = FrozenTeller(loop)
    freezes = every_freeze(teller)

    told = {}
    for freeze in freezes:
        # The owner itself, with its world and its volume, is not kept: there are hundreds of them.
        faults, owner = teller.tell(freeze, thaw)
        told[freeze] = (faults, owner.was_frozen)

    assert all(was_frozen for _, was_frozen in told.values())
    assert {freeze: faults for freeze, (faults, _) in told.items() if faults} == {}
    count(f"freeze points ({thaw})", len(freezes))


def nobody_confirms(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Journal, "confirm", lambda self: None)


def the_position_makes_forget_what_was_sent(patch: pytest.MonkeyPatch) -> None:
    learn_position = SettingQueue.learn_position

    def forgetful(self: Any, latest: int | None) -> bool:
        is_ours = learn_position(self, latest)
        self._wire.sent_through = 0
        return is_ours

    patch.setattr(SettingQueue, "learn_position", forgetful)


# A former owner's rename fails because the new owner removed its temporary file. Without that, each of the other
# defences is needed; one by one they are behind it.


def temporary_files_stay_and_nothing_is_sealed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(recovery, "TEMPORARY_PREFIX", "nothing.")
    patch.setattr(Journal, "begin_writing", Journal.confirm)


def temporary_files_stay_and_sending_is_not_confirmed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(recovery, "TEMPORARY_PREFIX", "nothing.")

    def before_sending(self: Any, last: Any) -> None:
        with self._opened() as opened:
            opened.allow_sending(last)

    patch.setattr(SettingQueue, "before_sending", before_sending)


@pytest.mark.parametrize(
    "mistake",
    [
        nobody_confirms,
        the_position_makes_forget_what_was_sent,
        temporary_files_stay_and_nothing_is_sealed,
        temporary_files_stay_and_sending_is_not_confirmed,
    ],
)
def test_a_seeded_mistake_is_caught(
    loop: asyncio.AbstractEventLoop,
    monkeypatch: pytest.MonkeyPatch,
    mistake: Callable[[pytest.MonkeyPatch], None],
) -> None:
    mistake(monkeypatch)
    teller = FrozenTeller(loop)
    runs = list(itertools.product(every_freeze(teller), THAWS.values()))
    random.Random(1).shuffle(runs)

    assert any(teller.tell(freeze, thaw)[0] for freeze, thaw in runs)
