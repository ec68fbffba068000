"""The restricted profile of Kubernetes' pod security standards, and what the permission container may do."""

from collections.abc import Iterator
from typing import Any

from tests.chart.manifests import Manifest

PERMISSION_CONTAINER = "setup-storage"
"""The init container that gives a volume to the agent's user: root by its nature, and only on request."""

_HOST = ("hostNetwork", "hostPID", "hostIPC")
_VOLUMES = {
    "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"
}  # fmt: skip
_SECCOMP = {"RuntimeDefault", "Localhost"}
_CAPABILITIES_TO_CHANGE_OWNERS = {"CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER"}


def restricted_profile(spec: Manifest) -> Iterator[str]:
    """Yield the offences of a pod spec against the restricted profile and against a read-only root."""
    yield from (f"{field} is set" for field in _HOST if spec.get(field))
    for volume in spec.get("volumes") or []:
        if not volume.keys() - {"name"} <= _VOLUMES:
            yield f"volume {volume['name']} is of a kind that the restricted profile refuses: {volume}"
    pod = spec.get("securityContext") or {}
    for container in spec.get("initContainers") or []:
        if container["name"] == PERMISSION_CONTAINER:
            yield from _minimal(container, pod)
        else:
            yield from _restricted(container, pod)
    for container in spec.get("containers") or []:
        yield from _restricted(container, pod)


def _restricted(container: Manifest, pod: dict[str, Any]) -> Iterator[str]:
    context = container.get("securityContext") or {}
    name = container["name"]
    if context.get("runAsNonRoot", pod.get("runAsNonRoot")) is not True:
        yield f"{name}: runAsNonRoot is not true"
    if context.get("runAsUser", pod.get("runAsUser")) == 0:
        yield f"{name}: runs as user 0"
    if not set((context.get("capabilities") or {}).get("add") or []) <= {"NET_BIND_SERVICE"}:
        yield f"{name}: adds capabilities"
    yield from _confined(container, pod)


def _minimal(container: Manifest, pod: dict[str, Any]) -> Iterator[str]:
    added = set(((container.get("securityContext") or {}).get("capabilities") or {}).get("add") or [])
    if not added <= _CAPABILITIES_TO_CHANGE_OWNERS:
        yield f"{container['name']}: adds more capabilities than changing owners needs: {sorted(added)}"
    yield from _confined(container, pod)


def _confined(container: Manifest, pod: dict[str, Any]) -> Iterator[str]:
    context = container.get("securityContext") or {}
    name = container["name"]
    if context.get("privileged"):
        yield f"{name}: is privileged"
    if context.get("allowPrivilegeEscalation") is not False:
        yield f"{name}: allowPrivilegeEscalation is not false"
    if (context.get("capabilities") or {}).get("drop") != ["ALL"]:
        yield f"{name}: does not drop all capabilities"
    if context.get("readOnlyRootFilesystem") is not True:
        yield f"{name}: the root file system can be written"
    seccomp = context.get("seccompProfile") or pod.get("seccompProfile") or {}
    if seccomp.get("type") not in _SECCOMP:
        yield f"{name}: has no seccomp profile"
