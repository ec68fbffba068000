"""Values files as users of the reference have them, built from the facts of the wire contract, section 10."""

from typing import Any

Values = dict[str, Any]

TOKEN = "a-refresh-token"


def agent(name: str = "oase-agent", **changes: Any) -> Values:
    """Return an entry of `agents` as the user document shows it, with changes to its parts."""
    entry: Values = {
        "image": {"repository": "", "tag": "", "pullPolicy": "IfNotPresent"},
        "extraEnv": {
            "TZ": "Asia/Tokyo",
            "DEFAULT_LANGUAGE": "ja",
            "LANGUAGE": "en",
            "ITERATION": "500",
            "EXECUTE_INTERVAL": "10",
            "LOG_LEVEL": "INFO",
            "AGENT_NAME": name,
            "EXASTRO_URL": "http://platform-auth:8000",
            "EXASTRO_ORGANIZATION_ID": "org001",
            "EXASTRO_WORKSPACE_ID": "ws01",
            "EVENT_COLLECTION_SETTINGS_NAMES": "id0001",
        },
        "secret": {"EXASTRO_REFRESH_TOKEN": TOKEN},
        "resources": {},
    }
    return entry | changes


def env(name: str = "oase-agent", **changes: Any) -> Values:
    """Return the `extraEnv` of such an entry with changes."""
    return {**agent(name)["extraEnv"], **changes}


def values(*agents: Values, **others: Any) -> Values:
    """Return values with these agents, one if none is given, and other keys of `ita-ag-oase`."""
    return {"ita-ag-oase": {"agents": list(agents) or [agent()], **others}}


# What users of the reference have in their files; every one must upgrade without touching what cannot be changed.
OF_THE_REFERENCE: dict[str, Values] = {
    "one agent": values(),
    "two agents in one pod": values(agent("oase-agent-1"), agent("oase-agent-2")),
    "the second of two releases": values(
        nameOverride="ita-ag-oase-2", persistence={"matchLabels": {"release": "pv-ita-ag-oase-2"}}
    ),
    "user and password": values(
        agent(secret={"EXASTRO_USERNAME": "admin", "EXASTRO_PASSWORD": "sample-password"})
    ),
    "a storage class": values(persistence={"storageClass": "azurefile", "size": "20Gi"}),
    "the default storage class": values(persistence={"storageClass": ""}),
    "a named volume": values(persistence={"volumeName": "pv-ita-ag-oase"}),
    "a selected volume": values(
        persistence={
            "matchLabels": {"release": "stable"},
            "matchExpressions": [{"key": "environment", "operator": "In", "values": ["dev"]}],
        }
    ),
    "read and written by one node": values(persistence={"accessMode": "ReadWriteOnce"}),
    "no persistence": values(persistence={"enabled": False}),
    "other paths": values(
        persistence={"mountPath": {"storage": "/data", "homeDir": "/home/me", "tmp": "/var/tmp"}}
    ),
    "another user": values(
        podSecurityContext={"fsGroup": 2000}, securityContext={"runAsUser": 2000, "runAsGroup": 2000}
    ),
}
