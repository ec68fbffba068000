"""Thousands of drawn stories, other ones each time; a failing one is printed in its shortest form.

The environment sets `STORIES`.
"""

import asyncio
import logging
import os
from collections.abc import Callable, Iterator

import pytest

from tests.crash.random_steps import tell_drawn_stories
from tests.crash.random_story import Teller
from tests.crash.test_seeded_mistakes import MISTAKES, Mistake
from tests.crash.world import new_loop

pytestmark = pytest.mark.long

STORIES = int(os.environ.get("STORIES", "10000"))
# Within so many stories each seeded mistake must have done harm.
STORIES_PER_MISTAKE = 2_000


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = new_loop()
    logging.disable(logging.CRITICAL)  # thousands of lives have much to say
    yield loop
    logging.disable(logging.NOTSET)
    loop.close()


def test_thousands_of_drawn_stories_lose_nothing_and_double_nothing(
    loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch, count: Callable[[str, object], None]
) -> None:
    teller = Teller(loop, monkeypatch)

    tell_drawn_stories(teller, STORIES, is_repeatable=False)

    count("drawn stories", teller.told())


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.__name__)
def test_a_seeded_mistake_is_caught_by_drawn_stories(
    loop: asyncio.AbstractEventLoop,
    monkeypatch: pytest.MonkeyPatch,
    count: Callable[[str, object], None],
    mistake: Mistake,
) -> None:
    teller = Teller(loop, monkeypatch, mistake(monkeypatch))

    # Either a bad ending, or a dead letter that is no JSON on the way to it.
    with pytest.raises((AssertionError, ValueError)):
        tell_drawn_stories(teller, STORIES_PER_MISTAKE, is_repeatable=False, shorten=False)

    count(f"{mistake.__name__}: caught by story", teller.counts["stories"])
