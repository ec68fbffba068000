"""Rules of Kubernetes and of this project that no schema states. Each yields one sentence for each offence."""

import base64
import binascii
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from tests.chart.manifests import Manifest, Manifests, containers_of, pod_spec_of
from tests.chart.pod_security import restricted_profile

_DNS_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
_DNS_NAME = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?)?")
_PORT_NAME = re.compile(r"(?=.*[a-z])[a-z0-9]+(-[a-z0-9]+)*")
_PULL_POLICIES = {None, "Always", "IfNotPresent", "Never"}
_SELECTOR_LABELS = {"app.kubernetes.io/name", "app.kubernetes.io/instance"}


def offences(manifests: Manifests) -> list[str]:
    """Return what is wrong with the objects of one release, nothing if all is well."""
    return [f"{kind} {name}: {text}" for (kind, name), text in _found(manifests)]


def _found(manifests: Manifests) -> Iterator[tuple[tuple[str, str], str]]:
    for key, manifest in manifests.items():
        for rule in _RULES_OF_OBJECTS:
            yield from ((key, text) for text in rule(manifest))
        spec = pod_spec_of(manifest)
        if spec is not None:
            for rule in _RULES_OF_PODS:
                yield from ((key, text) for text in rule(spec))
            yield from ((key, text) for text in _references(spec, manifests))
    yield from _selectors_are_apart(manifests)
    yield from _selectors_find_something(manifests)


def _names(manifest: Manifest) -> Iterator[str]:
    name = manifest["metadata"]["name"]
    if len(name) > 63 or not _DNS_NAME.fullmatch(name):
        yield f"the name is no DNS name of at most 63 characters: {name!r}"
    for key, value in (manifest["metadata"].get("labels") or {}).items():
        if not isinstance(value, str) or len(value) > 63 or not _LABEL_VALUE.fullmatch(value):
            yield f"label {key} has a value that no label may have: {value!r}"
    for key, value in (manifest["metadata"].get("annotations") or {}).items():
        if not isinstance(value, str):
            yield f"annotation {key} is no text: {value!r}"


def _traces_of_templates(manifest: Manifest) -> Iterator[str]:
    for text in _texts(manifest):
        if "%!" in text or "<nil>" in text or "<no value>" in text:
            yield f"a template printed a value that was missing: {text!r}"


def _data(manifest: Manifest) -> Iterator[str]:
    if manifest["kind"] not in {"ConfigMap", "Secret"}:
        return
    for key, value in (manifest.get("data") or {}).items():
        if not isinstance(value, str):
            yield f"data.{key} is no text: {value!r}"
        elif manifest["kind"] == "Secret" and not _is_base64(value):
            yield f"data.{key} is not base64"


def _selector_of_deployments(manifest: Manifest) -> Iterator[str]:
    if manifest["kind"] != "Deployment":
        return
    selector = manifest["spec"]["selector"]
    if selector.keys() != {"matchLabels"} or selector["matchLabels"].keys() != _SELECTOR_LABELS:
        yield f"the selector has other labels than the two frozen ones: {selector}"
    labels = manifest["spec"]["template"]["metadata"]["labels"]
    if not (selector.get("matchLabels") or {}).items() <= labels.items():
        yield "the selector does not find its own pods"


def _names_in_pods(spec: Manifest) -> Iterator[str]:
    volumes = [volume["name"] for volume in spec.get("volumes") or []]
    containers = [container["name"] for container in containers_of(spec)]
    for name in [*volumes, *containers]:
        if len(name) > 63 or not _DNS_LABEL.fullmatch(name):
            yield f"{name!r} is no DNS label of at most 63 characters"
    yield from _repeated("volume", volumes)
    yield from _repeated("container", containers)
    for container in containers_of(spec):
        where = container["name"]
        yield from _repeated(f"{where}: variable", [entry["name"] for entry in container.get("env") or []])
        mounts = container.get("volumeMounts") or []
        yield from _repeated(f"{where}: mount path", [mount["mountPath"] for mount in mounts])
        for mount in mounts:
            if mount["name"] not in volumes:
                yield f"{where}: mounts {mount['name']}, which is no volume of the pod"


def _containers(spec: Manifest) -> Iterator[str]:
    for container in containers_of(spec):
        if container.get("imagePullPolicy") not in _PULL_POLICIES:
            yield f"{container['name']}: no such pull policy: {container['imagePullPolicy']!r}"
        for entry in container.get("env") or []:
            if not isinstance(entry.get("value", ""), str):
                yield f"{container['name']}: variable {entry['name']} is no text: {entry['value']!r}"


def _ports(spec: Manifest) -> Iterator[str]:
    ports = [port for container in spec.get("containers") or [] for port in container.get("ports") or []]
    yield from _repeated("port", [port["containerPort"] for port in ports])
    yield from _repeated("port name", [port["name"] for port in ports if "name" in port])
    for name in (port["name"] for port in ports if "name" in port):
        if len(name) > 15 or not _PORT_NAME.fullmatch(name):
            yield f"{name!r} is no port name of at most 15 characters"


def _probes(spec: Manifest) -> Iterator[str]:
    for container in spec.get("containers") or []:
        ports = container.get("ports") or []
        open_ports = {port["containerPort"] for port in ports} | {port.get("name") for port in ports}
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            asked = container.get(probe, {}).get("httpGet")
            if asked and asked["port"] not in open_ports:
                yield f"{container['name']}: {probe} asks port {asked['port']}, which is not among its ports"


def _references(spec: Manifest, manifests: Manifests) -> Iterator[str]:
    """What is rendered and referred to must have the key; what is not rendered is the user's own."""
    for container in containers_of(spec):
        for entry in container.get("env") or []:
            source = entry.get("valueFrom") or {}
            for field, kind in (("configMapKeyRef", "ConfigMap"), ("secretKeyRef", "Secret")):
                if field not in source:
                    continue
                wanted = source[field]
                target = manifests.get((kind, wanted["name"]))
                if target is not None and wanted["key"] not in (target.get("data") or {}):
                    yield f"{container['name']}: {kind} {wanted['name']} has no key {wanted['key']}"


def _selectors_are_apart(manifests: Manifests) -> Iterator[tuple[tuple[str, str], str]]:
    deployments = manifests.all("Deployment")
    for one in deployments:
        wanted = one["spec"]["selector"]["matchLabels"].items()
        for other in deployments:
            if one is not other and wanted <= other["spec"]["template"]["metadata"]["labels"].items():
                text = f"the selector finds the pods of {other['metadata']['name']}, too"
                yield ("Deployment", one["metadata"]["name"]), text


def _selectors_find_something(manifests: Manifests) -> Iterator[tuple[tuple[str, str], str]]:
    """Yield the policies, budgets, services and monitors that concern nothing of the release."""
    pods = [found["spec"]["template"] for found in manifests.all("Deployment")]
    labels_of_pods = [template["metadata"]["labels"] for template in pods]
    labels_of_services = [found["metadata"].get("labels") or {} for found in manifests.all("Service")]
    ports_of_pods = {
        name
        for template in pods
        for container in template["spec"]["containers"]
        for port in container.get("ports") or []
        for name in (port.get("name"), port["containerPort"])
    }
    ports_of_services = {
        port["name"] for found in manifests.all("Service") for port in found["spec"]["ports"]
    }
    for kind, (selector_of, ports_of) in _SELECTING.items():
        of_services = kind == "ServiceMonitor"
        for found in manifests.all(kind):
            key, spec = (kind, found["metadata"]["name"]), found["spec"]
            candidates = labels_of_services if of_services else labels_of_pods
            if not any(selector_of(spec).items() <= labels.items() for labels in candidates):
                yield key, "the selector finds nothing of the release"
            for port in ports_of(spec):
                if port not in (ports_of_services if of_services else ports_of_pods):
                    yield key, f"{port!r} is no port of what it selects"


def _matched(field: str) -> Callable[[Manifest], dict[str, str]]:
    return lambda spec: spec[field].get("matchLabels") or {}


def _scraped(field: str) -> Callable[[Manifest], list[Any]]:
    return lambda spec: [endpoint["port"] for endpoint in spec[field]]


def _admitted(spec: Manifest) -> list[Any]:
    return [port["port"] for rule in spec.get("ingress") or [] for port in rule.get("ports") or []]


_SELECTING: dict[str, tuple[Callable[[Manifest], dict[str, str]], Callable[[Manifest], list[Any]]]] = {
    "PodDisruptionBudget": (_matched("selector"), lambda _: []),
    "NetworkPolicy": (_matched("podSelector"), _admitted),
    "Service": (lambda spec: spec["selector"], lambda spec: [port["targetPort"] for port in spec["ports"]]),
    "PodMonitor": (_matched("selector"), _scraped("podMetricsEndpoints")),
    "ServiceMonitor": (_matched("selector"), _scraped("endpoints")),
}


def _repeated(what: str, names: Iterable[Any]) -> Iterator[str]:
    seen: set[Any] = set()
    for name in names:
        if name in seen:
            yield f"{what} {name!r} is given twice"
        seen.add(name)


def _texts(data: Any) -> Iterator[str]:
    if isinstance(data, dict):
        for key, value in data.items():
            yield from _texts(key)
            yield from _texts(value)
    elif isinstance(data, list):
        for item in data:
            yield from _texts(item)
    elif isinstance(data, str):
        yield data


def _is_base64(text: str) -> bool:
    try:
        base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return False
    return True


_Rule = Callable[[Manifest], Iterator[str]]
_RULES_OF_OBJECTS: tuple[_Rule, ...] = (_names, _traces_of_templates, _data, _selector_of_deployments)
_RULES_OF_PODS: tuple[_Rule, ...] = (_names_in_pods, _containers, _ports, _probes, restricted_profile)
