"""What a release of the reference has on a cluster, and an upgrade must find again: contract 10.1, 10.2."""

import base64
from pathlib import Path
from typing import Any

import pytest

from tests.chart.chart_files import CHART
from tests.chart.engine import Rendered, render
from tests.chart.manifests import Manifest
from tests.chart.sample_values import OF_THE_REFERENCE, TOKEN, Values, agent, values

LAYOUTS: dict[str, tuple[str, str, Values, list[str]]] = {
    # Layout: release, base name, values, containers
    "simple": ("exastro-agent", "ita-ag-oase", values(), ["ita-ag-oase-oase-agent"]),
    "several agents, same pod": (
        "exastro-agent",
        "ita-ag-oase",
        values(agent("oase-agent-1"), agent("oase-agent-2")),
        ["ita-ag-oase-oase-agent-1", "ita-ag-oase-oase-agent-2"],
    ),
    "several agents, different pods": (
        "exastro-agent-1",
        "ita-ag-oase-1",
        values(nameOverride="ita-ag-oase-1", persistence={"matchLabels": {"release": "pv-ita-ag-oase-1"}}),
        ["ita-ag-oase-1-oase-agent"],
    ),
}


def rendered(layout: str) -> Rendered:
    release, _, given, _ = LAYOUTS[layout]
    return render(CHART, given, name=release)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_names_and_selector_of_a_documented_layout(layout: str) -> None:
    release, base, _, containers = LAYOUTS[layout]
    manifests = rendered(layout).manifests
    deployment = manifests["Deployment", base]
    labels = {"app.kubernetes.io/name": base, "app.kubernetes.io/instance": release}
    assert deployment["spec"]["selector"] == {"matchLabels": labels}
    assert [found["name"] for found in pod_of(deployment)["containers"]] == containers
    for container in containers:
        assert ("ConfigMap", f"params-{container}") in manifests
        assert manifests["Secret", f"secret-{container}"].get("type", "Opaque") == "Opaque"


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_claim_of_a_documented_layout(layout: str) -> None:
    base = LAYOUTS[layout][1]
    claim = rendered(layout).manifests["PersistentVolumeClaim", f"pvc-{base}"]
    assert claim["spec"] == {
        "accessModes": ["ReadWriteMany"],
        "resources": {"requests": {"storage": "10Gi"}},
        "storageClassName": "",
    }


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_mounts_of_a_documented_layout(layout: str) -> None:
    base = LAYOUTS[layout][1]
    pod = pod_of(rendered(layout).manifests["Deployment", base])
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert volumes[f"volume-{base}-storage"]["persistentVolumeClaim"] == {"claimName": f"pvc-{base}"}
    for container in pod["containers"]:
        mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
        assert mounts == {
            "/storage": f"volume-{base}-storage",
            "/home/app_user": f"volume-{base}-homedir",
            "/tmp": f"volume-{base}-tmp",
        }


def test_options_are_texts_of_a_config_map_and_tokens_of_a_secret() -> None:
    manifests = rendered("simple").manifests
    params = manifests["ConfigMap", "params-ita-ag-oase-oase-agent"]
    assert params["data"] == agent()["extraEnv"]
    secret = manifests["Secret", "secret-ita-ag-oase-oase-agent"]
    assert secret["data"] == {"EXASTRO_REFRESH_TOKEN": base64.b64encode(TOKEN.encode()).decode()}
    sources = references(pod_of(manifests["Deployment", "ita-ag-oase"])["containers"][0])
    assert (
        sources.items()
        >= {
            **{key: ("configMapKeyRef", "params-ita-ag-oase-oase-agent", key) for key in agent()["extraEnv"]},
            "EXASTRO_REFRESH_TOKEN": (
                "secretKeyRef",
                "secret-ita-ag-oase-oase-agent",
                "EXASTRO_REFRESH_TOKEN",
            ),
        }.items()
    )


def test_the_default_image_is_ours_by_the_version_of_the_chart() -> None:
    container = pod_of(rendered("simple").manifests["Deployment", "ita-ag-oase"])["containers"][0]
    version = next(
        line.split('"')[1]
        for line in (CHART / "Chart.yaml").read_text().splitlines()
        if line.startswith("appVersion")
    )
    assert container["image"] == f"docker.io/exastro/oase-agent:{version}"


@pytest.mark.parametrize("given", OF_THE_REFERENCE)
def test_a_file_of_the_reference_gives_the_same_frozen_things(given: str, reference_chart: Path) -> None:
    theirs = render(reference_chart, OF_THE_REFERENCE[given]).manifests
    ours = render(CHART, OF_THE_REFERENCE[given]).manifests
    assert theirs.keys() <= ours.keys()
    for claim in theirs.all("PersistentVolumeClaim"):
        assert ours["PersistentVolumeClaim", claim["metadata"]["name"]]["spec"] == claim["spec"]
    their_deployment = theirs.one("Deployment")
    our_deployment = ours["Deployment", their_deployment["metadata"]["name"]]
    assert our_deployment["spec"]["selector"] == their_deployment["spec"]["selector"]
    for their_container, our_container in zip(
        pod_of(their_deployment)["containers"], pod_of(our_deployment)["containers"], strict=True
    ):
        assert our_container["name"] == their_container["name"]
        assert references(their_container).items() <= references(our_container).items()
        assert mounts_of(our_container) == mounts_of(their_container)
    for kind in ("ConfigMap", "Secret"):
        for found in theirs.all(kind):
            assert ours[kind, found["metadata"]["name"]]["data"] == found["data"]


def pod_of(deployment: Manifest) -> dict[str, Any]:
    spec: dict[str, Any] = deployment["spec"]["template"]["spec"]
    return spec


def references(container: Manifest) -> dict[str, tuple[str, str, str]]:
    """Return kind, object and key of every variable that comes from elsewhere."""
    return {
        entry["name"]: (field, source["name"], source["key"])
        for entry in container["env"]
        for field, source in (entry.get("valueFrom") or {}).items()
        if field in {"configMapKeyRef", "secretKeyRef"}
    }


def mounts_of(container: Manifest) -> set[tuple[str, str]]:
    return {(mount["mountPath"], mount["name"]) for mount in container["volumeMounts"]}
