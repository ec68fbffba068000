"""What the tests of thousands of lives have in common."""

import asyncio
import gc
import logging
from collections.abc import Iterator

import pytest

from tests.crash.world import new_loop


@pytest.fixture(autouse=True)
def rare_garbage_collection() -> Iterator[None]:
    """Look for garbage less often: lives leave little of it, and looking takes a tenth of the time."""
    before = gc.get_threshold()
    gc.set_threshold(20_000, *before[1:])
    yield
    gc.set_threshold(*before)


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """Give a loop whose threads are none, and silence: thousands of lives have much to say."""
    loop = new_loop()
    logging.disable(logging.CRITICAL)
    yield loop
    logging.disable(logging.NOTSET)
    loop.close()
