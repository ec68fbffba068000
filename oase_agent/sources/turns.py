"""When a collection may send a request: a slot of SOURCE_CONCURRENCY is free, and the host may be asked.

Waiting for either costs nothing: a collection that waits for a host holds no slot, and its time stands still.
"""

import asyncio
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from oase_agent.sources.host_budget import HostBudget
from oase_agent.sources.rate_limits import host_pause_s


class Turns:
    """The slots and hosts that all sources share."""

    def __init__(self, concurrency: int, hosts: HostBudget) -> None:
        self._slots = asyncio.Semaphore(concurrency)
        self._hosts = hosts

    def turn(self, setting_name: str, timeout_s: float) -> "Turn":
        """Return the turn of one collection, which may take `timeout_s` without its waits."""
        return Turn(self._slots, self._hosts, setting_name, timeout_s)


class Turn:
    """One collection: use it as an async context manager whenever it holds a slot, as often as needed.

    Its time begins when `deadline` is first read, and moves with every wait: read it anew after `may_ask`.
    """

    def __init__(
        self, slots: asyncio.Semaphore, hosts: HostBudget, setting_name: str, timeout_s: float
    ) -> None:
        self._slots = slots
        self._hosts = hosts
        self._setting_name = setting_name
        self._timeout_s = timeout_s
        self._has_slot = False
        self._has_asked = False
        self._deadline: float | None = None

    @property
    def deadline(self) -> float:
        """When the time of the collection is over, as a time of the event loop."""
        if self._deadline is None:
            self._deadline = asyncio.get_running_loop().time() + self._timeout_s
        return self._deadline

    async def may_ask(self, host: str) -> None:
        """Return when one request may go to `host`, a name and a port. Call it within the context, before each.

        Raises HostBusy if that would take too long.
        """
        if self._hosts.is_free(host, self._setting_name):
            await self._hosts.acquire(host, self._setting_name, has_begun=self._has_asked)
        else:
            self._let_slot_go()
            since_s = asyncio.get_running_loop().time()
            try:
                await self._hosts.acquire(host, self._setting_name, has_begun=self._has_asked)
            finally:
                self._stood_still(since_s)
            await self._take_slot()
        self._has_asked = True

    def asks_aside(self, host: str) -> None:
        """Count a request to `host` that does not wait, such as one for a token that others wait for."""
        self._hosts.count(host)

    def heed(self, host: str, status: int, headers: Mapping[str, str], now_s: float) -> None:
        """Do what the head of an answer of `host` asks of everybody; `now_s` is epoch seconds."""
        pause_s = host_pause_s(status, headers, now_s)
        if pause_s > 0:
            self._hosts.hold(host, pause_s)

    async def __aenter__(self) -> Self:
        await self._take_slot()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._let_slot_go()

    async def _take_slot(self) -> None:
        since_s = asyncio.get_running_loop().time()
        await self._slots.acquire()
        self._has_slot = True
        self._stood_still(since_s)

    def _let_slot_go(self) -> None:
        if self._has_slot:
            self._has_slot = False
            self._slots.release()

    def _stood_still(self, since_s: float) -> None:
        if self._deadline is not None:
            self._deadline += asyncio.get_running_loop().time() - since_s
