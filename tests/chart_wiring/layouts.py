"""The layouts of `values-examples`: their files, and what each expects in the cluster beside its release."""

from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.chart.manifests import Manifest, Manifests, parse_manifests

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "values-examples"
NAMESPACE = "exastro"

# Quotes, braces, a hash and leading zeros: what is carried as a text arrives, what is read as YAML or a template not.
REFRESH_TOKEN = "0123 \"two\" 'one' {{ braces }} $(AGENT_NAME) # : end"
USERNAME = "admin"
PASSWORD = "00123456789012345678"

_CREDENTIALS = {
    "EXASTRO_REFRESH_TOKEN": REFRESH_TOKEN,
    "EXASTRO_USERNAME": USERNAME,
    "EXASTRO_PASSWORD": PASSWORD,
}

Values = dict[str, Any]
Workspace = tuple[str, str]
"""Organization and workspace."""


def layouts() -> list[str]:
    """Return the names of the values files among the examples."""
    return [path.stem for path in sorted(EXAMPLES.glob("*.yaml")) if "\nita-ag-oase:" in _text(path)]


def workspaces_of(values: Any) -> set[Workspace]:
    """Return the workspaces that any agent of the values names."""
    if isinstance(values, list):
        return {found for item in values for found in workspaces_of(item)}
    if not isinstance(values, dict):
        return set()
    below = {found for item in values.values() for found in workspaces_of(item)}
    return below | ({_workspace(values)} if "EXASTRO_URL" in values else set())


def for_simulators(values: Any, urls: Mapping[Workspace, str]) -> Any:
    """Return values whose agents go to simulators, with credentials that these know and at the shortest interval.

    An address must stand beside its organization and workspace, as it does in all examples.
    """
    if isinstance(values, list):
        return [for_simulators(item, urls) for item in values]
    if not isinstance(values, dict):
        return values
    changed = {key: for_simulators(item, urls) for key, item in values.items()}
    if isinstance(values.get("secret"), dict):
        changed["secret"] = {name: _CREDENTIALS[name] for name in values["secret"]}
    if "EXASTRO_URL" in values:
        changed["EXASTRO_URL"] = urls[_workspace(values)]
    if "EVENT_COLLECTION_SETTINGS_NAMES" in values:
        # First collections are spread over the interval.
        changed["EXECUTE_INTERVAL"] = 3
    return changed


def prepared_objects(certificate_authority: str) -> Manifests:
    """Return what the comments of the examples tell to make by hand: Secrets, a ConfigMap, claims, volumes.

    `certificate_authority` is a PEM text.
    """
    objects = Manifests()
    for path in sorted(EXAMPLES.glob("pv-*.yaml")):
        objects.update(parse_manifests({path.name: _text(path)}))
    made = [
        _secret("oase-credentials", {"EXASTRO_REFRESH_TOKEN": REFRESH_TOKEN}),
        _secret("exastro-user", {"name": USERNAME, "password": PASSWORD}),
        _secret("source-secrets", {"api-key": REFRESH_TOKEN}),
        _secret("alertmanager", {"password": PASSWORD}),
        _object("ConfigMap", "company-ca", data={"ca.crt": certificate_authority}),
        # Kubernetes makes this one, in every namespace.
        _object("ConfigMap", "kube-root-ca.crt", data={"ca.crt": certificate_authority}),
        _object("PersistentVolumeClaim", "oase-spool", spec={"storageClassName": "standard"}),
    ]
    objects.update({(found["kind"], found["metadata"]["name"]): found for found in made})
    return objects


def _workspace(extra_env: Mapping[str, Any]) -> Workspace:
    return str(extra_env["EXASTRO_ORGANIZATION_ID"]), str(extra_env["EXASTRO_WORKSPACE_ID"])


def _secret(name: str, texts: Mapping[str, str]) -> Manifest:
    return _object(
        "Secret", name, data={key: b64encode(text.encode()).decode() for key, text in texts.items()}
    )


def _object(kind: str, name: str, **fields: Any) -> Manifest:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": NAMESPACE}, **fields}


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")
