"""How often a host may be asked: SOURCE_REQUESTS_PER_MINUTE for all settings together, and the pauses it asked for.

A host is a name and a port: two services on one machine do not share a budget. Whoever must wait does so in the order
in which they came. Who would have to wait for longer than its interval is sent away instead, so that nothing piles
up; it keeps its place in the order for the next time, so that the same few settings do not get everything.

Use it from the event loop only.
"""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from random import random as any_random

from oase_agent.errors import Reason, SourceUnavailable
from oase_agent.retry import RetryPolicy
from oase_agent.telemetry.pacing import PacingFacts

# A share of the budget may be used at once, such as for the pages of one answer; the rest comes evenly. Together
# they are never more than the budget in any minute.
_BURST_SHARE = 0.1
# Without a budget nothing keeps those apart who waited for the same pause to end.
_SPREAD_S = 2.0
# Hosts come from templates, so their number needs an end; those not asked for the longest time are forgotten.
_MOST_HOSTS = 1024
# A host whose limit ends in the same way minute after minute is told once.
_QUIET_S = 600.0


class HostBusy(SourceUnavailable):
    """The host was not asked: it is not to be now. The next attempt makes sense after `retry_after_s`.

    `is_over_budget` tells that SOURCE_REQUESTS_PER_MINUTE is the cause, and not a wish of the host.
    """

    def __init__(self, host: str, *, retry_after_s: float, is_over_budget: bool) -> None:
        why = "SOURCE_REQUESTS_PER_MINUTE is used up" if is_over_budget else "it asked to wait"
        super().__init__(f"{host} was not asked: {why}", Reason.RATE_LIMITED, retry_after_s=retry_after_s)
        self.is_over_budget = is_over_budget


@dataclass(slots=True, eq=False)
class _Host:
    """One host. Times are monotonic seconds.

    `next_s` is when the next request would go if requests came evenly (the generic cell rate algorithm). `waiting`
    are those in `queue`. `sent_away` has the settings that keep a place, in order, and until when.
    """

    next_s: float = -math.inf
    held_until_s: float = -math.inf
    waiting: int = 0
    queue: asyncio.Lock = field(default_factory=asyncio.Lock)
    sent_away: dict[str, float] = field(default_factory=dict)
    over_budget_told_s: float = -math.inf

    def places_before(self, setting: str, now_s: float) -> int:
        """Return how many requests go before one of `setting`; forgets places of who did not come back."""
        for name in [name for name, until_s in self.sent_away.items() if until_s < now_s]:
            del self.sent_away[name]
        names = list(self.sent_away)
        return self.waiting + (names.index(setting) if setting in self.sent_away else len(names))


class HostBudget:
    """The budgets of all hosts. `requests_per_minute` 0 sets none; pauses that hosts ask for are kept all the same.

    `longest_wait_s` is asked with the name of a setting: its interval. `sleep` and `monotonic` go together.
    """

    def __init__(
        self,
        requests_per_minute: int = 0,
        *,
        longest_wait_s: Callable[[str], float] = lambda _setting: math.inf,
        facts: PacingFacts | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        random: Callable[[], float] = any_random,
    ) -> None:
        burst = max(1, int(requests_per_minute * _BURST_SHARE))
        self._spacing_s = 60.0 / (requests_per_minute - burst + 1) if requests_per_minute else 0.0
        self._ahead_s = (burst - 1) * self._spacing_s
        self._longest_wait_s = longest_wait_s
        self._facts = facts
        self._monotonic = monotonic
        self._sleep = sleep
        self._random = random
        self._longest_pause_s = RetryPolicy().longest_wish_s
        self._hosts: dict[str, _Host] = {}

    def is_free(self, host: str, setting: str) -> bool:
        """Tell whether `acquire` would return at once."""
        state = self._state(host)
        places = state.places_before(setting, self._monotonic())
        return not places and self._wait_s(state, 0) <= 0

    async def acquire(self, host: str, setting: str, *, has_begun: bool = False) -> None:
        """Return when `host`, a name and a port, may be asked once for `setting`; cancelling gives the place back.

        Raises HostBusy if that would take longer than the interval of the setting. A collection that `has_begun`
        waits for its place however long that takes, because what it asked for so far would be in vain.
        """
        state = self._state(host)
        longest_s = self._longest_wait_s(setting)
        self._check_pause(state, host, longest_s)
        if not self._spacing_s:
            await self._pause_over(state, host, longest_s)
            return
        if not has_begun:
            self._take_place(state, host, setting, longest_s)
        state.waiting += 1
        try:
            async with state.queue:
                await self._turn_come(state, host, longest_s)
                state.next_s = max(state.next_s, self._monotonic()) + self._spacing_s
        finally:
            state.waiting -= 1

    def count(self, host: str) -> None:
        """Count a request that does not wait for its turn, such as one for a token that others wait for."""
        if self._spacing_s:
            state = self._state(host)
            state.next_s = max(state.next_s, self._monotonic()) + self._spacing_s

    def hold(self, host: str, seconds: float) -> None:
        """Let nobody ask `host` for a while, because it wants so."""
        state = self._state(host)
        now_s = self._monotonic()
        seconds = min(seconds, self._longest_pause_s)
        if self._facts is not None and now_s - state.held_until_s > _QUIET_S:
            self._facts.host_asks_to_wait(host, seconds)
        state.held_until_s = max(state.held_until_s, now_s + seconds)

    def _state(self, host: str) -> _Host:
        name = host.lower()
        state = self._hosts.pop(name, None) or _Host()
        self._hosts[name] = state  # the last one is the one used last
        if len(self._hosts) > _MOST_HOSTS:
            del self._hosts[next(iter(self._hosts))]
        return state

    def _wait_s(self, state: _Host, places: int) -> float:
        """Return how long it takes until a request may go that so many others go before; not above 0 for at once."""
        now_s = self._monotonic()
        in_turn_s = max(now_s, state.next_s) + places * self._spacing_s - self._ahead_s
        return max(state.held_until_s, in_turn_s) - now_s

    def _take_place(self, state: _Host, host: str, setting: str, longest_s: float) -> None:
        """Give `setting` its turn, or keep a place for it and raise HostBusy."""
        now_s = self._monotonic()
        too_long_s = self._wait_s(state, state.places_before(setting, now_s)) - longest_s
        if too_long_s <= 0:
            state.sent_away.pop(setting, None)
            return
        # It comes back with the first interval that ends after this, give or take its jitter.
        state.sent_away[setting] = now_s + too_long_s + 1.5 * longest_s + 1.0
        if self._facts is not None and now_s - state.over_budget_told_s > _QUIET_S:
            self._facts.host_over_budget(host)
        state.over_budget_told_s = now_s
        raise HostBusy(host, retry_after_s=too_long_s, is_over_budget=True)

    async def _turn_come(self, state: _Host, host: str, longest_s: float) -> None:
        """Wait, as the first in the queue, until a request may go; a pause may come up meanwhile."""
        while (wait_s := self._wait_s(state, 0)) > 0:
            self._check_pause(state, host, longest_s)
            await self._sleep(wait_s)

    async def _pause_over(self, state: _Host, host: str, longest_s: float) -> None:
        while (pause_s := state.held_until_s - self._monotonic()) > 0:
            self._check_pause(state, host, longest_s)
            await self._sleep(pause_s + _SPREAD_S * self._random())

    def _check_pause(self, state: _Host, host: str, longest_s: float) -> None:
        too_long_s = state.held_until_s - self._monotonic() - longest_s
        if too_long_s > 0:
            raise HostBusy(host, retry_after_s=too_long_s, is_over_budget=False)
