"""The helm command, where there is one: $HELM_BIN (paths separated by commas), or what PATH finds."""

import os
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.chart.engine import HelmFailed, kubeconfig
from tests.chart.manifests import Manifests, parse_manifests


def helm_binaries() -> list[str]:
    """Return the commands to compare with, none where helm is not installed."""
    given = [path.strip() for path in os.environ.get("HELM_BIN", "").split(",") if path.strip()]
    found = shutil.which("helm")
    return given or ([found] if found else [])


_NONE = pytest.param("", marks=pytest.mark.skip("no helm on PATH; HELM_BIN takes the paths of one or more"))
WITH_EVERY_HELM = pytest.mark.parametrize("helm", helm_binaries() or [_NONE])
"""Runs a test for each command; skips it where there is none."""


def helm_template(
    helm: str,
    chart: Path,
    values_file: Path | None = None,
    *,
    name: str = "exastro-agent",
    namespace: str = "exastro",
    kube_version: str = "1.31.0",
    api_versions: Sequence[str] = (),
) -> Manifests:
    """Render with the command. Raises HelmFailed with what it wrote to its error output."""
    command = [helm, "template", name, str(chart), "--namespace", namespace, "--kube-version", kube_version]
    if values_file is not None:
        command += ["--values", str(values_file)]
    for version in api_versions:
        command += ["--api-versions", version]
    return parse_manifests({"helm template": _output(command, dict(os.environ))})


@dataclass(frozen=True)
class HelmCommand:
    """The helm command of a user: with a home folder of its own, and a kubeconfig that leads to a test's API."""

    helm: str
    home: Path
    api_url: str

    def run(self, line: str) -> str:
        """Run `helm <line>` in the home folder and return what it prints. Raises HelmFailed."""
        config = self.home / "kubeconfig"
        config.touch(mode=0o600)
        config.write_text(kubeconfig(self.api_url, "default"), encoding="utf-8")
        environment = {"PATH": os.defpath, "HOME": str(self.home), "KUBECONFIG": str(config)}
        return _output([self.helm, *shlex.split(line)], environment, self.home)


def _output(command: Sequence[str], environment: Mapping[str, str], folder: Path | None = None) -> str:
    done = subprocess.run(
        command, capture_output=True, check=False, timeout=60, env=environment, cwd=folder, text=True
    )
    if done.returncode != 0:
        raise HelmFailed(done.stderr)
    return done.stdout
