"""The other side of a benchmark, each kind in a process of its own: sources, a workspace, and a sink for bytes."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from aiohttp import web

from oase_agent.simulators.acceptance import Acceptance, Event
from oase_agent.simulators.answers import Answer, success
from oase_agent.simulators.settings_table import SettingsTable, setting_row
from oase_agent.simulators.sources import LogPageSimulator
from oase_agent.simulators.workspace import WorkspaceSimulator

ORGANIZATION, WORKSPACE, REFRESH_TOKEN = "org001", "ws01", "refresh-token"
_ONE_PER_EVENT = b'"_exastro_fetched_time":'


class Sources:
    """Pages of log lines, each a server of its own; `start` returns their addresses."""

    def __init__(self, count: int, latency_s: float = 0.0) -> None:
        self._count = count
        self._latency_s = latency_s
        self._pages: list[LogPageSimulator] = []
        self._writing: list[asyncio.Task[None]] = []

    async def start(self) -> list[str]:
        """Listen."""
        for _ in range(self._count):
            page = LogPageSimulator()
            page.latency_s = self._latency_s
            await page.start()
            self._pages.append(page)
        return [f"{page.url}/logs" for page in self._pages]

    async def stop(self) -> None:
        """Stop writing and serving."""
        await self.stop_writing()
        for page in self._pages:
            await page.stop()

    def fill(self, *, place: int, count: int, event_bytes: int) -> float:
        """Let a page list exactly `count` lines, made now; returns when it was done, in epoch seconds."""
        self._pages[place].clear()
        self._pages[place].fill(count, event_bytes)
        return time.time()

    def write_steadily(self, *, per_s: float, event_bytes: int) -> None:
        """Write lines to every page, evenly in time, until `stop_writing`."""
        self._writing = [asyncio.create_task(_write(page, per_s, event_bytes)) for page in self._pages]

    async def stop_writing(self) -> None:
        """Write no more."""
        for task in self._writing:
            task.cancel()
        await asyncio.gather(*self._writing, return_exceptions=True)
        self._writing = []

    def polls(self) -> list[list[float]]:
        """Return for each page when it was asked, in epoch seconds."""
        return [[record.received_at for record in page.requests] for page in self._pages]


async def _write(page: LogPageSimulator, per_s: float, event_bytes: int) -> None:
    message = "x" * (event_bytes - 80)  # what else a line holds
    loop = asyncio.get_running_loop()
    due = loop.time()
    while True:
        page.write(message)
        due += 1 / per_s
        await asyncio.sleep(due - loop.time())


class Workspace:
    """A workspace that keeps numbers only; `start` returns its address.

    With `is_unread` it counts events without parsing a POST and accepts everything: the receiver of the bare loop.
    """

    def __init__(self, *, is_unread: bool = False, latency_s: float = 0.0) -> None:
        self._simulator = WorkspaceSimulator(
            organization_id=ORGANIZATION,
            workspace_id=WORKSPACE,
            refresh_token=REFRESH_TOKEN,
            keep_events=False,
        )
        if is_unread:
            self._simulator.acceptance = UnreadAcceptance(SettingsTable())
        self._simulator.latency_s = latency_s
        self._arrivals: list[tuple[str, float, float]] = []

    async def start(self) -> str:
        """Listen."""
        await self._simulator.start()
        return self._simulator.url

    async def stop(self) -> None:
        """Close."""
        await self._simulator.stop()

    def add_setting(self, *, name: str, url: str, columns: dict[str, Any]) -> None:
        """Add a row to the settings."""
        self._simulator.add_setting(setting_row(name, url, **columns))

    def count(self) -> int:
        """Return how many events were stored."""
        return self._simulator.count()

    async def wait_for(self, *, count: int, timeout_s: float) -> float:
        """Return when `count` events were stored, in epoch seconds: that of the request which completed them."""
        await self._simulator.wait_for(lambda simulator: simulator.count() >= count, timeout_s)
        return self._simulator.requests[-1].received_at

    def posts(self) -> Sequence[tuple[float, int]]:
        """Return for each POST of events when it was stored, in epoch seconds, and its size in bytes."""
        records = self._simulator.requests
        return [(record.received_at, record.body_bytes) for record in records if record.endpoint == "events"]

    def note_arrivals(self) -> None:
        """Remember of every event from now on its setting, when it was made and when it was stored."""

        # A hook that sees every event right before it is stored; nothing is ever poisonous to us.
        def note(event: Event) -> bool:
            name = event["_exastro_event_collection_settings_name"]
            self._arrivals.append((name, event["time"], time.time()))
            return False

        self._simulator.acceptance.poison = note

    def arrivals(self) -> list[tuple[str, float, float]]:
        """Return what was noted."""
        return self._arrivals

    async def refuse(self) -> None:
        """Refuse connections."""
        await self._simulator.refuse()

    async def resume(self) -> None:
        """Take connections again."""
        await self._simulator.resume()


class UnreadAcceptance(Acceptance):
    """Accepts whatever comes and counts the events in it, at the speed of a search."""

    def __init__(self, settings: SettingsTable) -> None:
        super().__init__(settings, keep_events=False)
        self._events = 0

    def handle(self, payload: bytes) -> Answer:
        """Count the events; nothing is ever refused."""
        self._events += payload.count(_ONE_PER_EVENT)
        return success([], time.time())

    def count(self, setting_name: str | None = None) -> int:
        """Return how many events came; settings are not told apart."""
        return self._events if setting_name is None else 0


class Sink:
    """Reads what is posted to it and forgets it; `start` returns its address."""

    def __init__(self) -> None:
        self._runner: web.AppRunner | None = None

    async def start(self) -> str:
        """Listen."""
        app = web.Application()
        app.router.add_post("/", self._on_post)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0]
        return f"http://{host}:{port}/"

    async def stop(self) -> None:
        """Close."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _on_post(self, request: web.Request) -> web.Response:
        async for _ in request.content.iter_any():
            pass
        return web.Response(text="{}")
