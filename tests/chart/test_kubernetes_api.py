"""The in-memory API merges, defaults and refuses as a real one does."""

import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.chart.cluster_state import MERGE, STRATEGIC, ClusterState, Place
from tests.chart.engine import HelmFailed, Releases
from tests.chart.kubernetes_api import Cluster
from tests.chart.patches import strategic_merge_patch
from tests.chart.refusal import Refusal

WORKLOAD = Place("deployments", "exastro", "agent")
CLAIM = Place("persistentvolumeclaims", "exastro", "claim")


def workload(**spec: Any) -> dict[str, Any]:
    labels = {"app": "agent"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "agent", "image": "one"}]}}
    spec = {"selector": {"matchLabels": labels}, "template": template, **spec}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "agent"}, "spec": spec}


def claim(**spec: Any) -> dict[str, Any]:
    spec = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "10Gi"}}, **spec}
    metadata = {"name": "claim"}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec}


@pytest.fixture
def state() -> ClusterState:
    state = ClusterState()
    state.create(WORKLOAD, workload())
    state.create(CLAIM, claim())
    return state


def test_replicas_that_are_not_given_become_one_and_null_puts_them_back(state: ClusterState) -> None:
    state.patch(WORKLOAD, STRATEGIC, {"spec": {"replicas": 3}})
    assert state.patch(WORKLOAD, STRATEGIC, {"spec": {"replicas": None}})["spec"]["replicas"] == 1


def test_a_changed_selector_is_refused(state: ClusterState) -> None:
    labels = {"app": "agent", "more": "label"}
    patch = {"spec": {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}}}}
    with pytest.raises(Refusal, match=r"spec\.selector: field is immutable"):
        state.patch(WORKLOAD, STRATEGIC, patch)


@pytest.mark.parametrize(
    "spec", [{"storageClassName": "fast"}, {"volumeName": "pv"}, {"accessModes": ["ReadWriteOnce"]}]
)
def test_a_changed_claim_is_refused(state: ClusterState, spec: dict[str, Any]) -> None:
    with pytest.raises(Refusal, match="immutable after creation"):
        state.patch(CLAIM, STRATEGIC, {"spec": spec})


def test_a_larger_claim_is_allowed(state: ClusterState) -> None:
    state.patch(CLAIM, STRATEGIC, {"spec": {"resources": {"requests": {"storage": "20Gi"}}}})


def test_a_strategy_without_room_for_the_default_is_refused(state: ClusterState) -> None:
    with pytest.raises(Refusal, match="rollingUpdate: may not be specified"):
        state.patch(WORKLOAD, MERGE, {"spec": {"strategy": {"type": "Recreate"}}})
    state.patch(WORKLOAD, STRATEGIC, {"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}})


def test_strategic_merge_merges_lists_by_their_key() -> None:
    live = {"env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}], "args": ["x"]}
    patch = {
        "env": [{"name": "C", "value": "3"}, {"$patch": "delete", "name": "A"}],
        "$setElementOrder/env": [{"name": "C"}, {"name": "B"}],
        "args": ["y"],
    }
    merged = strategic_merge_patch(live, patch)
    assert merged == {"env": [{"name": "C", "value": "3"}, {"name": "B", "value": "2"}], "args": ["y"]}


def test_server_side_apply_removes_what_its_manager_no_longer_sets(state: ClusterState) -> None:
    state.apply(WORKLOAD, "helm", workload(replicas=2, minReadySeconds=5), force=False)
    state.set_field(WORKLOAD, "controller", {"metadata": {"annotations": {"revision": "1"}}})
    left = state.apply(WORKLOAD, "helm", workload(), force=False)
    assert left["spec"]["replicas"] == 1
    assert "minReadySeconds" not in left["spec"]
    assert left["metadata"]["annotations"] == {"revision": "1"}


def test_server_side_apply_conflicts_with_what_another_manager_set(state: ClusterState) -> None:
    state.apply(WORKLOAD, "helm", workload(replicas=1), force=False)
    state.set_field(WORKLOAD, "kubectl", {"spec": {"replicas": 0}})
    with pytest.raises(Refusal, match=r'conflict with "kubectl": \.spec\.replicas'):
        state.apply(WORKLOAD, "helm", workload(replicas=1), force=False)
    assert state.apply(WORKLOAD, "helm", workload(replicas=1), force=True)["spec"]["replicas"] == 1


def test_a_list_element_that_is_no_longer_applied_is_removed_alone(state: ClusterState) -> None:
    two = workload()
    two["spec"]["template"]["spec"]["containers"].append({"name": "second", "image": "two"})
    state.apply(WORKLOAD, "helm", two, force=False)
    left = state.apply(WORKLOAD, "helm", workload(), force=False)
    assert [container["name"] for container in left["spec"]["template"]["spec"]["containers"]] == ["agent"]


def test_secrets_that_are_not_base64_are_refused(state: ClusterState) -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {"TOKEN": "{{ }}"}}
    with pytest.raises(Refusal, match=r"data\.TOKEN: not base64"):
        state.create(Place("secrets", "exastro", "s"), secret)


def test_what_is_not_there_is_not_found(cluster: Cluster) -> None:
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(f"{cluster.url}/api/v1/namespaces/exastro/configmaps/absent")


def test_helm_3_patches_and_helm_4_applies(cluster: Cluster, reference_chart: Path) -> None:
    releases = Releases(cluster.url)
    releases.install(reference_chart, "exastro-agent")
    assert {request.content_type for request in cluster.changes()} == {"application/apply-patch+yaml"}
    cluster.requests.clear()
    cluster.make_releases_those_of_helm_3()
    releases.upgrade(
        reference_chart, "exastro-agent", {"ita-ag-oase": {"podAnnotations": {}, "nameOverride": "b"}}
    )
    created = [request.plural for request in cluster.changes() if request.method == "POST"]
    assert sorted(created) == ["configmaps", "deployments", "persistentvolumeclaims", "secrets"]


def test_uninstalling_the_reference_deletes_its_claim(cluster: Cluster, reference_chart: Path) -> None:
    releases = Releases(cluster.url)
    releases.install(reference_chart, "exastro-agent")
    releases.uninstall("exastro-agent")
    assert [request.plural for request in cluster.changes() if request.method == "DELETE"].count(
        "persistentvolumeclaims"
    ) == 1
    assert cluster.objects("persistentvolumeclaims") == {}


def test_a_second_release_of_the_same_names_is_refused(cluster: Cluster, reference_chart: Path) -> None:
    releases = Releases(cluster.url)
    releases.install(reference_chart, "exastro-agent")
    with pytest.raises(HelmFailed, match="exists and cannot be imported"):
        releases.install(reference_chart, "other")
