"""A deliverer over a real client and a simulated workspace, for tests that watch what goes over the wire."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

from oase_agent.deliver.deliverer import Chances, Deliverer
from oase_agent.deliver.handover import Confirm, alone
from oase_agent.model import AgentIdentity, Cursor, Secret
from oase_agent.proxies import ProxyEnvironment
from oase_agent.retry import RetryPolicy
from oase_agent.simulators.settings_table import setting_row
from oase_agent.simulators.workspace import WorkspaceSimulator
from oase_agent.spool.known_ids import IdPolicy
from oase_agent.spool.limits import SpoolLimits
from oase_agent.spool.queue import SettingQueue
from oase_agent.spool.spool import Spool
from oase_agent.tls import client_context
from oase_agent.workspace.client import WorkspaceClient
from oase_agent.workspace.token import BasicCredentials
from oase_agent.workspace.transport import Transport
from oase_agent.workspace.wire import WorkspaceAddress
from tests.spool.queue_stage import Witness, dead_ids, event_text

AGENT = AgentIdentity("agent-1", "0")
START = 1_700_000_000
PATIENCE_S = 20.0
QUICK = RetryPolicy(first_s=0.04, cap_s=0.08, min_s=0.01)


class WatchfulWorkspace(WorkspaceSimulator):
    """Notes which settings each request carries, how many requests run at once, and can hold single ones up."""

    def __init__(self, **options: Any) -> None:
        super().__init__(username="user", password="password", progress_ttl_s=None, **options)
        self.under_way: Counter[str] = Counter()
        self.most_at_once: Counter[str] = Counter()
        self.most_requests = 0
        # Of each request to `events`: (setting name, group time, number of events) of its groups, and its size.
        self.posts: list[list[tuple[str, int, int]]] = []
        self.sizes: list[int] = []
        # Requests with events of these settings wait for the event.
        self.held: dict[str, asyncio.Event] = {}
        # A request in which this is true of an event is answered with this status.
        self.breaks_at: Callable[[dict[str, Any]], bool] = lambda _event: False
        self._requests = 0

    @property
    def probes(self) -> list[list[str]]:
        """The names in each position probe."""
        return [
            [name for name, _, _ in post] for post in self.posts if all(events == 0 for _, _, events in post)
        ]

    @property
    def data_posts(self) -> list[list[tuple[str, int, int]]]:
        """The requests that carry events."""
        return [post for post in self.posts if any(events for _, _, events in post)]

    async def _on_events(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        groups = json.loads(body)["events"]
        names = {group["event_collection_settings_name"] for group in groups}
        self.posts.append(
            [
                (group["event_collection_settings_name"], group["fetched_time"], len(group["event"]))
                for group in groups
            ]
        )
        self.sizes.append(len(body))
        self.under_way.update(names)
        self._requests += 1
        self.most_requests = max(self.most_requests, self._requests)
        self.most_at_once |= self.under_way
        try:
            if any(group["event"] for group in groups):
                for name in names & self.held.keys():
                    await self.held[name].wait()
            if any(self.breaks_at(event) for group in groups for event in group["event"]):
                self.notify()
                return web.json_response({"result": "999-99999", "message": "broken"}, status=500)
            return await super()._on_events(request)
        finally:
            self.under_way.subtract(names)
            self._requests -= 1


class Stage:
    """Workspace, spool and deliverer; what was collected arrives once `running`."""

    def __init__(self, workspace: WatchfulWorkspace, directory: Path, max_post_bytes: int) -> None:
        self.workspace = workspace
        self.directory = directory
        self.witness = Witness()
        self.max_post_bytes = max_post_bytes
        self.reloads = 0
        self.spool = self._new_spool()
        self.client: WorkspaceClient
        self.deliverer: Deliverer
        self._times: Counter[str] = Counter()

    def _new_spool(self) -> Spool:
        return Spool(
            self.directory,
            limits=SpoolLimits(None, 0),
            ids=IdPolicy(retention_h=168),
            now=time.time,
            telemetry=self.witness,
        )

    def add(self, *names: str) -> None:
        """Let the workspace know settings."""
        for name in names:
            self.workspace.add_setting(setting_row(name, "http://127.0.0.1/"))

    def queue(self, name: str) -> SettingQueue:
        """Return the queue of a setting."""
        return self.spool.queue(name)

    def collect(self, name: str, *ids: str, pad: int = 0, fetched_time: int | None = None) -> None:
        """Collect events in one file."""
        queue = self.queue(name)
        queue.begin_collection(str(setting_row(name, "x")["EVENT_COLLECTION_SETTINGS_ID"]))
        self._times[name] += 1
        at = START + self._times[name] if fetched_time is None else fetched_time
        sighting = queue.sighting()
        with queue.collecting(at) as file:
            file.add(event_text(event_id, pad="x" * pad) for event_id in ids if sighting.is_new(event_id))
            queue.commit(file, Cursor(at), sighting)
        self.spool.announce()

    @asynccontextmanager
    async def running(
        self, policy: RetryPolicy = QUICK, *, confirm: Confirm = alone
    ) -> AsyncIterator[Deliverer]:
        """Run a deliverer; it is cancelled at the end, as in a stop."""
        address = WorkspaceAddress(self.workspace.url, "org001", "ws01")
        transport = Transport(tls=client_context(), proxies=ProxyEnvironment())
        credentials = BasicCredentials("user", Secret("password"))
        async with WorkspaceClient(transport, address, credentials, AGENT) as client:
            self.deliverer = Deliverer(
                self.spool,
                client,
                AGENT,
                self.witness,
                max_post_bytes=self.max_post_bytes,
                chances=Chances(time.time, time.monotonic, lambda: 0.5),
                reload_settings=self._reload,
                policy=policy,
                confirm=confirm,
            )
            running = asyncio.create_task(self.deliverer.run())
            try:
                yield self.deliverer
                # A deliverer that ended has failed.
                if running.done():
                    await running
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)

    async def _reload(self) -> None:
        self.reloads += 1

    def restart(self) -> None:
        """Forget everything but the volume."""
        for queue in self.spool.queues():
            # Waits for a thread that still settles: figures change before the checkpoint is written.
            queue.read_cursor()
        self.spool = self._new_spool()
        self.spool.open_existing()

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until a condition holds."""
        async with asyncio.timeout(PATIENCE_S):
            while not condition():
                await asyncio.sleep(0.005)

    async def settled(self, *names: str) -> None:
        """Wait until nothing of these settings waits."""
        await self.until(lambda: all(self.account(name)[2] == 0 for name in names))

    def account(self, name: str) -> tuple[int, int, int, int]:
        """Return collected, delivered, waiting and dead."""
        figures = self.queue(name).figures()
        return (
            (0, 0, -1, 0)
            if figures is None
            else (figures.collected, figures.delivered, figures.waiting, figures.dead)
        )

    def dead(self, name: str) -> list[str]:
        """Return the ids in the dead letters of a setting."""
        [directory] = (self.directory / "s").glob(f"{name}-*")
        link = self.directory / "only" / name
        link.mkdir(parents=True, exist_ok=True)
        if not (link / "web-01").exists():
            (link / "web-01").symlink_to(directory, target_is_directory=True)
        return dead_ids(link)


@asynccontextmanager
async def staged(directory: Path, *names: str, max_post_bytes: int = 512 * 1024) -> AsyncIterator[Stage]:
    """Give a stage whose workspace runs and knows these settings."""
    async with WatchfulWorkspace() as workspace:
        stage = Stage(workspace, directory / "spool", max_post_bytes)
        stage.add(*names)
        yield stage
