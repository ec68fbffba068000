"""One engine, one base image and one image for all tests that are marked `docker`."""

import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.acceptance.stage import Stage
from tests.docker.container import Container
from tests.docker.engine import Engine
from tests.docker.engine import engine as some_engine
from tests.docker.image import base_image, build, context


@dataclass(frozen=True, slots=True)
class Built:
    """The image under test, and what it was built from."""

    name: str
    base: str
    context: Path


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """Give a Docker engine."""
    with some_engine() as engine:
        yield engine


@pytest.fixture(scope="session")
def image(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Built]:
    """Build the image; it goes at the end."""
    directory = tmp_path_factory.mktemp("image")
    base = base_image(engine, directory)
    say = "import platform as p; print('.'.join(p.python_version_tuple()[:2]), p.machine())"
    python_version, machine = engine("run", "--rm", "--network=none", base, "python3", "-c", say).split()
    build_context = context(directory, python_version, machine)
    name = f"oase-agent-test:{uuid.uuid4().hex[:8]}"
    engine("tag", build(engine, base, build_context), name)
    yield Built(name, base, build_context)
    engine("rmi", name)


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    """Give a stage for simulators on this host's loopback; call `open` first. Its own agent is not used here."""
    async with AsyncExitStack() as stack:
        yield Stage(stack, tmp_path / "storage")


@pytest.fixture
def container(engine: Engine, image: Built) -> Iterator[Container]:
    """Give a container that is not started yet; it and its volume are removed at the end."""
    container = Container(engine, image.name)
    yield container
    container.remove()
