"""Renders kept as text, so that a review sees what a change does to them."""

import copy
import re

from tests.chart.manifests import Manifest, Manifests, write_yaml

_VERSION_LABELS = ("helm.sh/chart", "app.kubernetes.io/version")
_VERSION_OF_OUR_IMAGE = re.compile(r"(image: docker\.io/exastro/oase-agent:)\S+")


def golden_text(manifests: Manifests) -> str:
    """Return the objects by kind and name, without checksums and versions: they change with everything or nothing."""
    text = "---\n".join(write_yaml(_without_passing_things(manifests[key])) for key in sorted(manifests))
    return _VERSION_OF_OUR_IMAGE.sub(r"\1VERSION", text)


def _without_passing_things(manifest: Manifest) -> Manifest:
    lasting = copy.deepcopy(manifest)
    template = (lasting.get("spec") or {}).get("template") or {}
    for metadata in (lasting["metadata"], template.get("metadata") or {}):
        for label in _VERSION_LABELS:
            (metadata.get("labels") or {}).pop(label, None)
        annotations = metadata.get("annotations") or {}
        for annotation in [name for name in annotations if name.startswith("checksum/")]:
            del annotations[annotation]
    return lasting
