"""From one pod to several and back, applied as by Helm 3 and by Helm 4: no rollout sticks, no name is lost."""

import pytest

from oase_agent.coordination.kubernetes.lease import base_name, claim_name
from tests.chart.chart_files import CHART
from tests.chart.engine import HelmFailed, Releases
from tests.chart.kubernetes_api import Cluster
from tests.chart.refused_replicas import SHARED, several
from tests.chart.release_stage import BOTH_MODES, NAME, RELEASE, Mode, deployment, installed
from tests.chart.sample_values import Values, agent, env, values

BASE = base_name("org001", "ws01", "oase-agent")
ONE_POD = values(persistence=SHARED)
ALL_AT_ONCE = {"maxSurge": 0, "maxUnavailable": "100%"}
ONE_BY_ONE = {"maxSurge": 0, "maxUnavailable": 1}


def collecting(*settings: str) -> Values:
    return several(agent(extraEnv=env(EVENT_COLLECTION_SETTINGS_NAMES=",".join(settings))))


def rolling(cluster: Cluster) -> object:
    return deployment(cluster)["spec"]["strategy"]["rollingUpdate"]


def bound_names(cluster: Cluster) -> set[str]:
    roles = cluster.objects("roles").values()
    return {name for role in roles for rule in role["rules"] for name in rule.get("resourceNames", [])}


@BOTH_MODES
def test_a_pod_that_does_not_share_goes_before_those_that_do(
    cluster: Cluster, releases: Releases, mode: Mode
) -> None:
    """It holds the volume for itself, so no pod that shares becomes ready as long as it runs."""
    installed(cluster, releases, CHART, mode, ONE_POD)
    releases.upgrade(CHART, RELEASE, several())
    assert rolling(cluster) == ALL_AT_ONCE
    assert deployment(cluster)["spec"]["replicas"] == 3
    template = deployment(cluster)["spec"]["template"]
    releases.upgrade(CHART, RELEASE, several())
    assert rolling(cluster) == ONE_BY_ONE
    assert deployment(cluster)["spec"]["template"] == template


@BOTH_MODES
def test_pods_that_share_become_one_that_does_not(cluster: Cluster, releases: Releases, mode: Mode) -> None:
    installed(cluster, releases, CHART, mode, several())
    releases.upgrade(CHART, RELEASE, values(persistence=SHARED, replicas=1))
    assert deployment(cluster)["spec"]["replicas"] == 1
    assert rolling(cluster) == ONE_BY_ONE
    left = [cluster.objects(plural) for plural in ("roles", "rolebindings", "serviceaccounts")]
    assert left == [{}, {}, {}]


@BOTH_MODES
def test_a_setting_that_was_taken_out_keeps_its_name_in_the_role(
    cluster: Cluster, releases: Releases, mode: Mode
) -> None:
    installed(cluster, releases, CHART, mode, collecting("stays", "goes"))
    releases.upgrade(CHART, RELEASE, collecting("stays", "comes"))
    releases.upgrade(CHART, RELEASE, collecting("stays"))
    claims = {claim_name(BASE, name) for name in ("stays", "goes", "comes")}
    assert {name for name in bound_names(cluster) if "-c-" in name} == claims


@BOTH_MODES
def test_names_of_an_agent_that_is_gone_are_dropped(cluster: Cluster, releases: Releases, mode: Mode) -> None:
    installed(cluster, releases, CHART, mode, several(agent("other")))
    releases.upgrade(CHART, RELEASE, several())
    assert all(name.startswith(BASE) for name in bound_names(cluster))


@BOTH_MODES
def test_names_in_the_further_roles_are_kept_too(cluster: Cluster, releases: Releases, mode: Mode) -> None:
    many = [f"setting {number}" for number in range(1000)]
    installed(cluster, releases, CHART, mode, collecting(*many))
    releases.upgrade(CHART, RELEASE, collecting("setting 0"))
    assert {name for name in bound_names(cluster) if "-c-" in name} == {
        claim_name(BASE, name) for name in many
    }


@BOTH_MODES
def test_a_count_set_by_kubectl_stays(cluster: Cluster, releases: Releases, mode: Mode) -> None:
    free = several(replicas=None, coordination={"enabled": True})
    installed(cluster, releases, CHART, mode, free)
    cluster.scale(NAME, 7)
    releases.upgrade(CHART, RELEASE, free)
    assert deployment(cluster)["spec"]["replicas"] == 7


def test_the_notes_tell_that_further_pods_wait(cluster: Cluster, releases: Releases) -> None:
    releases.install(CHART, RELEASE, ONE_POD)
    cluster.scale(NAME, 2)
    assert "coordination.enabled: true" in releases.upgrade(CHART, RELEASE, ONE_POD)
    cluster.scale(NAME, 1)
    assert "coordination.enabled: true" not in releases.upgrade(CHART, RELEASE, ONE_POD)


@pytest.mark.parametrize(("mode", "is_refused"), [("ReadWriteOnce", True), ("ReadWriteMany", False)])
def test_a_claim_of_the_users_must_be_one_that_several_nodes_can_mount(
    cluster: Cluster, releases: Releases, mode: str, is_refused: bool
) -> None:
    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "mine"}}
    spec = {"accessModes": [mode], "resources": {"requests": {"storage": "1Gi"}}}
    cluster.state.create(cluster.place("persistentvolumeclaims", "mine"), {**claim, "spec": spec})
    given = several(persistence={"existingClaim": "mine"})
    if is_refused:
        with pytest.raises(HelmFailed, match=r"persistence\.existingClaim.*mine has ReadWriteOnce"):
            releases.install(CHART, RELEASE, given)
    else:
        releases.install(CHART, RELEASE, given)


def test_an_account_that_somebody_else_made_is_not_taken(cluster: Cluster, releases: Releases) -> None:
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": NAME}}
    cluster.state.create(cluster.place("serviceaccounts", NAME), account)
    with pytest.raises(HelmFailed, match=r"serviceAccount\.create.*there already"):
        releases.install(CHART, RELEASE, several())
