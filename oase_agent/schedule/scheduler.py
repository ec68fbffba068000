"""When each setting is collected: one APScheduler job a setting, every interval, never twice at a time.

The first collections are spread over the first interval, so that two hundred settings do not all ask at once; a
small jitter keeps agents that started together from staying in step.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta

from apscheduler.events import EVENT_JOB_MAX_INSTANCES, JobExecutionEvent
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.interval import IntervalTrigger

from oase_agent.model import Setting
from oase_agent.telemetry import Telemetry

# A tenth of the interval, at most a second: enough to drift apart, too little to be seen in a delay.
_JITTER_SHARE = 0.1
_MAX_JITTER_S = 1.0
# How often wall and monotonic clock are compared, and what counts as a jump. Slewing by NTP stays below.
_CLOCK_CHECK_S = 5.0
_CLOCK_JUMP_S = 2.0


class Scheduler:
    """Runs `collect` for every setting each `interval_s` seconds; settings come and go through `apply`.

    `own_interval_s` tells the interval of a setting that has one of its own.
    """

    def __init__(
        self,
        collect: Callable[[Setting], Awaitable[None]],
        telemetry: Telemetry,
        *,
        interval_s: float,
        own_interval_s: Callable[[str], float | None] = lambda _name: None,
        now: Callable[[], float],
        monotonic: Callable[[], float],
        random: Callable[[], float],
    ) -> None:
        self._collect = collect
        self._telemetry = telemetry
        self._interval_s = interval_s
        self._own_interval_s = own_interval_s
        self._intervals_s: dict[str, float] = {}
        self._now = now
        self._monotonic = monotonic
        self._random = random
        self._settings: dict[str, Setting] = {}
        self._running: dict[str, asyncio.Task[None]] = {}
        # It warns about every skipped run by itself; we count those instead.
        logging.getLogger("apscheduler").setLevel(logging.ERROR)
        self._jobs = AsyncIOScheduler(timezone=UTC)
        self._jobs.add_listener(self._skipped, EVENT_JOB_MAX_INSTANCES)

    def apply(self, settings: Sequence[Setting]) -> None:
        """Collect exactly these settings from now on; a changed one keeps its place in time."""
        wanted = {setting.name: setting for setting in settings}
        for name in self._settings.keys() - wanted.keys():
            self._jobs.remove_job(name)
            del self._intervals_s[name]
        fresh = [setting for name, setting in wanted.items() if name not in self._settings]
        self._settings = wanted
        for place, setting in enumerate(fresh):
            # Whoever is polled once an hour does not wait an hour for the first time.
            spread_s = min(self._interval_s, self._interval_of(setting.name))
            self._add(setting.name, delay_s=spread_s * (place + self._random()) / len(fresh))

    def apply_intervals(self) -> None:
        """Take in that settings have other intervals now: the next collection comes no later than they say."""
        for name, before_s in self._intervals_s.items():
            interval_s = self._interval_of(name)
            if interval_s == before_s:
                continue
            job = self._jobs.get_job(name)
            soonest = min(job.next_run_time, self._in(interval_s))
            job.modify(trigger=_trigger(interval_s), next_run_time=soonest)
            self._intervals_s[name] = interval_s

    async def run(self) -> None:
        """Run jobs, and watch the clock, until cancelled; then stop starting jobs."""
        self._jobs.start()
        try:
            await self._watch_clock()
        finally:
            self._jobs.shutdown(wait=False)

    async def finish(self, deadline_s: float) -> None:
        """Start nothing new; return when the running collections have ended, or at the deadline."""
        if self._jobs.running:
            self._jobs.pause()
        if self._running:
            await asyncio.wait(self._running.values(), timeout=deadline_s)

    async def finish_one(self, name: str, deadline_s: float) -> None:
        """Return when the running collection of a setting has ended; at the deadline it is cut."""
        task = self._running.get(name)
        if task is not None:
            _, late = await asyncio.wait({task}, timeout=deadline_s)
            for cut in late:
                cut.cancel()

    def _interval_of(self, name: str) -> float:
        return self._own_interval_s(name) or self._interval_s

    def _add(self, name: str, *, delay_s: float) -> None:
        self._intervals_s[name] = self._interval_of(name)
        self._jobs.add_job(
            self._run,
            _trigger(self._intervals_s[name]),
            args=[name],
            id=name,
            name=f"collect {name}",
            next_run_time=self._in(delay_s),
            max_instances=1,
            coalesce=True,
            # A late run is still wanted: the source keeps what was missed.
            misfire_grace_time=None,
        )

    async def _run(self, name: str) -> None:
        setting = self._settings.get(name)
        if setting is None:
            return
        task = asyncio.current_task()
        assert task is not None
        self._running[name] = task
        try:
            await self._collect(setting)
        except asyncio.CancelledError:
            pass  # Cut at a stop: the job ends here, and the library would report it as failed, with a traceback.
        finally:
            # Unless the setting was let go and taken again before this cut collection ended.
            if self._running.get(name) is task:
                del self._running[name]

    def _skipped(self, event: JobExecutionEvent) -> None:
        self._telemetry.collection_skipped(event.job_id)

    async def _watch_clock(self) -> None:
        """Reschedule everything when the wall clock jumps: jobs wait for times of day, and would wait for hours."""
        offset_s = self._now() - self._monotonic()
        while True:
            await asyncio.sleep(_CLOCK_CHECK_S)
            jump_s = self._now() - self._monotonic() - offset_s
            if abs(jump_s) >= _CLOCK_JUMP_S:
                offset_s += jump_s
                self._telemetry.clock_jumped(jump_s)
                for job in self._jobs.get_jobs():
                    job.modify(next_run_time=self._in(self._interval_of(job.id) * self._random()))

    def _in(self, delay_s: float) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=delay_s)


def _trigger(interval_s: float) -> IntervalTrigger:
    jitter_s = min(interval_s * _JITTER_SHARE, _MAX_JITTER_S)
    # The trigger adds up to `jitter` and counts on from there: half of it less keeps the mean interval.
    return IntervalTrigger(seconds=interval_s - jitter_s / 2, jitter=jitter_s, timezone=UTC)
