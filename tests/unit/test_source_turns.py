"""When requests over HTTP are sent: slots, hosts with a budget or a pause, and what their waits cost.

Real servers; the clock of the budget is the test's own, and whoever waits moves it on.
"""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from oase_agent.errors import SourceUnavailable
from oase_agent.model import Secret
from oase_agent.sources.host_budget import HostBudget, HostBusy
from oase_agent.sources.http import HttpSource
from oase_agent.sources.options import OAuth2Client, SourceOptions
from oase_agent.sources.turns import Turns
from tests.unit.instant_time import in_no_time, now_s
from tests.unit.source_servers import (
    GET_SETTING,
    Server,
    a_source,
    answering,
    fetch_bytes,
    http_answer,
    redirect_to,
    serving,
)

OTHER_SETTING = replace(GET_SETTING, name="another source")
INTERVAL_S = 3.0


class Stage:
    """A source, and the hosts that it asks."""

    def __init__(self, stack: AsyncExitStack, directory: Path, requests_per_minute: int = 0) -> None:
        self._stack = stack
        self._directory = directory
        self.now_s = 0.0
        self.waits: list[float] = []
        self.budget = HostBudget(
            requests_per_minute,
            longest_wait_s=lambda _setting: INTERVAL_S,
            monotonic=lambda: self.now_s,
            sleep=self._sleep,
            random=lambda: 0.0,
        )

    async def source(self, concurrency: int = 128, **changes: Any) -> HttpSource:
        turns = Turns(concurrency, self.budget)
        return await self._stack.enter_async_context(a_source(self._directory, turns=turns, **changes))

    async def server(self, answer: bytes) -> Server:
        return await self._stack.enter_async_context(serving(answering(answer)))

    async def _sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now_s += seconds


async def test_429_with_retry_after_is_for_every_setting_of_the_host(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        stage = Stage(stack, tmp_path)
        source = await stage.source()
        limited = await stage.server(http_answer(b"", 429, Retry_After="60"))
        other = await stage.server(http_answer(b"[]"))

        with pytest.raises(SourceUnavailable) as refused:
            await fetch_bytes(source, limited.url())
        with pytest.raises(HostBusy) as busy:
            await fetch_bytes(source, limited.url("/else"), OTHER_SETTING)
        assert await fetch_bytes(source, other.url(), OTHER_SETTING) == b"[]"

        assert refused.value.retry_after_s == 60.0
        assert busy.value.retry_after_s == 60.0 - INTERVAL_S
        assert len(limited.requests) == 1
        stage.now_s += 60
        with pytest.raises(SourceUnavailable):
            await fetch_bytes(source, limited.url(), OTHER_SETTING)
        assert len(limited.requests) == 2


async def test_404_with_retry_after_is_for_its_own_setting_alone(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        stage = Stage(stack, tmp_path)
        source = await stage.source()
        server = await stage.server(http_answer(b"", 404, Retry_After="60"))
        for setting in (GET_SETTING, OTHER_SETTING):
            with pytest.raises(SourceUnavailable) as refused:
                await fetch_bytes(source, server.url(), setting)
            assert refused.value.retry_after_s == 60.0
        assert len(server.requests) == 2


async def test_an_answer_that_uses_up_the_limit_is_kept_and_the_host_left_alone(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        stage = Stage(stack, tmp_path)
        source = await stage.source()
        answer = http_answer(b"[1]", X_RateLimit_Remaining="0", X_RateLimit_Reset="1700000030")
        server = await stage.server(answer)

        assert await fetch_bytes(source, server.url()) == b"[1]"
        with pytest.raises(HostBusy):
            await fetch_bytes(source, server.url(), OTHER_SETTING)

        stage.now_s += 28
        assert await fetch_bytes(source, server.url(), OTHER_SETTING) == b"[1]"
        assert stage.waits == [2.0]


async def test_every_redirect_takes_from_the_budget_of_its_host_and_waits_for_it(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        stage = Stage(stack, tmp_path, requests_per_minute=6)
        source = await stage.source()
        end = await stage.server(http_answer(b"[]"))
        for _ in range(2):
            start = await stage.server(redirect_to(end.url()))
            stage.waits.clear()
            assert await fetch_bytes(source, start.url()) == b"[]"
        # Longer than the interval: the first request would have been in vain.
        assert stage.waits == [10.0]


async def test_a_token_takes_from_the_budget_of_its_host(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        stage = Stage(stack, tmp_path, requests_per_minute=6)
        tokens = await stage.server(http_answer(b'{"access_token": "t", "token_type": "Bearer"}'))
        client = OAuth2Client(tokens.url(), "agent", Secret("secret"))
        source = await stage.source(options_of=lambda _setting: SourceOptions(oauth2=client))
        server = await stage.server(http_answer(b"[]"))

        assert await fetch_bytes(source, server.url()) == b"[]"

        assert server.only_request.headers["authorization"] == "Bearer t"
        assert not stage.budget.is_free(f"127.0.0.1:{tokens.port}", "a")


async def test_who_waits_for_a_host_leaves_its_slot_to_others(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        stage = Stage(stack, tmp_path)
        waits, may_go_on = asyncio.Event(), asyncio.Event()

        async def sleep(seconds: float) -> None:
            waits.set()
            await may_go_on.wait()
            stage.now_s += seconds

        stage.budget = HostBudget(monotonic=lambda: stage.now_s, sleep=sleep, random=lambda: 0.0)
        source = await stage.source(concurrency=1)
        held, other = await stage.server(http_answer(b'"held"')), await stage.server(http_answer(b"[]"))
        stage.budget.hold(f"127.0.0.1:{held.port}", 2)
        waiting = asyncio.create_task(fetch_bytes(source, held.url()))
        await waits.wait()

        async with asyncio.timeout(10):
            assert await fetch_bytes(source, other.url(), OTHER_SETTING) == b"[]"
        assert not held.requests
        may_go_on.set()
        assert await waiting == b'"held"'


async def test_who_gave_up_while_it_waited_has_no_slot_to_return(tmp_path: Path) -> None:
    turns = Turns(1, budget := HostBudget())
    budget.hold("held:80", 1000)

    async def wait_for_host() -> None:
        async with turns.turn("a", 10) as turn:
            await turn.may_ask("held:80")

    waiting = asyncio.create_task(wait_for_host())
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    async with turns.turn("b", 10):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05), turns.turn("c", 10):
                pytest.fail("two collections have the only slot")


def test_waiting_for_a_host_does_not_use_up_the_time_of_the_source() -> None:
    async def slow_host() -> tuple[float, float]:
        budget = HostBudget(monotonic=now_s, random=lambda: 0.0)
        async with Turns(1, budget).turn("a", 30) as turn:
            before_s = turn.deadline
            budget.hold("held:80", 500)
            await turn.may_ask("held:80")
            return before_s, turn.deadline

    assert in_no_time(slow_host()) == (30.0, 530.0)


def test_nor_does_waiting_for_a_slot_afterwards() -> None:
    async def no_slot() -> float:
        budget = HostBudget(monotonic=now_s, random=lambda: 0.0)
        turns = Turns(1, budget)
        budget.hold("held:80", 5)

        async def other() -> None:
            async with turns.turn("b", 30):
                await asyncio.sleep(100)

        async with turns.turn("a", 30) as turn:
            assert turn.deadline == 30.0
            running = asyncio.create_task(other())
            await turn.may_ask("held:80")
            await running
            return turn.deadline

    assert in_no_time(no_slot()) == 130.0
