"""A namespace with releases in it, and what the stories about them ask of it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.chart.engine import Releases
from tests.chart.kubernetes_api import Cluster
from tests.chart.patches import Json
from tests.chart.sample_values import Values, agent

RELEASE = "exastro-agent"
NAME = "ita-ag-oase"
CLAIM = "pvc-ita-ag-oase"
KEEP = ("helm.sh/resource-policy", "keep")
TWO_AGENTS = (agent("oase-agent-1"), agent("oase-agent-2"))

Mode = Callable[[Cluster], None]
BOTH_MODES = pytest.mark.parametrize(
    "mode",
    [
        pytest.param(Cluster.make_releases_those_of_helm_3, id="helm3"),
        pytest.param(lambda _: None, id="helm4"),
    ],
)


def installed(cluster: Cluster, releases: Releases, chart: Path, mode: Mode, given: Values) -> None:
    """Install a release, bind its claims, and forget the requests that it took."""
    releases.install(chart, RELEASE, given)
    mode(cluster)
    for name, claim in cluster.objects("persistentvolumeclaims").items():
        cluster.bind(name, claim["spec"].get("volumeName", f"pv-of-{name}"))
    cluster.requests.clear()


def deployment(cluster: Cluster, name: str = NAME) -> Json:
    return cluster.objects("deployments")[name]


def deleted(cluster: Cluster) -> list[tuple[str, str]]:
    return [(request.plural, request.name) for request in cluster.changes() if request.method == "DELETE"]


def is_kept(claim: Json) -> bool:
    return KEEP in claim["metadata"]["annotations"].items()
