"""Kubernetes' own schemas, from the package kubernetes-validate.

Its `validate` reads megabytes for every object; here each schema is read once.
"""

import functools
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import kubernetes_validate.utils as packaged  # type: ignore[import-untyped]
from referencing import Registry, Resource

from tests.chart.manifests import Manifest, Manifests

NEWEST: str = packaged.latest_version()
"""Newest Kubernetes version whose schemas the installed package has; the oldest is 1.25.0."""


def schema_offences(manifests: Manifests, kube_version: str) -> list[str]:
    """Return what the API of a version, such as 1.31.0, would refuse by name or type of a field.

    Resources that are not Kubernetes' own, such as monitors, are passed over.
    """
    return [
        f"{kind} {name}: {'.'.join(map(str, error.path))}: {error.message}"
        for (kind, name), manifest in manifests.items()
        if ".coreos.com/" not in manifest["apiVersion"]
        for error in _validator(manifest, kube_version).iter_errors(manifest)
    ]


def _validator(manifest: Manifest, kube_version: str) -> Any:
    group, _, version = manifest["apiVersion"].rpartition("/")
    short = "-".join(filter(None, [group.split(".")[0], version]))
    return _validator_of(f"{manifest['kind'].lower()}-{short}", kube_version)


@functools.cache
def _validator_of(name: str, kube_version: str) -> Any:
    schema = _file(f"{name}.json", kube_version)
    registry = _definitions(kube_version)
    return jsonschema.Draft202012Validator(schema, registry=Resource.from_contents(schema) @ registry)


@functools.cache
def _definitions(kube_version: str) -> Any:
    registry: Registry[Any] = Registry()
    return Resource.from_contents(_file("_definitions.json", kube_version)) @ registry


def _file(name: str, kube_version: str) -> Any:
    folder = f"kubernetes-json-schema/v{kube_version}-local-strict"
    return packaged.schema_contents(f"{folder}/{name}", kube_version)
