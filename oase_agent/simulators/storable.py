"""Which values the workspace's event database cannot store (contract 3.2, last paragraph of the answers)."""

import json
from typing import Any

MAX_EVENT_BYTES = 16 * 2**20
"""Largest document of the event database. Measured here as JSON, which is close to its own format."""

_INT64_MAX = 2**63 - 1
_INT64_MIN = -(2**63)
# The smallest integer beyond 64 bits has this many digits.
_SUSPICIOUS_DIGITS = b"0" * 19
_ALL_DIGITS_TO_ZERO = bytes.maketrans(b"123456789", b"000000000")


def may_hold_unstorable(payload: bytes) -> bool:
    r"""Tell whether a UTF-8 JSON text can hold an unstorable value at all; may say yes without need.

    A NUL or a lone surrogate needs a `\u` escape, an integer beyond 64 bits needs 19 digits in a row. Both
    searches run at memory speed, so that a request of a million events is not walked value by value.
    """
    if len(payload) > MAX_EVENT_BYTES or b"\\u" in payload:
        return True
    return _SUSPICIOUS_DIGITS in payload.translate(_ALL_DIGITS_TO_ZERO)


def unstorable_reason(event: dict[str, Any]) -> str | None:
    """Return why an event cannot be stored, or None."""
    reason = _value_fault(event)
    if reason is None and len(json.dumps(event, ensure_ascii=False).encode()) > MAX_EVENT_BYTES:
        reason = "the event is larger than 16 MiB"
    return reason


def _value_fault(event: dict[str, Any]) -> str | None:
    # Without recursion: how deep the values are nested is up to the sender.
    waiting: list[Any] = [event]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            if any("\0" in key for key in item):
                return "a key contains a NUL character"
            waiting.extend(item.keys())
            waiting.extend(item.values())
        elif isinstance(item, list):
            waiting.extend(item)
        elif isinstance(item, str):
            if _has_lone_surrogate(item):
                return "a text contains a lone surrogate"
        elif isinstance(item, int) and not _INT64_MIN <= item <= _INT64_MAX:
            return "an integer does not fit 64 bits"
    return None


def _has_lone_surrogate(text: str) -> bool:
    if text.isascii():
        return False
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False
