"""The options that port, probes and volume of a pod hang on: what the agent gets is what its pod has."""

import base64
from dataclasses import dataclass
from typing import Any

import pytest

from tests.chart.chart_files import CHART
from tests.chart.engine import render
from tests.chart.manifests import Manifest, Manifests
from tests.chart.refused_values import with_option, with_variable
from tests.chart.sample_values import TOKEN, Values, agent, env, values

ELSEWHERE = {"mountPath": {"storage": "/data"}}
EXTRA = [{"name": "volume-ita-ag-oase-tmp", "mountPath": "/extra"}]
OFF = {kind: {"enabled": False} for kind in ("startup", "liveness", "readiness")}
BY_COMMAND = {kind: {"exec": {"command": ["true"]}} for kind in OFF}


@dataclass(frozen=True)
class Allowed:
    """Values that work, and what ADMIN_PORT and STORAGE_PATH of the only agent must be then."""

    values: Values
    port: str = "8080"
    folder: str = "/storage"


ALLOWED: dict[str, Allowed] = {
    "neither": Allowed(values()),
    "a port": Allowed(with_option(ADMIN_PORT="9000"), port="9000"),
    "a port that is a number": Allowed(with_option(ADMIN_PORT=9000), port="9000"),
    "a port of all agents": Allowed(values(adminPort=9000), port="9000"),
    "an empty port": Allowed(with_option(ADMIN_PORT="")),
    "a port that is null": Allowed(with_option(ADMIN_PORT=None)),
    "an empty port in `env`": Allowed(with_variable(name="ADMIN_PORT", value="")),
    "another mount": Allowed(values(persistence=ELSEWHERE), folder="/data"),
    "another mount of the agent's own": Allowed(values(agent(persistence=ELSEWHERE)), folder="/data"),
    "an empty folder": Allowed(
        values(agent(extraEnv=env(STORAGE_PATH="")), persistence=ELSEWHERE), folder="/data"
    ),
    "an empty folder in `env`": Allowed(
        values(agent(env=[{"name": "STORAGE_PATH", "value": ""}]), persistence=ELSEWHERE), folder="/data"
    ),
    "a folder on the volume": Allowed(with_option(STORAGE_PATH="/storage/deep/"), folder="/storage/deep/"),
    "a folder on another mount": Allowed(
        values(agent(extraEnv=env(STORAGE_PATH="/extra/spool")), extraVolumeMounts=EXTRA),
        folder="/extra/spool",
    ),
    "a folder on a mount of the agent's own": Allowed(
        values(agent(extraEnv=env(STORAGE_PATH="/extra"), extraVolumeMounts=EXTRA)), folder="/extra"
    ),
}


def container_of(manifests: Manifests) -> Manifest:
    """Return the only agent."""
    (container,) = manifests.one("Deployment")["spec"]["template"]["spec"]["containers"]
    found: Manifest = container
    return found


def variables_of(manifests: Manifests) -> list[tuple[str, str]]:
    """Return name and text of every variable that the agent gets, in order; none for those of other Secrets."""
    return [(entry["name"], _text(entry, manifests)) for entry in container_of(manifests)["env"]]


def _text(entry: Manifest, manifests: Manifests) -> str:
    source: dict[str, Any] = entry.get("valueFrom") or {}
    for field, kind in (("configMapKeyRef", "ConfigMap"), ("secretKeyRef", "Secret")):
        if field in source and (kind, source[field]["name"]) in manifests:
            text: str = manifests[kind, source[field]["name"]]["data"][source[field]["key"]]
            return base64.b64decode(text).decode() if kind == "Secret" else text
    return str(entry.get("value", ""))


@pytest.mark.parametrize("case", ALLOWED)
def test_port_and_folder_of_the_agent_are_those_of_its_pod(case: str) -> None:
    manifests = render(CHART, ALLOWED[case].values).manifests
    variables = dict(variables_of(manifests))
    assert (variables["ADMIN_PORT"], variables["STORAGE_PATH"]) == (ALLOWED[case].port, ALLOWED[case].folder)
    container = container_of(manifests)
    assert [port["containerPort"] for port in container["ports"]] == [int(ALLOWED[case].port)]
    mounts = [mount["mountPath"] for mount in container["volumeMounts"]]
    assert any(f"{ALLOWED[case].folder}/".startswith(f"{mount}/") for mount in mounts)


@pytest.mark.parametrize("case", ALLOWED)
def test_no_variable_is_given_twice(case: str) -> None:
    names = [name for name, _ in variables_of(render(CHART, ALLOWED[case].values).manifests)]
    assert sorted(set(names)) == sorted(names)


def test_the_next_agent_of_a_pod_has_the_next_port() -> None:
    manifests = render(CHART, values(agent("a"), agent("b"), adminPort=9000)).manifests
    containers = manifests.one("Deployment")["spec"]["template"]["spec"]["containers"]
    ports = [
        (container["ports"][0]["name"], container["ports"][0]["containerPort"]) for container in containers
    ]
    assert ports == [("admin", 9000), ("admin-2", 9001)]


def test_an_agents_own_mount_path_moves_its_volume_alone() -> None:
    given = values(agent("a"), agent("b", persistence=ELSEWHERE))
    containers = render(CHART, given).manifests.one("Deployment")["spec"]["template"]["spec"]["containers"]
    volumes = [
        {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]} for container in containers
    ]
    assert volumes[0]["/storage"] == "volume-ita-ag-oase-storage"
    assert volumes[1]["/data"] == "volume-ita-ag-oase-b-storage"
    assert "/data" not in volumes[0]
    assert "/storage" not in volumes[1]


def test_a_variable_in_env_goes_before_that_of_a_secret_and_is_given_once() -> None:
    from_a_secret = {"name": "mine", "keys": {"EXASTRO_REFRESH_TOKEN": "token", "CA_FILE": "ca"}}
    given = agent(
        secret={}, existingSecret=from_a_secret, env=[{"name": "EXASTRO_REFRESH_TOKEN", "value": TOKEN}]
    )
    manifests = render(CHART, values(given)).manifests
    tokens = [text for name, text in variables_of(manifests) if name == "EXASTRO_REFRESH_TOKEN"]
    assert tokens == [TOKEN]
    sources = {entry["name"]: entry.get("valueFrom") for entry in container_of(manifests)["env"]}
    assert sources["CA_FILE"] == {"secretKeyRef": {"name": "mine", "key": "ca"}}


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "10.0.0.1", "::10:1", "fd00::1"])
def test_a_host_that_probes_reach_is_allowed(host: str) -> None:
    assert dict(variables_of(render(CHART, with_option(ADMIN_HOST=host)).manifests))["ADMIN_HOST"] == host


@pytest.mark.parametrize("probes", [OFF, BY_COMMAND], ids=["none", "by command"])
def test_a_host_of_the_pod_alone_is_allowed_where_no_probe_asks_it(probes: Values) -> None:
    given = values(agent(extraEnv=env(ADMIN_HOST="::1")), probes=probes)
    assert dict(variables_of(render(CHART, given).manifests))["ADMIN_HOST"] == "::1"


def test_a_host_that_is_the_address_of_the_pod_is_allowed() -> None:
    address = {"fieldRef": {"fieldPath": "status.podIP"}}
    container = container_of(render(CHART, with_variable(name="ADMIN_HOST", valueFrom=address)).manifests)
    assert {"name": "ADMIN_HOST", "valueFrom": address} in container["env"]


def test_a_folder_that_kubernetes_puts_together_is_left_to_the_user() -> None:
    manifests = render(CHART, with_variable(name="STORAGE_PATH", value="$(MY_ROOT)/spool")).manifests
    assert dict(variables_of(manifests))["STORAGE_PATH"] == "$(MY_ROOT)/spool"
