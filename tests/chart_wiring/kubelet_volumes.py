"""Volumes as directories of the test, with the owners and modes that a node would give them, and what is mounted."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.chart.manifests import Manifest, Manifests
from tests.chart_wiring.kubelet_environment import CannotStart, PodFacts, data_of, expanded

# Where Python looks for a place for temporary files, in this order.
_TEMPORARY = ("/tmp", "/var/tmp", "/usr/tmp")


@dataclass(frozen=True)
class Mounts:
    """What a container sees: directories of this machine by path in the container."""

    places: Mapping[str, Path]

    def here(self, text: str) -> str:
        """Return `text`, or where it is on this machine if it is a mount path or a path below one."""
        for path in sorted(self.places, key=len, reverse=True):
            if text == path or text.startswith(f"{path.rstrip('/')}/"):
                return f"{self.places[path]}{text[len(path.rstrip('/')) :]}"
        return text

    def temporary(self) -> Path:
        """Return where temporary files go. Raises CannotStart if the root is all there is: it is read-only."""
        for path in _TEMPORARY:
            if self.here(path) != path:
                return Path(self.here(path))
        raise CannotStart("no temporary directory is mounted")


class Node:
    """The disks of a node: claims outlive pods, `emptyDir`s do not."""

    def __init__(self, root: Path, objects: Manifests) -> None:
        self._root = root
        self._objects = objects

    def claim(self, name: str) -> Path:
        """Return the directory of a claim. Raises CannotStart if it is not there or never gets a volume."""
        self._volume_of(name)
        return _made(self._root / "claims" / name, 0o755)

    def mounts(
        self, container: Manifest, spec: Manifest, pod: PodFacts, environment: Mapping[str, str]
    ) -> Mounts:
        """Prepare the volumes that a container mounts. Raises CannotStart for what is not there or not known."""
        volumes = {volume["name"]: volume for volume in spec.get("volumes") or []}
        places: dict[str, Path] = {}
        for mount in container.get("volumeMounts") or []:
            if mount["name"] not in volumes:
                raise CannotStart(
                    f"{container['name']} mounts {mount['name']}, which is no volume of its pod"
                )
            if mount["mountPath"] in places:
                raise CannotStart(f"{container['name']} mounts {mount['mountPath']} twice")
            place = self._volume(volumes[mount["name"]], spec, pod)
            below = mount.get("subPath") or expanded(mount.get("subPathExpr") or "", environment)
            if below and not (place / below).exists():
                # The kubelet makes it with the mode of the volume, which the umask must not narrow.
                _made(place / below, place.stat().st_mode & 0o7777)
            places[mount["mountPath"]] = place / below
        return Mounts(places)

    def _volume(self, volume: Mapping[str, Any], spec: Manifest, pod: PodFacts) -> Path:
        group = (spec.get("securityContext") or {}).get("fsGroup")
        if "persistentVolumeClaim" in volume:
            name = volume["persistentVolumeClaim"]["claimName"]
            place = self.claim(name)
            # https://github.com/kubernetes/kubernetes/issues/138411: fsGroup does nothing on hostPath.
            return place if "hostPath" in self._volume_of(name) else _given_to(place, group)
        place = self._root / "pods" / pod.name / str(volume["name"])
        if "emptyDir" in volume:
            return place if place.exists() else _given_to(_made(place, 0o777), group)
        _made(place, 0o755)
        for path, text in self._files(volume, pod):
            file = place / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        return place

    def _volume_of(self, claim: str) -> Mapping[str, Any]:
        """Return what a claim is bound to: a volume made by hand, or an empty one that a storage class makes."""
        found = self._objects.get(("PersistentVolumeClaim", claim))
        if found is None:
            raise CannotStart(f"persistentvolumeclaim {claim} is not there")
        if found["spec"].get("storageClassName") != "":
            return {}
        for (kind, _), manifest in self._objects.items():
            spec = manifest["spec"] if kind == "PersistentVolume" else {}
            if (spec.get("claimRef") or {}).get("name") == claim:
                if not set(found["spec"]["accessModes"]) <= set(spec["accessModes"]):
                    raise CannotStart(f"persistentvolumeclaim {claim} wants a mode that its volume has not")
                return spec
        raise CannotStart(f"persistentvolumeclaim {claim} has no storage class, and no volume is made for it")

    def _files(self, volume: Mapping[str, Any], pod: PodFacts) -> Iterator[tuple[str, str]]:
        """Yield path and text of the files of a configMap, secret or projected volume; later ones go before."""
        if "projected" in volume:
            for source in volume["projected"]["sources"]:
                yield from self._files(source, pod)
        elif "serviceAccountToken" in volume:
            yield volume["serviceAccountToken"]["path"], pod.token
        elif "configMap" in volume:
            source = volume["configMap"]
            yield from self._chosen("ConfigMap", source["name"], source)
        elif "secret" in volume:
            source = volume["secret"]
            yield from self._chosen("Secret", source.get("secretName") or source["name"], source)
        else:
            raise CannotStart(f"volume {volume} is of a kind that is not known")

    def _chosen(self, kind: str, name: str, source: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        data = data_of(self._objects, kind, name)
        if data is None:
            if source.get("optional"):
                return
            raise CannotStart(f"{kind} {name} is not there")
        if "items" not in source:
            yield from data.items()
            return
        for item in source["items"]:
            if item["key"] not in data:
                raise CannotStart(f"{kind} {name} has no key {item['key']}")
            yield item["path"], data[item["key"]]


def _made(place: Path, mode: int) -> Path:
    if not place.exists():
        place.mkdir(parents=True)
        place.chmod(mode)
    return place


def _given_to(place: Path, group: int | None) -> Path:
    """Do what fsGroup does: the group may write, and what is made below belongs to it, too."""
    if group is not None and os.geteuid() == 0 and place.stat().st_gid != group:
        os.chown(place, -1, group)
        place.chmod(place.stat().st_mode | 0o2070)
    return place
