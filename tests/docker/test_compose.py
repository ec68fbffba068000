"""The compose files as Compose itself understands them, and the trial as a user starts it."""

import shutil
import subprocess
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.docker.conftest import Built
from tests.docker.engine import Engine
from tests.docker.image import ROOT

pytestmark = pytest.mark.docker

_PATIENCE_S = 60.0
_PARTS = ("compose.yaml", "compose.trial.yaml", "compose.no-trial.yaml", ".env.sample")
_COMMANDS = (("docker", "compose"), ("docker-compose",), ("podman-compose",))


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Give the compose files without a .env."""
    for part in _PARTS:
        shutil.copy(ROOT / part, tmp_path / part)
    shutil.copytree(ROOT / "docker", tmp_path / "docker")
    return tmp_path


def is_there(command: tuple[str, ...]) -> bool:
    if shutil.which(command[0]) is None:
        return False
    version = subprocess.run([*command, "version"], capture_output=True, text=True)
    # Version 1 of docker-compose does not know `include`.
    return version.returncode == 0 and "docker-compose version 1" not in version.stdout


def run(
    command: tuple[str, ...], directory: Path, environment: Mapping[str, str] | None, *arguments: str
) -> str:
    ended = subprocess.run(
        [*command, *arguments], cwd=directory, env=environment, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@pytest.mark.parametrize("command", _COMMANDS, ids=" ".join)
def test_only_without_a_workspace_it_is_a_trial(command: tuple[str, ...], checkout: Path) -> None:
    if not is_there(command):
        pytest.skip(f"there is no {' '.join(command)}")
    agent, simulators = {"ita-ag-oase"}, {"workspace", "sources"}
    assert set(run(command, checkout, None, "config", "--services").split()) == agent | simulators
    shutil.copy(checkout / ".env.sample", checkout / ".env")
    assert set(run(command, checkout, None, "config", "--services").split()) == agent


class Trial:
    """A project of its own, so that it meets no other on the same engine."""

    def __init__(self, command: tuple[str, ...], engine: Engine, checkout: Path, image: str) -> None:
        self._command = command
        self._checkout = checkout
        name = f"oase-test-{uuid.uuid4().hex[:8]}"
        own = {
            "COMPOSE_PROJECT_NAME": name,
            "AGENT_NAME": name,
            "NETWORK_ID": name,
            "OASE_AGENT_IMAGE": image,
        }
        self._environment = {**engine.environment, **own}

    def __call__(self, *arguments: str) -> str:
        return run(self._command, self._checkout, self._environment, *arguments)


@pytest.fixture
def trial(engine: Engine, image: Built, checkout: Path) -> Iterator[Trial]:
    """Give the trial with the image under test; it is taken down at the end."""
    command = next(filter(is_there, _COMMANDS[:2]), None)
    if command is None:
        pytest.skip("there is no Docker Compose of version 2")
    trial = Trial(command, engine, checkout, image.name)
    yield trial
    trial("down", "--volumes")


def test_up_without_an_env_file_shows_events_arriving(trial: Trial) -> None:
    trial("up", "--detach", "--wait", "--no-build")
    deadline = time.monotonic() + _PATIENCE_S
    while " of zabbix-problems" not in (told := trial("logs", "workspace")):
        assert time.monotonic() < deadline, told
        time.sleep(0.5)
