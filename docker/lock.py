"""Write the lock files of the image: every version that is installed, with the hashes of the files it may come from.

    python docker/lock.py

asks the package index of pip's own configuration for each Python and machine below and rewrites
`docker/requirements.lock` (what the agent needs at run time, from pyproject.toml) and `docker/build.lock` (what
builds its wheel). The versions are those of constraints.txt, which the tests run with.
"""

import json
import subprocess
import sys
import tempfile
import tomllib
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
MACHINES = ("x86_64", "aarch64")
# Newest first; a wheel of an older one runs as well. 2.36 is the C library of Debian 12.
C_LIBRARIES = ("manylinux_2_36", "manylinux_2_34", "manylinux_2_28", "manylinux_2_17", "manylinux2014")

Locked = dict[str, set[str]]


def main() -> None:
    """Rewrite both lock files."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    _write("requirements.lock", project["project"]["dependencies"])
    _write("build.lock", project["build-system"]["requires"])


def _write(name: str, requirements: list[str]) -> None:
    locked: Locked = defaultdict(set)
    for python in PYTHONS:
        for machine in MACHINES:
            for pin, digest in _resolve(requirements, python, machine):
                locked[pin].add(digest)
    lines = ["# Written by `python docker/lock.py`; do not edit.", f"# Python {', '.join(PYTHONS)}; Linux"]
    lines[-1] += f" on {', '.join(MACHINES)}."
    for pin in sorted(locked):
        lines.append(" \\\n".join([pin, *(f"    --hash=sha256:{digest}" for digest in sorted(locked[pin]))]))
    (ROOT / "docker" / name).write_text("\n".join(lines) + "\n")


def _resolve(requirements: list[str], python: str, machine: str) -> list[tuple[str, str]]:
    """Return pins `name==version` and SHA-256 digests that pip would install there. Raises CalledProcessError."""
    platforms = [f"--platform={c_library}_{machine}" for c_library in C_LIBRARIES]
    with tempfile.TemporaryDirectory() as target:
        constraints = Path(target) / "constraints.txt"
        constraints.write_text((ROOT / "constraints.txt").read_text())
        options = ["--dry-run", "--quiet", "--ignore-installed", "--report=-", "--only-binary=:all:"]
        where = [f"--python-version={python}", f"--target={target}", *platforms]
        command = [sys.executable, "-m", "pip", "install", *options, *where, "-c", str(constraints)]
        answer = subprocess.run([*command, *requirements], check=True, stdout=subprocess.PIPE)  # noqa: S603
    return [
        (
            f"{chosen['metadata']['name'].lower().replace('_', '-')}=={chosen['metadata']['version']}",
            chosen["download_info"]["archive_info"]["hashes"]["sha256"],
        )
        for chosen in json.loads(answer.stdout)["install"]
    ]


if __name__ == "__main__":
    main()
