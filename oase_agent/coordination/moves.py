"""Moves of settings that are under way: one at a time for each setting, different settings side by side.

O5 One that takes long holds up no other.
O7 One that failed is tried again after a while that grows: trouble of the volume, the Role or the API server must not
   become a storm of requests.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass

from oase_agent.errors import AgentError
from oase_agent.retry import RetryPolicy

# Moves at a time: enough for a thousand settings in seconds, few enough for the volume and the API server.
_AT_A_TIME = 16
# Between attempts to move one setting, in seconds.
_AGAIN = RetryPolicy(first_s=1.0, cap_s=30.0, min_s=0.25)

Move = Callable[[str], Awaitable[bool]]
"""What is done with the setting of this name; returns whether the next look may come to something else at once."""


@dataclass(frozen=True, slots=True)
class _Failed:
    """Attempts that failed in a row; the next one waits until `again_at_s`, monotonic seconds."""

    attempts: int
    again_at_s: float


class Moves:
    """Runs moves as tasks. `on_end` is called after each with whether there is something new to look at.

    `on_failure` is told the AgentError that ended a move.
    """

    def __init__(
        self,
        *,
        on_end: Callable[[bool], None],
        on_failure: Callable[[AgentError], None],
        monotonic: Callable[[], float],
        random: Callable[[], float],
    ) -> None:
        self._on_end = on_end
        self._on_failure = on_failure
        self._monotonic = monotonic
        self._random = random
        self._slots = asyncio.Semaphore(_AT_A_TIME)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._failed: dict[str, _Failed] = {}
        self._defect: Exception | None = None

    def __contains__(self, name: object) -> bool:
        return name in self._tasks

    def __iter__(self) -> Iterator[str]:
        return iter(self._tasks)

    def __len__(self) -> int:
        return len(self._tasks)

    def may_try(self, name: str) -> bool:
        """Whether a setting that does not move may be moved now, after what failed before."""
        failed = self._failed.get(name)
        return failed is None or self._monotonic() >= failed.again_at_s

    def begin(self, name: str, move: Move, *, at_once: bool = False) -> None:
        """Move a setting that does not move yet; `at_once` waits for no other move."""
        turn: AbstractAsyncContextManager[object] = nullcontext() if at_once else self._slots
        self._tasks[name] = asyncio.create_task(self._run(name, move, turn), name=f"move {name}")

    async def one_ends(self) -> None:
        """Return when a move has ended, of which there must be one. Raises what no move should raise."""
        await asyncio.wait(self._tasks.values(), return_when=asyncio.FIRST_COMPLETED)
        self.check()

    def check(self) -> None:
        """Raise what a move raised that no move should: a defect of the agent."""
        if self._defect is not None:
            raise self._defect

    async def cancel(self) -> None:
        """End all moves where they are."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, name: str, move: Move, turn: AbstractAsyncContextManager[object]) -> None:
        is_news = True
        try:
            async with turn:
                is_news = await move(name)
            self._failed.pop(name, None)
        except AgentError as error:
            attempts = self._failed[name].attempts + 1 if name in self._failed else 1
            again_s = _AGAIN.delay_s(attempts, None, self._random)
            self._failed[name] = _Failed(attempts, self._monotonic() + again_s)
            self._on_failure(error)
        except Exception as defect:
            self._defect = defect
        finally:
            del self._tasks[name]
            self._on_end(is_news)
