"""The helm command gives what the engine in the tests gives; for the machines that have one."""

import json
from pathlib import Path

import pytest

from tests.chart.chart_files import CHART, PLACEHOLDERS, example_files, example_values
from tests.chart.engine import HelmFailed, render
from tests.chart.helm_binary import WITH_EVERY_HELM, helm_template
from tests.chart.refused_values import REFUSED
from tests.chart.sample_values import OF_THE_REFERENCE, TOKEN


@WITH_EVERY_HELM
@pytest.mark.parametrize("example", example_files(), ids=lambda path: path.stem)
def test_the_command_renders_an_example_the_same(helm: str, example: Path, tmp_path: Path) -> None:
    text = example.read_text(encoding="utf-8")
    for placeholder in PLACEHOLDERS:
        text = text.replace(f'"{placeholder}"', TOKEN)
    values_file = tmp_path / example.name
    values_file.write_text(text, encoding="utf-8")
    assert helm_template(helm, CHART, values_file) == render(CHART, example_values(example)).manifests


@WITH_EVERY_HELM
@pytest.mark.parametrize("given", OF_THE_REFERENCE)
def test_the_command_renders_a_file_of_the_reference_the_same(helm: str, given: str, tmp_path: Path) -> None:
    values_file = tmp_path / "values.yaml"
    values_file.write_text(json.dumps(OF_THE_REFERENCE[given]), encoding="utf-8")
    assert helm_template(helm, CHART, values_file) == render(CHART, OF_THE_REFERENCE[given]).manifests


@WITH_EVERY_HELM
@pytest.mark.parametrize("case", REFUSED)
def test_the_command_refuses_the_same(helm: str, case: str, tmp_path: Path) -> None:
    values_file = tmp_path / "values.yaml"
    values_file.write_text(json.dumps(REFUSED[case].values), encoding="utf-8")
    with pytest.raises(HelmFailed, match=REFUSED[case].key):
        helm_template(helm, CHART, values_file)


@WITH_EVERY_HELM
def test_the_command_refuses_a_kubernetes_that_is_too_old(helm: str) -> None:
    with pytest.raises(HelmFailed, match=r"1\.22\.0"):
        helm_template(helm, CHART, kube_version="1.22.0")
