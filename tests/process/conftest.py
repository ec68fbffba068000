"""Simulators in the test's own process, and agents as its children."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.acceptance.stage import Stage
from tests.process.agent_process import AgentProcess

# The least that the real command accepts.
INTERVAL_S = 3


class Children:
    """Starts agents on one volume against the simulators of one stage; all of them are killed at the end."""

    def __init__(self, stage: Stage, stack: AsyncExitStack) -> None:
        self._stage = stage
        self._stack = stack

    async def start(self, **environment: str) -> AgentProcess:
        """Start `oase-agent run`; return at once, before it works."""
        own = {"EXECUTE_INTERVAL": str(INTERVAL_S)}
        return await self._stack.enter_async_context(
            AgentProcess.start(self._stage.environment | own | environment)
        )


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    """Give a stage for simulators; call `open` first. Its own agent is not used here."""
    async with AsyncExitStack() as stack:
        yield Stage(stack, tmp_path / "storage")


@pytest.fixture
async def children(stage: Stage) -> AsyncIterator[Children]:
    """Give a way to start agents; they end before the simulators do."""
    async with AsyncExitStack() as stack:
        yield Children(stage, stack)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is marked `long` unless markers were asked for by `-m`."""
    if config.option.markexpr:
        return
    long = [item for item in items if item.get_closest_marker("long")]
    config.hook.pytest_deselected(items=long)
    items[:] = [item for item in items if item not in long]
