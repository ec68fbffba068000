"""What the tests of the chart share: the reference's stand-in, written once."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chart.engine import Releases
from tests.chart.kubernetes_api import Cluster, kubernetes_api
from tests.chart.reference_chart import write_reference_chart


@pytest.fixture(scope="session")
def reference_chart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the folder of the stand-in for the chart that users upgrade from."""
    return write_reference_chart(tmp_path_factory.mktemp("reference-chart"))


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """Give an empty cluster with the namespace exastro."""
    with kubernetes_api() as cluster:
        yield cluster


@pytest.fixture
def releases(cluster: Cluster) -> Releases:
    """Give the releases in that cluster."""
    return Releases(cluster.url)
