"""An answer in which RESPONSE_KEY selects nothing is passed on, and counts as none (decision 14)."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from oase_agent.sources.options import SourceOptions
from tests.unit.pages_stage import PagesLife, PagesStage, ids, new_stage
from tests.unit.source_servers import FETCHED_TIME, http_answer

REFUSAL = b'{"error": {"code": -32602}}'
REASON = "_exastro_not_available"
HOUR_S = 3600


@asynccontextmanager
async def collected_once(
    directory: Path, *, retention_h: int = 168
) -> AsyncIterator[tuple[PagesStage, PagesLife]]:
    """Give a source that answers all at once, whose first answer brought events 1 to 3."""
    async with new_stage(directory)(count=3) as stage:
        stage.options = SourceOptions()
        stage.source.size = 100
        stage.retention_h = retention_h
        async with stage.life() as life:
            await life.collect_well()
            assert life.ids == ids(1, 3)
            yield stage, life


def refuse(stage: PagesStage, raw: bytes = REFUSAL, **headers: str) -> None:
    """Let the next request be refused with status 200."""
    stage.source.instead[len(stage.source.lines) + 1] = http_answer(raw, 200, **headers)


@pytest.mark.parametrize(
    "raw",
    [REFUSAL, b'{"items": null}', b"{}", b'"maintenance"', b"null"],
    ids=["an error", "null", "nothing", "a text", "null itself"],
)
async def test_time_and_last_event_stay_where_they_were(tmp_path: Path, raw: bytes) -> None:
    async with collected_once(tmp_path) as (stage, life):
        before = life.cursor
        stage.now_s += 100
        refuse(stage, raw)
        await life.collect_well()
        assert [event.get(REASON) for event in life.events[3:]] == ["RESPONSE_KEY not found"]
        assert life.cursor == before
        assert json.loads(before.last_event or b"")["id"] == "3"

        stage.source.make(4)
        await life.collect_well()
        assert life.events[4]["id"] == "4"
        assert life.cursor.last_fetched_time == stage.now_s


@pytest.mark.parametrize(("raw", "reasons"), [(b"[]", []), (b'[{"id": "9"}]', ["RESPONSE_KEY not found"])])
async def test_a_list_is_an_answer_whatever_is_made_of_it(
    tmp_path: Path, raw: bytes, reasons: list[str]
) -> None:
    async with collected_once(tmp_path) as (stage, life):
        stage.now_s += 100
        refuse(stage, raw)
        await life.collect_well()

        assert [event[REASON] for event in life.events[3:]] == reasons
        assert life.cursor.last_fetched_time == FETCHED_TIME + 100


async def test_known_ids_outlive_any_number_of_refusals(tmp_path: Path) -> None:
    async with collected_once(tmp_path, retention_h=1) as (stage, life):
        for _ in range(50):
            stage.now_s += HOUR_S
            refuse(stage)
            await life.collect_well()
        await life.collect_well()

        assert [event["id"] for event in life.events if "id" in event] == ids(1, 3)


async def test_what_the_source_noted_with_its_refusal_is_not_asked_for(tmp_path: Path) -> None:
    async with collected_once(tmp_path) as (stage, life):
        refuse(stage, ETag='"refusal"')
        await life.collect_well()
        await life.collect_well()

        assert [request.headers.get("if-none-match") for request in stage.source.server.requests] == [
            None
        ] * 3
