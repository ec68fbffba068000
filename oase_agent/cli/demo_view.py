"""How the demo shows itself: a table that is redrawn on a terminal, plain lines anywhere else."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

_HEADINGS = ("setting", "made", "collected", "waiting", "dead", "accepted")
_WIDTHS = (18, 8, 10, 8, 6, 9)
# Plain lines are for logs: not more often than every this many looks.
_LOOKS_A_LINE = 4


@dataclass(frozen=True, slots=True)
class Row:
    """The figures of one setting: events made by the source, and what became of them."""

    setting: str
    made: int
    collected: int
    waiting: int
    dead: int
    accepted: int

    def cells(self) -> tuple[str, ...]:
        """Return the figures in the order of the headings."""
        return (self.setting, *map(str, (self.made, self.collected, self.waiting, self.dead, self.accepted)))


class View(Protocol):
    """What the demo tells its audience."""

    def say(self, line: str) -> None:
        """Tell something that happened."""

    def show(self, rows: Sequence[Row]) -> None:
        """Show the present figures."""

    def end(self, rows: Sequence[Row]) -> None:
        """Show the last figures, to stay."""


class PlainLines:
    """For pipes and logs: what happened, and a line of figures now and then."""

    def __init__(self) -> None:
        self._looks = 0

    def say(self, line: str) -> None:
        """Print a line."""
        print(line, flush=True)

    def show(self, rows: Sequence[Row]) -> None:
        """Print one line every few looks."""
        self._looks += 1
        if self._looks % _LOOKS_A_LINE == 1:
            figures = (
                f"{row.setting}: made {row.made}, waiting {row.waiting}, accepted {row.accepted}"
                for row in rows
            )
            print("  " + " | ".join(figures), flush=True)

    def end(self, rows: Sequence[Row]) -> None:
        """Print the table."""
        print("\n".join(_table(rows)), flush=True)


class LiveTable:
    """For a terminal: messages scroll above a table that stays in place."""

    def __init__(self) -> None:
        self._drawn = 0
        self._rows: Sequence[Row] = ()

    def say(self, line: str) -> None:
        """Print a line above the table."""
        self._clear()
        print(line)
        self._draw()

    def show(self, rows: Sequence[Row]) -> None:
        """Draw the table anew."""
        self._rows = rows
        self._clear()
        self._draw()

    def end(self, rows: Sequence[Row]) -> None:
        """Draw the table a last time and leave it."""
        self.show(rows)
        self._drawn = 0
        self._rows = ()

    def _clear(self) -> None:
        # ECMA-48: cursor to the beginning of the line n lines up, then erase to the end of the screen.
        if self._drawn:
            sys.stdout.write(f"\x1b[{self._drawn}F\x1b[J")

    def _draw(self) -> None:
        lines = _table(self._rows) if self._rows else []
        self._drawn = len(lines)
        sys.stdout.write("".join(f"{line}\n" for line in lines))
        sys.stdout.flush()


def _table(rows: Sequence[Row]) -> list[str]:
    lines = [_line(_HEADINGS), "-" * (sum(_WIDTHS) + 2 * len(_WIDTHS) - 2)]
    return [*lines, *(_line(row.cells()) for row in rows)]


def _line(cells: Sequence[str]) -> str:
    first, *others = cells
    padded = (cell.rjust(width) for cell, width in zip(others, _WIDTHS[1:], strict=True))
    return "  ".join((first.ljust(_WIDTHS[0]), *padded))
