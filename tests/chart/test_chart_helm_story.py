"""The commands of the guide, by the helm command against the in-memory API, with the chart as its package."""

import json
from pathlib import Path

import pytest

from tests.chart.chart_files import CHART
from tests.chart.engine import HelmFailed
from tests.chart.helm_binary import WITH_EVERY_HELM, HelmCommand
from tests.chart.kubernetes_api import Cluster
from tests.chart.release_stage import CLAIM, NAME, deployment, is_kept
from tests.chart.sample_values import Values, agent, env, values

INSTALL = "install exastro-agent {} --namespace exastro --create-namespace --values exastro-agent.yaml"
UPGRADE = "upgrade exastro-agent {} --namespace exastro --values exastro-agent.yaml"
ROLLBACK = "rollback exastro-agent --namespace exastro"
UNINSTALL = "uninstall exastro-agent --namespace exastro"


@pytest.fixture
def command(helm: str, tmp_path: Path, cluster: Cluster) -> HelmCommand:
    return HelmCommand(helm, tmp_path, cluster.url)


def packaged(command: HelmCommand, chart: Path) -> str:
    """Make the package of a chart and return its name in the home folder."""
    return Path(command.run(f"package {chart}").strip().rpartition(" ")[2]).name


def write_values(command: HelmCommand, given: Values) -> None:
    (command.home / "exastro-agent.yaml").write_text(json.dumps(given), encoding="utf-8")


@WITH_EVERY_HELM
def test_the_values_that_users_start_from_are_shown_with_their_comments(command: HelmCommand) -> None:
    shown = command.run(f"show values {packaged(command, CHART)}")
    assert shown.strip() == (CHART / "values.yaml").read_text(encoding="utf-8").strip()


@WITH_EVERY_HELM
def test_a_release_is_installed_stopped_upgraded_and_uninstalled(
    command: HelmCommand, cluster: Cluster
) -> None:
    package = packaged(command, CHART)
    write_values(command, values())
    notes = command.run(INSTALL.format(package))
    assert "helm test exastro-agent --namespace exastro" in notes
    cluster.scale(NAME, 0)
    before = deployment(cluster)["spec"]["template"]
    write_values(command, values(agent(extraEnv=env(LOG_LEVEL="DEBUG"))))
    command.run(UPGRADE.format(package))
    assert deployment(cluster)["spec"]["replicas"] == 0
    assert deployment(cluster)["spec"]["template"] != before
    command.run(UNINSTALL)
    assert cluster.objects("deployments") == cluster.objects("secrets") == {}
    assert list(cluster.objects("persistentvolumeclaims")) == [CLAIM]


@WITH_EVERY_HELM
def test_a_release_of_the_reference_is_upgraded_and_taken_back(
    command: HelmCommand, cluster: Cluster, reference_chart: Path
) -> None:
    write_values(command, values())
    command.run(INSTALL.format(reference_chart))
    claim = cluster.objects("persistentvolumeclaims")[CLAIM]
    selector = deployment(cluster)["spec"]["selector"]
    cluster.scale(NAME, 0)
    command.run(UPGRADE.format(packaged(command, CHART)))
    assert deployment(cluster)["spec"]["replicas"] == 0
    assert deployment(cluster)["spec"]["selector"] == selector
    assert is_kept(cluster.objects("persistentvolumeclaims")[CLAIM])
    command.run(ROLLBACK)
    left = cluster.objects("persistentvolumeclaims")[CLAIM]
    assert left["metadata"]["uid"] == claim["metadata"]["uid"]
    assert not is_kept(left)
    assert deployment(cluster)["spec"]["replicas"] == 0


@WITH_EVERY_HELM
def test_what_cannot_work_changes_nothing(command: HelmCommand, cluster: Cluster) -> None:
    write_values(command, values(agent(secret={})))
    with pytest.raises(HelmFailed, match="EXASTRO_REFRESH_TOKEN"):
        command.run(INSTALL.format(packaged(command, CHART)))
    assert cluster.changes("deployments") == cluster.changes("persistentvolumeclaims") == []


@WITH_EVERY_HELM
def test_what_templates_remember_in_a_render_is_no_value_of_the_release(command: HelmCommand) -> None:
    write_values(command, values())
    command.run(INSTALL.format(packaged(command, CHART)))
    shown = command.run("get values exastro-agent --namespace exastro --all --output json")
    assert sorted(json.loads(shown)) == ["global", "ita-ag-oase"]
