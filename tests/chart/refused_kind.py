"""What every table of refused values is made of."""

from dataclasses import dataclass

from tests.chart.sample_values import Values


@dataclass(frozen=True)
class Refused:
    """Values, the key that the message must name, and words of what it must say (both are patterns)."""

    values: Values
    key: str
    says: str = ""
