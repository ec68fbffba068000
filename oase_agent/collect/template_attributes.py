"""Which attributes and methods templates may use: what is not listed is closed to them (promise S2).

Jinja's own sandbox lists what is dangerous, and had to add to that list again and again. The variables of contract
section 5 are texts, numbers, lists, mappings and times, so what they need can be listed instead. Left out are methods
that change a value, those that make something templates have no use for (`encode`, `to_bytes`), and those whose cost
cannot be told beforehand (`translate`).
"""

from datetime import date, datetime, time, timedelta, timezone
from functools import lru_cache
from time import struct_time
from typing import Any

_TEXT = """capitalize casefold center count endswith expandtabs find format index isalnum isalpha isascii isdecimal
    isdigit isidentifier islower isnumeric isprintable isspace istitle isupper join ljust lower lstrip partition
    removeprefix removesuffix replace rfind rindex rjust rpartition rsplit rstrip split splitlines startswith strip
    swapcase title upper zfill"""
_DATE = """ctime day isocalendar isoformat isoweekday max min month replace resolution strftime timetuple toordinal
    weekday year"""
_TIME_OF_DAY = """dst fold hour isoformat max microsecond min minute replace resolution second strftime tzinfo tzname
    utcoffset"""

_ATTRIBUTES: dict[type, frozenset[str]] = {
    kind: frozenset(names.split())
    for kind, names in {
        str: _TEXT,
        int: "as_integer_ratio bit_count bit_length conjugate denominator imag numerator real",
        float: "as_integer_ratio conjugate hex imag is_integer real",
        list: "copy count index",
        tuple: "count index",
        dict: "copy get items keys values",
        date: _DATE,
        datetime: f"{_DATE} {_TIME_OF_DAY} astimezone date time timestamp timetz utctimetuple",
        time: _TIME_OF_DAY,
        timedelta: "days max microseconds min resolution seconds total_seconds",
        timezone: "dst tzname utc utcoffset",
        struct_time: """tm_gmtoff tm_hour tm_isdst tm_mday tm_min tm_mon tm_sec tm_wday tm_yday tm_year tm_zone""",
        type(date.min.isocalendar()): "week weekday year",
    }.items()
}

# Reached through a time, as in EXASTRO_CURRENT_TIME.fromtimestamp(0).
_MAKERS = frozenset(
    {
        *(
            "combine",
            "fromisocalendar",
            "fromisoformat",
            "fromordinal",
            "fromtimestamp",
            "now",
            "strptime",
            "today",
        ),
        *("utcfromtimestamp", "utcnow"),
    }
)


def is_open(value: Any, attribute: str) -> bool:
    """Tell whether templates may read `attribute` of `value`, one of the types of variables."""
    return attribute in _open_names(type(value))  # type: ignore[arg-type]  # types are hashable


def is_open_method(method: Any) -> bool:
    """Tell whether `method` is a bound method that templates may call."""
    owner, name = getattr(method, "__self__", None), getattr(method, "__name__", "")
    if isinstance(owner, type):
        return issubclass(owner, date) and name in _MAKERS
    if isinstance(owner, str) and name == "format":
        return False  # it walks attributes by itself; the sandbox has its own
    return owner is not None and is_open(owner, name)


@lru_cache(maxsize=64)
def _open_names(kind: type) -> frozenset[str]:
    makers = _MAKERS if issubclass(kind, date) else frozenset[str]()
    return makers.union(*(_ATTRIBUTES.get(base, ()) for base in kind.__mro__))
