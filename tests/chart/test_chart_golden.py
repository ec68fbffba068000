"""What each layout renders is what was last agreed on; `UPDATE_GOLDEN=1` agrees on what is rendered now."""

import os
from pathlib import Path

import pytest

from tests.chart.chart_files import CHART, GOLDEN, example_files, example_values
from tests.chart.engine import render
from tests.chart.golden_renders import golden_text

UPDATE = bool(os.environ.get("UPDATE_GOLDEN"))


@pytest.mark.parametrize("example", example_files(), ids=lambda path: path.stem)
def test_a_layout_renders_as_agreed(example: Path) -> None:
    rendered = golden_text(render(CHART, example_values(example)).manifests)
    agreed = GOLDEN / example.name
    if UPDATE:
        GOLDEN.mkdir(exist_ok=True)
        agreed.write_text(rendered, encoding="utf-8")
    assert agreed.exists(), "agree on it with UPDATE_GOLDEN=1"
    assert rendered == agreed.read_text(encoding="utf-8"), "agree on it with UPDATE_GOLDEN=1"


def test_no_agreed_render_is_left_of_an_example_that_is_gone() -> None:
    left = {path.name for path in GOLDEN.glob("*.yaml")} - {path.name for path in example_files()}
    if UPDATE:
        for name in left:
            (GOLDEN / name).unlink()
    else:
        assert not left, "remove it with UPDATE_GOLDEN=1"
