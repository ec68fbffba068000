"""A source that answers in pages, of every style; and an agent's collecting half, which may end at any moment."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from oase_agent.collect.collector import Clocks, Collector
from oase_agent.collect.pacing import Pacing
from oase_agent.errors import AgentError
from oase_agent.model import ConnectionMethod, Cursor, RequestMethod, Setting
from oase_agent.sources.options import PageStyle, Pagination, SourceOptions
from oase_agent.spool.known_ids import IdPolicy
from oase_agent.spool.limits import SpoolLimits, VolumeSpace
from oase_agent.spool.spool import Spool
from oase_agent.telemetry import Telemetry
from tests.unit.source_servers import FETCHED_TIME, Request, Server, a_source, http_answer, serving

PAGE_SIZE = 2
PAGINATION = {
    PageStyle.LINK_HEADER: Pagination(PageStyle.LINK_HEADER),
    PageStyle.NEXT_URL: Pagination(PageStyle.NEXT_URL, path="meta.next"),
    PageStyle.TOKEN: Pagination(PageStyle.TOKEN, path="meta.next", parameter="paging.cursor"),
    PageStyle.PAGE: Pagination(PageStyle.PAGE, parameter="paging.cursor", first=1),
    PageStyle.OFFSET: Pagination(PageStyle.OFFSET, parameter="paging.cursor", size=PAGE_SIZE),
}


@dataclass
class PagedSource:
    """Holds events, `{"id", "at"}` each, and answers with those at `since` or later, two on a page.

    `instead` gives raw answers by the number of the request, counted from 1; `held` are numbers of requests that are
    not answered before the test says so, and `asked` tells that one of them came. `on_request` is called with each.
    """

    style: PageStyle
    events: list[dict[str, Any]] = field(default_factory=list)
    size: int = PAGE_SIZE
    instead: dict[int, bytes] = field(default_factory=dict)
    on_request: Callable[[], None] = lambda: None
    held: set[int] = field(default_factory=set)
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    server: Server = field(init=False)

    def make(self, *ids: int, at: float = FETCHED_TIME) -> None:
        self.events.extend({"id": str(number), "at": at} for number in ids)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["PagedSource"]:
        async with serving(self._answer) as self.server:
            yield self

    @property
    def lines(self) -> list[str]:
        return [request.line.split()[1] for request in self.server.requests]

    @property
    def asked_ids(self) -> list[str]:
        """The place that each request asked for, as text; empty for the first page."""
        return [str(_asked(request).get(self._name(request)) or "") for request in self.server.requests]

    async def _answer(
        self, request: Request, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        number = len(self.server.requests)
        self.on_request()
        if number in self.held:
            self.asked.set()
            await asyncio.Event().wait()
        writer.write(self.instead.get(number) or self.page(request))

    def page(self, request: Request) -> bytes:
        """Return the regular answer."""
        asked = _asked(request)
        place = asked.get(self._name(request))
        start = self._start(place)
        found = [event for event in self.events if event["at"] >= float(asked.get("since", 0))]
        following = start + self.size
        is_more = following < len(found)
        items = found[start:following]
        if self.style is PageStyle.LINK_HEADER:
            url = self.server.url(f"{_with_start(request, following)}")
            links = {"Link": f'<{url}>; rel="next"'} if is_more else {}
            return http_answer(json.dumps({"items": items}).encode(), 200, **links)
        target = {PageStyle.NEXT_URL: _with_start(request, following), PageStyle.TOKEN: f"t{following}"}
        meta = {"next": target.get(self.style) if is_more else None}
        return http_answer(json.dumps({"items": items, "meta": meta}).encode())

    def _name(self, request: Request) -> str:
        is_url = self.style in {PageStyle.LINK_HEADER, PageStyle.NEXT_URL}
        return "start" if is_url else "paging.cursor"

    def _start(self, place: Any) -> int:
        match self.style:
            case PageStyle.PAGE:
                return (int(place) - 1) * self.size
            case PageStyle.TOKEN:
                return int(str(place or "t0").removeprefix("t"))
        return int(place or 0)


def _asked(request: Request) -> dict[str, Any]:
    query = dict(parse_qsl(urlsplit(request.line.split()[1]).query))
    if not request.line.startswith("POST"):
        return query
    body = json.loads(request.body)
    return {**query, **body, "paging.cursor": body.get("paging", {}).get("cursor")}


def _with_start(request: Request, start: int) -> str:
    parts = urlsplit(request.line.split()[1])
    kept = [pair for pair in parts.query.split("&") if pair and not pair.startswith("start=")]
    return f"{parts.path}?{'&'.join([*kept, f'start={start}'])}"


class PagesStage:
    """What outlives the agent: its volume, the clock, the setting and its options."""

    def __init__(self, directory: Path, source: PagedSource, pagination: Pagination | None) -> None:
        self.directory = directory
        self.source = source
        self.now_s = float(FETCHED_TIME)
        self.options = SourceOptions(pagination=pagination)
        self.retention_h = 168
        self.space = VolumeSpace(10**12, 10**12)
        self.max_spool_bytes: int | None = None
        self.setting = Setting(
            id="id-1",
            name="paged",
            connection_method=ConnectionMethod.OPTIONAL,
            request_method=RequestMethod.GET,
            url=source.server.url("/items"),
            ttl_s=60,
            response_is_list=True,
            response_key="items",
            event_id_key="id",
        )

    def change(self, **columns: Any) -> None:
        """Change columns of the setting."""
        self.setting = replace(self.setting, **columns)

    def paginate(self, **options: Any) -> None:
        """Change options of the pagination."""
        assert self.options.pagination is not None
        self.options = replace(self.options, pagination=replace(self.options.pagination, **options))

    @asynccontextmanager
    async def life(self) -> AsyncIterator["PagesLife"]:
        """Begin a life of the agent; at its end its memory is gone, as after a kill: nothing is saved."""
        async with a_source(
            self.directory,
            clock=lambda: int(self.now_s * 1_000_000),
            options_of=lambda _name: self.options,
        ) as source:
            yield PagesLife(self, source)


class Witness(Telemetry):
    """Remembers what went wrong."""

    def __init__(self) -> None:
        super().__init__()
        self.failures: list[AgentError] = []
        self.done = 0

    def collection_failed(self, setting: str, error: AgentError) -> None:
        super().collection_failed(setting, error)
        self.failures.append(error)

    def collection_done(self, setting: str, events: int, seconds: float, now: float) -> None:
        super().collection_done(setting, events, seconds, now)
        self.done += 1


class PagesLife:
    """One process: a spool, opened from what the volume holds, and a collector."""

    def __init__(self, stage: PagesStage, source: Any) -> None:
        self.stage = stage
        self.telemetry = Witness()
        self.spool = Spool(
            stage.directory / "spool",
            limits=SpoolLimits(stage.max_spool_bytes, 0),
            ids=IdPolicy(stage.retention_h),
            now=lambda: stage.now_s,
            telemetry=self.telemetry,
            space=lambda _directory: stage.space,
        )
        self.collector = Collector(
            self.spool,
            {ConnectionMethod.OPTIONAL: source},
            self.telemetry,
            clocks=Clocks(lambda: stage.now_s, lambda: stage.now_s),
            pacing=Pacing(
                0,
                self.telemetry.pacing,
                interval_s=lambda _name: 3,
                monotonic=lambda: stage.now_s,
                random=lambda: 0.5,
            ),
            document_max_bytes=1024 * 1024,
        )

    async def collect(self) -> None:
        """Collect once; whatever goes wrong is in `failure`."""
        await self.collector.collect(self.stage.setting)

    async def collect_well(self) -> None:
        """Collect once; nothing may go wrong."""
        await self.collect()
        assert self.telemetry.failures == []

    async def collect_until_killed(self) -> None:
        """Collect until the source holds an answer back, then end as if the process were gone."""
        self.stage.source.asked.clear()
        collection = asyncio.create_task(self.collect())
        await self.stage.source.asked.wait()
        collection.cancel()
        with suppress(asyncio.CancelledError):
            await collection
        self.stage.source.held.clear()

    @property
    def failure(self) -> AgentError:
        """What went wrong last."""
        return self.telemetry.failures[-1]

    @property
    def cursor(self) -> Cursor:
        return self.spool.queue(self.stage.setting.name).read_cursor()

    @property
    def events(self) -> list[dict[str, Any]]:
        """Every event that waits, in its order."""
        batches = self.spool.queue(self.stage.setting.name).peek(10**9)
        return [event for batch in batches for event in json.loads(batch.events)]

    @property
    def ids(self) -> list[str]:
        return [event["id"] for event in self.events]


NewStage = Callable[..., AbstractAsyncContextManager[PagesStage]]


def new_stage(directory: Path) -> NewStage:
    """Return a way to begin: a source of a style with events 1 to `count`, and its setting."""

    @asynccontextmanager
    async def begun(style: PageStyle = PageStyle.TOKEN, count: int = 5) -> AsyncIterator[PagesStage]:
        source = PagedSource(style)
        source.make(*range(1, count + 1))
        async with source.serving():
            yield PagesStage(directory, source, PAGINATION[style])

    return begun


def ids(first: int, last: int) -> list[str]:
    return [str(number) for number in range(first, last + 1)]


def instead_of(source: PagedSource, **answers: bytes) -> None:
    source.instead = {int(name.removeprefix("request")): raw for name, raw in answers.items()}


def page(*events: int, **members: object) -> bytes:
    return http_answer(json.dumps({"items": [{"id": str(number)} for number in events], **members}).encode())
