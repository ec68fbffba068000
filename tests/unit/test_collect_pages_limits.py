"""What ends a collection in pages: circles, refused places, caps, a full spool; and ids on pages stay known."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest

from oase_agent.errors import Reason
from oase_agent.sources.options import PageStyle, Pagination
from oase_agent.spool.limits import VolumeSpace
from tests.unit.pages_stage import NewStage, PagedSource, ids, instead_of, new_stage, page
from tests.unit.source_servers import FETCHED_TIME, http_answer, redirect_to

STYLES = list(PageStyle)


@pytest.fixture
def stage_of(memory_path: Path) -> NewStage:
    return new_stage(memory_path)


# -- circles ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("style", [PageStyle.TOKEN, PageStyle.NEXT_URL, PageStyle.LINK_HEADER])
async def test_a_source_that_leads_back_is_stopped_and_what_came_is_kept(
    stage_of: NewStage, style: PageStyle
) -> None:
    async with stage_of(style) as stage:
        source = stage.source
        async with stage.life() as life:
            for number in range(2, 100, 2):  # pages 1, 2, 1, 2, …
                back = {"meta": {"next": "t2" if style is PageStyle.TOKEN else "/items?start=2"}}
                body = json.dumps({"items": [{"id": str(number)}], **back}).encode()
                source.instead[number] = http_answer(body, Link="</items?start=2>; rel=next")
            await life.collect()

            assert life.failure.reason is Reason.PAGINATION
            assert "'paged'" in str(life.failure)
            assert "SOURCE_OPTIONS_FILE" in str(life.failure)
            assert len(source.lines) == 2
            assert sorted(life.ids) == ["1", "2"]
            assert life.cursor.last_fetched_time == FETCHED_TIME
        # The next one, also of another process, begins anew, and is well when the source is.
        source.instead.clear()
        async with stage.life() as life:
            await life.collect_well()
            assert source.asked_ids[2] == ""
            assert sorted(life.ids) == ids(1, 5)


async def test_a_source_that_ignores_the_page_is_stopped_at_its_second_page(stage_of: NewStage) -> None:
    async with stage_of(PageStyle.PAGE) as stage, stage.life() as life:
        for number in range(1, 50):
            stage.source.instead[number] = page(1, 2)
        await life.collect()
        assert life.failure.reason is Reason.PAGINATION
        assert "pagination.parameter" in str(life.failure)
        assert len(stage.source.lines) == 2
        await life.collect()

        assert len(stage.source.lines) == 4
        assert life.ids == ["1", "2"]


async def test_a_circle_over_many_runs_is_found(stage_of: NewStage) -> None:
    async with stage_of(PageStyle.TOKEN) as stage, stage.life() as life:
        stage.paginate(max_pages=1)
        for number in range(1, 60):
            following = f"t{number % 5}"  # five places in a circle, one in a run
            stage.source.instead[number] = page(number, meta={"next": following})
        runs = 0
        while not life.telemetry.failures:
            await life.collect()
            runs += 1
            assert runs < 30

        assert life.failure.reason is Reason.PAGINATION


async def test_the_same_place_again_without_events_is_the_end(stage_of: NewStage) -> None:
    async with stage_of(PageStyle.TOKEN) as stage, stage.life() as life:
        instead_of(stage.source, request1=page(1, meta={"next": "a"}), request2=page(meta={"next": "a"}))
        await life.collect_well()

        assert life.ids == ["1"]
        assert life.cursor.bookmark is None


# -- places that are refused --------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 404, 410])
async def test_a_place_that_the_source_refuses_is_given_up_at_once(stage_of: NewStage, status: int) -> None:
    async with stage_of(PageStyle.TOKEN) as stage, stage.life() as life:
        stage.source.instead[2] = http_answer(b"{}", status)
        await life.collect()
        assert life.failure.reason is Reason.HTTP_STATUS
        await life.collect()

        assert stage.source.asked_ids == ["", "t2", "", "t2", "t4"]
        assert life.ids == ids(1, 5)


async def test_a_place_that_may_be_refused_is_tried_three_times(stage_of: NewStage) -> None:
    async with stage_of(PageStyle.TOKEN) as stage, stage.life() as life:
        for number in (2, 3, 4):
            stage.source.instead[number] = http_answer(b"{}", 500)
        for _ in range(4):
            await life.collect()

        assert stage.source.asked_ids == ["", "t2", "t2", "t2", "", "t2", "t4"]
        assert life.ids == ids(1, 5)


@pytest.mark.parametrize("status", [401, 429, 503])
async def test_trouble_that_is_not_about_the_place_leaves_it(stage_of: NewStage, status: int) -> None:
    async with stage_of(PageStyle.TOKEN) as stage, stage.life() as life:
        for number in range(2, 7):
            stage.source.instead[number] = http_answer(b"{}", status)
        for _ in range(6):
            await life.collect()
            stage.now_s += 100

        assert stage.source.asked_ids == ["", *["t2"] * 6, "t4"]
        assert life.ids == ids(1, 5)


# -- caps ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("style", STYLES)
async def test_a_run_ends_with_its_pages_and_the_next_one_goes_on(
    stage_of: NewStage, style: PageStyle
) -> None:
    async with stage_of(style, 7) as stage, stage.life() as life:
        stage.paginate(max_pages=3)
        assert life.cursor.last_fetched_time == FETCHED_TIME
        stage.now_s += 5
        await life.collect_well()
        assert life.ids == ids(1, 6)
        assert life.cursor.last_fetched_time == FETCHED_TIME
        await life.collect_well()

        assert life.ids == ids(1, 7)
        assert life.telemetry.done == 2
        assert life.cursor.last_fetched_time == FETCHED_TIME + 5


async def test_a_run_ends_with_its_bytes_and_the_next_one_goes_on(stage_of: NewStage) -> None:
    async with stage_of(PageStyle.TOKEN, 7) as stage, stage.life() as life:
        stage.paginate(max_bytes=1)
        for collected in (2, 4, 6, 7):
            await life.collect_well()
            assert life.ids == ids(1, collected)


async def test_a_full_spool_stops_between_pages(stage_of: NewStage) -> None:
    async with stage_of(PageStyle.TOKEN) as stage:
        stage.source.held = {2}
        stage.space = VolumeSpace(10**6, 10**6)
        stage.max_spool_bytes = 100
        async with stage.life() as life:
            await life.collect()
            assert life.failure.reason is Reason.SPOOL_FULL
            assert life.ids == ["1", "2"]
            assert len(stage.source.lines) == 1
        stage.source.held.clear()
        stage.max_spool_bytes = 10**6
        async with stage.life() as life:
            await life.collect_well()
            assert life.ids == ids(1, 5)


# -- ids that stay known ------------------------------------------------------------------------------------


async def test_ids_on_every_page_stay_known_for_as_long_as_they_are_reported(stage_of: NewStage) -> None:
    async with stage_of(PageStyle.TOKEN, 5) as stage:
        stage.retention_h = 1
        async with stage.life() as life:
            for _ in range(30):
                await life.collect_well()
                stage.now_s += 1800

            assert life.ids == ids(1, 5)


async def test_ids_that_no_page_reports_expire(stage_of: NewStage) -> None:
    async with stage_of(PageStyle.TOKEN, 5) as stage:
        stage.retention_h = 1
        async with stage.life() as life:
            await life.collect_well()
            gone, stage.source.events = stage.source.events, stage.source.events[:3]
            for _ in range(8):
                stage.now_s += 1800
                await life.collect_well()
            stage.source.events = gone
            await life.collect_well()

            assert life.ids == [*ids(1, 5), "4", "5"]


# -- many at once -------------------------------------------------------------------------------------------


async def test_a_setting_without_a_fitting_option_says_which(stage_of: NewStage) -> None:
    async with stage_of(PageStyle.TOKEN) as stage, stage.life() as life:
        stage.options = replace(stage.options, pagination=Pagination(PageStyle.TOKEN, path="meta.next"))
        await life.collect()

        assert life.failure.reason is Reason.INVALID_SETTING
        assert "pagination.parameter" in str(life.failure)


async def test_pages_of_many_settings_do_not_wait_for_each_other(stage_of: NewStage) -> None:
    async with stage_of(PageStyle.TOKEN, 9) as stage, stage.life() as life:
        settings = [replace(stage.setting, name=f"paged {number}") for number in range(20)]
        async with asyncio.timeout(30):
            await asyncio.gather(*map(life.collector.collect, settings))

        assert life.telemetry.failures == []
        for setting in settings:
            stage.setting = setting
            assert life.ids == ids(1, 9)


# -- where the next page is ---------------------------------------------------------------------------------


async def test_credentials_do_not_go_along_to_where_a_redirect_led(stage_of: NewStage) -> None:
    async with stage_of(PageStyle.NEXT_URL, 3) as stage, stage.life() as life:
        elsewhere = PagedSource(PageStyle.NEXT_URL, stage.source.events)
        async with elsewhere.serving():
            stage.change(request_header='{"Authorization": "secret"}')
            stage.source.instead[1] = redirect_to(elsewhere.server.url("/items"))
            await life.collect_well()

            assert life.ids == ids(1, 3)
            assert [request.headers.get("authorization") for request in stage.source.server.requests] == [
                "secret"
            ]
            assert [request.headers.get("authorization") for request in elsewhere.server.requests] == [
                None,
                None,
            ]


async def test_a_next_page_elsewhere_is_not_asked_and_the_page_that_names_it_not_kept(
    stage_of: NewStage,
) -> None:
    async with stage_of(PageStyle.NEXT_URL) as stage, stage.life() as life:
        elsewhere = PagedSource(PageStyle.NEXT_URL)
        async with elsewhere.serving():
            stage.source.instead[1] = page(1, meta={"next": elsewhere.server.url("/items")})
            await life.collect()

            assert life.failure.reason is Reason.PAGINATION
            assert elsewhere.server.requests == []
            assert life.ids == []
