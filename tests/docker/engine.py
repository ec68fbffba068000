"""A Docker engine for tests: the one that answers, or one of their own under a temporary directory, as root."""

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

_START_S = 30.0
_COMMAND_S = 300.0


class Engine:
    """Runs the docker command; `environment` leads it to the engine."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.environment = {**os.environ, **environment}
        if subprocess.run(["docker", "buildx", "version"], capture_output=True).returncode != 0:
            self.environment["DOCKER_BUILDKIT"] = "0"

    def __call__(self, *arguments: str, stdin: bytes | None = None) -> str:
        """Run a command and return its standard output. Fails the test with what it wrote if it fails."""
        ended = self.run(*arguments, stdin=stdin)
        assert ended.returncode == 0, f"docker {' '.join(arguments)}\n{ended.stdout}\n{ended.stderr}"
        return ended.stdout.strip()

    def run(self, *arguments: str, stdin: bytes | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command and return how it ended."""
        text = None if stdin is None else stdin.decode()
        return subprocess.run(
            ["docker", *arguments],
            env=self.environment,
            input=text,
            capture_output=True,
            text=True,
            timeout=_COMMAND_S,
        )

    def inspect(self, name: str) -> dict[str, Any]:
        """Return what the engine knows of a container or an image."""
        found: list[dict[str, Any]] = json.loads(self("inspect", name))
        return found[0]

    def import_base(self, root: Path) -> str:
        """Make an image of a directory and return its id."""
        with subprocess.Popen(["tar", "-C", str(root), "-c", "."], stdout=subprocess.PIPE) as archive:
            made = subprocess.run(
                ["docker", "import", "-"],
                env=self.environment,
                stdin=archive.stdout,
                capture_output=True,
                text=True,
            )
        assert made.returncode == 0, made.stderr
        return made.stdout.strip()


@contextlib.contextmanager
def engine() -> Iterator[Engine]:
    """Give an engine, or skip and say what is missing."""
    if shutil.which("docker") is None:
        pytest.skip("no docker command: apt-get install docker.io")
    present = Engine({})
    if present.run("info", "--format", "{{.ServerVersion}}").returncode == 0:
        yield present
        return
    if os.geteuid() != 0 or shutil.which("dockerd") is None:
        pytest.skip("no Docker engine answers, and to start one root and dockerd are needed")
    # Not below pytest's directory: the path of a socket may have 107 bytes only.
    directory = Path(tempfile.mkdtemp(prefix="oase-docker-"))
    try:
        with _own_engine(directory) as own:
            yield own
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@contextlib.contextmanager
def _own_engine(directory: Path) -> Iterator[Engine]:
    socket = f"unix://{directory}/socket"
    command = ["dockerd", f"--host={socket}", f"--data-root={directory}/data", f"--exec-root={directory}/run"]
    # The tests need the host's loopback only, and leave its packet filter alone.
    command += [f"--pidfile={directory}/pid", "--bridge=none", "--iptables=false", "--ip6tables=false"]
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        own = Engine({"DOCKER_HOST": socket})
        deadline = time.monotonic() + _START_S
        while own.run("info").returncode != 0:
            if process.poll() is not None or time.monotonic() > deadline:
                text = (directory / "log").read_text().splitlines()
                pytest.skip(f"dockerd does not start: {text[-1] if text else 'it says nothing'}")
            time.sleep(0.1)
        yield own
    finally:
        process.terminate()
        process.wait(_START_S)
        # The engine leaves the host's network namespace mounted, and the directory could not be removed.
        subprocess.run(["umount", f"{directory}/run/netns/default"], capture_output=True)
