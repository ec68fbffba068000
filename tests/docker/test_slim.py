"""`docker/slim.py` on real extension modules of this machine; no engine is needed."""

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.docker.image import ROOT

uvloop = pytest.importorskip("uvloop")


@pytest.fixture
def slim() -> ModuleType:
    spec = importlib.util.spec_from_file_location("slim", ROOT / "docker/slim.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_cut_extension_module_is_smaller_and_still_runs(slim: ModuleType, tmp_path: Path) -> None:
    installed = Path(uvloop.__file__).parent
    shutil.copytree(installed, tmp_path / "uvloop")
    slim.main(tmp_path)
    cut, whole = (sum(path.stat().st_size for path in place.rglob("*.so")) for place in (tmp_path, installed))
    assert cut < whole
    assert not list(tmp_path.rglob("*.pyx"))
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import uvloop, asyncio; "
    code += "assert uvloop.__file__.startswith(sys.path[0]); uvloop.run(asyncio.sleep(0))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stderr == ""


def test_what_is_no_extension_module_stays_as_it_is(slim: ModuleType) -> None:
    for content in (b"", b"#!/bin/sh\n", b"\x7fELF\x01\x01 of 32 bits"):
        assert slim.without_sections(content) == content
