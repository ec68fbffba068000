"""What docs/kubernetes.md names: values, files, commands. Values stand there as paths below `ita-ag-oase`."""

import re
from collections.abc import Iterator
from typing import Any

import yaml  # type: ignore[import-untyped]

from tests.chart_wiring.layouts import ROOT

GUIDE = ROOT / "docs" / "kubernetes.md"

_BLOCK = re.compile(r"^( *)```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`([^`\n]+)`")
_PATH = re.compile(r"[a-z][A-Za-z]*(\[\])?(\.[A-Za-z]+(\[\])?)*")
_FILE = re.compile(r"[\w-]+\.(?:yaml|md|txt|tgz)")
# Maps whose keys are the user's.
_OPEN = {"extraEnv", "secret", "resources", "existingSecret", "inline", "secretFiles", "egress"}
# Words of other worlds that look like values; the first line begins reasons why an agent is not ready.
_OTHERS = {
    "volume", "standby", "spool",
    "restricted", "none", "admin", "soft", "nolock", "dead",
    "emptyDir", "fsGroup", "hostPath", "ReadWriteOncePod", "claimRef",
}  # fmt: skip


def guide_text() -> str:
    """Return the guide."""
    return GUIDE.read_text(encoding="utf-8")


def commands(text: str) -> str:
    """Return the fenced blocks, without indentation and languages."""
    return "\n".join("\n".join(line.strip() for line in found[2].splitlines()) for found in _blocks(text))


def value_paths(text: str) -> set[str]:
    """Return the paths of values that a text names, in its words and in its YAML blocks."""
    words = {found.partition(":")[0] for found in _CODE.findall(_BLOCK.sub("", text))}
    named = {word for word in words - _OTHERS if _PATH.fullmatch(word) and not _FILE.fullmatch(word)}
    blocks = (yaml.safe_load(found[2]) for found in _blocks(text) if found[1] == "yaml")
    return {*named, *(path for block in blocks for path in _paths(block, ""))}


def messages(text: str) -> list[str]:
    """Return the texts of Helm and of the agent that a text quotes, as far as they stand in a source."""
    quoted = re.findall(r"^\| (?:Helm:|Not ready,) `([^`]+)`", text, re.MULTILINE)
    return [message.partition("(Perm")[0].strip("… ") for message in quoted]


def files(text: str) -> set[str]:
    """Return the names of the example files and manifests that a text names in its words."""
    found = {word for word in _CODE.findall(_BLOCK.sub("", text)) if word.endswith(".yaml")}
    return {name for name in found if "/" not in name and " " not in name}


def is_value(path: str, values: dict[str, Any]) -> bool:
    """Tell whether a path leads to something in values.yaml, from its root, `ita-ag-oase` or an agent."""
    steps = path.replace("[]", "").split(".")
    own = values["ita-ag-oase"]
    return any(_leads(steps, root) for root in (values, own, own["agents"]))


def _leads(steps: list[str], place: Any) -> bool:
    for above, step in zip(["", *steps], steps, strict=False):
        if above in _OPEN:
            return True
        place = place[0] if isinstance(place, list) and place else place
        if not isinstance(place, dict) or step not in place:
            return False
        place = place[step]
    return True


def _paths(node: Any, path: str) -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            yield from _paths(value, f"{path}.{key}" if path else str(key))
    elif isinstance(node, list):
        for item in node:
            yield from _paths(item, f"{path}[]")
    else:
        yield path


def _blocks(text: str) -> list[tuple[str, str, str]]:
    return _BLOCK.findall(text)
