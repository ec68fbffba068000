"""The image under test, built without a network from a base image and a directory of wheels."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docker.engine import Engine

ROOT = Path(__file__).resolve().parents[2]
BASE_VARIABLE = "OASE_TEST_BASE_IMAGE"
_SUITE = "bookworm"
_PACKAGES = "python3,python3-venv,python3-pip,ca-certificates"
_PARTS = ("docker", "oase_agent", "pyproject.toml", "README.md", "LICENSE", ".dockerignore")
_C_LIBRARIES = ("manylinux_2_34", "manylinux_2_28", "manylinux_2_17", "manylinux2014")


def base_image(engine: Engine, directory: Path) -> str:
    """Return the image that OASE_TEST_BASE_IMAGE names, or one made of Debian's packages; skip if there is no way."""
    named = os.environ.get(BASE_VARIABLE)
    if named:
        return named
    if os.geteuid() != 0 or shutil.which("debootstrap") is None:
        pytest.skip(f"no base image: name one in {BASE_VARIABLE}, or be root and install debootstrap")
    root = directory / "root"
    made = subprocess.run(
        ["debootstrap", "--variant=minbase", f"--include={_PACKAGES}", _SUITE, str(root)],
        capture_output=True,
        text=True,
    )
    if made.returncode != 0:
        pytest.skip(f"debootstrap made no base image: {made.stdout.splitlines()[-1:]}")
    for waste in (root / "var/cache/apt/archives", root / "var/lib/apt/lists"):
        shutil.rmtree(waste)
    image = engine.import_base(root)
    shutil.rmtree(root)
    return image


def context(directory: Path, python_version: str, machine: str) -> Path:
    """Return a build context whose wheels are those of the lock files; skip if no index has them."""
    made = directory / "context"
    made.mkdir()
    for part in _PARTS:
        source = ROOT / part
        if source.is_dir():
            shutil.copytree(source, made / part, ignore=shutil.ignore_patterns("__pycache__", "*.whl"))
        else:
            shutil.copy(source, made / part)
    platforms = [f"--platform={c_library}_{machine}" for c_library in _C_LIBRARIES]
    for lock in ("requirements.lock", "build.lock"):
        options = ["--quiet", "--no-deps", "--only-binary=:all:", "--require-hashes"]
        where = [f"--python-version={python_version}", f"--dest={made}/docker/wheels", *platforms]
        command = [sys.executable, "-m", "pip", "download", *options, *where, "-r", f"{ROOT}/docker/{lock}"]
        downloaded = subprocess.run(command, capture_output=True, text=True)
        if downloaded.returncode != 0:
            pytest.skip(f"the wheels could not be had: {downloaded.stderr.strip()[-300:]}")
    return made


def build(engine: Engine, base: str, build_context: Path, *options: str) -> str:
    """Build without a network and return the image's id."""
    named = ("--build-arg", f"BASE_IMAGE={base}", "--file", str(build_context / "docker/Dockerfile"))
    return engine("build", "--quiet", "--network", "none", *named, *options, str(build_context)).split()[-1]
