"""The stand-in for the kubelet refuses and resolves what the kubelet refuses and resolves."""

from base64 import b64encode
from typing import Any

import pytest

from tests.chart.manifests import Manifests
from tests.chart_wiring.kubelet_environment import (
    CannotStart,
    PodFacts,
    command_line,
    container_environment,
    expanded,
)

POD = PodFacts("pod-1", "exastro", "127.1.1.1", labels={"app": "agent"})
OBJECTS = Manifests(
    {
        ("ConfigMap", "options"): {"kind": "ConfigMap", "data": {"A": "1", "B": "$(A)"}},
        ("Secret", "token"): {"kind": "Secret", "data": {"T": b64encode(b'a "b": $(A)').decode()}},
    }
)


def resolved(*env: dict[str, Any], env_from: tuple[dict[str, Any], ...] = ()) -> dict[str, str]:
    found = container_environment({"name": "c", "env": list(env), "envFrom": list(env_from)}, OBJECTS, POD)
    return {name: text for name, text in found.items() if not name.startswith("KUBERNETES_SERVICE_")}


def reference(field: str, **rest: Any) -> dict[str, Any]:
    return {"name": "X", "valueFrom": {field: rest}}


def test_every_pod_is_told_where_the_api_server_is() -> None:
    found = container_environment({"name": "c"}, OBJECTS, POD)
    assert found == {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": "443"}


def test_a_key_of_an_object_arrives_as_it_is() -> None:
    assert resolved(reference("secretKeyRef", name="token", key="T")) == {"X": 'a "b": $(A)'}
    assert resolved(reference("configMapKeyRef", name="options", key="B")) == {"X": "$(A)"}


def test_all_keys_of_an_object_come_before_what_is_listed() -> None:
    sources = ({"configMapRef": {"name": "options"}}, {"secretRef": {"name": "token"}, "prefix": "P_"})
    own = {"name": "A", "value": "2"}
    assert resolved(own, env_from=sources) == {"A": "2", "B": "$(A)", "P_T": 'a "b": $(A)'}


def test_a_pod_is_told_about_itself() -> None:
    assert resolved(reference("fieldRef", fieldPath="metadata.namespace")) == {"X": "exastro"}
    assert resolved(reference("fieldRef", fieldPath="metadata.labels['app']")) == {"X": "agent"}


@pytest.mark.parametrize(
    "variable",
    [
        reference("secretKeyRef", name="other", key="T"),
        reference("configMapKeyRef", name="options", key="C"),
        reference("fieldRef", fieldPath="metadata.colour"),
    ],
)
def test_a_reference_to_nothing_stops_the_container(variable: dict[str, Any]) -> None:
    with pytest.raises(CannotStart):
        resolved(variable)


def test_an_optional_reference_to_nothing_is_left_out() -> None:
    assert resolved(reference("secretKeyRef", name="other", key="T", optional=True)) == {}
    assert resolved(env_from=({"configMapRef": {"name": "other", "optional": True}},)) == {}


def test_variables_known_before_are_expanded() -> None:
    assert resolved({"name": "A", "value": "1"}, {"name": "B", "value": "$(A)$(C)"})["B"] == "1$(C)"
    assert expanded("$$(A) $$", {"A": "1"}) == "$(A) $"


def test_a_command_line_is_command_and_arguments_expanded() -> None:
    container = {"name": "c", "command": ["run"], "args": ["--at", "$(A)"]}
    assert command_line(container, {"A": "1"}) == ["run", "--at", "1"]
    with pytest.raises(CannotStart, match="no command"):
        command_line({"name": "c"}, {})
