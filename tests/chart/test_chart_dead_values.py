"""No value is without effect but those that the reference had without effect too; the notes tell of these."""

import functools

import pytest

from tests.chart.chart_files import CHART, example_files, example_values
from tests.chart.default_leaves import Path, leaf_at, leaves_of, other_value, spelled, with_leaf
from tests.chart.engine import HelmFailed, merged_values, render, values_from_yaml
from tests.chart.manifests import Manifests
from tests.chart.sample_leaves import SAMPLES, SWITCHED_ON
from tests.chart.sample_values import Values, values
from tests.chart.schemas import NEWEST, schema_offences

DEFAULTS = values_from_yaml((CHART / "values.yaml").read_text(encoding="utf-8"))
LEAVES = {spelled(path): (path, value) for path, value in leaves_of(DEFAULTS)}

WITHOUT_EFFECT = frozenset(
    {
        "global.agentGlobalDefinition.name",
        "global.agentGlobalDefinition.enabled",
        "ita-ag-oase.fullnameOverride",
        "ita-ag-oase.initContainerImage",
        "ita-ag-oase.persistence.reinstall",
        "ita-ag-oase.persistence.mountPath.pid.path",
        "ita-ag-oase.persistence.mountPath.pid.subPath",
        "ita-ag-oase.persistence.mountPath.socket.path",
        "ita-ag-oase.persistence.mountPath.socket.subPath",
        "ita-ag-oase.service",
        "ita-ag-oase.ingress",
    }
)


# Their effect shows where there is a cluster to look at: test_chart_upgrade.
WITH_A_CLUSTER = {"ita-ag-oase.keepScaledToZero"}


def is_without_effect(leaf: str) -> bool:
    return any(leaf == dead or leaf.startswith((f"{dead}.", f"{dead}[")) for dead in WITHOUT_EFFECT)


@functools.cache
def situations() -> list[tuple[Values, Manifests]]:
    """Return complete values that between them switch everything on, each with what it renders."""
    overlays: list[Values] = [values(), *SWITCHED_ON, *(example_values(path) for path in example_files())]
    merged = [merged_values(CHART, overlay) for overlay in overlays]
    return [(given, render_(given)) for given in merged]


def render_(given: Values) -> Manifests:
    return render(CHART, given, api_versions=("monitoring.coreos.com/v1",)).manifests


def changed(given: Values, path: Path) -> Values:
    """Return values with another value at a path. Raises LookupError where these values have nothing there."""
    leaf = spelled(path)
    value = SAMPLES[leaf] if leaf in SAMPLES else other_value(leaf_at(given, path))
    other: Values = with_leaf(given, path, value)
    return other


def has_effect(given: Values, before: Manifests, path: Path) -> bool:
    try:
        other = changed(given, path)
    except LookupError:
        return False
    try:
        after = render_(other)
    except HelmFailed as refusal:
        # A refusal of the templates is an effect; a value that the schema does not allow shows nothing.
        if "schema" in str(refusal):
            pytest.fail(f"the sample of {spelled(path)} is not allowed: {refusal}")
        return True
    assert schema_offences(after, NEWEST) == []
    return after != before


@pytest.mark.parametrize(
    "leaf", [leaf for leaf in LEAVES if not is_without_effect(leaf) and leaf not in WITH_A_CLUSTER]
)
def test_a_value_has_an_effect(leaf: str) -> None:
    path = LEAVES[leaf][0]
    assert any(has_effect(*situation, path) for situation in situations()), (
        f"changing {leaf} changes nothing in any situation"
    )


@pytest.mark.parametrize("leaf", [leaf for leaf in LEAVES if is_without_effect(leaf)])
def test_a_value_without_effect_is_accepted_and_told_of(leaf: str) -> None:
    path, _ = LEAVES[leaf]
    rendered = render(CHART, changed(merged_values(CHART, values()), path))
    assert rendered.manifests == render(CHART, values()).manifests
    assert any(dead in rendered.notes for dead in WITHOUT_EFFECT if leaf.startswith(dead))


def test_the_list_of_values_without_effect_holds_no_stranger() -> None:
    assert all(any(leaf.startswith(dead) for leaf in LEAVES) for dead in WITHOUT_EFFECT)


def test_every_sample_is_of_a_value_that_there_is() -> None:
    assert set(SAMPLES) <= set(LEAVES)
