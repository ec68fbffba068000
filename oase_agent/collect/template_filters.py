"""Jinja's filters and tests within the limits of a template (promises C2 and C4).

Every use takes a step. What could make much of little, or loop for long, is checked before; what comes out is
weighed.
All filters stay: settings in use may have any of them.
"""

import sys
from collections.abc import Callable, ItemsView, Iterable, Iterator, KeysView, Mapping, ValuesView
from functools import wraps
from typing import Any

from oase_agent.collect.template_growth import (
    MAX_DIGITS,
    MAX_NUMBER_BITS,
    MAX_PIECES,
    check_format,
    check_joined,
    check_numbers,
    check_replacement,
    check_text_method,
    values_of,
)
from oase_agent.collect.template_limits import (
    MAX_SIZE,
    Budget,
    Clock,
    Steps,
    TooMuchError,
    check_size,
    depth_of,
)
from oase_agent.collect.template_weights import Weights

Function = Callable[..., Any]

_NEW_ITEM_BYTES = 56  # a number, or a short text

# These go over a text with regular expressions, or word by word, and put an argument into it again and again.
_WORDY = frozenset({"indent", "pprint", "striptags", "title", "urlize", "wordcount", "wordwrap", "xmlattr"})
_MAX_WORDY = 64 << 10
_MAX_INSERTED = 100
_MAX_INDENT = 16

# These make a text of their value, or compare or hash what is in it.
_WHOLE = frozenset(
    {
        *(
            "capitalize",
            "center",
            "dictsort",
            "e",
            "escape",
            "filesizeformat",
            "float",
            "forceescape",
            "format",
        ),
        *("groupby", "indent", "int", "lower", "max", "min", "pprint", "replace", "safe", "sort", "string"),
        *("striptags", "title", "tojson", "trim", "truncate", "unique", "upper", "urlencode", "urlize"),
        *("wordcount", "wordwrap", "xmlattr"),
    }
)
_LISTED = frozenset({"groupby", "join", "list", "max", "min", "random", "sort", "sum", "unique"})
_VIEWS = (KeysView, ValuesView, ItemsView)
_NUMBERS = {
    "round": MAX_DIGITS,
    "batch": MAX_PIECES,
    "slice": MAX_PIECES,
    "center": MAX_SIZE,
    "tojson": _MAX_INDENT,
}


class Limits:
    """The budget of one text, and the weights of what it makes; for one thread."""

    def __init__(self, clock: Clock) -> None:
        self.budget = Budget(clock)
        self.weights = Weights()

    def restart(self) -> None:
        """Start with another text."""
        self.weights.forget()
        self.budget.restart()

    def made(self, value: Any, *given: Any) -> Any:
        """Count and weigh a value that was made from those `given`, and return it; iterators take steps from now on.

        Raises TooMuchError.
        """
        if any(value is one for one in given):
            return value
        if isinstance(value, str):
            return self.budget.keep(value)
        if isinstance(value, int):
            if value.bit_length() > MAX_NUMBER_BITS:
                raise TooMuchError
        elif isinstance(value, Iterator) and not isinstance(value, Steps):
            depth = 1 + max(map(depth_of, given), default=0)
            return Steps(self.budget, map(self._weighed, value), 1, depth)
        elif not isinstance(value, _VIEWS):
            # A view is a mapping once more, and is weighed with what it is put into.
            self.weights.check_made(value)
            self.budget.produce(sys.getsizeof(value))
        return value

    def returned(self, value: Any, *given: Any) -> Any:
        """Like `made`, for what a function returns: items of its lists may be new too."""
        value = self.made(value, *given)
        if isinstance(value, list) and not any(value is one for one in given):
            self.budget.produce(_NEW_ITEM_BYTES * len(value))
        return value

    def listed(self, items: Iterable[Any]) -> Any:
        """Return items that may come one by one as a list that was weighed."""
        if isinstance(items, list | tuple | dict):
            return items
        return self.made(list(self.budget.counted(items)))

    def _weighed(self, item: Any) -> Any:
        if isinstance(item, list):
            # `batch` and `slice` make lists while they go.
            self.weights.check_made(item)
        return item


def limited_filters(filters: Mapping[str, Function], limits: Limits) -> dict[str, Function]:
    """Return filters that keep within the limits."""
    return {name: _limited_filter(name, function, limits) for name, function in filters.items()}


def limited_tests(tests: Mapping[str, Function], limits: Limits) -> dict[str, Function]:
    """Return tests that take a step each."""
    return {name: _limited_test(function, limits) for name, function in tests.items()}


def format_filter(limits: Limits) -> Function:
    """Return the filter `format` with limited fields."""

    def limited(text: Any, *args: Any, **keywords: Any) -> str:
        text = str(text)
        check_format(text, "%", values_of(args, keywords), limits.weights)
        formatted: str = text % (keywords or args)
        return formatted

    return limited


def sum_filter(get: Callable[[Any, Any], Any], add: Callable[[Any, Any], Any]) -> Function:
    """Return the filter `sum`, which adds with `add`, because Python's adds lists without end.

    `get` returns the attribute of an item that is asked for.
    """

    def limited(items: Iterable[Any], attribute: str | int | None = None, start: Any = 0) -> Any:
        for item in items:
            start = add(start, item if attribute is None else get(item, attribute))
        return start

    return limited


def _limited_filter(name: str, function: Function, limits: Limits) -> Function:
    # Jinja marks filters that want to be passed something before the value.
    before = 1 if hasattr(function, "jinja_pass_arg") else 0
    is_listed = name in _LISTED
    is_checked = name in _WHOLE | _NUMBERS.keys() | {"join"}

    @wraps(function)  # which takes over the mark
    def limited(*args: Any, **keywords: Any) -> Any:
        limits.budget.take()
        if is_listed:
            args = (*args[:before], limits.listed(args[before]), *args[before + 1 :])
        if is_checked:
            _check(name, args[before], values_of(args[before + 1 :], keywords), limits)
        return limits.returned(function(*args, **keywords), *args, *keywords.values())

    return limited


def _limited_test(function: Function, limits: Limits) -> Function:
    @wraps(function)
    def limited(*args: Any, **keywords: Any) -> Any:
        limits.budget.take()
        return function(*args, **keywords)

    return limited


def _check(name: str, value: Any, arguments: tuple[Any, ...], limits: Limits) -> None:
    """Raise TooMuchError if a filter would take too long or make too much."""
    if name in _WHOLE:
        size = limits.weights.check(value)
        if name in _WORDY:
            _check_wordy(name, value, size, arguments)
    if name in _NUMBERS:
        check_numbers(arguments, _NUMBERS[name])
    if name == "join":
        check_joined(str(arguments[0]) if arguments else "", value, limits.weights)
    elif name == "replace" and len(arguments) >= 2:
        check_replacement(str(value), str(arguments[0]), str(arguments[1]))
    elif name == "trim":
        check_text_method(str(value), "strip", arguments, limits.weights)


def _check_wordy(name: str, value: Any, size: int, arguments: tuple[Any, ...]) -> None:
    if size > _MAX_WORDY or any(isinstance(one, str) and len(one) > _MAX_INSERTED for one in arguments):
        raise TooMuchError
    if name == "indent":
        widths = (
            one if isinstance(one, int) else len(one) for one in arguments if isinstance(one, int | str)
        )
        check_size(len(str(value).splitlines()) * max(widths, default=4))
