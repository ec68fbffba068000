"""Print what an image holds as CycloneDX JSON; run inside of it, it needs nothing but Python.

    docker run --rm -i --entrypoint python IMAGE - < docker/sbom.py

Components are the Python distributions, Debian's packages and the interpreter, with the licences that distributions
tell. The same image gives the same document: it has no time and no serial number.
"""

import json
import platform
import sys
import sysconfig
from collections.abc import Iterator
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any
from urllib.parse import quote

_DEBIAN_PACKAGES = Path("/var/lib/dpkg/status")
_AGENT = "oase-agent"

Component = dict[str, Any]


def main() -> None:
    """Print the document."""
    found = {component["bom-ref"]: component for component in _components()}
    agent = found.pop(next(ref for ref in found if ref.startswith(f"pkg:pypi/{_AGENT}@")))
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": {**agent, "type": "container"}},
        "components": [found[ref] for ref in sorted(found)],
    }
    print(json.dumps(document, indent=2, ensure_ascii=False))  # noqa: T201 - the document


def _components() -> Iterator[Component]:
    yield _component("generic", "python", platform.python_version())
    # The base image's own distributions, pip among them, lie beside the agent's.
    base = sysconfig.get_path("purelib", "posix_prefix", {"base": sys.base_prefix})
    for distribution in distributions(path=[*sys.path, base]):
        yield _distribution(distribution)
    yield from _debian_packages()


def _distribution(distribution: Distribution) -> Component:
    name = distribution.metadata["Name"].lower().replace("_", "-")
    component = _component("pypi", name, distribution.version)
    expression = distribution.metadata["License-Expression"]
    text = distribution.metadata["License"]
    if expression:
        component["licenses"] = [{"expression": expression}]
    elif text and "\n" not in text:
        component["licenses"] = [{"license": {"name": text}}]
    return component


def _debian_packages() -> Iterator[Component]:
    if not _DEBIAN_PACKAGES.exists():
        return
    for paragraph in _DEBIAN_PACKAGES.read_text(encoding="utf-8").split("\n\n"):
        lines = (line.partition(": ") for line in paragraph.splitlines() if not line.startswith(" "))
        fields = {key: value for key, _, value in lines}
        if fields.get("Status", "").endswith(" installed"):
            architecture = f"?arch={fields['Architecture']}"
            yield _component("deb/debian", fields["Package"], fields["Version"], architecture)


def _component(kind: str, name: str, version: str, qualifiers: str = "") -> Component:
    purl = f"pkg:{kind}/{quote(name)}@{quote(version, safe='')}{qualifiers}"
    return {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}


if __name__ == "__main__":
    main()
