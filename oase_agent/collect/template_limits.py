"""How much work, and how large a number or text, one template may make (promises C2 and C4).

Jinja's sandbox keeps templates away from Python, but not from endless loops and from gigabytes of padding.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from functools import wraps
from typing import Any

MAX_CHARACTERS = 1 << 20
# Rounds of all loops, and calls, of one text: some 50 ms of work.
MAX_STEPS = 100_000
_MAX_NUMBER_BITS = 1 << 16

# A width of five digits, a width that is an argument (`%*d`), or one that is a field (`{:{}}`).
_WIDE_FORMAT = re.compile(r"\d{5,}|%[^%a-zA-Z]*\*|:[^{}]*\{")
_PADDING_METHODS = frozenset({"center", "expandtabs", "ljust", "rjust", "to_bytes", "zfill"})

# Filters of jinja that pad or repeat as often as an argument says.
PADDING_FILTERS = ("batch", "center", "indent", "slice", "tojson")


class TooMuchError(Exception):
    """A template exceeds a limit."""


class Steps:
    """How many more steps the text that is being rendered may take."""

    __slots__ = ("_left",)

    def __init__(self) -> None:
        self._left = MAX_STEPS

    def restart(self) -> None:
        """Start to count for another text."""
        self._left = MAX_STEPS

    def take(self) -> None:
        """Count one step; raises TooMuchError for the first one too many."""
        self._left -= 1
        if self._left < 0:
            raise TooMuchError


def limited_output(pieces: Iterable[str]) -> Iterator[str]:
    """Yield the pieces of a rendered text; raises TooMuchError before it becomes too long."""
    left = MAX_CHARACTERS
    for piece in pieces:
        left -= len(piece)
        if left < 0:
            raise TooMuchError
        yield piece


def check_operation(operator: str, left: Any, right: Any) -> None:
    """Raise TooMuchError if the result of `*`, `**` or `%` would be too large."""
    if operator == "%" and isinstance(left, str):
        check_format(left)
    elif operator == "**" and isinstance(left, int) and isinstance(right, int):
        _check_bits(left.bit_length() * right)
    elif operator == "*" and isinstance(left, int) and isinstance(right, int):
        _check_bits(left.bit_length() + right.bit_length())
    elif operator == "*":
        for text, times in ((left, right), (right, left)):
            if isinstance(times, int) and hasattr(text, "__len__") and len(text) * times > MAX_CHARACTERS:
                raise TooMuchError


def check_call(function: Any, arguments: Iterable[Any]) -> None:
    """Raise TooMuchError if a method would pad a text too far."""
    name = getattr(function, "__name__", "")
    for argument in arguments:
        if name in _PADDING_METHODS:
            _check_width(argument)
        elif name == "strftime" and isinstance(argument, str):
            check_format(argument)


def check_format(text: str) -> None:
    """Raise TooMuchError for a format, in the way of `%`, `str.format` or strftime, with a wide field."""
    if _WIDE_FORMAT.search(text):
        raise TooMuchError


def limited_format(text: Any, *args: Any, **kwargs: Any) -> str:
    """Do what jinja's filter `format` does, with limited widths."""
    check_format(str(text))
    return str(text) % (kwargs or args)


def with_limited_widths(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a filter that raises TooMuchError for a large number among the arguments beside its value."""
    # Jinja marks filters that want to be passed something before the value.
    first = 2 if hasattr(function, "jinja_pass_arg") else 1

    @wraps(function)  # which takes over the mark
    def limited(*args: Any, **kwargs: Any) -> Any:
        for argument in (*args[first:], *kwargs.values()):
            _check_width(argument)
        return function(*args, **kwargs)

    return limited


def _check_bits(bits: int) -> None:
    if bits > _MAX_NUMBER_BITS:
        raise TooMuchError


def _check_width(argument: Any) -> None:
    if isinstance(argument, int) and argument > MAX_CHARACTERS:
        raise TooMuchError
