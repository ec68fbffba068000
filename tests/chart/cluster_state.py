"""The objects that an in-memory Kubernetes API keeps, and what it refuses."""

import copy
import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.chart.admission import admit, with_defaults
from tests.chart.patches import (
    Json,
    apply_configuration,
    leaves,
    merge_patch,
    strategic_merge_patch,
)
from tests.chart.refusal import Refusal

STRATEGIC = "application/strategic-merge-patch+json"
MERGE = "application/merge-patch+json"
APPLY = "application/apply-patch+yaml"


@dataclass(frozen=True)
class Place:
    """Where an object is: its plural kind, namespace ("" for cluster scope) and name."""

    plural: str
    namespace: str
    name: str


@dataclass
class _Kept:
    manifest: Json
    # What every manager of server-side apply, and kubectl scale, has set.
    managers: dict[str, Json] = field(default_factory=dict)


class ClusterState:
    """Objects by place, with resource versions. Not safe for threads: the server holds a lock."""

    def __init__(self) -> None:
        self._kept: dict[Place, _Kept] = {}
        self._versions = itertools.count(1)

    def get(self, place: Place) -> Json:
        """Return a copy of an object. Raises Refusal (404)."""
        return copy.deepcopy(self._find(place).manifest)

    def list(self, plural: str, namespace: str, labels: Mapping[str, str]) -> list[Json]:
        """Return copies of the objects of a kind with these labels, of all namespaces for ""."""
        return [
            copy.deepcopy(kept.manifest)
            for place, kept in self._kept.items()
            if place.plural == plural
            and namespace in {"", place.namespace}
            and labels.items() <= (kept.manifest["metadata"].get("labels") or {}).items()
        ]

    def create(self, place: Place, manifest: Json) -> Json:
        """Store a new object. Raises Refusal (409 where there is one, 422)."""
        if place in self._kept:
            raise Refusal(409, "AlreadyExists", f"{place.plural} {place.name!r} already exists")
        return self._keep(place, _Kept(manifest), manifest)

    def replace(self, place: Place, manifest: Json) -> Json:
        """Put an object in the place of another. Raises Refusal (404, 422)."""
        return self._keep(place, self._find(place), manifest)

    def patch(self, place: Place, content_type: str, patch: Json) -> Json:
        """Patch an object by strategic merge or JSON merge. Raises Refusal (404, 415, 422)."""
        kept = self._find(place)
        merges = {STRATEGIC: strategic_merge_patch, MERGE: merge_patch}
        if content_type not in merges:
            raise Refusal(415, "UnsupportedMediaType", f"no patch of type {content_type}")
        return self._keep(place, kept, merges[content_type](kept.manifest, patch))

    def apply(self, place: Place, manager: str, configuration: Json, *, force: bool) -> Json:
        """Apply one manager's configuration. Raises Refusal (409 where another manager set other values, 422)."""
        kept = self._kept.get(place)
        if kept is None:
            kept = _Kept(configuration, {manager: copy.deepcopy(configuration)})
            return self._keep(place, kept, configuration)
        others = {name: given for name, given in kept.managers.items() if name != manager}
        if not force:
            _refuse_conflicts(kept.manifest, configuration, others)
        before = kept.managers.get(manager, {})
        merged = apply_configuration(kept.manifest, before, configuration, list(others.values()))
        stored = self._keep(place, kept, merged)
        kept.managers[manager] = copy.deepcopy(configuration)
        return stored

    def set_field(self, place: Place, manager: str, configuration: Json) -> None:
        """Change an object behind Helm's back, as kubectl scale and controllers do, and own what was set."""
        kept = self._find(place)
        self._keep(place, kept, merge_patch(kept.manifest, configuration), by_the_system=True)
        kept.managers[manager] = merge_patch(kept.managers.get(manager, {}), configuration)

    def delete(self, place: Place) -> Json:
        """Remove an object. Raises Refusal (404)."""
        manifest = self._find(place).manifest
        del self._kept[place]
        return manifest

    def _find(self, place: Place) -> _Kept:
        if place not in self._kept:
            raise Refusal(404, "NotFound", f"{place.plural} {place.name!r} not found")
        return self._kept[place]

    def _keep(self, place: Place, kept: _Kept, manifest: Json, *, by_the_system: bool = False) -> Json:
        old = self._kept[place].manifest if place in self._kept else None
        new = with_defaults(copy.deepcopy(manifest))
        admit(old, new, by_the_system=by_the_system)
        version = str(next(self._versions))
        first = (
            old["metadata"] if old else {"uid": f"uid-{version}", "creationTimestamp": "2026-01-01T00:00:00Z"}
        )
        new["metadata"] |= {key: first[key] for key in ("uid", "creationTimestamp")}
        new["metadata"] |= {"resourceVersion": version} | (
            {"namespace": place.namespace} if place.namespace else {}
        )
        kept.manifest = new
        self._kept[place] = kept
        return copy.deepcopy(new)


def _refuse_conflicts(live: Json, configuration: Json, others: Mapping[str, Json]) -> None:
    now = dict(leaves(live))
    for path, value in leaves(configuration):
        for name, given in others.items():
            if path in dict(leaves(given)) and now.get(path, value) != value:
                raise Refusal(409, "Conflict", f'conflict with "{name}": {path}')
