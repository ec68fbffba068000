"""Values that cannot work, and the key that the refusal must name so that the user can mend them."""

from typing import Any

from tests.chart.refused_files import OF_FILES
from tests.chart.refused_kind import Refused
from tests.chart.refused_replicas import OF_REPLICAS
from tests.chart.sample_values import TOKEN, Values, agent, env, values

OF_VALUES: dict[str, Refused] = {
    "two agents of one name": Refused(values(agent("same"), agent("same")), "AGENT_NAME", "same"),
    "two names that become one": Refused(
        values(agent("a" * 60 + "-1"), agent("a" * 60 + "-1")), "AGENT_NAME"
    ),
    "no credentials": Refused(values(agent(secret={})), "EXASTRO_REFRESH_TOKEN", "EXASTRO_USERNAME"),
    "a user without password": Refused(
        values(agent(secret={"EXASTRO_USERNAME": "admin"})), "EXASTRO_PASSWORD"
    ),
    "an empty token": Refused(values(agent(secret={"EXASTRO_REFRESH_TOKEN": ""})), "EXASTRO_REFRESH_TOKEN"),
    "the placeholder of the token": Refused(
        values(agent(secret={"EXASTRO_REFRESH_TOKEN": "change-this-token"})), "EXASTRO_REFRESH_TOKEN"
    ),
    "the placeholder of the user document": Refused(
        values(agent(secret={"EXASTRO_REFRESH_TOKEN": "exastro_refresh_token"})), "EXASTRO_REFRESH_TOKEN"
    ),
    "the default values alone": Refused({}, "EXASTRO_REFRESH_TOKEN"),
    "no agent": Refused({"ita-ag-oase": {"agents": []}}, "agents"),
    "the image of the reference": Refused(
        values(
            agent(image={"repository": "docker.io/exastro/exastro-it-automation-ag-oase", "tag": "2.7.1"})
        ),
        r"image\.repository",
    ),
    "the image of the reference from another registry": Refused(
        values(agent(image={"repository": "registry.example/x/exastro-it-automation-ag-oase"})),
        r"image\.repository",
    ),
    "a tag that is a number": Refused(values(agent(image={"tag": 2.10})), "tag"),
    "a pull policy that does not exist": Refused(
        values(agent(image={"pullPolicy": "Sometimes"})), "pullPolicy"
    ),
    "an option that is a map": Refused(values(agent(extraEnv=env(TZ={"zone": "Asia/Tokyo"}))), "TZ"),
    "a layout that does not exist": Refused(values(layout="everywhere"), "layout"),
    "an unknown key in a new part": Refused(values(networkPolicy={"enabeld": True}), "enabeld"),
}


def with_option(**options: Any) -> Values:
    """Return values with one agent that has these options besides those of every agent."""
    return values(agent(extraEnv=env(**options)))


def with_variable(**variable: Any) -> Values:
    """Return values with one agent that has this entry of `env`."""
    return values(agent(env=[variable]))


def with_secret(**texts: Any) -> Values:
    """Return values with one agent that has these texts in its Secret, beside its token."""
    return values(agent(secret={"EXASTRO_REFRESH_TOKEN": TOKEN, **texts}))


# The port of the pod, its probes and its volume hang on ADMIN_PORT, ADMIN_HOST and STORAGE_PATH.
_ELSEWHERE = r"port and probes cannot follow it there: set extraEnv\.ADMIN_PORT instead"
_IN_A_FILE = r"port and probes cannot follow a file: set extraEnv\.ADMIN_PORT instead"
_A_PORT_OF_THE_USERS = {"name": "mine", "keys": {"ADMIN_PORT": "port"}}
_READ_ONLY = [{"name": "certificates", "mountPath": "/certificates", "readOnly": True}]
_NO_PORT = r'ADMIN_PORT is "{}": give a port from 1 to 65535'
_LOOPBACK = "an address that only the pod itself reaches"
_OUTSIDE = r"outside the volume for events, which is mounted at /storage.*set persistence\.mountPath\.storage"

OF_OPTIONS: dict[str, Refused] = {
    "a port in `env`": Refused(
        with_variable(name="ADMIN_PORT", value="9000"), r"agents\[0\]\.env \(ADMIN_PORT\)", _ELSEWHERE
    ),
    "a port in `secret`": Refused(with_secret(ADMIN_PORT="9000"), r"secret\.ADMIN_PORT", _ELSEWHERE),
    "a port in a Secret of the user's": Refused(
        values(agent(existingSecret=_A_PORT_OF_THE_USERS)), r"existingSecret\.keys\.ADMIN_PORT", _ELSEWHERE
    ),
    "a port in a file": Refused(
        with_option(ADMIN_PORT_FILE="/port"), r"extraEnv\.ADMIN_PORT_FILE", _IN_A_FILE
    ),
    "a port in a file that `env` names": Refused(
        with_variable(name="ADMIN_PORT_FILE", value="/port"), r"env \(ADMIN_PORT_FILE\)", _IN_A_FILE
    ),
    "a folder in a file": Refused(
        with_secret(STORAGE_PATH_FILE="/path"), r"secret\.STORAGE_PATH_FILE", "mount cannot follow a file"
    ),
    "a port in another notation": Refused(
        with_option(ADMIN_PORT="0x1F90"), "ADMIN_PORT", _NO_PORT.format("0x1F90")
    ),
    "a port of no whole number": Refused(with_option(ADMIN_PORT=8.5), "ADMIN_PORT", _NO_PORT.format("8.5")),
    "port 0": Refused(with_option(ADMIN_PORT=0), "ADMIN_PORT", _NO_PORT.format("0")),
    "a port below 0": Refused(with_option(ADMIN_PORT="-1"), "ADMIN_PORT", _NO_PORT.format("-1")),
    "a port above the last": Refused(with_option(ADMIN_PORT="65536"), "ADMIN_PORT", _NO_PORT.format("65536")),
    "a port that the agent before has": Refused(
        values(agent("a"), agent("b", extraEnv=env("b", ADMIN_PORT=8080))),
        r"agents\[1\]\.extraEnv\.ADMIN_PORT",
        r"port 8080 is that of ita-ag-oase\.agents\[0\]",
    ),
    "a host that probes do not reach, in `env`": Refused(
        with_variable(name="ADMIN_HOST", value="127.0.0.1"), r"env \(ADMIN_HOST\)", _LOOPBACK
    ),
    "a host that probes do not reach, for all agents": Refused(
        values(agentDefaults={"extraEnv": {"ADMIN_HOST": "::1"}}), "ADMIN_HOST", _LOOPBACK
    ),
    **{
        f"the host {host}": Refused(with_option(ADMIN_HOST=host), r"extraEnv\.ADMIN_HOST", _LOOPBACK)
        for host in ("127.0.0.1", "127.1", "LOCALHOST", "[::1]", "0:0:0:0:0:0:0:1", "::ffff:127.0.0.1")
    },
    **{
        f"the folder {path}": Refused(with_option(STORAGE_PATH=path), r"extraEnv\.STORAGE_PATH", _OUTSIDE)
        for path in ("/data", "/", "storage", "/storage2", "/storage/../etc", "/tmp", "/home/app_user/spool")
    },
    "a folder outside, in `env`": Refused(
        with_variable(name="STORAGE_PATH", value="/data"), r"env \(STORAGE_PATH\)", _OUTSIDE
    ),
    "a folder outside, in `secret`": Refused(
        with_secret(STORAGE_PATH="/data"), r"secret\.STORAGE_PATH", _OUTSIDE
    ),
    "a folder on a mount that is only read": Refused(
        values(agent(extraEnv=env(STORAGE_PATH="/certificates/spool"), extraVolumeMounts=_READ_ONLY)),
        "STORAGE_PATH",
        _OUTSIDE,
    ),
    "several faults": Refused(
        with_option(ADMIN_PORT="x", ADMIN_HOST="::1", STORAGE_PATH="/data"),
        r"3 fault\(s\)",
        r"(?s)ADMIN_PORT.*ADMIN_HOST.*STORAGE_PATH",
    ),
}

REFUSED = {**OF_VALUES, **OF_OPTIONS, **OF_REPLICAS, **OF_FILES}
