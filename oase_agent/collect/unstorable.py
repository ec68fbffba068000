"""Values that JSON can write and the workspace cannot keep.

One such value refuses a whole request (contract 3.2, defect D4), so the event that carries it is set aside before
it is spooled. Walking every value of every event would cost more than parsing them, hence two steps: a glance at
the raw text of a slice, at memory speed, and the walk only for what the glance cannot clear.
"""

import math
import re
from typing import Any

# Documents of MongoDB may be nested 100 levels; the event itself is level 1.
MAX_NESTING = 100

_INT64_MIN = -(2**63)
_INT64_MAX = 2**63 - 1

_DIGITS_TO_ZERO = bytes.maketrans(b"123456789", b"000000000")
# Signed 64 bit end at 9,223,372,036,854,775,807. Epoch nanoseconds have 19 digits too, and must pass the glance.
_DIGITS_OF_INT64 = b"0" * 19
# Of 19 digits in a row, looking at every fourth byte shows at least 4; a date or epoch seconds show 3 at most.
_SAMPLE = 4
_DIGITS_OF_SAMPLE = b"0" * (19 // _SAMPLE)
_BEYOND_INT64 = re.compile(rb"9(?:2[2-9]|[3-9][0-9])[0-9]{16}|[0-9]{20}")
_ESCAPED_NUL = b"\\u0000"
_SURROGATE = re.compile("[\ud800-\udfff]")


class HugeInteger(str):
    """The digits of an integer that Python would refuse to turn into text again."""

    __slots__ = ()


def may_hold_unstorable(text: bytes | bytearray, start: int = 0, end: int | None = None) -> bool:
    r"""Tell whether a JSON text that orjson accepts could hold, from `start` to `end`, what the workspace refuses.

    False is certain, nesting aside. orjson itself refuses NaN, Infinity, `1e400` and lone surrogates; what it
    lets through are large integers, which it turns into floats without a word, and `\u0000` in a field name.
    Costs about 0.5 ns per byte: a search for 19 digits in a row by regular expression would cost twenty times as
    much, so it only follows searches for zeros in a copy where every digit is one.
    """
    end = len(text) if end is None else end
    # A search for one byte is far quicker than one for six, and most texts have no escape.
    escape = text.find(b"\\", start, end)
    if escape >= 0 and text.find(_ESCAPED_NUL, escape, end) >= 0:
        return True
    if _DIGITS_OF_SAMPLE not in text[start:end:_SAMPLE].translate(_DIGITS_TO_ZERO):
        return False
    digits = text[start:end].translate(_DIGITS_TO_ZERO)
    return _DIGITS_OF_INT64 in digits and _BEYOND_INT64.search(text, start, end) is not None


def find_unstorable(value: Any) -> str | None:
    """Return what the workspace would refuse in a parsed JSON value, in words for an operator, or None.

    Looks at every value and field name. Never recurses, so that hostile nesting is only long.
    """
    waiting: list[tuple[Any, int]] = [(value, 1)]
    while waiting:
        item, level = waiting.pop()
        if isinstance(item, dict | list):
            if level > MAX_NESTING:
                return f"it is nested deeper than {MAX_NESTING} levels"
            if isinstance(item, dict):
                for name in item:
                    if (why := _name_fault(name)) is not None:
                        return why
                waiting.extend((child, level + 1) for child in item.values())
            else:
                waiting.extend((child, level + 1) for child in item)
        elif (why := _scalar_fault(item)) is not None:
            return why
    return None


def has_lone_surrogate(text: str) -> bool:
    """Tell whether a text holds half of a surrogate pair, which UTF-8 cannot write."""
    return not text.isascii() and _SURROGATE.search(text) is not None


def _name_fault(name: str) -> str | None:
    if "\0" in name:
        return "it has a NUL character in a field name"
    return "it has a lone surrogate in a field name" if has_lone_surrogate(name) else None


def _scalar_fault(value: Any) -> str | None:
    if isinstance(value, HugeInteger):
        return "it has an integer beyond signed 64 bit"
    if isinstance(value, str):
        return "it has a lone surrogate in a text" if has_lone_surrogate(value) else None
    if isinstance(value, float):
        return (
            None
            if math.isfinite(value)
            else "it has a number that is not finite (NaN, Infinity or too large)"
        )
    if isinstance(value, int) and not _INT64_MIN <= value <= _INT64_MAX:
        return "it has an integer beyond signed 64 bit"
    return None
