"""What UPGRADING.md tells users to do does what it says."""

import json
import re
from pathlib import Path

from tests.chart.chart_files import CHART
from tests.chart.cluster_state import MERGE, ClusterState, Place
from tests.chart.engine import Releases
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
from tests.chart.sample_values import Values, agent, values

GUIDE = (CHART / "UPGRADING.md").read_text(encoding="utf-8")


def of_release(number: int) -> Values:
    """Return the values of one of several releases, as the user document has them."""
    name = f"{NAME}-{number}"
    return values(nameOverride=name, persistence={"matchLabels": {"release": f"pv-{name}"}})


@BOTH_MODES
def test_two_releases_become_one_with_both_claims(
    cluster: Cluster, releases: Releases, mode: Mode, reference_chart: Path
) -> None:
    for number in (1, 2):
        releases.install(reference_chart, f"exastro-agent-{number}", of_release(number))
    mode(cluster)
    for number in (1, 2):
        releases.upgrade(CHART, f"exastro-agent-{number}", of_release(number))
        cluster.scale(f"{NAME}-{number}", 0)
    releases.uninstall("exastro-agent-2")
    claims = cluster.objects("persistentvolumeclaims").keys()
    selector = deployment(cluster, f"{NAME}-1")["spec"]["selector"]
    pods = {number: {"persistence": {"existingClaim": f"{CLAIM}-{number}"}} for number in ("1", "2")}
    given = values(agent("oase-agent", pod="1"), agent("another", pod="2"), pods=pods)
    releases.upgrade(CHART, "exastro-agent-1", given)
    assert cluster.objects("persistentvolumeclaims").keys() == claims == {f"{CLAIM}-1", f"{CLAIM}-2"}
    counts = {name: found["spec"]["replicas"] for name, found in cluster.objects("deployments").items()}
    assert counts == {f"{NAME}-1": 0, f"{NAME}-2": 1}
    assert deployment(cluster, f"{NAME}-1")["spec"]["selector"] == selector


@BOTH_MODES
def test_the_state_is_kept_by_naming_the_old_claim(cluster: Cluster, releases: Releases, mode: Mode) -> None:
    installed(cluster, releases, CHART, mode, values(*TWO_AGENTS))
    cluster.scale(NAME, 0)
    given = values(*TWO_AGENTS, layout="perAgent", persistence={"existingClaim": CLAIM})
    releases.upgrade(CHART, RELEASE, given)
    assert list(cluster.objects("persistentvolumeclaims")) == [CLAIM]
    found = [pod["spec"]["template"]["spec"]["volumes"][0] for pod in cluster.objects("deployments").values()]
    assert [volume["persistentVolumeClaim"]["claimName"] for volume in found] == [CLAIM, CLAIM]


@BOTH_MODES
def test_a_count_that_is_taken_out_of_the_values_becomes_one(
    cluster: Cluster, releases: Releases, mode: Mode
) -> None:
    installed(cluster, releases, CHART, mode, values(replicas=0))
    releases.upgrade(CHART, RELEASE, values())
    assert deployment(cluster)["spec"]["replicas"] == 1


@BOTH_MODES
def test_the_old_chart_takes_the_mark_away_and_deletes_the_claim_when_it_goes_even_if_marked_by_hand(
    cluster: Cluster, releases: Releases, reference_chart: Path, mode: Mode
) -> None:
    installed(cluster, releases, CHART, mode, values())
    releases.upgrade(reference_chart, RELEASE, values())
    assert not is_kept(cluster.objects("persistentvolumeclaims")[CLAIM])
    cluster.annotate("persistentvolumeclaims", CLAIM, dict([KEEP]))
    releases.uninstall(RELEASE)
    assert deleted(cluster).count(("persistentvolumeclaims", CLAIM)) == 1


def test_the_patch_of_the_guide_frees_a_released_volume() -> None:
    (patch,) = re.findall(r"kubectl patch pv \S+ --type merge \\\n +-p '(.+)'", GUIDE)
    state = ClusterState()
    volume = Place("persistentvolumes", "", "pv-ita-ag-oase")
    claim = {"name": CLAIM, "namespace": "exastro"}
    state.create(
        volume,
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": volume.name},
            "spec": {"claimRef": claim | {"uid": "gone", "resourceVersion": "7"}},
        },
    )
    assert state.patch(volume, MERGE, json.loads(patch))["spec"]["claimRef"] == claim


def test_every_link_of_the_guide_leads_to_a_part_of_it() -> None:
    titles = re.findall(r"^#+ (.+)$", GUIDE, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles}
    assert set(re.findall(r"\]\(#([^)]+)\)", GUIDE)) <= anchors
