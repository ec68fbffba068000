"""The stage and the terminal of the tests of the commands."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.integration.cli_stage import CliStage, Terminal, cli_stage


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[CliStage]:
    """Give a workspace and a Zabbix with one problem; no settings yet."""
    async with cli_stage(tmp_path / "storage") as stage:
        yield stage


@pytest.fixture
def terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Give a terminal whose environment holds nothing of the machine's own that the agent would read."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    return Terminal(capsys, monkeypatch)
