"""What the image is and holds, asked of a real Docker engine."""

import json
import re
from collections.abc import Callable

import pytest

from tests.docker.conftest import Built
from tests.docker.engine import Engine
from tests.docker.image import ROOT, build

pytestmark = pytest.mark.docker


def python(engine: Engine, image: Built, code: str, *options: str) -> str:
    """Run Python inside and return what it prints."""
    arguments = ("run", "--rm", "--network=none", "--read-only", *options, "--entrypoint=python")
    return engine(*arguments, image.name, "-c", code)


def test_the_image_says_how_it_is_run(
    engine: Engine, image: Built, count: Callable[[str, object], None]
) -> None:
    about = engine.inspect(image.name)
    config = about["Config"]
    assert (config["Entrypoint"], config["Cmd"]) == (["oase-agent"], ["run"])
    assert (config["User"], config["StopSignal"]) == ("1000:1000", "SIGTERM")
    assert config["Healthcheck"]["Test"][0] == "CMD"
    assert config["Labels"]["org.opencontainers.image.licenses"] == "Apache-2.0"
    own = (about["Size"] - engine.inspect(image.base)["Size"]) / 1e6
    count("image, MB on top of its base", f"{own:.1f}")


def test_it_starts_without_a_shell(engine: Engine, image: Built) -> None:
    no_shell = ("--volume=/dev/null:/bin/sh:ro", "--volume=/dev/null:/bin/bash:ro")
    shell = engine.run(
        "run", "--rm", "--network=none", *no_shell, "--entrypoint=/bin/sh", image.name, "-c", "true"
    )
    assert shell.returncode != 0
    ended = engine.run("run", "--rm", "--network=none", *no_shell, image.name, "--version")
    assert ended.stdout == "oase-agent 0.1.0\n"


def test_without_configuration_it_lists_the_faults_and_ends_with_2(engine: Engine, image: Built) -> None:
    ended = engine.run("run", "--rm", "--network=none", "--read-only", image.name)
    assert ended.returncode == 2
    assert "EXASTRO_URL is not set" in ended.stderr


def test_the_time_zone_is_that_of_tz(engine: Engine, image: Built) -> None:
    assert python(engine, image, "import time; print(time.strftime('%z'))", "--env=TZ=Asia/Tokyo") == "+0900"


def test_authorities_are_known(engine: Engine, image: Built) -> None:
    count = "import ssl; print(len(ssl.create_default_context().get_ca_certs()))"
    assert int(python(engine, image, count)) > 50


def test_what_it_imports_is_compiled_already(engine: Engine, image: Built) -> None:
    code = "import oase_agent.app.agent, oase_agent.cli.run, uvloop, jinja2.sandbox"
    arguments = ("run", "--rm", "--network=none", "--entrypoint=python", image.name, "-v", "-c", code)
    told = engine.run(*arguments).stderr
    assert "oase_agent" in told
    # So Python says that it compiled a source itself.
    assert re.findall(r"code object from '?(/\S+\.py)\b", told) == []


def test_there_is_no_pip_in_the_agents_environment(engine: Engine, image: Built) -> None:
    code = "import importlib.util as u; print(u.find_spec('pip'), u.find_spec('setuptools'))"
    assert python(engine, image, code) == "None None"


def test_the_same_inputs_make_the_same_layers(engine: Engine, image: Built) -> None:
    again = build(engine, image.base, image.context, "--no-cache")
    first, second = engine.inspect(image.name), engine.inspect(again)
    engine("rmi", again)
    assert first["Id"] != second["Id"]  # an image tells when it was made
    assert first["RootFS"]["Layers"] == second["RootFS"]["Layers"]


def test_the_bill_of_materials_names_every_locked_package(engine: Engine, image: Built) -> None:
    script = (ROOT / "docker/sbom.py").read_bytes()
    run = ("run", "--rm", "--interactive", "--network=none", "--entrypoint=python", image.name, "-")
    bill = json.loads(engine(*run, stdin=script))
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.5")
    assert bill["metadata"]["component"]["name"] == "oase-agent"
    listed = {component["purl"] for component in bill["components"]}
    locked = re.findall(r"^(\S+)==(\S+)", (ROOT / "docker/requirements.lock").read_text(), re.MULTILINE)
    assert len(locked) > 20
    assert {f"pkg:pypi/{name}@{version}" for name, version in locked} <= listed
    assert any(purl.startswith("pkg:deb/debian/ca-certificates@") for purl in listed)
