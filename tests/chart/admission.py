"""What an API server adds to an object and what it refuses: defaults, types, immutable fields."""

import base64
import binascii
from typing import Any

from tests.chart.patches import Json
from tests.chart.refusal import Refusal


def with_defaults(manifest: Json) -> Json:
    """Fill in what the API server fills in, as far as upgrades meet it. Changes and returns its argument."""
    if manifest["kind"] == "Deployment":
        spec = manifest["spec"]
        spec.setdefault("replicas", 1)
        strategy = spec.setdefault("strategy", {})
        if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
            rolling = strategy.setdefault("rollingUpdate", {})
            rolling.setdefault("maxSurge", "25%")
            rolling.setdefault("maxUnavailable", "25%")
    if manifest["kind"] == "PersistentVolumeClaim":
        manifest["spec"].setdefault("volumeMode", "Filesystem")
        manifest.setdefault("status", {"phase": "Pending"})
    if manifest["kind"] == "Secret":
        manifest.setdefault("type", "Opaque")
    return manifest


def admit(old: Json | None, new: Json, *, by_the_system: bool = False) -> None:
    """Let the object pass or raise Refusal (422). The system, such as claims' binder, may change fixed fields."""
    check = _CHECKS.get(new["kind"])
    if check is not None:
        check(new)
    if old is not None and not by_the_system:
        for path in _IMMUTABLE.get(new["kind"], ()):
            if _at(old, path) != _at(new, path):
                raise _invalid(new, f"{path}: field is immutable")
        if new["kind"] == "PersistentVolumeClaim" and _fixed_claim_spec(old) != _fixed_claim_spec(new):
            raise _invalid(new, "spec is immutable after creation except resources.requests")


def _check_deployment(manifest: Json) -> None:
    spec = manifest["spec"]
    wanted = spec["selector"]["matchLabels"]
    if not wanted.items() <= (spec["template"]["metadata"].get("labels") or {}).items():
        raise _invalid(manifest, "spec.template.metadata.labels: does not match selector")
    if spec["strategy"]["type"] == "Recreate" and "rollingUpdate" in spec["strategy"]:
        raise _invalid(manifest, "spec.strategy.rollingUpdate: may not be specified when type is Recreate")
    if not spec["template"]["spec"].get("containers"):
        raise _invalid(manifest, "spec.template.spec.containers: required")


def _check_texts(manifest: Json) -> None:
    for key, value in (manifest.get("data") or {}).items():
        if not isinstance(value, str):
            raise _invalid(manifest, f"data.{key}: must be a string")


def _check_secret(manifest: Json) -> None:
    _check_texts(manifest)
    for key, value in (manifest.get("data") or {}).items():
        try:
            base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            raise _invalid(manifest, f"data.{key}: not base64") from None


_CHECKS = {"Deployment": _check_deployment, "ConfigMap": _check_texts, "Secret": _check_secret}

_IMMUTABLE = {
    "Deployment": ("spec.selector",),
    "Secret": ("type",),
    "RoleBinding": ("roleRef",),
    "PersistentVolume": ("spec.hostPath", "spec.nodeAffinity"),
}


def _fixed_claim_spec(manifest: Json) -> Json:
    spec = dict(manifest["spec"])
    resources = {
        key: value for key, value in (spec.pop("resources", None) or {}).items() if key != "requests"
    }
    spec.pop("volumeAttributesClassName", None)
    return spec | {"resources": resources}


def _at(manifest: Json, path: str) -> Any:
    found: Any = manifest
    for part in path.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found


def _invalid(manifest: Json, text: str) -> Refusal:
    return Refusal(422, "Invalid", f"{manifest['kind']} {manifest['metadata']['name']!r} is invalid: {text}")
