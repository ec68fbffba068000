"""What an operator, a method or a format would make, told before it is done (promises C2 and C4).

Python cannot be interrupted inside such a call, and its result takes memory before it can be looked at. So whatever
can make much of little is computed here first: sizes in characters or items, times as products of lengths.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from oase_agent.collect.template_limits import TooMuchError, check_size
from oase_agent.collect.template_weights import Weights

MAX_NUMBER_BITS = 1 << 16
# Of one format: each field is a few steps of Python.
MAX_FIELDS = 1000
# Digits that `round` may be asked for; 10 to their power is computed.
MAX_DIGITS = 400
# Searching from the end takes the product of both lengths: 0.03 s for this one.
_MAX_SEARCH = 100_000_000

# A width of five digits, a width that is an argument (`%*d`), or one that is a field (`{:{}}`).
_WIDE_FORMAT = re.compile(r"\d{5,}|%[^%a-zA-Z]*\*|:[^{}]*\{")
_NUMBER = re.compile(r"\d+")

_PADDING = frozenset({"center", "ljust", "rjust", "zfill"})
_SPLITTING = frozenset({"split", "rsplit", "splitlines"})
# Of a text that is split, or lines that are indented; items of a filter that fills up.
MAX_PIECES = 100_000
# Longer names of times do not exist.
_MAX_TIME_FORMAT = 1000


def check_operation(operator: str, left: Any, right: Any, weights: Weights) -> None:
    """Raise TooMuchError if the result of a binary operator would be too large."""
    if operator == "%" and isinstance(left, str):
        check_format(left, "%", (right,), weights)
    elif operator == "+" and hasattr(left, "__len__") and hasattr(right, "__len__"):
        check_size(len(left) + len(right))
    elif operator == "**" and isinstance(left, int) and isinstance(right, int):
        _check_bits(left.bit_length() * right)
    elif operator == "*" and isinstance(left, int) and isinstance(right, int):
        _check_bits(left.bit_length() + right.bit_length())
    elif operator == "*":
        for value, times in ((left, right), (right, left)):
            if isinstance(times, int) and hasattr(value, "__len__"):
                check_size(len(value) * times)


def check_format(text: str, mark: str, values: Iterable[Any], weights: Weights) -> None:
    """Raise TooMuchError if a format with fields that begin with `mark` would make too long a text."""
    if _WIDE_FORMAT.search(text):
        raise TooMuchError
    fields = text.count(mark)
    if fields > MAX_FIELDS:
        raise TooMuchError
    widest = max(map(int, _NUMBER.findall(text)), default=0)
    largest = max((weights.check(part) for value in values for part in _parts(value)), default=0)
    check_size(len(text) + fields * (widest + largest))


def check_time_format(text: Any) -> None:
    """Raise TooMuchError for a format of a time that would make too long a text, or take too long to read."""
    if isinstance(text, str) and (len(text) > _MAX_TIME_FORMAT or _WIDE_FORMAT.search(text)):
        raise TooMuchError


def check_replacement(text: str, old: str, new: str) -> None:
    """Raise TooMuchError if `replace` would make too long a text."""
    if len(new) > len(old):
        check_size(len(text) + text.count(old) * (len(new) - len(old)))


def check_joined(separator: str, items: list[Any], weights: Weights) -> None:
    """Raise TooMuchError if `join` would make too long a text."""
    check_size(len(separator) * len(items) + weights.check(items))


def check_text_method(text: str, name: str, arguments: tuple[Any, ...], weights: Weights) -> None:
    """Raise TooMuchError if a method of a text would take too long or make too much."""
    for argument in arguments:
        for part in argument if isinstance(argument, tuple) else (argument,):
            if isinstance(part, str) and len(text) * len(part) > _MAX_SEARCH:
                raise TooMuchError
    first = arguments[0] if arguments else None
    if name in _PADDING and isinstance(first, int):
        check_size(first)
    elif name == "expandtabs":
        size = first if isinstance(first, int) else 8
        check_size(len(text) + text.count("\t") * size)
    elif name == "replace" and len(arguments) >= 2:
        check_replacement(text, str(first), str(arguments[1]))
    elif name in _SPLITTING:
        _check_pieces(text, first)
    elif name == "join" and isinstance(first, list | tuple):
        check_joined(text, list(first), weights)


def check_time_method(name: str, arguments: Iterable[Any]) -> None:
    """Raise TooMuchError if a method of a time is given too long a format or text."""
    for argument in arguments:
        if name in {"strftime", "strptime"}:
            check_time_format(argument)


def check_numbers(arguments: Iterable[Any], most: int) -> None:
    """Raise TooMuchError if one of the arguments is a number farther from zero than `most`."""
    for argument in arguments:
        if isinstance(argument, int) and abs(argument) > most:
            raise TooMuchError


def values_of(arguments: tuple[Any, ...], keywords: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return positional and keyword arguments as one tuple."""
    return (*arguments, *keywords.values())


def _parts(value: Any) -> Iterable[Any]:
    """Return what single fields of a format may show of a value."""
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, tuple) else (value,)


def _check_pieces(text: str, separator: Any) -> None:
    pieces = text.count(separator) if isinstance(separator, str) and separator else len(text) // 2
    if pieces > MAX_PIECES:
        raise TooMuchError


def _check_bits(bits: int) -> None:
    if bits > MAX_NUMBER_BITS:
        raise TooMuchError
