"""The compose files as they stand; no engine is needed. Compose itself reads them in test_compose.py."""

import re
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from tests.docker.image import ROOT
from tests.process.agent_process import AgentProcess

# contract.md 10.3: what the reference's compose file takes from .env for its container.
REFERENCE_NAMES = {
    "TZ",
    "DEFAULT_LANGUAGE",
    "LANGUAGE",
    "AGENT_NAME",
    "EXASTRO_URL",
    "EXASTRO_ORGANIZATION_ID",
    "EXASTRO_WORKSPACE_ID",
    "EXASTRO_REFRESH_TOKEN",
    "EXASTRO_USERNAME",
    "EXASTRO_PASSWORD",
    "EVENT_COLLECTION_SETTINGS_NAMES",
    "ITERATION",
    "EXECUTE_INTERVAL",
    "LOG_LEVEL",
    "UID",
    "HOST_DOCKER_GID",
    "NETWORK_ID",
}


def services(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / name).read_text())["services"]
    return found


def names(name: str) -> set[str]:
    return set(re.findall(r"^([A-Z_]+)=", (ROOT / name).read_text(), re.MULTILINE))


def test_the_sample_has_every_name_of_the_reference() -> None:
    assert names(".env.sample") >= REFERENCE_NAMES


def test_the_trial_gives_the_agent_all_that_it_needs() -> None:
    needed = {name for name in REFERENCE_NAMES if name.startswith(("EXASTRO_", "EVENT_"))}
    assert names("docker/trial.env") >= needed - {"EXASTRO_USERNAME", "EXASTRO_PASSWORD"}
    assert names("docker/no-trial.env") == set()


@pytest.mark.parametrize("name", ["compose.yaml", "compose.trial.yaml"])
def test_every_service_is_restricted_looked_after_and_limits_its_log(name: str) -> None:
    for service in services(name).values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert {"restart", "healthcheck"} <= service.keys()
        assert {"max-size", "max-file"} <= service["logging"]["options"].keys()


@pytest.mark.parametrize("service", ["workspace", "sources"])
async def test_the_simulators_commands_are_understood(service: str) -> None:
    command = services("compose.trial.yaml")[service]["command"]
    async with AgentProcess.start({}, *command, "--host=127.0.0.1", "--port=0") as process:
        await process.printed(" listens at ")
