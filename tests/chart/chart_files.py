"""Where the chart and its examples are."""

from pathlib import Path
from typing import Any

from tests.chart.engine import values_from_yaml
from tests.chart.sample_values import TOKEN

ROOT = Path(__file__).parents[2]
CHART = ROOT / "chart"
EXAMPLES = ROOT / "values-examples"
GOLDEN = Path(__file__).parent / "golden"

PLACEHOLDERS = {"change-this-token", "exastro_refresh_token", "your_exastro_refresh_token"}
"""Tokens of the reference's values and of the user document, which the chart refuses."""


def example_files() -> list[Path]:
    """Return the values files among the examples; the manifests of volumes beside them are objects, not values."""
    return [path for path in sorted(EXAMPLES.glob("*.yaml")) if "kind" not in _read(path)]


def example_manifests() -> list[Path]:
    """Return the files of the examples that are applied with kubectl."""
    return [path for path in sorted(EXAMPLES.glob("**/*.yaml")) if "kind" in _read(path)]


def example_values(path: Path) -> dict[str, Any]:
    """Read an example the way Helm reads it, with a token where the user is asked to put one."""
    read = _read(path)
    for agent in read["ita-ag-oase"].get("agents") or []:
        if (agent.get("secret") or {}).get("EXASTRO_REFRESH_TOKEN") in PLACEHOLDERS:
            agent["secret"]["EXASTRO_REFRESH_TOKEN"] = TOKEN
    return read


def _read(path: Path) -> dict[str, Any]:
    return values_from_yaml(path.read_text(encoding="utf-8"))
