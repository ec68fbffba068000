"""Kubernetes objects as data: reading what templates print, finding what objects hold."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, cast

import yaml  # type: ignore[import-untyped]

Manifest = dict[str, Any]


class BadManifest(Exception):
    """What a template printed is not YAML, not an object, or has the kind and name of another object."""


class Manifests(dict[tuple[str, str], Manifest]):
    """Objects by kind and name, in the order they were printed."""

    def one(self, kind: str) -> Manifest:
        """Return the only object of a kind."""
        (found,) = self.all(kind)
        return found

    def all(self, kind: str) -> list[Manifest]:
        """Return the objects of a kind, without the pods of `helm test`."""
        return [found for found in self.values() if found["kind"] == kind and not is_hook(found)]


def is_hook(manifest: Mapping[str, Any]) -> bool:
    """Tell whether Helm runs the object apart from the release, such as the pod of `helm test`."""
    return "helm.sh/hook" in (manifest["metadata"].get("annotations") or {})


def parse_manifests(files: Mapping[str, str]) -> Manifests:
    """Read printed templates, path to text. Raises BadManifest."""
    found = Manifests()
    for path, text in files.items():
        for manifest in _documents(path, text):
            key = (manifest["kind"], manifest["metadata"]["name"])
            if key in found:
                raise BadManifest(f"{path}: {key[0]} {key[1]} is printed twice")
            found[key] = manifest
    return found


def _documents(path: str, text: str) -> Iterator[Manifest]:
    try:
        documents = [found for found in yaml.load_all(text, Loader=_StrictLoader) if found is not None]
    except yaml.YAMLError as error:
        raise BadManifest(f"{path}: {error}") from error
    for document in documents:
        named = isinstance(document, dict) and isinstance(document.get("metadata"), dict)
        if not named or not {"apiVersion", "kind"} <= document.keys() or "name" not in document["metadata"]:
            raise BadManifest(f"{path}: not an object with apiVersion, kind and name: {document!r:.200}")
        yield cast("Manifest", document)


class _StrictLoader(yaml.CSafeLoader):  # type: ignore[misc]
    """YAML as Helm reads it: a key given twice is refused, `y` is a boolean and `1e3` a number."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        mapping = super().construct_mapping(node, deep=deep)
        if len(mapping) != len(node.value):
            raise yaml.constructor.ConstructorError(None, None, "a key is given twice", node.start_mark)
        return cast("dict[Any, Any]", mapping)


_StrictLoader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^[yYnN]$"), list("yYnN"))
_StrictLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\.\d+|\d+(\.\d*)?)[eE][-+]?\d+$"), list("-+.0123456789")
)
_StrictLoader.bool_values = yaml.SafeLoader.bool_values | {"y": True, "n": False}


def write_yaml(data: Any) -> str:
    """Write YAML with sorted keys and without aliases, one way for equal data."""
    return cast("str", yaml.dump(data, Dumper=_PlainDumper, sort_keys=True, allow_unicode=True, width=110))


class _PlainDumper(yaml.CSafeDumper):  # type: ignore[misc]
    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_text(dumper: Any, text: str) -> Any:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_PlainDumper.add_representer(str, _represent_text)


def pod_spec_of(manifest: Manifest) -> Manifest | None:
    """Return the pod spec of a workload or pod, None for other kinds."""
    if manifest["kind"] == "Pod":
        return cast("Manifest", manifest["spec"])
    template = (manifest.get("spec") or {}).get("template")
    return cast("Manifest", template["spec"]) if isinstance(template, dict) and "spec" in template else None


def containers_of(pod_spec: Manifest) -> list[Manifest]:
    """Return init containers and containers."""
    return [*(pod_spec.get("initContainers") or []), *(pod_spec.get("containers") or [])]
