"""The version stands in the files that name the image; no engine is needed."""

import re

import pytest

from oase_agent import __version__
from tests.docker.image import ROOT


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("Makefile", r"^IMAGE \?= docker\.io/exastro/oase-agent:(\S+)$"),
        ("docker/Dockerfile", r"^ARG VERSION=(\S+)$"),
        ("compose.yaml", r"OASE_AGENT_IMAGE:-docker\.io/exastro/oase-agent:([^}]+)\}"),
        ("compose.trial.yaml", r"OASE_AGENT_IMAGE:-docker\.io/exastro/oase-agent:([^}]+)\}"),
    ],
)
def test_the_image_has_the_version_of_the_project(name: str, pattern: str) -> None:
    named = re.findall(pattern, (ROOT / name).read_text(), re.MULTILINE)
    assert set(named) == {__version__}
