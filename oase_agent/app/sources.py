"""The sources of every connection method, opened and closed together."""

from collections.abc import Mapping
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Protocol, Self

from oase_agent.collect.collector import Source
from oase_agent.model import ConnectionMethod


class ManagedSource(Source, Protocol):
    """A source that holds connections: it is asked within its own context."""

    async def __aenter__(self) -> Self:
        """Make ready to be asked."""
        ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let go of every connection."""
        ...


class Sources:
    """One source for each connection method that is collected: use it as an async context manager.

    A source that serves several methods stands under each of them and is opened once.
    """

    def __init__(self, by_method: Mapping[ConnectionMethod, ManagedSource]) -> None:
        self.by_method = by_method
        self._opened = AsyncExitStack()

    async def __aenter__(self) -> Self:
        # If one cannot be opened, those before it are closed.
        async with AsyncExitStack() as opened:
            for source in dict.fromkeys(self.by_method.values()):
                await opened.enter_async_context(source)
            self._opened = opened.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._opened.__aexit__(kind, error, trace)
