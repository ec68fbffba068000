"""An event loop in which waiting takes no time: its clock jumps to the next moment at which something is due."""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


class _InstantSelector(selectors.DefaultSelector):
    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready:
            assert timeout is not None, "everything waits, and nothing is going to happen"
            self.now_s += max(timeout, 0.0)
        return ready


class _InstantLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._times = _InstantSelector()
        super().__init__(self._times)

    def time(self) -> float:
        return self._times.now_s


def now_s() -> float:
    """Return the time of the running loop, in seconds since it began."""
    return asyncio.get_running_loop().time()


def in_no_time(story: Coroutine[Any, Any, Result]) -> Result:
    """Run `story` to its end."""
    with asyncio.Runner(loop_factory=_InstantLoop) as runner:
        return runner.run(story)
