"""Settings with intervals of their own, and intervals that change while the agent runs."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from oase_agent.model import Setting
from oase_agent.schedule.scheduler import Scheduler
from oase_agent.telemetry import Telemetry
from tests.unit.source_servers import GET_SETTING

HOUR_S = 3600.0


@dataclass
class Running:
    scheduler: Scheduler
    intervals_s: dict[str, float]
    collected: Counter[str] = field(default_factory=Counter)

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(10):
            while not condition():
                await asyncio.sleep(0.01)


@asynccontextmanager
async def scheduling(interval_s: float, **intervals_s: float) -> AsyncIterator[Running]:
    collected: Counter[str] = Counter()

    async def collect(setting: Setting) -> None:
        collected[setting.name] += 1

    scheduler = Scheduler(
        collect,
        Telemetry(),
        interval_s=interval_s,
        own_interval_s=intervals_s.get,
        now=time.time,
        monotonic=time.monotonic,
        random=lambda: 0.0,
    )
    running = Running(scheduler, intervals_s, collected)
    task = asyncio.create_task(scheduler.run())
    await asyncio.sleep(0)
    try:
        yield running
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def settings(*names: str) -> list[Setting]:
    return [replace(GET_SETTING, name=name) for name in names]


async def test_a_setting_is_collected_at_its_own_interval() -> None:
    async with scheduling(0.1, rare=HOUR_S, often=0.02) as running:
        running.scheduler.apply(settings("rare", "usual", "often"))
        await running.until(lambda: running.collected["often"] >= 20)
        await running.until(lambda: running.collected["usual"] >= 2)
        assert running.collected["rare"] == 1
        assert running.collected["often"] > running.collected["usual"]


async def test_a_rarely_collected_setting_does_not_wait_for_its_first_time() -> None:
    async with scheduling(0.1, second=HOUR_S) as running:
        running.scheduler.apply(settings("first", "second"))
        await running.until(lambda: running.collected["second"])


async def test_a_shorter_interval_holds_at_once() -> None:
    async with scheduling(HOUR_S) as running:
        running.scheduler.apply(settings("web"))
        await running.until(lambda: running.collected["web"] == 1)
        running.intervals_s["web"] = 0.05
        running.scheduler.apply_intervals()
        await running.until(lambda: running.collected["web"] >= 3)


async def test_a_longer_interval_holds_from_the_next_collection_on() -> None:
    async with scheduling(0.1) as running:
        running.scheduler.apply(settings("web", "other"))
        await running.until(lambda: running.collected["web"] >= 2)
        running.intervals_s["web"] = HOUR_S
        running.scheduler.apply_intervals()
        before = running.collected["web"]
        others = running.collected["other"]
        await running.until(lambda: running.collected["other"] >= others + 5)
        assert running.collected["web"] <= before + 1


async def test_a_setting_that_went_and_came_back_has_the_interval_of_now() -> None:
    async with scheduling(HOUR_S) as running:
        running.scheduler.apply(settings("web"))
        running.scheduler.apply([])
        running.intervals_s["web"] = 0.05
        running.scheduler.apply_intervals()
        running.scheduler.apply(settings("web"))
        await running.until(lambda: running.collected["web"] >= 3)


async def test_intervals_may_be_taken_in_before_the_scheduler_runs() -> None:
    scheduler = Scheduler(
        lambda _setting: asyncio.sleep(0),
        Telemetry(),
        interval_s=HOUR_S,
        own_interval_s={"web": 5.0}.get,
        now=time.time,
        monotonic=time.monotonic,
        random=lambda: 0.0,
    )
    scheduler.apply(settings("web"))
    scheduler.apply_intervals()
