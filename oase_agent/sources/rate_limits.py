"""What the headers of an answer say about asking again: Retry-After, and the limits that a source tells of. Pure.

Retry-After is RFC 9110, 10.2.3. The limits come as `RateLimit` and `RateLimit-*`, by the versions of
draft-ietf-httpapi-ratelimit-headers, or as `X-RateLimit-*`, which nobody ever specified: the reset is a number of
seconds, an epoch time or a date there.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_PREFIXES = ("RateLimit", "X-RateLimit", "X-Rate-Limit")

_NUMBER = re.compile(r"[0-9]{1,15}(?:\.[0-9]{1,9})?")
_LEADING_NUMBER = re.compile(r"\s*(-?[0-9]{1,15})(?![0-9])")
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
_PARAMETER = re.compile(r"\s*(?P<name>[a-z]+)\s*=\s*(?P<value>[0-9]{1,15})\s*")
_LONGEST_DATE = 64

# No wait lasts thirty years, so a number beyond is a time: epoch seconds, and beyond the year 5000 milliseconds.
_FIRST_EPOCH_S = 1e9
_FIRST_EPOCH_MS = 1e11

# They speak of the host, not of one request.
_ABOUT_HOST = frozenset({304, 429, 503})


def wanted_pause_s(status: int, headers: Mapping[str, str], now_s: float) -> float | None:
    """Return for how many seconds the source does not want this request again, or None if it does not say.

    `headers` tell upper from lower case unless they are those of aiohttp; `now_s` is epoch seconds.
    """
    sent_s = _sent_at(headers, now_s)
    wanted = retry_after_s(headers.get("Retry-After"), sent_s)
    # The draft (section 5) gives Retry-After precedence.
    return wanted if wanted is not None else _until_reset_s(status, headers, sent_s)


def host_pause_s(status: int, headers: Mapping[str, str], now_s: float) -> float:
    """Return for how many seconds the host does not want any request, like `wanted_pause_s`; 0 for none."""
    if not (200 <= status < 300 or status in _ABOUT_HOST or is_exhausted(headers)):
        return 0.0
    return wanted_pause_s(status, headers, now_s) or 0.0


def is_exhausted(headers: Mapping[str, str]) -> bool:
    """Tell whether the answer used up a limit: nothing remains until its reset."""
    return any(remaining is not None and remaining <= 0 for remaining, _ in _limits(headers))


def retry_after_s(value: str | None, now_s: float) -> float | None:
    """Read a Retry-After header, which is seconds or a date; None if it is neither. `now_s` is epoch seconds."""
    return _seconds_until(value or "", now_s)


def _until_reset_s(status: int, headers: Mapping[str, str], now_s: float) -> float | None:
    """Return the seconds to the last reset of a limit that is used up; of a 429, also where it does not say which."""
    limits = list(_limits(headers))
    used_up = [reset for remaining, reset in limits if remaining is not None and remaining <= 0]
    if status == 429 and all(remaining is None for remaining, _ in limits):
        used_up = [reset for _, reset in limits]
    waits = (_seconds_until(reset, now_s) for reset in used_up)
    return max((wait for wait in waits if wait is not None), default=None)


def _limits(headers: Mapping[str, str]) -> Iterator[tuple[int | None, str]]:
    """Yield what remains of each limit, None where that is not told, and the text of its reset."""
    for prefix in _PREFIXES:
        reset = headers.get(f"{prefix}-Reset")
        if reset is not None:
            remaining = _LEADING_NUMBER.match(headers.get(f"{prefix}-Remaining", ""))
            yield None if remaining is None else int(remaining[1]), reset
    for name, value in headers.items():
        if name.lower() == "ratelimit":
            yield from _combined(value)


def _combined(value: str) -> Iterator[tuple[int | None, str]]:
    """Read one RateLimit header: `"default";r=0;t=30, …`, or `limit=10, remaining=0, reset=30` up to draft 7."""
    plain = _QUOTED.sub("", value)
    if "remaining" in plain:
        fields = _parameters(plain.replace(",", ";"))
        yield int(fields.get("remaining", "1")), fields.get("reset", "")
        return
    for item in plain.split(","):
        fields = _parameters(item)
        if "r" in fields:
            yield int(fields["r"]), fields.get("t", "")


def _parameters(text: str) -> dict[str, str]:
    matches = (_PARAMETER.fullmatch(part) for part in text.split(";"))
    return {match["name"]: match["value"] for match in matches if match}


def _seconds_until(text: str, now_s: float) -> float | None:
    """Return the seconds from now that `text` means, as a number of seconds, an epoch time or a date."""
    text = text.strip()
    if not _NUMBER.fullmatch(text):
        moment_s = _moment(text)
        return None if moment_s is None else max(0.0, moment_s - now_s)
    number = float(text)
    if number < _FIRST_EPOCH_S:
        return number
    return max(0.0, (number / 1000 if number >= _FIRST_EPOCH_MS else number) - now_s)


def _sent_at(headers: Mapping[str, str], now_s: float) -> float:
    """Return when the answer was sent, by the clock that its other times come from: that need not be right."""
    sent_s = _moment(headers.get("Date", ""))
    return now_s if sent_s is None else sent_s


def _moment(text: str) -> float | None:
    """Return the epoch seconds of a date as in RFC 9110 or ISO 8601, or None."""
    if not 0 < len(text) <= _LONGEST_DATE:
        return None
    for read in (parsedate_to_datetime, datetime.fromisoformat):
        try:
            moment = read(text)
            # A date in "-0000" comes without a zone and means UTC (RFC 5322, 3.3); so do those without any.
            return moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()
        except (ValueError, TypeError, OverflowError, IndexError):
            continue
    return None
