"""The chart passes Helm's linter, strictly, and states what it is."""

import re
import tomllib

import pytest

from tests.chart.chart_files import CHART, ROOT, example_files, example_values
from tests.chart.engine import Values, lint, values_from_yaml
from tests.chart.sample_values import values

GIVEN = {"defaults": {}, "one agent": values()} | {
    path.stem: example_values(path) for path in example_files()
}


@pytest.mark.parametrize("given", GIVEN)
def test_the_linter_has_nothing_to_say_not_even_strictly(given: str) -> None:
    assert [finding for finding in lint(CHART, GIVEN[given], strict=True) if finding.severity > 1] == []


def test_the_linter_is_asked_for_real() -> None:
    wrong: Values = {"ita-ag-oase": {"agents": "not a list"}}
    assert any(finding.severity == 3 for finding in lint(CHART, wrong))


def test_the_chart_is_of_the_version_of_the_agent() -> None:
    chart = values_from_yaml((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert chart["name"] == "exastro-agent"
    assert chart["appVersion"] == project["version"]
    assert chart["kubeVersion"] == ">=1.23.0-0"


def test_templates_use_no_function_that_helm_3_9_does_not_have() -> None:
    newer = re.compile(r"\b(mustToDuration|toYamlPretty|fromToml|mustToYaml|mustToJson|mustFromYaml)\b")
    used = {
        name
        for path in CHART.glob("templates/**/*")
        if path.is_file()
        for name in newer.findall(path.read_text())
    }
    assert used == set()
