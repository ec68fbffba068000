"""YAML files of the operator, read strictly: what could be meant in two ways is a fault with its line.

Values are those of JSON. Of YAML's own readings of plain text only `true`, `false`, `null`, `~`, decimal integers and
decimal fractions stay: `no`, `on`, `0123`, `12:30` and `2024-01-01` are texts, as whoever writes a user name or a
header means them. Anchors, aliases and `<<` work, as far as what they stand for stays small.
"""

import functools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

Place: TypeAlias = tuple[str | int, ...]
"""The way to a value: keys and positions from the top, such as `("settings", 2, "TTL")`."""

# Far beyond any file by hand. An alias counts with all that it stands for: a few lines must not fill the memory.
_MOST_VALUES = 100_000
_DEEPEST = 50
_SHOWN_CHARACTERS = 60

_TAG = "tag:yaml.org,2002:"
_TAGS = frozenset(_TAG + kind for kind in ("bool", "float", "int", "map", "merge", "null", "seq", "str"))
_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
_FRACTION = re.compile(r"[-+]?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")
# What a message of the parser quotes behind these words is a piece of the file, and may be one of a secret.
_QUOTED = re.compile(r"(alias|anchor|handle|tag) (?:'[^']*'|\"[^\"]*\")")


class YamlFaults(ValueError):
    """A file that is no YAML or means two things; `faults` are sentences' beginnings with line numbers."""

    def __init__(self, faults: tuple[str, ...]) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults


@dataclass(frozen=True, slots=True)
class YamlDocument:
    """What a file says, and the line, counted from 1, of every key and every element of a list."""

    content: object
    lines: Mapping[Place, int]

    def line_of(self, place: Place) -> int | None:
        """Return the line of a value, or of the nearest value around it."""
        for length in range(len(place), 0, -1):
            if place[:length] in self.lines:
                return self.lines[place[:length]]
        return None


def read_yaml(path: Path, max_bytes: int) -> object:
    """Return what a file says, None for an empty one.

    Raises ValueError (YamlFaults) for a file that is too large, is no YAML or has a key twice; OSError.
    """
    return parse_yaml(read_limited(path, max_bytes)).content


def read_limited(path: Path, max_bytes: int) -> bytes:
    """Return the bytes of a file; raises YamlFaults when there are more than `max_bytes`, and OSError."""
    with path.open("rb") as file:
        data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise YamlFaults((f"it is larger than {max_bytes} bytes",))
    return data


def parse_yaml(data: bytes) -> YamlDocument:
    """Return what UTF-8 encoded YAML says; raises YamlFaults with every key that stands twice, or the first fault."""
    import yaml  # type: ignore[import-untyped]  # noqa: PLC0415 - costs memory that few agents need

    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise YamlFaults((f"line {line}: it is no UTF-8 text",)) from None
    walk = _Walk()
    try:
        walk.loader = _loader_type()(text)
        node = walk.loader.get_single_node()
        content = None if node is None else walk.value(node, ())
    except yaml.MarkedYAMLError as error:
        raise YamlFaults((_syntax_fault(error),)) from None
    except yaml.YAMLError as error:  # only a character that YAML does not allow has no mark
        line = text.count("\n", 0, getattr(error, "position", 0)) + 1
        raise YamlFaults((f"line {line}: a control character is not allowed in YAML",)) from None
    except RecursionError:
        raise YamlFaults((f"it is nested deeper than {_DEEPEST} levels",)) from None
    if walk.faults:
        raise YamlFaults(tuple(walk.faults))
    return YamlDocument(content, walk.lines)


@dataclass(slots=True)
class _Walk:
    """Turns the tree of the parser into values, and writes down lines and faults on the way."""

    loader: Any = None
    lines: dict[Place, int] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    _values: int = 0

    def value(self, node: Any, place: Place) -> Any:
        self._values += 1
        if self._values > _MOST_VALUES:
            raise YamlFaults((f"it holds more than {_MOST_VALUES} values, counted where aliases are used",))
        if len(place) > _DEEPEST:
            raise YamlFaults((f"line {_line(node)}: it is nested deeper than {_DEEPEST} levels",))
        if node.tag not in _TAGS:
            self.faults.append(f"line {_line(node)}: a tag is not allowed here")
            return None
        if node.id == "mapping":
            return self._mapping(node, place)
        if node.id == "sequence":
            return [self._placed(item, (*place, index)) for index, item in enumerate(node.value)]
        return self._scalar(node)

    def _placed(self, node: Any, place: Place) -> Any:
        self.lines.setdefault(place, _line(node))
        return self.value(node, place)

    def _mapping(self, node: Any, place: Place) -> dict[str, Any]:
        """Return the keys of a mapping; its own win over those of `<<`, as YAML has it."""
        own: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if key_node.tag == f"{_TAG}merge":
                for mapping in self._merged(value_node, place):
                    merged = {**mapping, **merged}
                continue
            key = key_node.value
            if key_node.tag != f"{_TAG}str":
                self.faults.append(f"line {_line(key_node)}: a key is not a text: put it in quotes")
            elif key in own:
                first = self.lines[*place, key]
                self.faults.append(f"line {_line(key_node)}: {_shown(key)} is there already, in line {first}")
            else:
                self.lines[*place, key] = _line(key_node)
                own[key] = self.value(value_node, (*place, key))
        return {**merged, **own}

    def _merged(self, node: Any, place: Place) -> Iterator[dict[str, Any]]:
        for one in node.value if node.id == "sequence" else [node]:
            if one.id != "mapping":
                self.faults.append(f"line {_line(node)}: << does not stand for a mapping")
                return
            yield self._mapping_elsewhere(one, place)

    def _mapping_elsewhere(self, node: Any, place: Place) -> dict[str, Any]:
        """Return a merged mapping; what the mapping around it says itself keeps its own lines."""
        own_lines, self.lines = self.lines, {}
        try:
            mapping: dict[str, Any] = self.value(node, (*place, "<<"))
        finally:
            merged_lines, self.lines = self.lines, own_lines
        depth = len(place)
        for merged_place, line in merged_lines.items():
            self.lines.setdefault((*place, *merged_place[depth + 1 :]), line)
        return mapping

    def _scalar(self, node: Any) -> Any:
        try:
            value = self.loader.construct_object(node)
        except (KeyError, ValueError):  # more digits than Python takes, or a tag before something else
            value = float("inf")
        if isinstance(value, float) and value in {float("inf"), float("-inf")}:
            self.faults.append(
                f"line {_line(node)}: it is no number that can be kept: put it in quotes if it is a text"
            )
            return None
        return value


def _syntax_fault(error: Any) -> str:
    problem = _QUOTED.sub(r"\1", str(error.problem))
    mark = error.problem_mark or error.context_mark
    return problem if mark is None else f"line {mark.line + 1}, column {mark.column + 1}: {problem}"


def _line(node: Any) -> int:
    return int(node.start_mark.line) + 1


def _shown(key: str) -> str:
    return repr(key if len(key) <= _SHOWN_CHARACTERS else f"{key[:_SHOWN_CHARACTERS]}…")


@functools.cache
def _loader_type() -> Any:
    """Return PyYAML's safe loader with the readings of plain text that this module tells of."""
    import yaml  # noqa: PLC0415

    class StrictLoader(yaml.SafeLoader):  # type: ignore[misc]
        """Knows the readings below and no other."""

        yaml_implicit_resolvers: Mapping[str, Any] = {}

    digits = list("-+0123456789")
    for kind, pattern, first in (
        ("null", re.compile(r"~|null|"), ["~", "n", ""]),
        ("bool", re.compile(r"true|false"), ["t", "f"]),
        ("int", _INTEGER, digits),
        ("float", _FRACTION, digits),
        ("merge", re.compile(r"<<"), ["<"]),
    ):
        StrictLoader.add_implicit_resolver(_TAG + kind, re.compile(rf"(?:{pattern.pattern})\Z"), first)
    return StrictLoader
