"""How an API server merges: JSON merge patch, strategic merge patch, and server-side apply.

Enough of each for workloads, claims, configuration and policies. Lists of objects with a merge key are merged by it,
every other list is replaced as a whole. Nothing here changes its arguments.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Json = dict[str, Any]

# Field name to merge key. A field of this name inside a list without merge key is never reached.
MERGE_KEYS = {
    "containers": "name",
    "initContainers": "name",
    "env": "name",
    "volumes": "name",
    "volumeMounts": "mountPath",
    "imagePullSecrets": "name",
    "topologySpreadConstraints": "topologyKey",
    "hostAliases": "ip",
}


def merge_key_of(field: str, items: Sequence[Any]) -> str | None:
    """Return the merge key of a list field, None where the list is replaced as a whole."""
    if not all(isinstance(item, dict) for item in items):
        return None
    if field == "ports":
        return "containerPort" if any("containerPort" in item for item in items) else "port"
    return MERGE_KEYS.get(field)


def merge_patch(target: Mapping[str, Any], patch: Mapping[str, Any]) -> Json:
    """Apply a JSON merge patch: null removes, objects merge, everything else replaces."""
    result = dict(target)
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict):
            result[key] = merge_patch(_object(result.get(key)), value)
        else:
            result[key] = value
    return result


def strategic_merge_patch(target: Mapping[str, Any], patch: Mapping[str, Any]) -> Json:
    """Apply a strategic merge patch with the directives that Helm sends."""
    if patch.get("$patch") in {"replace", "delete"}:
        return {key: value for key, value in patch.items() if key != "$patch"}
    result = dict(target)
    for key, value in patch.items():
        if key.startswith("$deleteFromPrimitiveList/"):
            field = key.partition("/")[2]
            result[field] = [item for item in result.get(field, []) if item not in value]
        elif key.startswith("$"):
            continue
        elif value is None:
            result.pop(key, None)
        elif isinstance(value, dict):
            result[key] = strategic_merge_patch(_object(result.get(key)), value)
        elif isinstance(value, list) and merge_key_of(key, value) is not None:
            result[key] = _merged_list(
                key, result.get(key) or [], value, patch.get(f"$setElementOrder/{key}")
            )
        else:
            result[key] = value
    retained = patch.get("$retainKeys")
    return result if retained is None else {key: result[key] for key in result if key in retained}


def _merged_list(field: str, items: list[Json], changes: list[Json], order: list[Json] | None) -> list[Json]:
    if any(change.get("$patch") == "replace" for change in changes):
        return [change for change in changes if "$patch" not in change]
    key = merge_key_of(field, [*items, *changes])
    assert key is not None
    merged = {item.get(key): item for item in items}
    for change in changes:
        if change.get("$patch") == "delete":
            merged.pop(change[key], None)
        else:
            merged[change[key]] = strategic_merge_patch(merged.get(change[key], {}), change)
    wanted = [entry[key] for entry in order or [] if entry[key] in merged]
    return [merged[name] for name in [*wanted, *(name for name in merged if name not in wanted)]]


def leaves(data: Any, field: str = "", path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield path and value of everything that server-side apply owns one by one."""
    if isinstance(data, dict):
        for key, value in data.items():
            yield from leaves(value, key, f"{path}.{key}")
    elif isinstance(data, list) and (name := merge_key_of(field, data)) is not None and data:
        for item in data:
            yield from leaves(item, "", f"{path}[{name}={item.get(name)}]")
    else:
        yield path, data


def apply_configuration(live: Json, before: Json, after: Json, others: Sequence[Json]) -> Json:
    """Merge one manager's configuration into the live object.

    What the manager had set before and no longer sets is removed, unless one of the others set it too.
    """
    result = dict(live)
    for key in before.keys() - after.keys():
        if not any(key in other for other in others):
            result.pop(key, None)
        elif isinstance(before[key], dict):
            result[key] = apply_configuration(
                _object(live.get(key)), before[key], {}, [_object(other.get(key)) for other in others]
            )
    for key, value in after.items():
        if isinstance(value, dict):
            result[key] = apply_configuration(
                _object(live.get(key)),
                _object(before.get(key)),
                value,
                [_object(other.get(key)) for other in others],
            )
        elif isinstance(value, list) and (name := merge_key_of(key, value)) is not None and value:
            result[key] = _applied_list(
                name, *(_by_key(name, side.get(key)) for side in (live, before, after, *others))
            )
        else:
            result[key] = value
    return result


def _applied_list(name: str, live: Json, before: Json, after: Json, *others: Json) -> list[Json]:
    dropped = {key for key in before.keys() - after.keys() if not any(key in other for other in others)}
    merged = {key: item for key, item in live.items() if key not in dropped}
    for key, item in after.items():
        rest = [other.get(key, {}) for other in others]
        merged[key] = apply_configuration(live.get(key, {}), before.get(key, {}), item, rest)
    return [merged[key] for key in [*after, *(key for key in merged if key not in after)]]


def _by_key(name: str, items: Any) -> Json:
    return {item[name]: item for item in items or []}


def _object(value: Any) -> Json:
    return value if isinstance(value, dict) else {}
