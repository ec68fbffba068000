"""A volume whose power can be cut, and simulators for agents that keep their spool on it."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path

import pytest

from tests.acceptance.stage import Stage
from tests.long.crashable_volume import CannotCutPower, CrashableVolume, open_volume


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[CrashableVolume]:
    """Give a mounted volume; skip where power cannot be cut."""
    with ExitStack() as stack:
        try:
            given = stack.enter_context(open_volume(tmp_path / "power"))
        except CannotCutPower as error:
            pytest.skip(str(error))
        yield given


@pytest.fixture
async def stage(volume: CrashableVolume) -> AsyncIterator[Stage]:
    """Give a stage whose storage lies on the volume; call `open` first. Its own agent is not used here."""
    async with AsyncExitStack() as stack:
        yield Stage(stack, volume.mount_point / "storage")
