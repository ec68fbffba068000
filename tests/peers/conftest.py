"""The stage of a test with a real peer, and what it needs of certificates."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from oase_agent.config.groups import AgentConfig
from tests.acceptance.stage import Stage
from tests.peers.authority import PeerAuthority
from tests.peers.options_file import OptionsFile

INTERVAL_S = 0.05


class QuickStage(Stage):
    """A stage whose agent asks more often: what is waited for here are many answers, one after the other."""

    def config(self, interval_s: float = INTERVAL_S, **environment: str) -> AgentConfig:
        """Return the agent's configuration."""
        return super().config(min(interval_s, INTERVAL_S), **environment)


@pytest.fixture
async def stage(memory_path: Path) -> AsyncIterator[Stage]:
    """Give a stage with a workspace, and no agent yet."""
    async with AsyncExitStack() as stack:
        stage = QuickStage(stack, memory_path / "storage")
        await stage.open()
        try:
            yield stage
        finally:
            await stage.close()


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> PeerAuthority:
    """Give an authority that no system trusts."""
    return PeerAuthority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def options(tmp_path: Path) -> OptionsFile:
    """Give a SOURCE_OPTIONS_FILE that is not written yet."""
    return OptionsFile(tmp_path)
