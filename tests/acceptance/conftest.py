"""The stage of a whole-agent test, empty at first and cleared at the end."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.acceptance.stage import Stage


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    """Give an empty stage; call `open` first."""
    async with AsyncExitStack() as stack:
        stage = Stage(stack, tmp_path / "storage")
        try:
            yield stage
        finally:
            await stage.close()
