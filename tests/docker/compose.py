"""Compose for the tests: what is installed, or Docker Compose of Debian 13, which runs on Debian 12 as well."""

import os
import shutil
import subprocess
import uuid
from collections.abc import Mapping
from pathlib import Path

from tests.docker.engine import Engine
from tests.docker.image import ROOT

Command = tuple[str, ...]

_PARTS = ("compose.yaml", "compose.trial.yaml", "compose.no-trial.yaml", ".env.sample")
_COMMANDS: tuple[Command, ...] = (("docker", "compose"), ("docker-compose",), ("podman-compose",))
# Debian 12 has version 1 only.
_SUITE = "trixie"
_OLD = (
    "docker-compose version 1",  # does not know `include`
    *(f"podman-compose version 1.{minor}." for minor in range(6)),  # do not know `${NAME:+value}`
)


def commands(directory: Path) -> list[Command]:
    """Return every Compose that reads our files; if there is none, try to get one into `directory`."""
    present = [command for command in _COMMANDS if _is_there(command)]
    return present or _from_debian(directory)


def run(
    command: Command, directory: Path, environment: Mapping[str, str] | None, *arguments: str
) -> subprocess.CompletedProcess[str]:
    """Run it with the files in `directory` and return how it ended."""
    return subprocess.run(
        [*command, *arguments], cwd=directory, env=environment, capture_output=True, text=True, timeout=300
    )


def checkout(directory: Path) -> Path:
    """Copy the compose files, without a .env, to a new folder of `directory` and return that."""
    made = directory / "checkout"
    made.mkdir()
    for part in _PARTS:
        shutil.copy(ROOT / part, made / part)
    shutil.copytree(ROOT / "docker", made / "docker", ignore=shutil.ignore_patterns("*.whl", "__pycache__"))
    return made


class Project:
    """The compose files in a folder, under a name of their own, so that they meet no other project on the engine."""

    def __init__(self, command: Command, engine: Engine, directory: Path, image: str) -> None:
        self.name = f"oase-test-{uuid.uuid4().hex[:8]}"
        self.network = f"exastro_{self.name}"
        self.directory = directory
        self._command = command
        own = {
            "COMPOSE_PROJECT_NAME": self.name,
            "AGENT_NAME": self.name,
            "NETWORK_ID": self.name,
            "OASE_AGENT_IMAGE": image,
        }
        self._environment = {**engine.environment, **own}

    def __call__(self, *arguments: str) -> str:
        """Run a Compose command and return what it printed. Fails the test if it fails."""
        ended = run(self._command, self.directory, self._environment, *arguments)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout

    def write_env(self, **values: str) -> None:
        """Write the sample with these values as `.env`. Names of this project stay: the environment has them."""
        lines = (ROOT / ".env.sample").read_text().splitlines()
        names = [line.partition("=")[0] for line in lines]
        assert values.keys() <= set(names)
        given = [f"{name}={values[name]}" if name in values else None for name in names]
        written = [new or line for new, line in zip(given, lines, strict=True)]
        (self.directory / ".env").write_text("\n".join(written) + "\n")


def _is_there(command: Command) -> bool:
    if shutil.which(command[0]) is None:
        return False
    version = subprocess.run([*command, "version"], capture_output=True, text=True)
    return version.returncode == 0 and not version.stdout.startswith(_OLD)


def _from_debian(directory: Path) -> list[Command]:
    if os.geteuid() != 0 or shutil.which("debootstrap") is None:
        return []
    options = ["--variant=minbase", "--download-only", "--include=docker-compose"]
    subprocess.run(["debootstrap", *options, _SUITE, str(directory / "packages")], capture_output=True)
    for package in (directory / "packages/var/cache/apt/archives").glob("docker-compose_*.deb"):
        subprocess.run(["dpkg-deb", "--extract", str(package), str(directory / "compose")], check=True)
        found = (str(directory / "compose/usr/libexec/docker/cli-plugins/docker-compose"),)
        return [found] if _is_there(found) else []
    return []
