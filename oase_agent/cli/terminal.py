"""Text for a terminal: printable, aligned also where letters are two columns wide, with sizes and times in words."""

import unicodedata
from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime

_MINUTE_S, _HOUR_S, _DAY_S = 60, 3600, 86_400


def printable(text: str) -> str:
    """Return `text` with control characters escaped: what a source sends must not steer the terminal."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text
    )


def shortened(text: str, characters: int) -> str:
    """Return `text`, or its beginning with a mark that something is missing."""
    return text if len(text) <= characters else f"{text[:characters]}… ({len(text)} characters)"


def padded(text: str, columns: int) -> str:
    """Return `text` filled with blanks up to `columns` columns of the terminal."""
    return text + " " * (columns - _columns(text))


def table(rows: Sequence[Sequence[str]], *, right: Collection[int] = ()) -> Iterator[str]:
    """Yield the rows as aligned lines; the columns of the numbers in `right` are aligned to the right."""
    widths = [max(map(_columns, cells)) for cells in zip(*rows, strict=True)]
    for row in rows:
        cells = (
            " " * (width - _columns(cell)) + cell if place in right else padded(cell, width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        yield "  ".join(cells).rstrip()


def local_time(epoch_s: float) -> str:
    """Return a time in the zone of the process (`TZ`), with its distance from UTC."""
    return datetime.fromtimestamp(epoch_s, UTC).astimezone().isoformat(sep=" ", timespec="seconds")


def duration(seconds: float) -> str:
    """Return a span of time in its two largest units."""
    whole = max(0, int(seconds))
    if whole < _MINUTE_S:
        return f"{whole} s"
    if whole < _HOUR_S:
        return f"{whole // _MINUTE_S} min {whole % _MINUTE_S} s"
    if whole < _DAY_S:
        return f"{whole // _HOUR_S} h {whole % _HOUR_S // _MINUTE_S} min"
    return f"{whole // _DAY_S} d {whole % _DAY_S // _HOUR_S} h"


def size(size_bytes: int) -> str:
    """Return a number of bytes in the largest unit that leaves at least one."""
    amount, unit = float(size_bytes), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if amount < 1024:
            break
        amount, unit = amount / 1024, larger
    return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, such as `1 event` or `3 events`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _columns(text: str) -> int:
    return sum(
        0 if unicodedata.combining(letter) else 1 + (unicodedata.east_asian_width(letter) in {"W", "F"})
        for letter in text
    )
