"""Several pods of one agent where they cannot share its settings, and the key that the refusal must name."""

from typing import Any

from tests.chart.refused_kind import Refused
from tests.chart.sample_values import TOKEN, Values, agent, env, values

SHARED = {"storageClass": "shared"}
"""A volume that pods on several nodes reach."""


def several(*agents: Values, **others: Any) -> Values:
    """Return values for three pods of each of these agents, with other keys of `ita-ag-oase`."""
    return values(*agents, **{"replicas": 3, "persistence": SHARED, **others})


_KEY_OF_NAMES = r"extraEnv\.EVENT_COLLECTION_SETTINGS_NAMES"
_WITHOUT_NAMES = {
    key: text for key, text in agent()["extraEnv"].items() if key != "EVENT_COLLECTION_SETTINGS_NAMES"
}
_NAMES_IN_ENV = [{"name": "EVENT_COLLECTION_SETTINGS_NAMES", "value": "id0001"}]
_ONE_IDENTITY = (
    agent("same", pod="1"),
    agent("same", pod="2", extraEnv=env("same", EVENT_COLLECTION_SETTINGS_NAMES="id0002")),
)
_ON_A_NODE = {"hostPath": {"create": True}}
_FOR_THE_PODS = "pods of one agent must share a volume"

OF_REPLICAS: dict[str, Refused] = {
    "several pods that may not share": Refused(
        several(coordination={"enabled": False}), r"coordination\.enabled", "replicas is 3"
    ),
    "more pods than may work": Refused(
        several(replicas=12), r"coordination\.maxReplicas", "Set it to 12, at most 100"
    ),
    "more pods than there may ever be": Refused(
        several(coordination={"maxReplicas": 101}), "maxReplicas", "schema"
    ),
    "several pods without a volume": Refused(
        several(persistence={"enabled": False}), r"persistence\.enabled", _FOR_THE_PODS
    ),
    "several pods on a volume for one node": Refused(
        several(persistence={**SHARED, "accessMode": "ReadWriteOnce"}),
        r"persistence\.accessMode",
        f"{_FOR_THE_PODS}.*ReadWriteMany",
    ),
    "several pods on a volume for one pod": Refused(
        several(persistence={**SHARED, "accessMode": "ReadWriteOncePod"}), r"persistence\.accessMode"
    ),
    "several pods, an agent with a volume for one node": Refused(
        several(agent(persistence={"accessMode": "ReadWriteOnce"})), r"agents\[0\]\.persistence\.accessMode"
    ),
    "several pods on the folders of nodes": Refused(
        several(persistence={}), r"persistence\.volumeType", r"storageClass.*nodeSelector"
    ),
    "several pods on folders that the chart makes on each node": Refused(
        several(persistence=_ON_A_NODE), r"persistence\.volumeType", _FOR_THE_PODS
    ),
    "one pod that may be scaled, on a volume for one node": Refused(
        values(coordination={"enabled": True}, persistence={**SHARED, "accessMode": "ReadWriteOnce"}),
        r"persistence\.accessMode",
        r"coordination\.enabled is true",
    ),
    "several pods, and no account may be made": Refused(
        several(serviceAccount={"create": False}), r"serviceAccount\.create", r"serviceAccount\.name"
    ),
    "several pods with the account of everybody": Refused(
        several(serviceAccount={"name": "default"}), r"serviceAccount\.create", "account of their own"
    ),
    "several pods of two agents of one name": Refused(
        several(*_ONE_IDENTITY), r"agents\[1\]\.extraEnv\.AGENT_NAME", "take each other's settings"
    ),
    "several pods, names of settings in `env`": Refused(
        several(agent(extraEnv=_WITHOUT_NAMES, env=_NAMES_IN_ENV)), _KEY_OF_NAMES, "Role"
    ),
    "several pods, names of settings in a Secret": Refused(
        several(agent(extraEnv=_WITHOUT_NAMES, existingSecret="mine", secret={})),
        _KEY_OF_NAMES,
        r"coordination\.createRole: false",
    ),
    "several pods, the organization in `secret`": Refused(
        several(agent(secret={"EXASTRO_REFRESH_TOKEN": TOKEN, "EXASTRO_ORGANIZATION_ID": "org001"})),
        r"extraEnv\.EXASTRO_ORGANIZATION_ID",
    ),
    "several pods, and another way of sharing": Refused(
        several(agent(extraEnv=env(COORDINATION="volume"))), r"extraEnv\.COORDINATION", "remove it"
    ),
    "several pods, and other slots": Refused(
        several(agent(env=[{"name": "COORDINATION_SLOTS", "value": "3"}])), r"env \(COORDINATION_SLOTS\)"
    ),
    "several pods, local settings of unknown names": Refused(
        several(agent(localSettings={"existingConfigMap": "mine"})), r"localSettings\.names", "mine"
    ),
}
