"""The chart's README tells of every value what values.yaml tells of it."""

import pytest

from tests.chart.chart_files import CHART
from tests.chart.readme_table import BEGIN, END, Row, rows_of, table, undescribed_leaves, with_table

VALUES = """\
# Default values.
global: {}

group:
  # -- How loud it is,
  # from 1 to 11.
  volume: 11
  # Not told to anybody.
  silent: true
  names: []  # -- Names a | b.
  list:
    # -- Size of an entry.
    - size: 10Gi
  # -- Where it may run.
  limits:
    cpu: "1"
"""


def test_a_comment_with_two_dashes_describes_the_key_below_or_before_it() -> None:
    assert rows_of(VALUES) == [
        Row("group.volume", "11", "How loud it is, from 1 to 11."),
        Row("group.names", "[]", "Names a | b."),
        Row("group.list[].size", '"10Gi"', "Size of an entry."),
        Row("group.limits", '{"cpu": "1"}', "Where it may run."),
    ]


def test_values_without_a_description_are_found() -> None:
    assert undescribed_leaves(VALUES) == ["global", "group.silent"]


def test_the_table_goes_between_the_markers_and_nowhere_else() -> None:
    once = with_table(f"Before {BEGIN} old {END} after", VALUES)
    assert once.startswith(f"Before {BEGIN}\n")
    assert once.endswith(f"{END} after")
    assert "| `group.names` | `[]` | Names a \\| b. |" in once
    assert "old" not in once
    assert with_table(once, VALUES) == once


def test_a_readme_without_markers_is_refused() -> None:
    with pytest.raises(ValueError, match="must hold"):
        with_table("nothing here", VALUES)


def test_the_readme_has_the_table_of_values() -> None:
    readme = (CHART / "README.md").read_text(encoding="utf-8")
    values_yaml = (CHART / "values.yaml").read_text(encoding="utf-8")
    assert table(values_yaml) in readme, "run: make docs"
    assert with_table(readme, values_yaml) == readme, "run: make docs"


def test_every_value_is_described() -> None:
    assert undescribed_leaves((CHART / "values.yaml").read_text(encoding="utf-8")) == []
