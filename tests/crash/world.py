"""What outlives the agent: the workspace, the sources and the clock. And one life of an agent among them.

The agent's parts are the real ones: collector, spool, course, handover, and the reading of answers. Only the sockets
are missing, so that thousands of lives fit into a minute.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Any, TypeVar, TypeVarTuple, Unpack, cast

from oase_agent.collect.collector import Clocks, Collector
from oase_agent.collect.pacing import Pacing
from oase_agent.deliver.course import Course
from oase_agent.deliver.gate import Gate
from oase_agent.deliver.handover import Confirm, Handover, alone
from oase_agent.deliver.post_limit import PostLimit
from oase_agent.errors import Reason, SpoolUnavailable, WorkspaceUnavailable
from oase_agent.model import AgentIdentity, ConnectionMethod, RequestMethod, Setting
from oase_agent.retry import RetryPolicy
from oase_agent.simulators.acceptance import Acceptance
from oase_agent.simulators.settings_table import SettingsTable, setting_row
from oase_agent.sources.body import Body, Fetched
from oase_agent.sources.question import Question
from oase_agent.spool.collection_file import BatchLimits
from oase_agent.spool.compression import Compression, CompressionMode
from oase_agent.spool.known_ids import IdPolicy
from oase_agent.spool.limits import SpoolLimits, VolumeSpace
from oase_agent.spool.packing import PackLimits
from oase_agent.spool.queue import QueueFigures, SettingQueue
from oase_agent.spool.spool import Spool
from oase_agent.telemetry import Telemetry
from oase_agent.workspace.answers import EventsRefused, Refusal, accepted_data, parse_refusals, read_answer
from oase_agent.workspace.client import WorkspaceClient
from oase_agent.workspace.wire import EMPTY_EVENTS, EventGroup, events_pieces
from tests.crash.simulated_disk import SimulatedDisk

AGENT = AgentIdentity("agent-1", "0")
DIRECTORY = Path("/spool")
START_S = 1_700_000_000
# Batches of a few events are compressed, too, where that gains.
COMPRESSED = BatchLimits(events=2, compression=Compression(CompressionMode.ALWAYS, min_batch_bytes=1))
_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")


class World:
    """Workspace, sources and clock; what an agent's end does not touch."""

    def __init__(self) -> None:
        self.now_s = float(START_S)
        self.acceptance = Acceptance(
            SettingsTable(),
            clock=lambda: self.now_s,
            progress_ttl_s=None,
            poison=lambda event: "poison" in event,
        )
        self.sources: dict[str, list[dict[str, Any]]] = {}
        self.lost_requests = 0
        self.lost_answers = 0
        # How its agents are configured. Small batches, so that a collection of a few events has several.
        self.batches = BatchLimits(events=2)
        self.packing = PackLimits()
        # How many events a source answers with at once; None is all of them.
        self.page_size: int | None = None
        # Called as a request leaves a life, and as its answer, or the news of its loss, comes back.
        self.on_request: Callable[[], None] = lambda: None
        self.on_answer: Callable[[], None] = lambda: None
        # Called as a life begins to post events, which asking for a position is not.
        self.on_post: Callable[[], None] = lambda: None

    def add_setting(self, name: str) -> None:
        """Add a source with its setting."""
        self.acceptance.settings.add(
            setting_row(name, "http://127.0.0.1/", EVENT_COLLECTION_SETTINGS_ID=f"id-{name}")
        )
        self.sources[name] = []

    def make(self, name: str, *ids: str, **fields: Any) -> None:
        """Let events happen at a source; it goes on reporting them."""
        self.sources[name].extend({"id": event_id, **fields} for event_id in ids)

    def foreign_writer(self, name: str, group_time: int) -> None:
        """Let somebody else post an event under the agent's name."""
        group = EventGroup(name, group_time, b'[{"id":"foreign"}]')
        status, _ = self.acceptance.handle(b"".join(events_pieces([group], AGENT)))
        assert status == 200

    def handle(self, groups: Sequence[EventGroup]) -> tuple[Refusal, ...]:
        """Answer a POST as the real client would tell it."""
        self.on_request()
        if self.lost_requests:
            self.lost_requests -= 1
            self.on_answer()
            raise WorkspaceUnavailable("cut", Reason.UNREACHABLE)
        status, envelope = self.acceptance.handle(b"".join(events_pieces(groups, AGENT)))
        self.on_answer()
        if self.lost_answers:
            self.lost_answers -= 1
            raise WorkspaceUnavailable("cut", Reason.UNREACHABLE)
        return parse_refusals(accepted_data(read_answer(status, json.dumps(envelope).encode())))


class Workspace:
    """The part of WorkspaceClient that a handover uses, without sockets."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def post_events(self, groups: Sequence[EventGroup]) -> tuple[Refusal, ...]:
        """Post like the client."""
        self._world.on_post()
        return self._world.handle(groups)

    async def probe_positions(self, names: Sequence[str]) -> tuple[Refusal, ...]:
        """Ask like the client."""
        try:
            return self._world.handle([EventGroup(name, 1, EMPTY_EVENTS) for name in names])
        except EventsRefused as error:
            return error.refusals


class _Source:
    """Reports everything that ever happened, as a list, or as one page after the other."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def answers(self, question: Question) -> AsyncGenerator[Fetched, None]:
        """Answer with all events of the setting; the bookmark counts those before the next page."""
        events = self._world.sources[question.setting.name]
        size = self._world.page_size or len(events) + 1
        start = int(question.bookmark or 0)
        while True:
            body = json.dumps(events[start : start + size]).encode()
            start += size
            is_last = start >= len(events)
            bookmark = None if is_last else str(start)
            received_us = question.fetched_time * 1_000_000
            yield Fetched(Body(body), received_us, 200, "application/json", bookmark, is_last)
            if is_last:
                return


class _AtOnceLoop(asyncio.SelectorEventLoop):
    """Runs in the calling thread what belongs in others, so that one life has one order of calls."""

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[Unpack[_Ts]], _T], *args: *_Ts
    ) -> asyncio.Future[_T]:
        """Run now; whatever is raised belongs to the caller of the future."""
        del executor
        future: asyncio.Future[_T] = self.create_future()
        try:
            future.set_result(func(*args))
        except BaseException as error:
            future.set_exception(error)
        return future


class Life:
    """One process: built on what a disk holds, and gone when anything raises Stop."""

    def __init__(
        self,
        world: World,
        disk: SimulatedDisk,
        loop: asyncio.AbstractEventLoop,
        confirm: Confirm = alone,
    ) -> None:
        self.world = world
        self.disk = disk
        self._loop = loop
        self.telemetry = Telemetry()
        self.spool = Spool(
            DIRECTORY,
            limits=SpoolLimits(None, 0),
            ids=IdPolicy(retention_h=168),
            now=lambda: world.now_s,
            telemetry=self.telemetry,
            disk=disk,
            space=lambda _directory: VolumeSpace(10**12, 10**12),
            batches=world.batches,
            packing=world.packing,
            # A small window, so that checkpoints come in the middle of a backlog.
            sent_window=4,
        )
        self._collector = Collector(
            self.spool,
            {ConnectionMethod.OPTIONAL: _Source(world)},
            self.telemetry,
            clocks=Clocks(lambda: world.now_s, lambda: world.now_s),
            pacing=Pacing(
                0,
                self.telemetry.pacing,
                interval_s=lambda _name: 3,
                monotonic=lambda: world.now_s,
                random=lambda: 0.5,
            ),
            document_max_bytes=1024 * 1024,
        )
        self._limit = PostLimit(64 * 1024)
        policy = RetryPolicy(first_s=0.0, cap_s=0.0, min_s=0.0)
        self._handover = Handover(
            cast(WorkspaceClient, Workspace(world)),
            self.telemetry,
            Gate(policy, lambda: 0.0),
            self._limit,
            policy,
            lambda: world.now_s,
            self._no_reload,
            confirm,
        )
        self._courses: dict[str, Course] = {}

    async def _no_reload(self) -> None:
        return

    def queue(self, name: str) -> SettingQueue:
        """Return a setting's queue."""
        return self.spool.queue(name)

    def collect(self, name: str) -> None:
        """Do one collection."""
        self._run(self._collector.collect(_setting(name)))

    def deliver(self, *names: str) -> bool:
        """Hand over what waits of these settings in one request; return whether there was anything."""
        chosen = []
        for name in names:
            if name not in self._courses:
                self._courses[name] = Course(
                    self.queue(name), self.telemetry, now=lambda: self.world.now_s, random=lambda: 0.0
                )
            course = self._courses[name]
            try:
                sent = course.load(self._limit.bytes, 100)
            except SpoolUnavailable:
                continue  # as the deliverer does: this setting waits, the others go on
            if sent.batches:
                chosen.append((course, sent))
        if chosen:
            size = sum(len(batch.events) for _, sent in chosen for batch in sent.batches)
            self._run(self._handover.hand_over(chosen, size))
        return bool(chosen)

    def figures(self, name: str) -> QueueFigures:
        """Return a queue's accounting."""
        queue = self.queue(name)
        queue.open()
        figures = queue.figures()
        assert figures is not None
        return figures

    def _run(self, work: Coroutine[Any, Any, _T]) -> _T:
        return self._loop.run_until_complete(work)


def new_loop() -> asyncio.AbstractEventLoop:
    """Return a loop whose threads are none."""
    return _AtOnceLoop()


def _setting(name: str) -> Setting:
    return Setting(
        # The id of one setting stays unknown to the agent: that must work, too.
        id="" if name == "b" else f"id-{name}",
        name=name,
        connection_method=ConnectionMethod.OPTIONAL,
        request_method=RequestMethod.GET,
        url="http://127.0.0.1/",
        ttl_s=3600,
        response_is_list=True,
        event_id_key="id",
    )
