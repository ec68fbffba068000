"""Stage 4: from the spool to the workspace. Order within a setting, settings side by side, one POST for several.

A dispatcher chooses what goes next and hands it to at most `LANES` requests at a time; a setting is in at most one
of them. What an answer means for the whole workspace closes the gate for everybody; what may lie in one request
holds back its settings alone (promise D3).
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from oase_agent.deliver.course import Course
from oase_agent.deliver.gate import Gate
from oase_agent.deliver.handover import Chosen, Confirm, Handover, alone
from oase_agent.deliver.post_limit import PostLimit
from oase_agent.deliver.verdicts import Sent
from oase_agent.errors import AgentError, SpoolUnavailable
from oase_agent.model import AgentIdentity
from oase_agent.retry import RetryPolicy
from oase_agent.spool.spool import Spool
from oase_agent.telemetry import Telemetry
from oase_agent.workspace.client import WorkspaceClient
from oase_agent.workspace.wire import ENVELOPE_BYTES, group_overhead_bytes

# Requests at a time: enough that a slow answer for one setting does not hold up the rest, few enough for memory
# (each holds up to MAX_POST_BYTES) and for the 15 threads of the gateway (contract 3.2).
LANES = 4


@dataclass(frozen=True, slots=True)
class Chances:
    """Clocks and chance, injected: wall and monotonic seconds, and a number in [0, 1)."""

    now: Callable[[], float]
    monotonic: Callable[[], float]
    random: Callable[[], float]


class Deliverer:
    """Delivers what the spool holds until it is cancelled; `reload_settings` is awaited when names are refused."""

    def __init__(
        self,
        spool: Spool,
        workspace: WorkspaceClient,
        agent: AgentIdentity,
        telemetry: Telemetry,
        *,
        max_post_bytes: int,
        chances: Chances,
        reload_settings: Callable[[], Awaitable[None]],
        confirm: Confirm = alone,
        policy: RetryPolicy | None = None,
    ) -> None:
        self._spool = spool
        self._agent = agent
        self._telemetry = telemetry
        self._chances = chances
        self._limit = PostLimit(max_post_bytes)
        policy = policy or RetryPolicy()
        self._gate = Gate(policy, chances.random)
        self._handover = Handover(
            workspace, telemetry, self._gate, self._limit, policy, chances.monotonic, reload_settings, confirm
        )
        self._courses: dict[str, Course] = {}
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._in_flight = 0
        self._is_draining = False
        self._released: set[str] = set()
        self._landed = asyncio.Event()

    @property
    def away(self) -> AgentError | None:
        """Why the workspace takes nothing right now, or None."""
        return self._gate.closed_by

    @property
    def is_delivering(self) -> bool:
        """Whether what waits is on its way, or will be soon: not while the workspace is away, nor while stopping."""
        return self._gate.closed_by is None and not self._is_draining

    async def run(self) -> None:
        """Deliver until cancelled."""
        loop = asyncio.get_running_loop()

        def wake() -> None:
            loop.call_soon_threadsafe(self._wake.set)

        self._spool.listen(wake)
        async with asyncio.TaskGroup() as requests:
            while True:
                self._wake.clear()
                # One reading a pass: a setting that became due between two would be neither sent nor waited for.
                now_s = self._chances.monotonic()
                if not await self._start_one(requests, now_s):
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._wake.wait(), self._seconds_to_wait(now_s))

    async def drain(self, deadline_s: float) -> None:
        """Begin nothing new; return when what is under way has been answered and settled, or at the deadline."""
        self._is_draining = True
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._idle.wait(), deadline_s)

    def admit(self, setting_name: str) -> None:
        """Deliver a setting that was taken, as a new one: what was known of an earlier queue is forgotten."""
        # A setting that was never released may be under way already: its queue was seen before we are told.
        if setting_name in self._released:
            self._courses.pop(setting_name, None)
            self._released.discard(setting_name)
        self._wake.set()

    async def release(self, setting_name: str, deadline_s: float) -> None:
        """Send nothing more of a setting; return when what is under way was settled, or at the deadline."""
        self._released.add(setting_name)
        course = self._courses.get(setting_name)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(deadline_s):
                while course is not None and course.is_in_flight:
                    self._landed.clear()
                    await self._landed.wait()

    # -- choosing what goes next --------------------------------------------------------------------------

    async def _start_one(self, requests: asyncio.TaskGroup, now_s: float) -> bool:
        # After trouble a single request tries how things are.
        lanes = 1 if self._gate.closed_by else LANES
        is_closed = self._gate.seconds_closed(now_s) > 0
        if self._is_draining or is_closed or self._in_flight >= lanes:
            return False
        chosen = await self._choose(now_s)
        if not chosen or self._is_draining:
            for course, _ in chosen:
                course.is_in_flight = False
            return False
        self._in_flight += 1
        self._idle.clear()
        names = ", ".join(course.setting_name for course, _ in chosen[:3])
        requests.create_task(self._deliver(chosen), name=f"deliver {names}")
        return True

    async def _choose(self, now_s: float) -> Chosen:
        """Fill one request, beginning with the setting that was served longest ago."""
        chosen: list[tuple[Course, Sent]] = []
        room = self._limit.bytes - ENVELOPE_BYTES
        for course in self._ready(now_s):
            if chosen and (course.is_alone or room <= 0):
                continue
            sent = await self._load(course, room)
            if not sent or not sent.batches or course.setting_name in self._released:
                continue
            size = self._size_of(sent)
            # A batch that is larger than what is left goes first next time; alone it goes in any case.
            if chosen and size > room:
                continue
            course.is_in_flight = True
            chosen.append((course, sent))
            self._courses[course.setting_name] = self._courses.pop(course.setting_name)
            room -= size
            if course.is_alone:
                break
        return chosen

    def _ready(self, now_s: float) -> list[Course]:
        for queue in self._spool.queues():
            if queue.setting_name not in self._courses and queue.setting_name not in self._released:
                self._courses[queue.setting_name] = Course(
                    queue, self._telemetry, now=self._chances.now, random=self._chances.random
                )
        return [
            course
            for course in self._courses.values()
            if self._is_waiting(course) and course.not_before_s <= now_s
        ]

    def _is_waiting(self, course: Course) -> bool:
        is_free = not course.is_in_flight and course.setting_name not in self._released
        return is_free and course.queue.has_waiting

    async def _load(self, course: Course, room: int) -> Sent | None:
        overhead = group_overhead_bytes(course.setting_name, self._agent)
        try:
            sent = await asyncio.to_thread(course.load, room, overhead)
        except SpoolUnavailable as error:
            self._handover.volume_failed(course, error)
            return None
        self._telemetry.volume_works_again(course.setting_name)
        return sent

    def _size_of(self, sent: Sent) -> int:
        overhead = group_overhead_bytes(sent.setting_name, self._agent)
        return sum(len(batch.events) + overhead for batch in sent.batches)

    def _seconds_to_wait(self, now_s: float) -> float | None:
        """Return when to look again without being woken; None when only a new batch or an answer can help."""
        if self._is_draining:
            return None
        closed_s = self._gate.seconds_closed(now_s)
        waits = [
            max(course.not_before_s - now_s, closed_s)
            for course in self._courses.values()
            if self._is_waiting(course)
        ]
        # What could go at once but did not, waits for a lane, or its volume: it must not hide when others are due.
        return min((wait_s for wait_s in waits if wait_s > 0), default=None)

    # -- one request --------------------------------------------------------------------------------------

    async def _deliver(self, chosen: Chosen) -> None:
        try:
            await self._handover.hand_over(chosen, sum(self._size_of(sent) for _, sent in chosen))
        finally:
            for course, _ in chosen:
                course.is_in_flight = False
            self._in_flight -= 1
            self._landed.set()
            if not self._in_flight:
                self._idle.set()
            self._wake.set()
