"""`oase-agent check`: what it shows of one collection, in one answer or in several."""

import json
import re
import signal
from pathlib import Path

import pytest
from aiohttp import web

from oase_agent.simulators.sources import LogPageSimulator
from tests.integration.cli_stage import CliStage, Terminal, until
from tests.process.agent_process import AgentProcess


class Pages:
    """A source with as many pages as it is given, two lines each; `page` names the one that is wanted.

    Page `broken` cannot be answered; with `overlap` a page begins with the last line of the one before.
    """

    def __init__(self, pages: int, broken: int | None = None, *, overlap: bool = False) -> None:
        self.asked: list[int] = []
        self._pages = pages
        self._broken = broken
        self._overlap = overlap

    async def send(self, request: web.Request) -> web.StreamResponse:
        page = int(request.query.get("page", "1"))
        self.asked.append(page)
        if page == self._broken:
            return web.Response(status=500)
        lines = [{"id": f"{page}-{line}"} for line in (1, 2)] if page <= self._pages else []
        if self._overlap and page > 1:
            lines[:1] = [{"id": f"{page - 1}-2"}]
        return web.json_response({"lines": lines, "next": page + 1 if page < self._pages else None})


class Tagged:
    """A source that knows an ETag."""

    def __init__(self) -> None:
        self.conditions: list[str | None] = []

    async def send(self, request: web.Request) -> web.StreamResponse:
        condition = request.headers.get("If-None-Match")
        self.conditions.append(condition)
        if condition == '"v1"':
            return web.Response(status=304, headers={"ETag": '"v1"'})
        return web.json_response([{"id": "1"}], headers={"ETag": '"v1"'})


def paged(stage: CliStage, url: str, tmp_path: Path, **pagination: object) -> dict[str, str]:
    """Add a setting whose pages count up, and return the environment with its options."""
    stage.add("tickets", f"{url}/logs", RESPONSE_KEY="lines", EVENT_ID_KEY="id")
    options = {"style": "page", "parameter": "page", "first": 1, "size": 2, **pagination}
    file = tmp_path / "options.yaml"
    file.write_text(json.dumps({"version": 1, "sources": {"tickets": {"pagination": options}}}))
    return {**stage.environment, "SOURCE_OPTIONS_FILE": str(file)}


# -- events -----------------------------------------------------------------------------------------------


async def test_check_shows_the_first_three_events_and_how_many_more_there_are(
    stage: CliStage, terminal: Terminal
) -> None:
    stage.zabbix.fill(4, 100)
    stage.add_zabbix("web-01")
    section = (await terminal.run(stage.environment, "check")).section("setting 'web-01'")
    assert re.findall(r"new +(\d+):", section) == ["1001", "1002", "1003"]
    assert "and 2 more: --events shows more of them" in section


@pytest.mark.parametrize(
    ("number", "shown"), [("0", []), ("2", ["1001", "1002"]), ("9", ["1001", "1002", "1003"])]
)
async def test_check_shows_as_many_events_as_it_is_told(
    stage: CliStage, terminal: Terminal, number: str, shown: list[str]
) -> None:
    stage.zabbix.fill(2, 100)
    stage.add_zabbix("web-01")
    printed = await terminal.run(stage.environment, "check", "web-01", "--events", number)
    assert re.findall(r"new +(\d+):", printed.out) == shown
    assert "events        3 new, 0 already known" in printed.out


async def test_check_cuts_long_events_unless_it_is_told_to_show_them_in_full(
    stage: CliStage, terminal: Terminal
) -> None:
    async with LogPageSimulator() as source:
        stage.add("logs", f"{source.url}/logs", RESPONSE_KEY="lines", EVENT_ID_KEY="id")
        source.fill(1, 3000)
        cut = (await terminal.run(stage.environment, "check")).out
        full = (await terminal.run(stage.environment, "check", "--full")).out
    assert max(map(len, cut.splitlines())) < 600
    assert max(map(len, full.splitlines())) > 2000
    assert "_exastro_event_collection_settings_name: logs\n" in full
    assert re.search(r"_exastro_end_time: \d{10}\n", full)


@pytest.mark.parametrize("number", ["-1", "1001", "many", "٣"])
async def test_check_refuses_a_number_of_events_that_is_none(
    stage: CliStage, terminal: Terminal, capsys: pytest.CaptureFixture[str], number: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        await terminal.run(stage.environment, "check", f"--events={number}")
    assert ended.value.code == 2
    assert "give a number from 0 to 1000" in capsys.readouterr().err


# -- pages ------------------------------------------------------------------------------------------------


async def test_check_asks_for_three_pages_and_says_that_there_may_be_more(
    stage: CliStage, terminal: Terminal, tmp_path: Path
) -> None:
    async with LogPageSimulator() as source:
        source.odd_answer = pages = Pages(5)
        printed = await terminal.run(paged(stage, source.url, tmp_path), "check")
    section = printed.section("setting 'tickets'")
    assert printed.code == 0
    assert pages.asked == [1, 2, 3]
    assert re.findall(r"answer (\d) +status 200", section) == ["1", "2", "3"]
    assert "events        6 new, 0 already known" in section
    assert "not asked     for more than 3 answers: --answers sets how many" in section
    assert "as before, until the last answer is kept" in section
    assert "bookmark      type pages, pages 3, number 4" in section


async def test_check_asks_for_all_pages_if_it_may(
    stage: CliStage, terminal: Terminal, tmp_path: Path
) -> None:
    async with LogPageSimulator() as source:
        source.odd_answer = pages = Pages(2)
        environment = paged(stage, source.url, tmp_path)
        printed = await terminal.run(environment, "check", "tickets", "--answers", "9")
    assert pages.asked == [1, 2, 3]
    assert "events        4 new, 0 already known" in printed.out
    assert "bookmark" not in printed.out
    assert "as before" not in printed.out
    assert "not asked " not in printed.out


async def test_what_one_page_brought_is_known_to_the_next_one(
    stage: CliStage, terminal: Terminal, tmp_path: Path
) -> None:
    async with LogPageSimulator() as source:
        source.odd_answer = Pages(3, overlap=True)
        printed = await terminal.run(paged(stage, source.url, tmp_path), "check")
    assert "events        4 new, 2 already known" in printed.out
    assert "known         1-2, 2-2: collected before" in printed.out


async def test_check_shows_what_came_before_a_page_that_fails(
    stage: CliStage, terminal: Terminal, tmp_path: Path
) -> None:
    async with LogPageSimulator() as source:
        source.odd_answer = Pages(5, broken=2)
        printed = await terminal.run(paged(stage, source.url, tmp_path), "check")
    assert printed.code == 1
    (failure,) = printed.failures
    assert "answered with status 500" in failure
    assert "events        2 new, 0 already known" in printed.out
    assert "status 500 after" in printed.out


async def test_check_goes_on_with_a_collection_that_is_not_complete(
    stage: CliStage, terminal: Terminal, tmp_path: Path
) -> None:
    async with LogPageSimulator() as source:
        source.odd_answer = pages = Pages(5, broken=3)
        environment = paged(stage, source.url, tmp_path)
        async with AgentProcess.start(environment) as agent:
            await agent.logged("collection_failed")
            agent.send(signal.SIGTERM)
            await agent.ended()
        source.odd_answer = pages = Pages(5)
        before = stage.stored()
        printed = await terminal.run(environment, "check", "--answers", "1")
        assert stage.stored() == before
    section = printed.section("setting 'tickets'")
    assert pages.asked == [3]
    assert "goes on with the collection of " in section
    assert section.count("bookmark      type pages, pages 2, number 3\n") == 1
    assert section.count("bookmark      type pages, pages 3, number 4\n") == 1
    assert "events        2 new, 0 already known" in section


async def test_check_asks_for_the_whole_answer_where_the_agent_asks_for_changes_only(
    stage: CliStage, terminal: Terminal
) -> None:
    async with LogPageSimulator() as source:
        source.odd_answer = tagged = Tagged()
        stage.add("logs", f"{source.url}/logs", EVENT_ID_KEY="id")
        async with AgentProcess.start({**stage.environment, "EXECUTE_INTERVAL": "3"}) as agent:
            await until(lambda: '"v1"' in tagged.conditions)
            agent.send(signal.SIGTERM)
            await agent.ended()
        tagged.conditions.clear()
        printed = await terminal.run(stage.environment, "check")
    assert tagged.conditions == [None]
    assert "bookmark      type validators, full_s " in printed.out
    assert "events        0 new, 1 already known" in printed.out
    assert "known         1: collected before" in printed.out
