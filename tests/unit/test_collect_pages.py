"""Collections in pages over real sockets: every style, and crashes between pages; events are counted one by one."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from oase_agent.errors import Reason
from oase_agent.model import RequestMethod
from oase_agent.sources.options import PageStyle
from tests.unit.pages_stage import PAGE_SIZE, PAGINATION, NewStage, ids, instead_of, new_stage, page
from tests.unit.source_servers import FETCHED_TIME, http_answer

STYLES = list(PageStyle)


@pytest.fixture
def stage_of(memory_path: Path) -> NewStage:
    return new_stage(memory_path)


# -- all pages, each once -----------------------------------------------------------------------------------


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 7])
async def test_every_event_of_every_page_is_collected_once(
    stage_of: NewStage, style: PageStyle, count: int
) -> None:
    async with stage_of(style, count) as stage, stage.life() as life:
        await life.collect_well()
        await life.collect_well()

        assert life.ids == ids(1, count)
        assert (life.cursor.last_fetched_time, life.cursor.bookmark) == (FETCHED_TIME, None)


@pytest.mark.parametrize("style", STYLES)
async def test_a_post_is_repeated_with_the_place_in_its_body_or_url(
    stage_of: NewStage, style: PageStyle
) -> None:
    async with stage_of(style) as stage, stage.life() as life:
        stage.change(
            request_method=RequestMethod.POST,
            parameter='{"a": [1], "paging": {"limit": 2}}',
            request_header='{"Content-Type": "application/json"}',
        )
        await life.collect_well()

        assert life.ids == ids(1, 5)
        requests = stage.source.server.requests
        assert len(requests) >= 3
        for request in requests:
            body = json.loads(request.body)
            body["paging"].pop("cursor", None)
            assert body == {"a": [1], "paging": {"limit": 2}}
            assert request.headers["content-type"] == "application/json"


async def test_pages_are_asked_for_with_what_the_setting_sends(stage_of: NewStage) -> None:
    async with stage_of(PageStyle.TOKEN) as stage, stage.life() as life:
        stage.change(parameter='{"q": "あ", "paging.cursor": "mine"}', request_header='{"X-Key": "k"}')
        stage.source.instead[1] = page(1, meta={"next": "t &2"})
        stage.source.instead[2] = page(2)
        await life.collect_well()

        assert stage.source.lines == [
            "/items?q=%E3%81%82&paging.cursor=mine",
            "/items?q=%E3%81%82&paging.cursor=t+%262",
        ]
        assert [request.headers["x-key"] for request in stage.source.server.requests] == ["k", "k"]


async def test_ids_that_move_to_a_later_page_meanwhile_are_collected_once(stage_of: NewStage) -> None:
    async with stage_of(PageStyle.PAGE) as stage, stage.life() as life:
        stage.source.instead[2] = page(2, 3)
        stage.source.instead[3] = page(4, 5)
        await life.collect_well()

        assert life.ids == ids(1, 5)


async def test_a_source_that_filters_may_have_pages_without_events(stage_of: NewStage) -> None:
    async with stage_of(PageStyle.LINK_HEADER) as stage, stage.life() as life:
        empty = json.dumps({"items": []}).encode()
        instead_of(
            stage.source,
            request1=http_answer(empty, Link="</items?start=90>; rel=next"),
            request2=http_answer(empty, Link="</items?start=91>; rel=next"),
            request3=http_answer(empty, Link="</items?start=0>; rel=next"),
        )
        await life.collect_well()

        assert life.ids == ids(1, 5)


@pytest.mark.parametrize(
    "end",
    [
        pytest.param(page(), id="an-empty-list"),
        pytest.param(http_answer(b"{}"), id="no-list"),
        pytest.param(http_answer(b'{"items": null, "total": 2}'), id="a-list-of-null"),
        pytest.param(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n", id="no-content"),
    ],
)
async def test_beyond_the_last_page_is_the_end_and_no_event(stage_of: NewStage, end: bytes) -> None:
    async with stage_of(PageStyle.PAGE, 2) as stage, stage.life() as life:
        stage.source.instead[2] = end
        await life.collect_well()

        assert life.ids == ["1", "2"]
        assert (life.cursor.last_fetched_time, life.cursor.bookmark) == (FETCHED_TIME, None)


async def test_an_error_in_clothes_of_success_is_not_the_end(stage_of: NewStage) -> None:
    async with stage_of(PageStyle.PAGE, 5) as stage, stage.life() as life:
        stage.now_s += 100
        before = life.cursor.last_fetched_time
        stage.source.instead[2] = http_answer(b'{"error": {"code": -32602}}')
        await life.collect()
        assert life.failure.reason is Reason.MALFORMED
        assert life.cursor.last_fetched_time == before
        await life.collect()

        assert life.ids == ids(1, 5)
        assert life.cursor.last_fetched_time == stage.now_s


@pytest.mark.parametrize("style", list(PageStyle))
async def test_a_first_page_without_response_key_completes_nothing(
    stage_of: NewStage, style: PageStyle
) -> None:
    async with stage_of(style) as stage, stage.life() as life:
        before = life.cursor.last_fetched_time
        stage.now_s += 100
        # A link to go on with makes it no better.
        stage.source.instead[1] = http_answer(
            b'{"error": {"code": -32602}, "meta": {"next": "/items?start=2"}}',
            Link="</items?start=2>; rel=next",
        )
        await life.collect_well()
        assert [event["_exastro_not_available"] for event in life.events] == ["RESPONSE_KEY not found"]
        assert (life.cursor.last_fetched_time, life.cursor.bookmark) == (before, None)
        assert len(stage.source.lines) == 1
        await life.collect_well()

        assert [event["id"] for event in life.events[1:]] == ids(1, 5)
        assert life.cursor.last_fetched_time == stage.now_s


async def test_a_later_page_without_what_an_expression_selects_lets_the_collection_begin_anew(
    stage_of: NewStage,
) -> None:
    async with stage_of(PageStyle.TOKEN) as stage, stage.life() as life:
        stage.change(response_key="items[?id]")
        before = life.cursor.last_fetched_time
        stage.now_s += 100
        stage.source.instead[2] = http_answer(b'{"error": {"code": -32602}, "meta": {"next": "t4"}}')
        await life.collect_well()
        assert (life.cursor.last_fetched_time, stage.source.asked_ids) == (before, ["", "t2"])
        await life.collect_well()

        assert stage.source.asked_ids == ["", "t2", "", "t2", "t4"]
        assert [event["id"] for event in life.events if "id" in event] == ids(1, 5)
        assert life.cursor.last_fetched_time == stage.now_s


# -- what events and cursor are like ------------------------------------------------------------------------


async def test_the_cursor_is_when_the_collection_began_and_an_event_when_its_page_was_asked_for(
    stage_of: NewStage,
) -> None:
    async with stage_of(PageStyle.TOKEN, 3) as stage, stage.life() as life:
        stage.source.held = {2}
        await life.collect_until_killed()
        stage.now_s += 500
        await life.collect_well()

        times = {event["id"]: event["_exastro_fetched_time"] for event in life.events}
        assert times == {"1": FETCHED_TIME, "2": FETCHED_TIME, "3": FETCHED_TIME + 500}
        assert [event["_exastro_end_time"] - event["_exastro_fetched_time"] for event in life.events] == [
            60
        ] * 3
        assert life.cursor.last_fetched_time == FETCHED_TIME


async def test_the_time_of_an_event_is_before_the_request_of_its_page(stage_of: NewStage) -> None:
    async with stage_of(PageStyle.TOKEN) as stage, stage.life() as life:

        def take_long() -> None:
            stage.now_s += 10

        stage.source.on_request = take_long
        await life.collect_well()

        times = [event["_exastro_fetched_time"] - FETCHED_TIME for event in life.events]
        assert times == [0, 0, 10, 10, 20]


async def test_what_happens_during_a_collection_is_in_the_next_window(stage_of: NewStage) -> None:
    async with stage_of(PageStyle.OFFSET, 0) as stage, stage.life() as life:
        stage.change(parameter='{"since": {{ EXASTRO_LAST_FETCHED_TIMESTAMP }}}')
        await life.collect_well()
        stage.source.make(1, 2, 3, at=FETCHED_TIME + 5)
        stage.now_s += 10
        stage.source.held = {3}
        await life.collect_until_killed()
        stage.now_s += 10
        # Sorted to the front, where no further page of this collection shows it.
        stage.source.events.insert(0, {"id": "9", "at": FETCHED_TIME + 12})
        await life.collect_well()
        await life.collect_well()

        assert sorted(life.ids) == ["1", "2", "3", "9"]


@pytest.mark.parametrize("is_killed", [False, True])
async def test_the_newest_event_of_all_pages_is_that_of_the_collection(
    stage_of: NewStage, is_killed: bool
) -> None:
    async with stage_of(PageStyle.TOKEN, 0) as stage:
        stage.source.make(7, 100, 8, 9, 10)
        stage.change(parameter='{"after": {{ EXASTRO_LAST_FETCHED_EVENT.id | default(0) }}}')
        if is_killed:
            async with stage.life() as life:
                stage.source.held = {2}
                await life.collect_until_killed()
                assert life.cursor.last_event is None
        async with stage.life() as life:
            await life.collect_well()
            assert json.loads(life.cursor.last_event or b"")["id"] == "100"
            # Rendered again as it was: the newest event counts from the next collection on.
            assert all("after=0" in line for line in stage.source.lines)
            await life.collect_well()
            assert "after=100" in stage.source.lines[-1]


async def test_the_request_of_an_unfinished_collection_keeps_its_times(stage_of: NewStage) -> None:
    async with stage_of(PageStyle.TOKEN) as stage, stage.life() as life:
        stage.change(parameter='{"to": "{{ EXASTRO_CURRENT_TIME.timestamp() }}"}')
        stage.source.held = {2}
        await life.collect_until_killed()
        stage.now_s += 3600
        await life.collect_well()

        assert {line.partition("&paging")[0] for line in stage.source.lines} == {
            f"/items?to={float(FETCHED_TIME)}"
        }


# -- a crash between pages ----------------------------------------------------------------------------------


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("killed_at", [1, 2, 3])
async def test_a_kill_between_pages_loses_nothing_doubles_nothing_and_asks_for_no_page_twice(
    stage_of: NewStage, style: PageStyle, killed_at: int
) -> None:
    async with stage_of(style, 6) as stage:
        stage.source.held = {killed_at}
        async with stage.life() as life:
            await life.collect_until_killed()
            assert len(life.ids) == PAGE_SIZE * (killed_at - 1)
        async with stage.life() as life:
            await life.collect_well()
            assert life.ids == ids(1, 6)
            places = stage.source.asked_ids
            assert places.pop(killed_at - 1) == places[killed_at - 1]
            assert len(set(places)) == len(places)
            assert life.cursor.bookmark is None


async def test_a_kill_after_the_end_does_not_go_on_where_the_collection_ended(stage_of: NewStage) -> None:
    async with stage_of(PageStyle.PAGE, 2) as stage:
        async with stage.life() as life:
            await life.collect_well()  # the last page was empty, which writes no file
        async with stage.life() as life:
            assert (life.cursor.last_fetched_time, life.cursor.bookmark) == (FETCHED_TIME, None)
            stage.source.make(3)
            await life.collect_well()
            assert life.ids == ids(1, 3)


async def test_a_collection_of_known_events_writes_nothing(stage_of: NewStage) -> None:
    async with stage_of(PageStyle.PAGE, 5) as stage, stage.life() as life:
        await life.collect_well()
        directory = stage.directory / "spool"
        before = {path.name for path in directory.rglob("*")}
        for _ in range(3):
            stage.now_s += 3
            await life.collect_well()

        assert {path.name for path in directory.rglob("*")} == before


@pytest.mark.parametrize(
    "change",
    [{"url": "changed"}, {"parameter": '{"q": 1}'}],
    ids=["url", "parameter"],
)
async def test_a_changed_setting_begins_at_its_first_page(stage_of: NewStage, change: dict[str, Any]) -> None:
    async with stage_of(PageStyle.TOKEN) as stage:
        stage.source.held = {2}
        async with stage.life() as life:
            await life.collect_until_killed()
        if "url" in change:
            change = {"url": stage.source.server.url("/other")}
        stage.change(**change)
        async with stage.life() as life:
            await life.collect_well()
            assert stage.source.asked_ids == ["", "t2", "", "t2", "t4"]
            assert life.ids == ids(1, 5)


async def test_other_options_begin_at_the_first_page(stage_of: NewStage) -> None:
    async with stage_of(PageStyle.PAGE) as stage:
        stage.source.held = {2}
        async with stage.life() as life:
            await life.collect_until_killed()
        stage.source.style = PageStyle.OFFSET
        stage.options = replace(stage.options, pagination=PAGINATION[PageStyle.OFFSET])
        async with stage.life() as life:
            await life.collect_well()
            assert stage.source.asked_ids == ["1", "2", "0", "2", "4"]
            assert life.ids == ids(1, 5)


async def test_pages_that_are_taken_away_leave_one_answer(stage_of: NewStage) -> None:
    async with stage_of(PageStyle.TOKEN, 2) as stage:
        stage.source.size = 1
        stage.source.held = {2}
        async with stage.life() as life:
            await life.collect_until_killed()
        stage.options = replace(stage.options, pagination=None)
        stage.source.size = 10
        async with stage.life() as life:
            await life.collect_well()
            assert life.ids == ["1", "2"]
