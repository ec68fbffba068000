"""Hundreds of drawn stories, the same ones each time; `make test-long` tells thousands of others (tests/long)."""

import asyncio
import logging
from collections.abc import Callable, Iterator

import pytest

from tests.crash.random_steps import tell_drawn_stories
from tests.crash.random_story import Teller
from tests.crash.world import new_loop

STORIES = 300


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = new_loop()
    logging.disable(logging.CRITICAL)  # hundreds of lives have much to say
    yield loop
    logging.disable(logging.NOTSET)
    loop.close()


def test_drawn_stories_lose_nothing_and_double_nothing(
    loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch, count: Callable[[str, object], None]
) -> None:
    teller = Teller(loop, monkeypatch)

    tell_drawn_stories(teller, STORIES, is_repeatable=True)

    count("drawn stories", teller.told())
