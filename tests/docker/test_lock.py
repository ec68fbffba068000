"""The lock files against what the project says it needs; no engine is needed."""

import re
import tomllib

from tests.docker.image import ROOT


def locked(name: str) -> dict[str, str]:
    """Return the versions by name."""
    text = (ROOT / "docker" / name).read_text()
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", text, re.MULTILINE))


def wanted(requirements: list[str]) -> set[str]:
    return {re.split(r"[<>=!; ]", requirement)[0].lower() for requirement in requirements}


def project() -> dict[str, dict[str, list[str]]]:
    read: dict[str, dict[str, list[str]]] = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return read


def test_every_dependency_of_the_project_is_locked() -> None:
    assert wanted(project()["project"]["dependencies"]) <= locked("requirements.lock").keys()


def test_what_builds_the_wheel_is_locked() -> None:
    assert locked("build.lock").keys() == wanted(project()["build-system"]["requires"])


def test_nothing_of_the_tests_is_in_the_image() -> None:
    tests = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["test"]
    assert locked("requirements.lock").keys().isdisjoint(wanted(tests))


def test_the_versions_are_those_that_the_tests_run_with() -> None:
    pins = re.findall(r"^([\w.-]+)==(\S+)", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    tested = {name.lower().replace("_", "-"): version for name, version in pins}
    assert locked("requirements.lock").items() <= tested.items()


def test_every_locked_version_has_hashes() -> None:
    for name in ("requirements.lock", "build.lock"):
        entries = re.split(r"\n(?=\S)", (ROOT / "docker" / name).read_text())
        assert all("--hash=sha256:" in entry for entry in entries if not entry.startswith("#"))
