"""The leaves of the default values, and what to change one to so that a render can show its effect."""

import copy
from collections.abc import Iterator, Mapping
from typing import Any

Path = tuple[str | int, ...]


def leaves_of(data: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Yield path and value of everything that holds nothing below it: scalars, null, empty maps and lists."""
    if isinstance(data, Mapping) and data:
        for key, value in data.items():
            yield from leaves_of(value, (*path, key))
    elif isinstance(data, list) and data:
        for position, value in enumerate(data):
            yield from leaves_of(value, (*path, position))
    else:
        yield path, data


def spelled(path: Path) -> str:
    """Return a path as values are written about: a.b[0].c."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")


def leaf_at(data: Any, path: Path) -> Any:
    """Return the value at a path. Raises LookupError where the path does not lead."""
    for part in path:
        data = data[part]
    return data


def with_leaf(data: Any, path: Path, value: Any) -> Any:
    """Return a copy with another value at a path. Raises LookupError where the path does not lead."""
    changed = copy.deepcopy(data)
    holder = leaf_at(changed, path[:-1])
    if isinstance(holder, list):
        holder[int(path[-1])] = value
    else:
        holder[path[-1]] = value
    return changed


def other_value(value: Any) -> Any:
    """Return another value of the same type. Raises LookupError for empty ones, of which nothing is known."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    if isinstance(value, str) and value.removesuffix("Gi").isdigit():
        return value.replace(value.removesuffix("Gi"), str(int(value.removesuffix("Gi")) + 1))
    if isinstance(value, str) and value:
        return f"{value}x"
    raise LookupError(value)
