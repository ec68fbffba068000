"""What to change a default value to where the default does not tell, and values under which others have an effect."""

from typing import Any

from tests.chart.sample_values import Values, agent, values

_SELECTION = {
    "matchLabels": {"release": "stable"},
    "matchExpressions": [{"key": "environment", "operator": "In", "values": ["dev"]}],
}
_ON = {"enabled": True}

SWITCHED_ON: list[Values] = [
    values(
        agent("one"),
        agent("two"),
        layout="perAgent",
        replicas=1,
        serviceAccount={"create": True},
        metrics={"service": _ON, "podMonitor": _ON},
        networkPolicy=_ON,
        podDisruptionBudget=_ON,
        persistence={"hostPath": {"create": True}} | _SELECTION,
        volumePermissions={"mode": "initContainer"},
    ),
    values(metrics={"serviceMonitor": _ON}, persistence={"enabled": False}),
    values(
        agent(
            sourceOptions={"existingConfigMap": {"name": "given", "key": "options"}},
            localSettings={"existingConfigMap": "given", "names": ["local"]},
        ),
        coordination={"enabled": True},
        persistence={"storageClass": "shared"},
    ),
]

_A = "ita-ag-oase.agents[0]"
_O = "ita-ag-oase"
_CONTAINER = {"name": "extra", "image": "registry.example/extra:1"}
_VOLUME = {"name": "extra", "emptyDir": {}}
_MOUNT = {"name": "extra", "mountPath": "/extra"}
_RELABELING = {"action": "keep", "sourceLabels": ["job"], "regex": "agent"}

SAMPLES: dict[str, Any] = {
    "global.agentGlobalDefinition.imagePullSecrets": ["pull"],
    f"{_A}.image.repository": "registry.example/oase-agent",
    f"{_A}.image.tag": "1.0",
    f"{_A}.image.digest": "sha256:" + "0" * 64,
    f"{_A}.image.pullPolicy": "Always",
    f"{_A}.existingSecret": "given",
    f"{_A}.pod": "b",
    f"{_A}.env": [{"name": "X", "value": "1"}],
    f"{_A}.envFrom": [{"configMapRef": {"name": "given"}}],
    f"{_A}.resources": {"limits": {"cpu": "1"}},
    f"{_A}.probes": {"liveness": {"periodSeconds": 7}},
    f"{_A}.persistence": {"size": "7Gi"},
    f"{_A}.extraVolumeMounts": [{"name": "volume-ita-ag-oase-tmp", "mountPath": "/more"}],
    f"{_A}.sourceOptions.inline": {"version": 1},
    f"{_A}.sourceOptions.existingConfigMap": "mine",
    f"{_A}.sourceOptions.secretFiles": ["mine"],
    f"{_A}.localSettings.inline": {"settings": []},
    f"{_A}.localSettings.existingConfigMap": {"name": "mine"},
    f"{_A}.localSettings.secretFiles": [{"name": "mine", "files": {"secrets/token": "token"}}],
    f"{_A}.localSettings.mode": "only",
    f"{_A}.localSettings.names": ["another"],
    f"{_O}.layout": "perAgent",
    f"{_O}.agentDefaults": {"resources": {"limits": {"cpu": "1"}}},
    f"{_O}.agentsByName": {"more": agent("more")},
    f"{_O}.pods": {"one": {"nodeSelector": {"disk": "ssd"}}},
    f"{_O}.replicas": 0,
    f"{_O}.coordination.enabled": True,
    f"{_O}.coordination.formerSettings": ["former"],
    f"{_O}.imagePullSecrets": [{"name": "pull"}],
    f"{_O}.nameOverride": "other",
    f"{_O}.fullnameOverride": "other",
    f"{_O}.initContainerImage.tag": "8.9",
    f"{_O}.initContainerImage.pullPolicy": "Always",
    f"{_O}.volumePermissions.mode": "none",
    f"{_O}.volumePermissions.resources": {"limits": {"cpu": "1"}},
    f"{_O}.serviceAccount.create": True,
    f"{_O}.serviceAccount.annotations": {"a": "b"},
    f"{_O}.serviceAccount.name": "other",
    f"{_O}.strategy.type": "Recreate",
    f"{_O}.persistence.accessMode": "ReadWriteOnce",
    f"{_O}.persistence.volumeType": "AKS",
    f"{_O}.persistence.storageClass": "fast",
    f"{_O}.persistence.matchLabels": {"release": "other"},
    f"{_O}.persistence.matchExpressions": [{"key": "other", "operator": "Exists"}],
    f"{_O}.persistence.selector": {"matchLabels": {"release": "other"}},
    f"{_O}.persistence.volumeName": "pv",
    f"{_O}.persistence.existingClaim": "mine",
    f"{_O}.persistence.subPath": "folder",
    f"{_O}.persistence.annotations": {"a": "b"},
    f"{_O}.persistence.labels": {"a": "b"},
    f"{_O}.persistence.hostPath.path": "/srv/agent",
    f"{_O}.persistence.hostPath.nodeName": "node-1",
    f"{_O}.persistence.emptyDir": {"sizeLimit": "1Gi"},
    f"{_O}.podAnnotations": {"a": "b"},
    f"{_O}.podLabels": {"a": "b"},
    f"{_O}.commonLabels": {"a": "b"},
    f"{_O}.commonAnnotations": {"a": "b"},
    f"{_O}.podSecurityContext.fsGroupChangePolicy": "Always",
    f"{_O}.podSecurityContext.seccompProfile.type": "Unconfined",
    f"{_O}.securityContext.seccompProfile.type": "Unconfined",
    f"{_O}.podDisruptionBudget.enabled": False,
    f"{_O}.metrics.service.annotations": {"a": "b"},
    f"{_O}.metrics.podMonitor.labels": {"a": "b"},
    f"{_O}.metrics.podMonitor.interval": "30s",
    f"{_O}.metrics.podMonitor.scrapeTimeout": "10s",
    f"{_O}.metrics.podMonitor.relabelings": [_RELABELING],
    f"{_O}.metrics.serviceMonitor.labels": {"a": "b"},
    f"{_O}.metrics.serviceMonitor.interval": "30s",
    f"{_O}.metrics.serviceMonitor.scrapeTimeout": "10s",
    f"{_O}.metrics.serviceMonitor.relabelings": [_RELABELING],
    f"{_O}.networkPolicy.adminFrom": [{"namespaceSelector": {}}],
    f"{_O}.networkPolicy.egress": [{"ports": [{"port": 443}]}],
    f"{_O}.priorityClassName": "high",
    f"{_O}.nodeSelector": {"disk": "ssd"},
    f"{_O}.tolerations": [{"operator": "Exists"}],
    f"{_O}.affinity": {"nodeAffinity": {}},
    f"{_O}.topologySpreadConstraints": [
        {"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway"}
    ],
    f"{_O}.extraVolumes": [_VOLUME],
    f"{_O}.extraVolumeMounts": [_MOUNT],
    f"{_O}.extraContainers": [_CONTAINER],
    f"{_O}.initContainers": [_CONTAINER],
    f"{_O}.extraObjects": [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "more"}}],
    f"{_O}.service": {"type": "NodePort"},
    f"{_O}.ingress.className": "nginx",
    f"{_O}.ingress.annotations": {"a": "b"},
    f"{_O}.ingress.tls": [{"secretName": "tls"}],
}
