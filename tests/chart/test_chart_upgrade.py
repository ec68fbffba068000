"""Upgrades from the reference, by Helm 3's way of applying and by Helm 4's: nothing is lost, nothing is refused."""

from pathlib import Path

import pytest

from tests.chart.chart_files import CHART
from tests.chart.engine import HelmFailed, Releases
from tests.chart.kubernetes_api import Cluster
from tests.chart.release_stage import (
    BOTH_MODES,
    CLAIM,
    KEEP,
    NAME,
    RELEASE,
    TWO_AGENTS,
    Mode,
    deleted,
    deployment,
    installed,
    is_kept,
)
from tests.chart.sample_values import OF_THE_REFERENCE, Values, values


@BOTH_MODES
@pytest.mark.parametrize("replicas", [0, 1, 3])
def test_an_upgrade_from_the_reference_keeps_the_number_of_pods(
    cluster: Cluster, releases: Releases, reference_chart: Path, mode: Mode, replicas: int
) -> None:
    installed(cluster, releases, reference_chart, mode, values())
    cluster.scale(NAME, replicas)
    releases.upgrade(CHART, RELEASE, values())
    assert deployment(cluster)["spec"]["replicas"] == replicas
    assert not [request for request in cluster.changes("deployments") if "replicas" in request.body["spec"]]


@BOTH_MODES
@pytest.mark.parametrize("given", OF_THE_REFERENCE)
def test_an_upgrade_from_the_reference_changes_nothing_that_is_fixed(
    cluster: Cluster, releases: Releases, reference_chart: Path, mode: Mode, given: str
) -> None:
    installed(cluster, releases, reference_chart, mode, OF_THE_REFERENCE[given])
    before = {name: found["spec"] for name, found in cluster.objects("persistentvolumeclaims").items()}
    (name, old) = next(iter(cluster.objects("deployments").items()))
    releases.upgrade(CHART, RELEASE, OF_THE_REFERENCE[given])
    assert deployment(cluster, name)["spec"]["selector"] == old["spec"]["selector"]
    assert {
        name: found["spec"] for name, found in cluster.objects("persistentvolumeclaims").items()
    } == before
    assert deleted(cluster) == []
    assert all(request.status < 300 for request in cluster.changes())
    assert all(map(is_kept, cluster.objects("persistentvolumeclaims").values()))


@BOTH_MODES
def test_an_upgrade_from_the_reference_stops_the_old_pod_before_the_new_one_starts(
    cluster: Cluster, releases: Releases, reference_chart: Path, mode: Mode
) -> None:
    installed(cluster, releases, reference_chart, mode, values())
    releases.upgrade(CHART, RELEASE, values())
    rolling = {"maxSurge": 0, "maxUnavailable": 1}
    assert deployment(cluster)["spec"]["strategy"] == {"type": "RollingUpdate", "rollingUpdate": rolling}


@BOTH_MODES
def test_a_release_goes_back_to_the_reference(
    cluster: Cluster, releases: Releases, reference_chart: Path, mode: Mode
) -> None:
    installed(cluster, releases, reference_chart, mode, values())
    releases.upgrade(CHART, RELEASE, values())
    releases.upgrade(reference_chart, RELEASE, values())
    assert not [place for place in deleted(cluster) if place[0] == "persistentvolumeclaims"]


@BOTH_MODES
def test_uninstalling_keeps_the_claim_and_installing_again_takes_it(
    cluster: Cluster, releases: Releases, reference_chart: Path, mode: Mode
) -> None:
    installed(cluster, releases, reference_chart, mode, values())
    releases.upgrade(CHART, RELEASE, values())
    uid = cluster.objects("persistentvolumeclaims")[CLAIM]["metadata"]["uid"]
    releases.uninstall(RELEASE)
    assert cluster.objects("deployments") == {}
    assert cluster.objects("secrets") == {}
    assert list(cluster.objects("persistentvolumeclaims")) == [CLAIM]
    releases.install(CHART, RELEASE, values())
    assert cluster.objects("persistentvolumeclaims")[CLAIM]["metadata"]["uid"] == uid
    assert deployment(cluster)


# Values that no longer render the claim that the release has: the agents' state would be left behind.
LAYOUT_SWITCHES: dict[str, tuple[Values, list[str]]] = {
    "a pod for each agent": (
        values(*TWO_AGENTS, layout="perAgent"),
        [f"{NAME}-oase-agent-1", f"{NAME}-oase-agent-2"],
    ),
    "a claim for each agent": (values(*TWO_AGENTS, persistence={"perAgent": True}), [NAME]),
    "a claim of the user's": (values(*TWO_AGENTS, persistence={"existingClaim": "mine"}), [NAME]),
    "no persistence": (values(*TWO_AGENTS, persistence={"enabled": False}), [NAME]),
}


@BOTH_MODES
@pytest.mark.parametrize("switch", LAYOUT_SWITCHES)
def test_a_switch_of_layout_in_the_upgrade_from_the_reference_is_refused(
    cluster: Cluster, releases: Releases, reference_chart: Path, mode: Mode, switch: str
) -> None:
    installed(cluster, releases, reference_chart, mode, values(*TWO_AGENTS))
    with pytest.raises(HelmFailed, match=CLAIM) as refusal:
        releases.upgrade(CHART, RELEASE, LAYOUT_SWITCHES[switch][0])
    assert f"kubectl annotate pvc {CLAIM}" in str(refusal.value)
    assert deleted(cluster) == []
    assert CLAIM in cluster.objects("persistentvolumeclaims")


@BOTH_MODES
@pytest.mark.parametrize("switch", LAYOUT_SWITCHES)
def test_a_switch_of_layout_after_the_upgrade_is_allowed_and_leaves_the_claim(
    cluster: Cluster, releases: Releases, reference_chart: Path, mode: Mode, switch: str
) -> None:
    given, deployments = LAYOUT_SWITCHES[switch]
    installed(cluster, releases, reference_chart, mode, values(*TWO_AGENTS))
    releases.upgrade(CHART, RELEASE, values(*TWO_AGENTS))
    releases.upgrade(CHART, RELEASE, given)
    assert CLAIM in cluster.objects("persistentvolumeclaims")
    assert sorted(cluster.objects("deployments")) == deployments


@BOTH_MODES
def test_a_switch_of_layout_is_allowed_once_the_claim_is_marked_by_hand(
    cluster: Cluster, releases: Releases, reference_chart: Path, mode: Mode
) -> None:
    installed(cluster, releases, reference_chart, mode, values(*TWO_AGENTS))
    cluster.annotate("persistentvolumeclaims", CLAIM, dict([KEEP]))
    releases.upgrade(CHART, RELEASE, values(*TWO_AGENTS, layout="perAgent"))
    assert CLAIM in cluster.objects("persistentvolumeclaims")


@BOTH_MODES
def test_a_changed_claim_is_refused_with_the_key_to_put_back(
    cluster: Cluster, releases: Releases, reference_chart: Path, mode: Mode
) -> None:
    installed(cluster, releases, reference_chart, mode, values())
    with pytest.raises(HelmFailed, match="storageClass"):
        releases.upgrade(CHART, RELEASE, values(persistence={"storageClass": "fast"}))
