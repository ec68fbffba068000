"""The kinds that the in-memory API knows, and its answers to discovery."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Kind:
    """A kind of object: where it is served and whether it lives in a namespace."""

    group_version: str
    plural: str
    kind: str
    namespaced: bool = True


KINDS = (
    Kind("v1", "configmaps", "ConfigMap"),
    Kind("v1", "namespaces", "Namespace", namespaced=False),
    Kind("v1", "persistentvolumeclaims", "PersistentVolumeClaim"),
    Kind("v1", "persistentvolumes", "PersistentVolume", namespaced=False),
    Kind("v1", "pods", "Pod"),
    Kind("v1", "secrets", "Secret"),
    Kind("v1", "serviceaccounts", "ServiceAccount"),
    Kind("v1", "services", "Service"),
    Kind("apps/v1", "deployments", "Deployment"),
    Kind("batch/v1", "jobs", "Job"),
    Kind("coordination.k8s.io/v1", "leases", "Lease"),
    Kind("monitoring.coreos.com/v1", "podmonitors", "PodMonitor"),
    Kind("monitoring.coreos.com/v1", "servicemonitors", "ServiceMonitor"),
    Kind("networking.k8s.io/v1", "networkpolicies", "NetworkPolicy"),
    Kind("policy/v1", "poddisruptionbudgets", "PodDisruptionBudget"),
    Kind("rbac.authorization.k8s.io/v1", "roles", "Role"),
    Kind("rbac.authorization.k8s.io/v1", "rolebindings", "RoleBinding"),
)


def api_group_list() -> dict[str, Any]:
    """Return the answer of /apis."""
    groups = []
    for group_version in sorted({kind.group_version for kind in KINDS if "/" in kind.group_version}):
        group, version = group_version.split("/")
        entry = {"groupVersion": group_version, "version": version}
        groups.append({"name": group, "versions": [entry], "preferredVersion": entry})
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}


def api_resource_list(group_version: str) -> dict[str, Any] | None:
    """Return the answer of /api/v1 or /apis/group/version, None for what is no group and version."""
    verbs = ["create", "delete", "get", "list", "patch", "update"]
    resources = [
        {
            "name": kind.plural,
            "kind": kind.kind,
            "namespaced": kind.namespaced,
            "singularName": "",
            "verbs": verbs,
        }
        for kind in KINDS
        if kind.group_version == group_version
    ]
    if not resources:
        return None
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": group_version,
        "resources": resources,
    }


def openapi_index() -> dict[str, Any]:
    """Return the answer of /openapi/v3: where the schema of each group and version is."""
    versions = {kind.group_version for kind in KINDS}
    paths = {
        _served_under(version): {"serverRelativeURL": f"/openapi/v3/{_served_under(version)}"}
        for version in versions
    }
    return {"paths": paths}


def openapi_of(path: str) -> dict[str, Any]:
    """Return what Helm looks for in a schema: that the server checks fields itself on request."""
    paths = {
        f"/{_served_under(kind.group_version)}/{kind.plural}/{{name}}": {
            "patch": {
                "parameters": [{"name": "fieldValidation", "in": "query", "schema": {"type": "string"}}],
                "responses": {},
                "x-kubernetes-group-version-kind": _gvk(kind),
            }
        }
        for kind in KINDS
        if _served_under(kind.group_version) == path
    }
    return {"openapi": "3.0.0", "info": {"title": "Kubernetes", "version": "v1.31.0"}, "paths": paths}


def _served_under(group_version: str) -> str:
    return f"apis/{group_version}" if "/" in group_version else f"api/{group_version}"


def _gvk(kind: Kind) -> dict[str, str]:
    group, _, version = kind.group_version.rpartition("/")
    return {"group": group, "version": version, "kind": kind.kind}
