"""A part of the report of `check`: a title and lines of a label and a text."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from oase_agent.cli.checks.masking import Masker
from oase_agent.cli.terminal import padded, printable, shortened

_LABEL_COLUMNS = 13


@dataclass(slots=True)
class Section:
    """Collects lines; every text passes `masker`. `failures` is the number of FAIL lines.

    `masker` may be replaced by one that knows more, before what it must hide is added.
    """

    title: str
    masker: Masker
    failures: int = 0
    _lines: list[str] = field(default_factory=list)

    def cut(self, text: str, characters: int) -> str:
        """Return the beginning of a text; secrets are hidden first, because half of one would not be recognized."""
        return shortened(self.masker.mask(text), characters)

    def fact(self, label: str, text: str) -> None:
        """Add something that is neither good nor bad."""
        self._lines.append(f"  {padded(label, _LABEL_COLUMNS)} {printable(self.masker.mask(text))}")

    def fine(self, text: str) -> None:
        """Add something that was checked and is as it should be."""
        self.fact("ok", text)

    def warning(self, text: str) -> None:
        """Add something that works but deserves a look."""
        self.fact("WARN", text)

    def failure(self, text: str) -> None:
        """Add something that does not work; `text` names the remedy."""
        self.failures += 1
        self.fact("FAIL", text)

    def lines(self) -> Iterator[str]:
        """Yield the lines of the report."""
        yield printable(self.title)
        yield from self._lines
