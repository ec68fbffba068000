"""What `oase-agent check` was asked for on the command line."""

from dataclasses import dataclass, field
from pathlib import Path

from oase_agent.cli.checks.outcome import View

__all__ = ["CheckOrder", "View", "WrongUse"]


class WrongUse(Exception):
    """The command line cannot be carried out; the text says what to write instead."""


@dataclass(frozen=True, slots=True)
class CheckOrder:
    """The arguments of the command: `names` are settings, empty for all.

    `offline` is a saved response, and `record` where one is saved; at most one of them is given.
    """

    names: tuple[str, ...] = ()
    view: View = field(default_factory=View)
    offline: Path | None = None
    record: Path | None = None
