"""Helm's engine where it is installed, and a stage for a layout."""

import importlib
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from tests.chart.manifests import Manifests
from tests.chart_wiring.layouts import ROOT
from tests.chart_wiring.stage import Chart, LayoutStage
from tests.unit.source_servers import Authority


class _HelmChart:
    def __init__(self, engine: Any) -> None:
        self._engine = engine

    def render(self, values: Mapping[str, Any]) -> Manifests:
        manifests: Manifests = self._engine.render(ROOT / "chart", values).manifests
        return manifests

    def values(self, path: Path) -> dict[str, Any]:
        read: dict[str, Any] = self._engine.values_from_yaml(path.read_text(encoding="utf-8"))
        return read


@pytest.fixture(scope="session")
def chart() -> Chart:
    """Give Helm's engine for the chart; skip where the library that has it is not installed."""
    why = "helm-python-sdk cannot be imported, so the chart cannot be rendered"
    pytest.importorskip("helm_python", reason=why, exc_type=ImportError)
    return _HelmChart(importlib.import_module("tests.chart.engine"))


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Give a certificate authority."""
    return Authority(tmp_path_factory.mktemp("authority"))


LayoutStages = Callable[[], AbstractAsyncContextManager[LayoutStage]]


@pytest.fixture
def layout_stages(chart: Chart, authority: Authority) -> LayoutStages:
    """Give a way to set up stages, empty at first: call `open`. Pods and simulators end with the stage."""

    @asynccontextmanager
    async def stage() -> AsyncIterator[LayoutStage]:
        with TemporaryDirectory(prefix="oase-agent-wiring-") as name:
            # Containers have users of their own.
            Path(name).chmod(0o755)
            async with AsyncExitStack() as stack:
                yield LayoutStage(stack, chart, Path(name), authority)

    return stage
