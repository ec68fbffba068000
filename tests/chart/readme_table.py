"""Writes the table of values in the chart's README from the comments of values.yaml.

A key is described by the comment above it whose first line starts with `# --`, or by one behind it on its line. Where
the value is not empty, the description holds for everything below that has none of its own.
"""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

CHART = Path(__file__).parents[2] / "chart"
BEGIN = "<!-- values: begin -->"
END = "<!-- values: end -->"
_MARK = "# --"
_LONGEST_DEFAULT = 72


@dataclass(frozen=True)
class Row:
    """One described key: its path, with [] for the entries of a list, and its default as JSON."""

    path: str
    default: str
    meaning: str


def rows_of(values_yaml: str) -> list[Row]:
    """Return a row for every described key, in the order of the file."""
    lines = values_yaml.splitlines()
    return [
        Row(path, json.dumps(value, ensure_ascii=False), meaning)
        for path, line, value in _keys(yaml.compose(values_yaml), "")
        if (meaning := _described(lines, line))
    ]


def undescribed_leaves(values_yaml: str) -> list[str]:
    """Return the paths of values that no comment describes, neither their own nor one of a key above them."""
    described = [row.path for row in rows_of(values_yaml)]
    return [
        path
        for path, _, value in _keys(yaml.compose(values_yaml), "")
        if not (isinstance(value, dict | list) and value)
        and not any(path == above or path.startswith((f"{above}.", f"{above}[")) for above in described)
    ]


def table(values_yaml: str) -> str:
    """Return the table as Markdown, each row on its own line."""
    rows = [
        f"| `{row.path}` | {_shown(row.default)} | {row.meaning.replace('|', chr(92) + '|')} |"
        for row in rows_of(values_yaml)
    ]
    return "\n".join(["| Key | Default | Meaning |", "| --- | --- | --- |", *rows])


def with_table(readme: str, values_yaml: str) -> str:
    """Return the README with the table between its markers. Raises ValueError where a marker is missing."""
    if readme.count(BEGIN) != 1 or readme.count(END) != 1:
        raise ValueError(f"chart/README.md must hold {BEGIN} and {END} once each")
    head, _, rest = readme.partition(BEGIN)
    tail = rest.partition(END)[2]
    return f"{head}{BEGIN}\n\n{table(values_yaml)}\n\n{END}{tail}"


def _keys(node: Any, path: str) -> Iterator[tuple[str, int, Any]]:
    """Yield path, line and value of every key below a node."""
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _keys(item, f"{path}[]")
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            below = f"{path}.{key.value}" if path else key.value
            yield below, key.start_mark.line, _plain(value)
            yield from _keys(value, below)


def _plain(node: Any) -> Any:
    return yaml.safe_load(yaml.serialize(node))


def _described(lines: list[str], line: int) -> str:
    behind = lines[line].partition(f" {_MARK}")[2]
    if behind:
        return behind.strip()
    found: list[str] = []
    for above in reversed(lines[:line]):
        text = above.strip()
        if not text.startswith("#"):
            return ""
        if text.startswith(_MARK):
            return " ".join([text.removeprefix(_MARK).strip(), *reversed(found)]).strip()
        found.append(text.lstrip("# "))
    return ""


def _shown(default: str) -> str:
    return f"`{default}`".replace("|", "\\|") if len(default) <= _LONGEST_DEFAULT else "see `values.yaml`"


def main() -> None:
    """Write the table into the README of the chart."""
    values_yaml = (CHART / "values.yaml").read_text(encoding="utf-8")
    readme = CHART / "README.md"
    try:
        readme.write_text(with_table(readme.read_text(encoding="utf-8"), values_yaml), encoding="utf-8")
    except ValueError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
