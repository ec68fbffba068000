"""Hundreds of drawn stories, the same ones each time; `make test-long` tells thousands of others (tests/long)."""

import asyncio
from collections.abc import Callable

import pytest

from tests.crash.random_steps import tell_drawn_stories
from tests.crash.random_story import Teller

STORIES = 300


def test_drawn_stories_lose_nothing_and_double_nothing(
    loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch, count: Callable[[str, object], None]
) -> None:
    teller = Teller(loop, monkeypatch)

    tell_drawn_stories(teller, STORIES, is_repeatable=True)

    count("drawn stories", teller.told())
