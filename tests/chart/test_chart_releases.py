"""Releases of this chart over their life, by Helm 3's way of applying and by Helm 4's."""

import pytest

from tests.chart.chart_files import CHART
from tests.chart.engine import HelmFailed, Releases
from tests.chart.kubernetes_api import Cluster
from tests.chart.release_stage import (
    BOTH_MODES,
    CLAIM,
    NAME,
    RELEASE,
    TWO_AGENTS,
    Mode,
    deployment,
    installed,
)
from tests.chart.sample_values import Values, agent, env, values


@BOTH_MODES
def test_a_switch_of_layout_and_back_finds_the_old_claim(
    cluster: Cluster, releases: Releases, mode: Mode
) -> None:
    installed(cluster, releases, CHART, mode, values(*TWO_AGENTS))
    uid = cluster.objects("persistentvolumeclaims")[CLAIM]["metadata"]["uid"]
    releases.upgrade(CHART, RELEASE, values(*TWO_AGENTS, layout="perAgent"))
    releases.upgrade(CHART, RELEASE, values(*TWO_AGENTS))
    assert cluster.objects("persistentvolumeclaims")[CLAIM]["metadata"]["uid"] == uid
    assert list(cluster.objects("deployments")) == [NAME]


@BOTH_MODES
@pytest.mark.parametrize(
    ("part", "changed"),
    [
        ("a token", values(agent(secret={"EXASTRO_REFRESH_TOKEN": "rotated"}))),
        ("an option", values(agent(extraEnv=env(LOG_LEVEL="DEBUG")))),
    ],
)
def test_a_changed_value_starts_the_pod_anew(
    cluster: Cluster, releases: Releases, mode: Mode, part: str, changed: Values
) -> None:
    installed(cluster, releases, CHART, mode, values())
    before = deployment(cluster)["spec"]["template"]
    releases.upgrade(CHART, RELEASE, changed)
    assert deployment(cluster)["spec"]["template"] != before


@BOTH_MODES
def test_an_upgrade_that_changes_nothing_leaves_the_pod_alone(
    cluster: Cluster, releases: Releases, mode: Mode
) -> None:
    installed(cluster, releases, CHART, mode, values())
    before = deployment(cluster)["spec"]
    releases.upgrade(CHART, RELEASE, values())
    assert deployment(cluster)["spec"] == before


@BOTH_MODES
def test_changing_one_agent_leaves_the_pods_of_the_others_alone(
    cluster: Cluster, releases: Releases, mode: Mode
) -> None:
    installed(cluster, releases, CHART, mode, values(*TWO_AGENTS, layout="perAgent"))
    first, second = f"{NAME}-oase-agent-1", f"{NAME}-oase-agent-2"
    before = cluster.objects("deployments")
    changed = agent("oase-agent-2", secret={"EXASTRO_REFRESH_TOKEN": "rotated"})
    releases.upgrade(CHART, RELEASE, values(TWO_AGENTS[0], changed, layout="perAgent"))
    assert deployment(cluster, first)["spec"] == before[first]["spec"]
    assert deployment(cluster, second)["spec"] != before[second]["spec"]


@BOTH_MODES
def test_a_number_of_pods_in_the_values_does_not_start_what_was_stopped(
    cluster: Cluster, releases: Releases, mode: Mode
) -> None:
    installed(cluster, releases, CHART, mode, values(replicas=1))
    cluster.scale(NAME, 0)
    notes = releases.upgrade(CHART, RELEASE, values(replicas=1))
    assert deployment(cluster)["spec"]["replicas"] == 0
    assert f"kubectl scale deployment {NAME}" in notes


@BOTH_MODES
def test_a_number_of_pods_in_the_values_is_enforced_if_so_wanted(
    cluster: Cluster, releases: Releases, mode: Mode
) -> None:
    installed(cluster, releases, CHART, mode, values(replicas=1))
    cluster.scale(NAME, 0)
    if mode is Cluster.make_releases_those_of_helm_3:
        releases.upgrade(CHART, RELEASE, values(replicas=1, keepScaledToZero=False))
        assert deployment(cluster)["spec"]["replicas"] == 1
    else:
        with pytest.raises(HelmFailed, match=r"conflict with .*replicas"):
            releases.upgrade(CHART, RELEASE, values(replicas=1, keepScaledToZero=False))


def test_two_releases_live_in_one_namespace(cluster: Cluster, releases: Releases) -> None:
    releases.install(CHART, "exastro-agent-1", values(nameOverride="ita-ag-oase-1"))
    releases.install(CHART, "exastro-agent-2", values(nameOverride="ita-ag-oase-2"))
    releases.uninstall("exastro-agent-1")
    assert list(cluster.objects("deployments")) == ["ita-ag-oase-2"]


def test_a_second_release_of_the_same_name_is_refused(cluster: Cluster, releases: Releases) -> None:
    releases.install(CHART, "exastro-agent-1", values())
    with pytest.raises(HelmFailed, match="exastro-agent-1"):
        releases.install(CHART, "exastro-agent-2", values())


@BOTH_MODES
def test_a_volume_that_the_chart_made_outlives_the_release(
    cluster: Cluster, releases: Releases, mode: Mode
) -> None:
    given = values(persistence={"hostPath": {"create": True}})
    installed(cluster, releases, CHART, mode, given)
    releases.uninstall(RELEASE)
    assert list(cluster.objects("persistentvolumes")) == ["pv-ita-ag-oase"]
    assert list(cluster.objects("persistentvolumeclaims")) == [CLAIM]
    releases.install(CHART, RELEASE, given)
    assert cluster.objects("persistentvolumes")["pv-ita-ag-oase"]["spec"]["claimRef"]["name"] == CLAIM


@BOTH_MODES
def test_a_claim_that_need_not_be_kept_goes_with_the_release(
    cluster: Cluster, releases: Releases, mode: Mode
) -> None:
    installed(cluster, releases, CHART, mode, values(persistence={"retain": False}))
    releases.uninstall(RELEASE)
    assert cluster.objects("persistentvolumeclaims") == {}


@BOTH_MODES
def test_a_claim_of_the_users_is_never_touched(cluster: Cluster, releases: Releases, mode: Mode) -> None:
    installed(cluster, releases, CHART, mode, values(persistence={"existingClaim": "mine"}))
    releases.uninstall(RELEASE)
    assert cluster.changes("persistentvolumeclaims") == []
