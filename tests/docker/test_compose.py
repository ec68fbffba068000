"""The compose files as Compose itself understands them, and as a user starts them, with and without a `.env`."""

import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.docker import compose
from tests.docker.compose import Command, Project
from tests.docker.conftest import Built
from tests.docker.engine import Engine
from tests.docker.image import ROOT

pytestmark = pytest.mark.docker

_PATIENCE_S = 60.0
AGENT, SIMULATORS = {"ita-ag-oase"}, {"workspace", "sources"}


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> list[Command]:
    """Give at least one Compose."""
    found = compose.commands(tmp_path_factory.mktemp("compose"))
    if not found:
        pytest.skip(
            "no Docker Compose 2 or podman-compose 1.6; as root on Debian, debootstrap would bring one"
        )
    return found


@pytest.fixture
def project(engine: Engine, image: Built, commands: list[Command], tmp_path: Path) -> Iterator[Project]:
    """Give a project with the image under test; it is taken down at the end."""
    command = next((command for command in commands if command[0] != "podman-compose"), None)
    if command is None:
        pytest.skip("podman-compose does not speak to this engine")
    project = Project(command, engine, compose.checkout(tmp_path), image.name)
    yield project
    print(project("logs"))  # pytest shows it with a failure
    project("down", "--volumes", "--remove-orphans")


def wait_for(is_so: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not is_so():
        assert time.monotonic() < deadline, what
        time.sleep(0.5)


def test_only_without_a_workspace_it_is_a_trial(commands: list[Command], tmp_path: Path) -> None:
    directory = compose.checkout(tmp_path)

    def services(command: Command) -> set[str]:
        ended = compose.run(command, directory, None, "config", "--services")
        assert ended.returncode == 0, ended.stderr
        return set(ended.stdout.split())

    for command in commands:
        assert services(command) == AGENT | SIMULATORS
    shutil.copy(ROOT / ".env.sample", directory / ".env")
    for command in commands:
        assert services(command) == AGENT


def test_up_without_an_env_file_shows_events_arriving(project: Project, engine: Engine) -> None:
    project("up", "--detach", "--wait", "--no-build")
    wait_for(lambda: " of zabbix-problems" in project("logs", "workspace"), "events arrive")
    containers = project("ps", "--quiet").split()
    assert len(containers) == 3
    project("stop")
    assert [engine.inspect(container)["State"]["ExitCode"] for container in containers] == [0, 0, 0]


class Workspace:
    """A simulated workspace with its sources on the project's network, which Compose knows nothing of."""

    def __init__(self, engine: Engine, image: str, network: str) -> None:
        self._engine = engine
        self._names = [f"{network}-sources", f"{network}-workspace"]
        sources, workspace = self._names
        at = ("--zabbix", f"http://{sources}:8091", "--alertmanager", f"http://{sources}:8092")
        self._run(sources, network, image, "sources", "--interval", "0.5")
        self._run(workspace, network, image, "workspace", *at)
        self.url = f"http://{workspace}:8090"

    def _run(self, name: str, network: str, image: str, *command: str) -> None:
        where = ("run", "--detach", "--name", name, "--network", network)
        self._engine(*where, image, "simulate", *command, "--host", "0.0.0.0")

    def events(self) -> int:
        """Return how many problems arrived; each that arrives twice counts twice."""
        code = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:8090/simulator/counts').read().decode())"
        counts = json.loads(self._engine("exec", self._names[1], "python", "-c", code))
        return int(counts["events"].get("zabbix-problems", 0))

    def remove(self) -> None:
        """Remove both."""
        self._engine("rm", "--force", *self._names)


@pytest.fixture
def workspace(engine: Engine, image: Built, project: Project) -> Iterator[Workspace]:
    """Give a workspace on a network that stands before the project is started, and outlives it."""
    labels = {"project": project.name, "network": "default"}
    marked = [f"--label=com.docker.compose.{name}={value}" for name, value in labels.items()]
    engine("network", "create", *marked, project.network)
    workspace = Workspace(engine, image.name, project.network)
    yield workspace
    workspace.remove()


def test_with_an_env_file_the_agent_alone_serves_the_workspace_it_names(
    project: Project, workspace: Workspace, engine: Engine
) -> None:
    (project.directory / "token").write_text("refresh-token\n")
    project.write_env(
        EXASTRO_URL=workspace.url,
        REFRESH_TOKEN_PATH="./token",
        EVENT_COLLECTION_SETTINGS_NAMES="zabbix-problems,active-alerts",
        EXECUTE_INTERVAL="3",
    )
    project("up", "--detach", "--wait", "--no-build")
    (agent,) = project("ps", "--quiet").split()
    wait_for(lambda: workspace.events() > 0, "events arrive")
    project("kill")
    project("up", "--detach", "--wait", "--no-build")
    before = workspace.events()
    wait_for(lambda: workspace.events() > before, "events arrive after the kill")
    project("stop")
    assert engine.inspect(agent)["State"]["ExitCode"] == 0
    project("start")
    wait_for(lambda: delivered(project) == workspace.events(), "each event arrived once, and no other")


def delivered(project: Project) -> int:
    """Return how many problems the agent knows as delivered; 0 while it does not answer."""
    try:
        status = json.loads(project("exec", "-T", "ita-ag-oase", "oase-agent", "status", "--json"))
    except AssertionError:
        return 0
    figures = {setting["name"]: setting["figures"] for setting in status["settings"]}
    return int((figures.get("zabbix-problems") or {"delivered": 0})["delivered"])
