"""What the tests of one defect after another wait for."""

from oase_agent.simulators.source_base import SourceSimulator
from tests.acceptance.stage import PATIENCE_S, Stage


async def collecting(stage: Stage, *names: str) -> None:
    """Wait until settings are collected: their first cursor is set, and what comes from now on is not older."""
    await stage.until(lambda: all(map(stage.is_collected, names)))


async def waits(stage: Stage, name: str, count: int) -> None:
    """Wait until exactly so many events of a setting wait on the volume."""
    await stage.until(lambda: stage.waiting(name) == count)


async def polls(source: SourceSimulator, times: int) -> None:
    """Wait until a source was asked so many times more; all answers but the last were taken in by then."""
    enough = len(source.requests) + times
    await source.wait_for(lambda source: len(source.requests) >= enough, PATIENCE_S)
