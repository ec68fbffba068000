"""Helm's engine in this process: render, lint, install, upgrade, uninstall.

The only module that touches helm-python-sdk, so that it can be swapped for a helm binary. What must be known of it:
- A loaded chart is changed by rendering it, so it is loaded for every render.
- The Kubernetes version and the list of APIs have no public parameter; the call below has them; so it is pinned.
- `kubeVersion` of Chart.yaml is not enforced, and what templates print is not parsed: `manifests` does that.
"""

import contextlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.chart.manifests import Manifests, parse_manifests

# Read by Go when the library below is loaded: fewer collections of garbage save a quarter of the engine's time.
os.environ.setdefault("GOGC", "400")

import helm_python
from helm_python import _native

Values = Mapping[str, Any]


class HelmFailed(Exception):
    """Helm refused: bad values, a template's `fail`, or an answer of the API. The text is Helm's."""


@dataclass(frozen=True)
class Rendered:
    """What one render gives: the objects, tests included, and the notes shown after an install."""

    manifests: Manifests
    notes: str


@dataclass(frozen=True)
class Finding:
    """One line of the linter; severity 1 is information, 2 a warning, 3 an error."""

    severity: int
    path: str
    text: str


@contextlib.contextmanager
def _one_exception_type() -> Iterator[None]:
    try:
        yield
    except helm_python.HelmError as error:
        raise HelmFailed(str(error)) from error


def render(
    chart: Path,
    values: Values | None = None,
    *,
    name: str = "exastro-agent",
    namespace: str = "exastro",
    kube_version: str = "1.31.0",
    api_versions: Sequence[str] = (),
    is_upgrade: bool = False,
) -> Rendered:
    """Render a chart without a cluster: `lookup` finds nothing.

    Raises HelmFailed for refused values and failing templates, BadManifest for output that is no distinct objects.
    """
    options = {
        "name": name,
        "namespace": namespace,
        "kube_version": f"v{kube_version}",
        "api_versions": list(api_versions),
        "is_upgrade": is_upgrade,
        "is_install": not is_upgrade,
    }
    with _one_exception_type(), helm_python.Chart.load(chart) as loaded:
        text = _native.call_string(
            "helm_render", loaded._raw(), json.dumps(values or {}), json.dumps(options)
        )
    files: dict[str, str] = json.loads(text)
    notes = "".join(files.pop(path) for path in sorted(files) if path.endswith("NOTES.txt"))
    return Rendered(parse_manifests(files), notes)


def lint(chart: Path, values: Values | None = None, *, strict: bool = False) -> list[Finding]:
    """Return the linter's findings; strict as of `helm lint --strict` is judged by the caller, from severity 2 on."""
    with _one_exception_type():
        report = helm_python.lint(chart, dict(values or {}), strict=strict)
    findings = [Finding(found["severity"], found["path"], found["error"]) for found in report["messages"]]
    known = " ".join(finding.text for finding in findings)
    return findings + [Finding(3, str(chart), text) for text in report["errors"] if text not in known]


def default_values(chart: Path) -> dict[str, Any]:
    """Return values.yaml as Helm reads it."""
    return merged_values(chart, {})


def merged_values(chart: Path, values: Values) -> dict[str, Any]:
    """Return the defaults with values over them, merged the way an installation does it."""
    with _one_exception_type(), helm_python.Chart.load(chart) as loaded:
        return loaded.merge_values(dict(values))


def values_from_yaml(text: str) -> dict[str, Any]:
    """Read a values file's text as Helm does, with YAML 1.1's booleans and numbers."""
    with _one_exception_type():
        return helm_python.values_from_yaml(text)


class Releases:
    """The releases of one namespace of a Kubernetes API: `helm install`, `upgrade`, `uninstall` without waiting."""

    def __init__(self, api_url: str, namespace: str = "exastro") -> None:
        self._namespace = namespace
        self._kubeconfig = kubeconfig(api_url, namespace)

    def install(self, chart: Path, name: str, values: Values | None = None) -> str:
        """Install and return the notes. Raises HelmFailed."""
        with self._config() as config:
            release = config.install(chart, name, dict(values or {}), namespace=self._namespace)
        return str(release.get("notes", ""))

    def upgrade(self, chart: Path, name: str, values: Values | None = None) -> str:
        """Upgrade and return the notes. Raises HelmFailed."""
        with self._config() as config:
            release = config.upgrade(chart, name, dict(values or {}), namespace=self._namespace)
        return str(release.get("notes", ""))

    def uninstall(self, name: str) -> None:
        """Uninstall. Raises HelmFailed."""
        with self._config() as config:
            config.uninstall(name)

    @contextlib.contextmanager
    def _config(self) -> Iterator[helm_python.Config]:
        # The client's own throttle would cost seconds.
        config = helm_python.Config(
            kubeconfig_content=self._kubeconfig, namespace=self._namespace, burst_limit=1000, qps=1000.0
        )
        with _one_exception_type(), config:
            yield config


def kubeconfig(api_url: str, namespace: str) -> str:
    """Return the file that tells Helm where the API is."""
    context = {"cluster": "test", "user": "test", "namespace": namespace}
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": {"server": api_url}}],
            "users": [{"name": "test", "user": {}}],
            "contexts": [{"name": "test", "context": context}],
            "current-context": "test",
        }
    )
