"""The settings of this replica: taken when they should be ours and are free, handed over when they should not.

Rules, each with a test of its number:

O1 Only a free setting is claimed, and only by the member that rendezvous hashing names, among those that ask for the
   setting if there are any. What another live member
   still owns is waited for: it finishes what is under way, and releases.
O2 A setting that should be another's is handed over: finish, make durable, let go, release. In this order.
O3 A setting that another member owns, or may own because we were not sure of our membership for a moment, is
   dropped at once: nothing of it is finished, and nothing more of it is sent.
O4 While the engine cannot be asked, owners go on as long as they are sure; nobody takes anything.
O5 Settings move side by side: one that takes long to finish holds up no other.
O6 A membership is begun when nothing of the one before is held, or moves, any more: what was claimed under one name
   is never done under another.
O7 A move that failed is tried again after a while that grows (see moves.py).
"""

import asyncio
import contextlib
import random as chance
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from oase_agent.coordination.coordinator import Claim, Coordinator, View
from oase_agent.coordination.moves import Moves
from oase_agent.coordination.rendezvous import token_of, winner
from oase_agent.errors import AgentError, CoordinationUnavailable, Reason
from oase_agent.telemetry.ownership import OwnershipFacts

# How often membership is looked at without news, in seconds: a membership that ended is noticed within this.
_LOOK_S = 1.0


class Owner(Protocol):
    """What owning a setting means to the rest of the agent."""

    async def take(self, claim: Claim) -> None:
        """Begin to collect and deliver; raises AgentError if that cannot begin now."""

    async def hand_over(self, setting_name: str) -> None:
        """Begin nothing new, finish what is under way, and make durable what the next owner needs. Never raises."""

    async def drop(self, setting_name: str) -> None:
        """Stop at once, whatever is under way. Never raises."""


@dataclass(frozen=True, slots=True)
class Clock:
    """Wall seconds for people, monotonic seconds for durations; injected."""

    now: Callable[[], float]
    monotonic: Callable[[], float]


@dataclass(frozen=True, slots=True)
class Held:
    """A setting that this replica owns, since `since_s` (epoch seconds)."""

    claim: Claim
    since_s: float


class Sharing:
    """Keeps the settings of this replica what they should be, until it is told to leave."""

    def __init__(
        self,
        coordinator: Coordinator,
        owner: Owner,
        facts: OwnershipFacts,
        clock: Clock,
        *,
        random: Callable[[], float] = chance.random,
    ) -> None:
        self._coordinator = coordinator
        self._owner = owner
        self._facts = facts
        self._clock = clock
        self._wanted: frozenset[str] = frozenset()
        self._held: dict[str, Held] = {}
        self._moving = Moves(
            on_end=self._move_ended,
            on_failure=facts.coordination_failed,
            monotonic=clock.monotonic,
            random=random,
        )
        # Settings of which the volume named another owner since they were taken.
        self._taken_over: set[str] = set()
        self._wake = asyncio.Event()
        self._running: asyncio.Task[object] | None = None
        self._winners: dict[str, str | None] = {}
        self._members: frozenset[str] = frozenset()
        self._wishes: Mapping[str, frozenset[str]] = {}
        self._view = View()
        self._trouble: AgentError | None = None

    @property
    def held(self) -> Mapping[str, Held]:
        """The settings that this replica owns, by name."""
        return self._held

    @property
    def view(self) -> View:
        """What was known of the others at the last look."""
        return self._view

    @property
    def trouble(self) -> AgentError | None:
        """Why the engine could not be asked at the last look, or None."""
        return self._trouble

    def want(self, setting_names: Iterable[str]) -> None:
        """Share these settings from now on, and nothing else."""
        self._wanted = frozenset(setting_names)
        self._wake.set()

    def lost(self, setting_name: str) -> None:
        """Take in that the volume named another owner; the next look tells whether the setting is ours again."""
        self._taken_over.add(setting_name)
        self._wake.set()

    async def run(self) -> None:
        """Share until cancelled, or until `leave`. Raises what a move raised that no move should."""
        self._running = asyncio.current_task()
        while True:
            await self._look()
            await self._pause()
            self._moving.check()

    async def leave(self, deadline_s: float) -> None:
        """Hand everything over and stop being a member. What is not finished by the deadline is dropped."""
        if self._running is not None:
            # It must not join again while we leave.
            self._running.cancel()
            await asyncio.wait({self._running})
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(deadline_s):
                with contextlib.suppress(AgentError):
                    await self._coordinator.retire()
                await self._hand_over_all()
        await self._moving.cancel()
        for name in list(self._held):
            await self._drop(name, why="there was no time to hand the setting over")
        await self._coordinator.leave()
        self._facts.left(self._coordinator.name)

    async def _hand_over_all(self) -> None:
        while self._held or self._moving:
            if not self._coordinator.is_sure:
                self._drop_all()
            for name in self._held.keys() - set(self._moving):
                self._moving.begin(name, self._hand_over)
            await self._moving.one_ends()

    # -- one look -----------------------------------------------------------------------------------------

    async def _look(self) -> None:
        try:
            if not self._coordinator.is_sure:
                await self._begin_again()
            self._view = await self._coordinator.view()
        except CoordinationUnavailable as error:
            self._trouble = error
            self._facts.coordination_failed(error)
            if not self._coordinator.is_sure:
                self._drop_all()
            return
        self._trouble = None
        self._facts.coordination_works()
        if self._members != frozenset(self._view.members):
            self._members = frozenset(self._view.members)
            self._winners.clear()
            self._facts.members_changed(len(self._members))
        if self._wishes != self._view.wishes:
            self._wishes = self._view.wishes
            self._winners.clear()
        self._settle(self._view)

    async def _begin_again(self) -> None:
        """Become a member (again), once nothing is left of what we owned before (rule O6)."""
        self._trouble = self._trouble or CoordinationUnavailable(
            "This replica is no member yet, or is not sure of it any more: it owns nothing.", Reason.NOT_OWNER
        )
        while self._held or self._moving:
            self._drop_all()
            await self._moving.one_ends()
        await self._coordinator.join()
        self._facts.joined(self._coordinator.name)

    def _settle(self, view: View) -> None:
        """Begin every move that the view asks for."""
        me = self._coordinator.name
        for name in self._held.keys() - set(self._moving):
            if name in self._taken_over:
                self._begin_drop(name, "another replica took the setting over on the volume")
            elif view.owners.get(name) != me:
                self._begin_drop(name, "another replica owns the setting")
            elif name not in self._wanted or self._winner(name) != me:
                self._moving.begin(name, self._hand_over)
        for name in self._wanted - self._held.keys():
            if view.owners.get(name, me) == me and self._winner(name) == me and self._may_try(name):
                self._moving.begin(name, self._take)
        for name, owner in view.owners.items():
            if owner == me and name not in self._held and self._may_try(name):
                # A release that failed: nobody else can take it before it succeeds.
                self._moving.begin(name, self._release)

    def _drop_all(self) -> None:
        for name in self._held.keys() - set(self._moving):
            self._begin_drop(name, "this replica was not sure of its membership any more")

    def _winner(self, name: str) -> str | None:
        if name not in self._winners:
            token = token_of(name)
            asking = [member for member, tokens in self._wishes.items() if token in tokens]
            self._winners[name] = winner(name, self._members, asking)
        return self._winners[name]

    def _may_try(self, name: str) -> bool:
        return name not in self._moving and self._moving.may_try(name)

    # -- moves --------------------------------------------------------------------------------------------

    def _begin_drop(self, name: str, why: str) -> None:
        self._moving.begin(name, partial(self._drop, why=why), at_once=True)

    def _move_ended(self, is_news: bool) -> None:  # noqa: FBT001 - the one thing that it tells
        self._facts.owned.set(len(self._held))
        if is_news:
            self._wake.set()

    async def _take(self, name: str) -> bool:
        claim = await self._coordinator.claim(name)
        if claim is None:
            # Another member was faster, or still has it: the next look comes early enough.
            return False
        self._taken_over.discard(name)
        try:
            await self._owner.take(claim)
        except AgentError:
            # Another replica may be able to: its volume, or its network, may be better.
            await self._coordinator.release(name)
            raise
        self._held[name] = Held(claim, self._clock.now())
        self._facts.taken(name, claim.epoch, self._clock.now())
        return True

    async def _hand_over(self, name: str) -> bool:
        began_s = self._clock.monotonic()
        await self._owner.hand_over(name)
        del self._held[name]
        await self._coordinator.release(name)
        self._facts.handed_over(name, self._clock.now(), self._clock.monotonic() - began_s)
        return True

    async def _release(self, name: str) -> bool:
        await self._coordinator.release(name)
        return True

    async def _drop(self, name: str, *, why: str) -> bool:
        await self._owner.drop(name)
        self._held.pop(name, None)
        self._facts.lost(name, self._clock.now(), why)
        return True

    async def _pause(self) -> None:
        """Wait for news of the others, for a move that ended, or for new settings."""
        news = asyncio.ensure_future(self._coordinator.changed(_LOOK_S))
        woken = asyncio.ensure_future(self._wake.wait())
        try:
            await asyncio.wait({news, woken}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            news.cancel()
            woken.cancel()
        self._wake.clear()
