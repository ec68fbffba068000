"""Every example renders on every supported Kubernetes, into objects that its API takes, by our rules."""

import functools
import itertools
from pathlib import Path

import pytest

from tests.chart.chart_files import CHART, example_files, example_manifests, example_values
from tests.chart.engine import render
from tests.chart.manifests import Manifests, parse_manifests, pod_spec_of
from tests.chart.pod_security import PERMISSION_CONTAINER
from tests.chart.rules import offences
from tests.chart.sample_leaves import SWITCHED_ON
from tests.chart.sample_values import OF_THE_REFERENCE, Values, values
from tests.chart.schemas import NEWEST, schema_offences

# 1.23 is the oldest that the chart takes; schemas are known from 1.25 on.
WITHOUT_SCHEMA = "1.23.0"
VERSIONS = (WITHOUT_SCHEMA, "1.25.0", "1.27.0", "1.31.0", NEWEST)
MONITORING = ("monitoring.coreos.com/v1",)

EXAMPLES: dict[str, Values] = {path.stem: example_values(path) for path in example_files()}


@functools.cache
def rendered(example: str, version: str = NEWEST) -> Manifests:
    return manifests_of(EXAMPLES[example], version)


def manifests_of(given: Values, version: str = NEWEST) -> Manifests:
    return render(CHART, given, kube_version=version, api_versions=MONITORING).manifests


def faults(manifests: Manifests, version: str) -> list[str]:
    return offences(manifests) + ([] if version == WITHOUT_SCHEMA else schema_offences(manifests, version))


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_renders_what_a_kubernetes_takes(example: str, version: str) -> None:
    assert faults(rendered(example, version), version) == []


@pytest.mark.parametrize("version", [WITHOUT_SCHEMA, NEWEST])
@pytest.mark.parametrize("given", OF_THE_REFERENCE)
def test_a_file_of_the_reference_renders_what_a_kubernetes_takes(given: str, version: str) -> None:
    assert faults(manifests_of(OF_THE_REFERENCE[given], version), version) == []


@pytest.mark.parametrize("version", ["1.27.0", NEWEST])
@pytest.mark.parametrize("given", SWITCHED_ON, ids=["pod monitor", "service monitor", "coordination"])
def test_what_is_off_by_default_renders_what_a_kubernetes_takes(given: Values, version: str) -> None:
    assert faults(manifests_of(given, version), version) == []


@pytest.mark.parametrize("manifest", example_manifests(), ids=lambda path: path.stem)
def test_a_manifest_among_the_examples_is_what_the_api_takes(manifest: Path) -> None:
    found = parse_manifests({manifest.name: manifest.read_text(encoding="utf-8")})
    assert schema_offences(found, NEWEST) == []


def test_every_layout_has_an_example() -> None:
    layouts = {
        "exastro-agent", "one-agent", "agents-in-one-pod", "pods-in-one-release", "claim-per-agent",
        "chart-made-volume", "existing-claim", "storage-class-azurefile", "storage-class-nfs", "no-persistence",
        "replicas", "settings-and-source-options",
    }  # fmt: skip
    assert layouts <= EXAMPLES.keys()


@pytest.mark.parametrize("manifest", example_manifests(), ids=lambda path: path.stem)
def test_a_volume_among_the_examples_fits_the_claim_of_an_example(manifest: Path) -> None:
    volume = parse_manifests({manifest.name: manifest.read_text(encoding="utf-8")}).one("PersistentVolume")
    rendered_claims = [rendered(example).all("PersistentVolumeClaim") for example in EXAMPLES]
    fitting = [
        claim["spec"]
        for claim in itertools.chain(*rendered_claims)
        if claim["metadata"]["name"] == volume["spec"]["claimRef"]["name"]
        and claim["spec"].get("storageClassName") == volume["spec"].get("storageClassName", "")
    ]
    assert fitting
    for claim in fitting:
        assert claim["resources"]["requests"]["storage"] == volume["spec"]["capacity"]["storage"]
        assert claim["accessModes"] == volume["spec"]["accessModes"]


@pytest.mark.parametrize("example", EXAMPLES)
def test_no_pod_gets_a_token_of_its_account(example: str) -> None:
    for manifest in rendered(example).values():
        spec = pod_spec_of(manifest)
        assert spec is None or spec["automountServiceAccountToken"] is False


def test_the_permission_container_can_be_asked_for_and_refused() -> None:
    def init_containers(mode: str) -> list[str]:
        manifests = manifests_of(values(volumePermissions={"mode": mode}))
        spec = pod_spec_of(manifests.one("Deployment"))
        assert spec is not None
        return [container["name"] for container in spec.get("initContainers") or []]

    assert init_containers("initContainer") == [PERMISSION_CONTAINER]
    assert init_containers("none") == []
