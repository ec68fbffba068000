"""Replicas on a real cluster: installed by Helm, scaled and killed by kubectl, counted event by event.

    KUBECONFIG=… IMAGE=registry.example.com/oase-agent:0.1.0 STORAGE_CLASS=nfs-client make test-cluster

Everything happens in a namespace of its own, which is deleted at the end.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.cluster import CHART, HERE, Cluster, namespace, wait_for, why_not

pytestmark = pytest.mark.cluster

PROBLEMS, ALERTS = "zabbix-problems", "active-alerts"
AGENTS = "app.kubernetes.io/name=ita-ag-oase"
MORE_EVENTS = 20


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    if (reason := why_not()) is not None:
        pytest.skip(f"no cluster: {reason}")
    with namespace() as found:
        yield found


def values() -> str:
    image, _, tag = os.environ["IMAGE"].rpartition(":")
    agent = {
        "image": {"repository": image, "tag": tag},
        "extraEnv": {
            "AGENT_NAME": "oase-agent",
            "EXECUTE_INTERVAL": "3",
            "EXASTRO_URL": "http://workspace:8090",
            "EXASTRO_ORGANIZATION_ID": "org001",
            "EXASTRO_WORKSPACE_ID": "ws01",
            "EVENT_COLLECTION_SETTINGS_NAMES": f"{PROBLEMS},{ALERTS}",
        },
        "secret": {"EXASTRO_REFRESH_TOKEN": "refresh-token"},
    }
    persistence = {"storageClass": os.environ["STORAGE_CLASS"], "accessMode": "ReadWriteMany", "size": "1Gi"}
    return json.dumps({"ita-ag-oase": {"replicas": 3, "agents": [agent], "persistence": persistence}})


def ids_of(cluster: Cluster, setting: str) -> list[int]:
    events = cluster.ask("workspace", 8090, f"/simulator/events?setting={setting}")["events"]
    return [int(event["_exastro_oase_event_id"]) for event in events]


def more_arrive(cluster: Cluster) -> None:
    wanted = len(ids_of(cluster, PROBLEMS)) + MORE_EVENTS
    wait_for(lambda: len(ids_of(cluster, PROBLEMS)) >= wanted, f"{wanted} events of {PROBLEMS} arrived")


def test_replicas_are_scaled_and_killed_and_every_event_arrives_once(
    cluster: Cluster, tmp_path: Path
) -> None:
    simulators = (HERE / "simulators.yaml").read_text().replace("@IMAGE@", os.environ["IMAGE"])
    cluster.kubectl("apply", "--filename", "-", text=simulators)
    for name in ("workspace", "sources"):
        cluster.kubectl("rollout", "status", f"deployment/{name}", "--timeout=300s")
    file = tmp_path / "values.yaml"
    file.write_text(values())
    cluster.helm("install", "agent", str(CHART), "--values", str(file), "--wait", "--timeout=5m")
    wait_for(lambda: len(cluster.pods(AGENTS)) == 3, "three pods run")
    more_arrive(cluster)

    for pods in (1, 5, 2):
        cluster.kubectl("scale", "deployment/ita-ag-oase", f"--replicas={pods}")
        cluster.kubectl("rollout", "status", "deployment/ita-ag-oase", "--timeout=300s")
        more_arrive(cluster)
    for _ in range(2):
        victim = cluster.pods(AGENTS)[0]
        cluster.kubectl("delete", "pod", victim, "--grace-period=0", "--force")
        more_arrive(cluster)
    cluster.kubectl("rollout", "restart", "deployment/ita-ag-oase")
    cluster.kubectl("rollout", "status", "deployment/ita-ag-oase", "--timeout=300s")
    more_arrive(cluster)

    # The simulated Zabbix counts its problems: a gap is an event that was lost.
    arrived = ids_of(cluster, PROBLEMS)
    assert sorted(arrived) == list(range(min(arrived), min(arrived) + len(arrived)))
