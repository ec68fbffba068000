"""The environment that the kubelet gives a container: its rules, applied to rendered objects.

https://kubernetes.io/docs/tasks/inject-data-application/define-interdependent-environment-variables/
"""

import re
from base64 import b64decode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.chart.manifests import Manifest, Manifests

Environment = dict[str, str]

_REFERENCE = re.compile(r"\$\$|\$\(([-._a-zA-Z][-._a-zA-Z0-9]*)\)")
_FIELD_OF_A_MAP = re.compile(r"metadata\.(labels|annotations)\['([^']+)'\]")


class CannotStart(Exception):
    """The kubelet would leave the container waiting, for what the message says."""


@dataclass(frozen=True)
class PodFacts:
    """What a pod may be told about itself; `address` is its IP."""

    name: str
    namespace: str
    address: str
    service_account: str = "default"
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    api_server: tuple[str, int] = ("127.0.0.1", 443)

    @property
    def token(self) -> str:
        """What the API server knows the pod by."""
        return f"token-of-{self.service_account}-in-{self.name}"

    def fact(self, path: str) -> str:
        """Return what `fieldRef.fieldPath` names. Raises CannotStart for what this stand-in does not know."""
        named = _FIELD_OF_A_MAP.fullmatch(path)
        if named:
            return getattr(self, named[1]).get(named[2], "")  # type: ignore[no-any-return]
        facts = {
            "metadata.name": self.name,
            "metadata.namespace": self.namespace,
            "spec.nodeName": "node-1",
            "spec.serviceAccountName": self.service_account,
            "status.podIP": self.address,
            "status.hostIP": "127.0.0.1",
        }
        if path not in facts:
            raise CannotStart(f"fieldPath {path} is not known")
        return facts[path]


def data_of(objects: Manifests, kind: str, name: str) -> dict[str, str] | None:
    """Return the texts of a ConfigMap or Secret, decoded; None if there is no such object."""
    found = objects.get((kind, name))
    if found is None:
        return None
    data: Mapping[str, str] = found.get("data") or {}
    if kind == "Secret":
        decoded = {key: b64decode(text, validate=True).decode() for key, text in data.items()}
        return decoded | (found.get("stringData") or {})
    return dict(data)


def container_environment(container: Manifest, objects: Manifests, pod: PodFacts) -> Environment:
    """Resolve `envFrom`, then `env` in its order. Raises CannotStart for a reference to what is not there.

    The API server is told to every pod, whatever `enableServiceLinks` says.
    """
    host, port = pod.api_server
    environment: Environment = {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": str(port)}
    for source in container.get("envFrom") or []:
        environment.update(_of_source(source, objects))
    for variable in container.get("env") or []:
        value = _value(variable, objects, pod, environment)
        if value is not None:
            environment[variable["name"]] = value
    return environment


def expanded(text: str, environment: Mapping[str, str]) -> str:
    """Replace `$(NAME)` by what is known of NAME; `$$` stands for a dollar sign; what is not known stays."""

    def replacement(found: re.Match[str]) -> str:
        return "$" if found[0] == "$$" else environment.get(found[1], found[0])

    return _REFERENCE.sub(replacement, text)


def command_line(container: Manifest, environment: Mapping[str, str]) -> list[str]:
    """Return `command` and `args`, expanded. Raises CannotStart without a command: there is no image to ask."""
    if not container.get("command"):
        raise CannotStart(f"{container['name']} has no command")
    words = [*container["command"], *(container.get("args") or [])]
    return [expanded(word, environment) for word in words]


def _of_source(source: Mapping[str, Any], objects: Manifests) -> Iterator[tuple[str, str]]:
    for field_, kind in (("configMapRef", "ConfigMap"), ("secretRef", "Secret")):
        if field_ not in source:
            continue
        data = data_of(objects, kind, source[field_]["name"])
        if data is None and not source[field_].get("optional"):
            raise CannotStart(f"{kind} {source[field_]['name']} is not there")
        for key, text in (data or {}).items():
            yield f"{source.get('prefix') or ''}{key}", text


def _value(
    variable: Mapping[str, Any], objects: Manifests, pod: PodFacts, known: Mapping[str, str]
) -> str | None:
    """Return a variable's text, None if it refers to something optional that is not there."""
    source = variable.get("valueFrom")
    if not source:
        return expanded(variable.get("value") or "", known)
    if "fieldRef" in source:
        return pod.fact(source["fieldRef"]["fieldPath"])
    for field_, kind in (("configMapKeyRef", "ConfigMap"), ("secretKeyRef", "Secret")):
        if field_ in source:
            reference = source[field_]
            text = (data_of(objects, kind, reference["name"]) or {}).get(reference["key"])
            if text is None and not reference.get("optional"):
                raise CannotStart(f"{kind} {reference['name']} has no key {reference['key']}")
            return text
    raise CannotStart(f"{variable['name']}: valueFrom {sorted(source)} is not known")
