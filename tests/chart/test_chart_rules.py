"""Every rule refuses what it is there to refuse."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.chart.engine import render
from tests.chart.manifests import BadManifest, Manifest, Manifests, parse_manifests
from tests.chart.rules import offences
from tests.chart.schemas import NEWEST, schema_offences

SOUND = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: agent, labels: {app.kubernetes.io/name: agent}, annotations: {note: text}}
spec:
  selector: {matchLabels: {app.kubernetes.io/name: agent, app.kubernetes.io/instance: one}}
  template:
    metadata: {labels: {app.kubernetes.io/name: agent, app.kubernetes.io/instance: one, extra: label}}
    spec:
      securityContext: {runAsNonRoot: true, runAsUser: 1000, seccompProfile: {type: RuntimeDefault}}
      initContainers:
        - name: setup-storage
          image: agent
          securityContext: &minimal
            {runAsNonRoot: false, runAsUser: 0, allowPrivilegeEscalation: false, readOnlyRootFilesystem: true,
             capabilities: {drop: [ALL], add: [CHOWN]}}
      containers:
        - name: agent
          image: agent
          imagePullPolicy: IfNotPresent
          env:
            - {name: PLAIN, value: "1"}
            - {name: FROM_MAP, valueFrom: {configMapKeyRef: {name: params, key: FROM_MAP}}}
            - {name: FROM_OUTSIDE, valueFrom: {secretKeyRef: {name: given-by-the-user, key: ANY}}}
          ports: [{name: admin, containerPort: 8080}]
          livenessProbe: {httpGet: {path: /healthz, port: admin}}
          securityContext:
            {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
          volumeMounts: [{name: storage, mountPath: /storage}]
      volumes: [{name: storage, emptyDir: {}}]
---
apiVersion: v1
kind: ConfigMap
metadata: {name: params}
data: {FROM_MAP: "1"}
---
apiVersion: v1
kind: Secret
metadata: {name: secret}
data: {TOKEN: dG9rZW4=}
---
apiVersion: v1
kind: Service
metadata: {name: metrics, labels: {app.kubernetes.io/instance: one}}
spec: {selector: {extra: label}, ports: [{name: admin, port: 8080, targetPort: admin}]}
---
apiVersion: monitoring.coreos.com/v1
kind: ServiceMonitor
metadata: {name: metrics}
spec: {selector: {matchLabels: {app.kubernetes.io/instance: one}}, endpoints: [{port: admin}]}
---
apiVersion: monitoring.coreos.com/v1
kind: PodMonitor
metadata: {name: pods}
spec: {selector: {matchLabels: {extra: label}}, podMetricsEndpoints: [{port: admin}]}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: budget}
spec: {selector: {matchLabels: {extra: label}}, maxUnavailable: 1}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: policy}
spec: {podSelector: {matchLabels: {extra: label}}, ingress: [{ports: [{port: 8080}]}]}
"""


def sound() -> Manifests:
    return parse_manifests({"sound": SOUND})


def deployment(manifests: Manifests) -> Manifest:
    return manifests["Deployment", "agent"]


def pod(manifests: Manifests) -> Manifest:
    spec: Manifest = deployment(manifests)["spec"]["template"]["spec"]
    return spec


def agent(manifests: Manifests) -> Manifest:
    container: Manifest = pod(manifests)["containers"][0]
    return container


def add_a_second_deployment(manifests: Manifests) -> None:
    other = copy.deepcopy(deployment(manifests))
    other["metadata"]["name"] = "other"
    manifests["Deployment", "other"] = other


def rename(manifest: Manifest, name: str) -> None:
    manifest["metadata"]["name"] = name


Change = Callable[[Manifests], Any]
OFFENCES: dict[str, Change] = {
    "no DNS name": lambda m: rename(deployment(m), "Agent_01"),
    "at most 63 characters": lambda m: rename(deployment(m), "a" * 64),
    "no label may have": lambda m: deployment(m)["metadata"]["labels"].update(version="a b"),
    "annotation note is no text": lambda m: deployment(m)["metadata"]["annotations"].update(note=1),
    "a template printed a value": lambda m: rename(deployment(m), "agent-%!s(<nil>)"),
    "data.FROM_MAP is no text": lambda m: m["ConfigMap", "params"]["data"].update(FROM_MAP=500),
    "data.TOKEN is not base64": lambda m: m["Secret", "secret"]["data"].update(TOKEN="{{ token }}"),
    "other labels than the two": lambda m: deployment(m)["spec"]["selector"]["matchLabels"].update(
        extra="label"
    ),
    "does not find its own pods": lambda m: deployment(m)["spec"]["template"]["metadata"]["labels"].pop(
        "app.kubernetes.io/name"
    ),
    "finds the pods of other": add_a_second_deployment,
    "'Agent' is no DNS label": lambda m: agent(m).update(name="Agent"),
    "volume 'storage' is given twice": lambda m: pod(m)["volumes"].append(
        {"name": "storage", "emptyDir": {}}
    ),
    "container 'agent' is given twice": lambda m: pod(m)["containers"].append({**agent(m), "ports": []}),
    "variable 'PLAIN' is given twice": lambda m: agent(m)["env"].append({"name": "PLAIN", "value": "2"}),
    "mount path '/storage' is given twice": lambda m: agent(m)["volumeMounts"].append(
        {"name": "storage", "mountPath": "/storage"}
    ),
    "which is no volume of the pod": lambda m: pod(m).update(volumes=[]),
    "no such pull policy: 'None'": lambda m: agent(m).update(imagePullPolicy="None"),
    "variable PLAIN is no text": lambda m: agent(m)["env"][0].update(value=True),
    "no port name": lambda m: agent(m)["ports"][0].update(name="admin-of-the-agent"),
    "port 8080 is given twice": lambda m: agent(m)["ports"].append({"containerPort": 8080}),
    "livenessProbe asks port 9": lambda m: agent(m)["livenessProbe"]["httpGet"].update(port=9),
    "ConfigMap params has no key": lambda m: m["ConfigMap", "params"]["data"].clear(),
    "Service metrics: the selector finds nothing": lambda m: m["Service", "metrics"]["spec"].update(
        selector={"x": "y"}
    ),
    "Service metrics: 'other' is no port": lambda m: m["Service", "metrics"]["spec"]["ports"][0].update(
        targetPort="other"
    ),
    "ServiceMonitor metrics: the selector finds nothing": lambda m: m["Service", "metrics"]["metadata"].pop(
        "labels"
    ),
    "PodMonitor pods: 'other' is no port": lambda m: m["PodMonitor", "pods"]["spec"]["podMetricsEndpoints"][
        0
    ].update(port="other"),
    "PodDisruptionBudget budget: the selector": lambda m: m["PodDisruptionBudget", "budget"]["spec"].update(
        selector={"matchLabels": {"x": "y"}}
    ),
    "NetworkPolicy policy: 9 is no port": lambda m: m["NetworkPolicy", "policy"]["spec"].update(
        ingress=[{"ports": [{"port": 9}]}]
    ),
    "hostNetwork is set": lambda m: pod(m).update(hostNetwork=True),
    "of a kind that the restricted": lambda m: pod(m)["volumes"][0].update(hostPath={"path": "/var"}),
    "runAsNonRoot is not true": lambda m: pod(m)["securityContext"].pop("runAsNonRoot"),
    "runs as user 0": lambda m: agent(m)["securityContext"].update(runAsUser=0),
    "agent: adds capabilities": lambda m: agent(m)["securityContext"]["capabilities"].update(add=["CHOWN"]),
    "is privileged": lambda m: agent(m)["securityContext"].update(privileged=True),
    "allowPrivilegeEscalation is not false": lambda m: agent(m)["securityContext"].pop(
        "allowPrivilegeEscalation"
    ),
    "does not drop all": lambda m: agent(m)["securityContext"].update(capabilities={}),
    "root file system can be written": lambda m: agent(m)["securityContext"].pop("readOnlyRootFilesystem"),
    "has no seccomp profile": lambda m: pod(m)["securityContext"].pop("seccompProfile"),
    "more capabilities than changing owners needs": lambda m: pod(m)["initContainers"][0]["securityContext"][
        "capabilities"
    ].update(add=["SYS_ADMIN"]),
}


def test_a_sound_release_offends_nothing() -> None:
    assert offences(sound()) == []
    assert schema_offences(sound(), NEWEST) == []


@pytest.mark.parametrize("text", OFFENCES)
def test_an_offence_is_told(text: str) -> None:
    manifests = sound()
    OFFENCES[text](manifests)
    assert any(text in offence for offence in offences(manifests)), offences(manifests)


def test_a_field_that_kubernetes_does_not_know_is_told() -> None:
    manifests = sound()
    agent(manifests)["livenesProbe"] = {}
    assert "livenesProbe" in schema_offences(manifests, NEWEST)[0]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: [", "while parsing"),
        ("data: {}", "not an object with apiVersion, kind and name"),
        ("{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, data: {A: '1', A: '2'}}", "given twice"),
    ],
)
def test_what_is_no_kubernetes_object_is_refused(text: str, told: str) -> None:
    with pytest.raises(BadManifest, match=told):
        parse_manifests({"template.yaml": text})


def test_an_object_printed_twice_is_refused() -> None:
    with pytest.raises(BadManifest, match="ConfigMap params is printed twice"):
        parse_manifests({"one": SOUND, "two": SOUND[SOUND.index("apiVersion: v1\nkind: ConfigMap") :]})


@pytest.mark.parametrize(("text", "value"), [("y", True), ("no", False), ("1e3", 1000.0), ("0123", 83)])
def test_bare_words_and_numbers_are_read_as_helm_reads_them(text: str, value: object) -> None:
    manifests = parse_manifests(
        {"t": f"{{apiVersion: v1, kind: ConfigMap, metadata: {{name: a}}, data: {{A: {text}}}}}"}
    )
    assert manifests["ConfigMap", "a"]["data"]["A"] == value


def test_the_reference_offends_where_it_is_known_to(reference_chart: Path) -> None:
    found = " ".join(offences(render(reference_chart).manifests))
    assert "does not drop all capabilities" in found
    assert "setup-storage: allowPrivilegeEscalation is not false" in found
