"""How much work and memory one template may take (promises S2, C2 and C4).

Jinja's sandbox keeps templates away from Python, but not from endless loops, gigabytes of padding, or structures that
hold themselves a million times. Python cannot be stopped inside one call of a C function, so two things are limited:
how much is done between two calls (steps, time), and how large a value one call can be given or can make.
"""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

# Characters of a text; or what a list, with everything in it, would take as a text.
MAX_SIZE = 1 << 20
# Rounds of loops, calls, filters and operators of one text: up to a second of work.
MAX_STEPS = 250_000
MAX_PRODUCED_BYTES = 16 << 20
MAX_SECONDS = 1.0
MAX_TEMPLATE_CHARACTERS = 64 << 10
# Names, operators, brackets … between `{{` and `}}`: to compile one takes up to 5 KiB and 50 µs.
MAX_TEMPLATE_TOKENS = 3000
# Hashing, and giving up, a tuple in a tuple in a tuple … takes the stack of C.
MAX_DEPTH = 50

# Rounds of loops and pieces of output between two looks at the clock, which takes as long as they do.
_ROUNDS = 16
# What one character of a text takes once it is a text of its own, in a list.
_CHARACTER_BYTES = 84

Clock = Callable[[], float]


class TooMuchError(Exception):
    """A template exceeds a limit."""


class TooSlowError(TooMuchError):
    """A template takes longer than MAX_SECONDS."""


class Budget:
    """What the text that is being rendered may still take; for one thread.

    `clock` tells seconds. The default is the processor time of the thread: templates never wait, and on a busy
    machine a good template must not fail.
    """

    __slots__ = ("_bytes", "_clock", "_deadline", "_rounds", "_steps")

    def __init__(self, clock: Clock = time.thread_time) -> None:
        self._clock = clock
        self.restart()

    def restart(self) -> None:
        """Start to count for another text."""
        self._steps = MAX_STEPS
        self._rounds = 0
        self._bytes = MAX_PRODUCED_BYTES
        self._deadline = self._clock() + MAX_SECONDS

    def take(self, steps: int = 1) -> None:
        """Count steps that may take long each; raises TooMuchError for the first one too many, or after the time."""
        self._steps -= steps
        if self._steps < 0:
            raise TooMuchError
        if self._clock() > self._deadline:
            raise TooSlowError

    def go_round(self, steps: int = 1) -> None:
        """Count short steps: like `take`, but does not look at the clock every time."""
        self._steps -= steps
        self._rounds += 1
        if self._steps < 0 or self._rounds >= _ROUNDS:
            self._rounds = 0
            self.take(0)

    def produce(self, size_bytes: int) -> None:
        """Count memory that was taken, or is about to be; it is never given back. Raises TooMuchError."""
        self._bytes -= size_bytes
        if self._bytes < 0:
            raise TooMuchError

    def keep(self, text: str) -> str:
        """Return a text that was made, and count it; raises TooMuchError if it is too long."""
        check_size(len(text))
        self.produce(sys.getsizeof(text))
        return text

    def counted(self, items: Iterable[Any], steps: int = 1) -> "Steps":
        """Return an iterator that takes `steps` for every item."""
        if isinstance(items, str):
            self.produce(_CHARACTER_BYTES * len(items))
        return Steps(self, items, steps, depth_of(items) + 1)

    def output(self, pieces: Iterable[str]) -> str:
        """Return the text that the pieces make; raises TooMuchError before it becomes too long."""
        kept = []
        left = MAX_SIZE
        for piece in pieces:
            self.go_round()
            left -= len(piece)
            if left < 0:
                raise TooMuchError
            kept.append(piece)
        return "".join(kept)


class Steps(Iterator[Any]):
    """An iterator that takes steps. `depth` is how many iterators are wrapped into each other."""

    __slots__ = ("_budget", "_items", "_steps", "depth")

    def __init__(self, budget: Budget, items: Iterable[Any], steps: int, depth: int) -> None:
        self.depth = check_depth(depth)
        self._budget = budget
        self._items = iter(items)
        self._steps = steps

    def __next__(self) -> Any:
        """Return the next item; raises TooMuchError when the steps are used up."""
        self._budget.go_round(self._steps)
        return next(self._items)


def depth_of(value: Any) -> int:
    """Return how many iterators are wrapped into each other in `value`."""
    return value.depth if isinstance(value, Steps) else 0


def check_size(size: int) -> None:
    """Raise TooMuchError for a size of more than MAX_SIZE."""
    if size > MAX_SIZE:
        raise TooMuchError


def check_depth(depth: int) -> int:
    """Return `depth`, or raise TooMuchError if values are put into each other too often."""
    if depth > MAX_DEPTH:
        raise TooMuchError
    return depth
