"""Rows of figures: what, measured, baseline, ratio, budget and whether it was kept; as lines and as Markdown."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

_COLUMNS = ("what", "measured (min / median / max)", "baseline", "ratio", "budget", "")


class Bound(StrEnum):
    """Which side of a budget is fine."""

    AT_MOST = "≤"
    AT_LEAST = "≥"


@dataclass(frozen=True, slots=True)
class Budget:
    """A limit for the median, or for the ratio of the median to the baseline."""

    bound: Bound
    limit: float
    of_ratio: bool = False

    def is_kept(self, value: float) -> bool:
        """Tell whether a value is within the budget."""
        return value <= self.limit if self.bound is Bound.AT_MOST else value >= self.limit


def at_most(limit: float) -> Budget:
    """Return a budget for the measured value, in its unit."""
    return Budget(Bound.AT_MOST, limit)


def at_least(limit: float) -> Budget:
    """Return a budget for the measured value, in its unit."""
    return Budget(Bound.AT_LEAST, limit)


def ratio_at_least(limit: float) -> Budget:
    """Return a budget for the ratio of the measured value to the baseline."""
    return Budget(Bound.AT_LEAST, limit, of_ratio=True)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a report: values of one unit, one for each run; `baseline` is in the same unit."""

    what: str
    values: Sequence[float]
    unit: str
    baseline: float | None = None
    budget: Budget | None = None

    @property
    def ratio(self) -> float | None:
        """The median against the baseline."""
        return statistics.median(self.values) / self.baseline if self.baseline else None

    @property
    def verdict(self) -> str:
        """`ok`, `over`, or nothing where there is no budget."""
        if self.budget is None:
            return ""
        value = self.ratio if self.budget.of_ratio else statistics.median(self.values)
        return "" if value is None else "ok" if self.budget.is_kept(value) else "over"

    def cells(self) -> tuple[str, ...]:
        """Return the texts of the columns."""
        return (
            self.what,
            f"{_spread(self.values)} {self.unit}".rstrip(),
            "" if self.baseline is None else number(self.baseline),
            "" if self.ratio is None else f"{self.ratio:.2f}",
            self._budget_text(),
            self.verdict,
        )

    def _budget_text(self) -> str:
        if self.budget is None:
            return ""
        what = "ratio " if self.budget.of_ratio else ""
        unit = "" if self.budget.of_ratio else f" {self.unit}"
        return f"{what}{self.budget.bound} {number(self.budget.limit)}{unit}"


def number(value: float) -> str:
    """Write a number with about three digits that count."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.3g}"


def line(row: Row) -> str:
    """Return a row for the terminal."""
    what, measured, baseline, ratio, budget, verdict = row.cells()
    against = f"baseline {baseline}, ratio {ratio}" if baseline else ""
    return f"{what:<58}  {measured:<44}  {against:<34}  {budget:<22} {verdict}".rstrip()


def markdown(
    title: str, command: str, facts: Mapping[str, str], rows: Iterable[Row], failures: Iterable[str]
) -> str:
    """Return a whole report; `failures` are sentences about what could not be measured."""
    written = [f"# {title}", "", f"`{command}`", "", "| | |", "| --- | --- |"]
    written += [f"| {name} | {value} |" for name, value in facts.items()]
    written += ["", _markdown_row(_COLUMNS), _markdown_row(["---"] * len(_COLUMNS))]
    written += [_markdown_row(row.cells()) for row in rows]
    written += [text for failure in failures for text in ("", failure)]
    return "\n".join(written) + "\n"


def _markdown_row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _spread(values: Sequence[float]) -> str:
    if len(values) == 1:
        return number(values[0])
    return " / ".join(map(number, (min(values), statistics.median(values), max(values))))
