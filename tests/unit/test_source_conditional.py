"""Conditional requests over real sockets: what is asked, what a 304 stands for, and when the whole answer is due."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from pathlib import Path

import pytest

from oase_agent.errors import Reason
from oase_agent.model import RequestMethod
from oase_agent.sources.conditional import MAX_AGE_S
from oase_agent.sources.options import PageStyle
from tests.unit.pages_stage import PAGINATION, PagedSource, PagesLife, PagesStage
from tests.unit.source_servers import FETCHED_TIME, Request, Server, http_answer, serving

NOT_MODIFIED = b"HTTP/1.1 304 Not Modified\r\nConnection: close\r\n\r\n"


@dataclass
class CachingSource:
    """Reports some ids, and knows an answer again by its validators; `is_deaf` answers whole all the same."""

    ids: list[str] = field(default_factory=lambda: ["1", "2"])
    etag: str | None = '"v1"'
    last_modified: str | None = None
    is_deaf: bool = False
    statuses: list[int] = field(default_factory=list)
    server: Server = field(init=False)

    @property
    def conditions(self) -> list[str | None]:
        asked = ("if-none-match", "if-modified-since")
        return [
            next((r.headers[name] for name in asked if name in r.headers), None) for r in self.server.requests
        ]

    async def answer(
        self, request: Request, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        known = {request.headers.get("if-none-match"), request.headers.get("if-modified-since")} - {None}
        is_same = bool(known & {self.etag, self.last_modified}) and not self.is_deaf
        self.statuses.append(304 if is_same else 200)
        headers = {
            "ETag": self.etag,
            "Last-Modified": self.last_modified,
            "Date": formatdate(FETCHED_TIME, usegmt=True),
        }
        body = json.dumps({"items": [{"id": event_id} for event_id in self.ids]}).encode()
        whole = http_answer(body, 200, **{name: value for name, value in headers.items() if value})
        writer.write(NOT_MODIFIED if is_same else whole)


Begun = tuple[CachingSource, PagesStage, PagesLife]
Begin = Callable[[], AbstractAsyncContextManager[Begun]]


@pytest.fixture
def begin(memory_path: Path) -> Begin:
    @asynccontextmanager
    async def begun() -> AsyncIterator[Begun]:
        source = CachingSource()
        async with serving(source.answer) as source.server:
            paged = PagedSource(PageStyle.TOKEN)
            paged.server = source.server
            stage = PagesStage(memory_path, paged, None)
            async with stage.life() as life:
                yield source, stage, life

    return begun


async def test_an_answer_that_did_not_change_is_not_sent_again_and_its_events_stay_as_they_are(
    begin: Begin,
) -> None:
    async with begin() as (source, stage, life):
        for _ in range(3):
            await life.collect_well()
            stage.now_s += 10

        assert source.conditions == [None, '"v1"', '"v1"']
        assert source.statuses == [200, 304, 304]
        assert life.ids == ["1", "2"]
        assert life.telemetry.done == 3
        assert life.cursor.last_fetched_time == FETCHED_TIME + 20


async def test_a_changed_answer_comes_whole(begin: Begin) -> None:
    async with begin() as (source, _stage, life):
        await life.collect_well()
        source.ids, source.etag = ["1", "2", "3"], 'W/"v2"'
        await life.collect_well()
        await life.collect_well()

        assert source.conditions == [None, '"v1"', 'W/"v2"']
        assert life.ids == ["1", "2", "3"]


async def test_a_source_that_does_not_care_is_read_as_ever(begin: Begin) -> None:
    async with begin() as (source, _stage, life):
        source.is_deaf = True
        await life.collect_well()
        source.ids.append("3")
        await life.collect_well()

        assert source.statuses == [200, 200]
        assert life.ids == ["1", "2", "3"]


async def test_the_whole_answer_is_asked_for_before_its_ids_may_expire(begin: Begin) -> None:
    async with begin() as (source, stage, life):
        await life.collect_well()
        stage.now_s += MAX_AGE_S - 1
        await life.collect_well()
        stage.now_s += 1
        await life.collect_well()

        assert source.statuses == [200, 304, 200]


async def test_ids_stay_known_through_answers_that_do_not_report_them(
    begin: Begin, memory_path: Path
) -> None:
    async with begin() as (source, stage, _):
        stage.retention_h = 1
        stage.directory = memory_path / "other"
        stage.directory.mkdir()
        async with stage.life() as life:
            # The first answer of every hour is a 304, and a whole one follows.
            stage.now_s = FETCHED_TIME - FETCHED_TIME % 3600 + 3600 - 300.0
            for _ in range(60):
                await life.collect_well()
                stage.now_s += 600

            assert source.statuses.count(304) > 30
            assert life.ids == ["1", "2"]


async def test_a_clock_that_went_back_does_not_keep_an_answer_for_ever(begin: Begin) -> None:
    async with begin() as (source, stage, life):
        await life.collect_well()
        stage.now_s -= 10
        await life.collect_well()

        assert source.conditions == [None, None]


async def test_a_last_modified_time_is_used_where_there_is_no_etag(begin: Begin) -> None:
    async with begin() as (source, _stage, life):
        source.etag, source.last_modified = None, formatdate(FETCHED_TIME - 2, usegmt=True)
        await life.collect_well()
        await life.collect_well()

        assert source.conditions == [None, source.last_modified]
        assert source.statuses == [200, 304]


@pytest.mark.parametrize(
    "last_modified",
    [
        formatdate(FETCHED_TIME - 1, usegmt=True),
        formatdate(FETCHED_TIME + 99, usegmt=True),
        "yesterday",
        "x" * 99,
    ],
)
async def test_a_last_modified_time_that_another_change_may_share_is_not_used(
    begin: Begin, last_modified: str
) -> None:
    async with begin() as (source, _stage, life):
        source.etag, source.last_modified = None, last_modified
        await life.collect_well()
        await life.collect_well()

        assert source.conditions == [None, None]


@pytest.mark.parametrize("etag", ["v1", '"v1', '"' + "x" * 300 + '"', '"ä"'])
async def test_a_strange_etag_is_not_sent_back(begin: Begin, etag: str) -> None:
    async with begin() as (source, _stage, life):
        source.etag = etag
        await life.collect_well()
        await life.collect_well()

        assert source.conditions == [None, None]


@pytest.mark.parametrize(
    "columns",
    [
        {"parameter": '{"q": 1}'},
        {"request_header": '{"X-Key": "other"}'},
        {"response_key": "items[]"},
        {"response_is_list": False},
    ],
    ids=lambda columns: next(iter(columns)),
)
async def test_another_request_or_another_reading_of_the_answer_needs_the_whole(
    begin: Begin, columns: dict[str, object]
) -> None:
    async with begin() as (source, stage, life):
        await life.collect_well()
        stage.change(**columns)
        await life.collect_well()
        await life.collect_well()

        assert source.conditions == [None, None, '"v1"']


@pytest.mark.parametrize(
    "columns", [{"request_method": RequestMethod.POST}, {"event_id_key": None}], ids=["a post", "no ids"]
)
async def test_a_post_or_a_source_without_ids_is_always_asked_for_everything(
    begin: Begin, columns: dict[str, object]
) -> None:
    async with begin() as (source, stage, life):
        stage.change(**columns)
        await life.collect_well()
        await life.collect_well()

        assert source.conditions == [None, None]


async def test_an_option_turns_it_off(begin: Begin) -> None:
    async with begin() as (source, stage, life):
        stage.options = replace(stage.options, is_conditional=False)
        await life.collect_well()
        await life.collect_well()

        assert source.conditions == [None, None]


async def test_pages_are_not_conditional(begin: Begin) -> None:
    async with begin() as (source, stage, life):
        stage.options = replace(stage.options, pagination=PAGINATION[PageStyle.TOKEN])
        await life.collect_well()
        await life.collect_well()

        assert source.conditions == [None, None]


async def test_a_new_process_begins_with_the_whole_answer(begin: Begin) -> None:
    async with begin() as (source, stage, life):
        await life.collect_well()
        async with stage.life() as next_life:
            await next_life.collect_well()
            await next_life.collect_well()

            assert source.conditions == [None, None, '"v1"']
            assert next_life.ids == ["1", "2"]


async def test_an_answer_whose_events_were_not_kept_does_not_count(begin: Begin) -> None:
    async with begin() as (source, stage, life):
        stage.change(event_id_key="abs(id)")
        await life.collect()
        assert life.failure.reason is Reason.EXPRESSION
        await life.collect()

        assert source.conditions == [None, None]


async def test_a_304_that_nobody_asked_for_is_a_failure(begin: Begin) -> None:
    async with begin() as (source, stage, life):
        # The operator's own header: nothing tells which events it stands for.
        stage.change(request_header='{"If-None-Match": "\\"v1\\""}')
        await life.collect()

        assert source.statuses == [304]
        assert life.failure.reason is Reason.HTTP_STATUS
        assert "304" in str(life.failure)


async def test_no_secret_can_be_guessed_from_what_is_noted(begin: Begin, memory_path: Path) -> None:
    noted = []
    async with begin() as (_source, stage, life):
        stage.change(request_header='{"X-Key": "secret"}')
        await life.collect_well()
        noted.append(json.loads(life.cursor.bookmark or "")["request"])
        stage.directory = memory_path / "other"
        stage.directory.mkdir()
        async with stage.life() as other:
            await other.collect_well()
            noted.append(json.loads(other.cursor.bookmark or "")["request"])

    # The same request, but a digest with the key of each process.
    assert noted[0] != noted[1]
