"""Work that blocks, in a thread of its own: nobody waits for it who does not have to.

Not the default executor, whose few threads serve the spool: silent mail servers would stop all collecting (promise
C2). And no executor at all: it keeps its threads, and a process waits at its end for one that hangs in a lookup of a
name.
"""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")


async def in_own_thread(work: Callable[[], T]) -> T:
    """Return what `work` returns. If this is cancelled, the thread goes on and its result is dropped."""
    loop = asyncio.get_running_loop()
    result: asyncio.Future[T] = loop.create_future()

    def done(value: T) -> None:
        if not result.done():
            result.set_result(value)

    def failed(error: BaseException) -> None:
        if not result.done():
            result.set_exception(error)

    def run() -> None:
        try:
            value = work()
        except BaseException as error:
            _tell(loop, failed, error)
        else:
            _tell(loop, done, value)

    start(run)
    return await result


def start(work: Callable[[], None]) -> None:
    """Start `work` in a thread that no one waits for, not even the end of the process."""
    threading.Thread(target=work, name="mail", daemon=True).start()


def _tell(loop: asyncio.AbstractEventLoop, settle: Callable[[T], None], value: T) -> None:
    # The loop may have ended meanwhile.
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(settle, value)
