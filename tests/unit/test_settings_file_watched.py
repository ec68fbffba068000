"""The keeper of settings and a file that changes: looked at, settled, used, or refused once."""

import asyncio
import json
import logging
import random
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pytest

from oase_agent.app.build import build_workspace, settings_source
from oase_agent.config.load import load_config
from oase_agent.model import AgentIdentity, Setting
from oase_agent.schedule.local_watch import LocalSettingsWatch
from oase_agent.schedule.settings_keeper import SettingsKeeper
from oase_agent.simulators.settings_table import setting_row
from oase_agent.simulators.workspace import WorkspaceSimulator
from oase_agent.telemetry import Telemetry
from oase_agent.workspace.local_settings import LocalSettingsFile
from tests.unit.local_settings_stage import WHOLE, write

LOOK_S = 0.02


class World:
    """A keeper over a file and a workspace; `applied` are the settings that it announced."""

    def __init__(self, directory: Path, workspace: WorkspaceSimulator, **environment: str) -> None:
        config, _ = load_config(
            {
                "EXASTRO_URL": workspace.url,
                "EXASTRO_ORGANIZATION_ID": workspace.organization_id,
                "EXASTRO_WORKSPACE_ID": workspace.workspace_id,
                "EXASTRO_REFRESH_TOKEN": "refresh-token",
                "STORAGE_PATH": str(directory / "storage"),
                "SETTINGS_FILE": str(directory / "settings.yaml"),
                **environment,
            }
        )
        self.telemetry = Telemetry()
        self.workspace = build_workspace(config, AgentIdentity("agent", "1"), self.telemetry)
        self.applied: list[Sequence[Setting]] = []
        self.keeper = SettingsKeeper(
            settings_source(config, self.workspace),
            self.telemetry,
            reload_every_s=3600,
            on_change=self._apply,
            monotonic=time.monotonic,
            random=random.random,
            look_at_file_s=LOOK_S,
        )

    async def _apply(self, settings: Sequence[Setting]) -> None:
        self.applied.append(settings)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Let the keeper run, once its first settings are there."""
        async with self.workspace, asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(self.keeper.run()), tasks.create_task(self.keeper.watch_file())]
            await until(lambda: self.applied)
            yield
            for task in running:
                task.cancel()

    @property
    def ttl_s(self) -> int:
        """The TTL of the only setting."""
        (setting,) = self.keeper.settings
        return setting.ttl_s


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)


@pytest.fixture
async def simulator() -> AsyncIterator[WorkspaceSimulator]:
    """A workspace that knows `web` and `other`."""
    rows = [setting_row(name, "http://127.0.0.1:9", TTL=60) for name in ("web", "other")]
    async with WorkspaceSimulator(settings=rows) as simulator:
        yield simulator


def warnings_in(caplog: pytest.LogCaptureFixture, action: str) -> list[str]:
    return [
        record.getMessage()
        for record in caplog.records
        if record.levelno == logging.WARNING and getattr(record, "action", "") == action
    ]


def has_told(caplog: pytest.LogCaptureFixture, times: int) -> bool:
    return len(warnings_in(caplog, "settings_file_refused")) == times


async def test_a_changed_file_is_noticed_and_used(simulator: WorkspaceSimulator, tmp_path: Path) -> None:
    write(tmp_path, WHOLE)
    world = World(tmp_path, simulator, SETTINGS_FILE_MODE="only")
    async with world.running():
        assert world.ttl_s == 3600
        write(tmp_path, WHOLE.replace("3600", "60"))
        await until(lambda: world.ttl_s == 60)
    assert len(world.applied) == 2
    assert not simulator.requests


async def test_each_faulty_version_is_told_once_and_the_last_good_one_stays(
    simulator: WorkspaceSimulator, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path, WHOLE)
    world = World(tmp_path, simulator, SETTINGS_FILE_MODE="only")
    async with world.running():
        for number in (1, 2):
            write(tmp_path, f"faulty: {number}")
            await until(partial(has_told, caplog, number))
        await world.keeper.reload()
        await asyncio.sleep(5 * LOOK_S)
        assert len(warnings_in(caplog, "settings_file_refused")) == 2
        assert world.telemetry.trouble_of("settings_file") is not None
        assert world.ttl_s == 3600
        write(tmp_path, WHOLE)
        await until(lambda: world.telemetry.trouble_of("settings_file") is None)
    assert len(world.applied) == 1


class GrowingFile(LocalSettingsFile):
    """Is another file at each look until the looks to come are used up."""

    looks: ClassVar = [b"half", b"more", b"whole", b"whole"]

    def fingerprint(self) -> bytes:
        return self.looks.pop(0)


async def test_a_file_that_still_grows_is_left_alone(tmp_path: Path) -> None:
    file = GrowingFile(tmp_path / "settings.yaml")
    await LocalSettingsWatch(file, Telemetry(), look_every_s=LOOK_S).changed()
    assert not file.looks, (
        "the change was told of at the second look, when nothing moved between its two parts"
    )


async def test_secrets_in_the_file_itself_are_warned_of_once(
    simulator: WorkspaceSimulator, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path, f"{WHOLE}    PASSWORD: hunter2\n")
    world = World(tmp_path, simulator, SETTINGS_FILE_MODE="only")
    async with world.running():
        write(tmp_path, f"{WHOLE.replace('3600', '60')}    PASSWORD: hunter3\n")
        await until(lambda: world.ttl_s == 60)
    (warning,) = warnings_in(caplog, "configuration_doubtful")
    assert "PASSWORD of 'web'" in warning
    assert "hunter" not in caplog.text


async def test_in_mode_merge_the_workspace_is_asked_for_the_names_of_both(
    simulator: WorkspaceSimulator, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path, WHOLE.replace("web", "mine"))
    world = World(tmp_path, simulator, EVENT_COLLECTION_SETTINGS_NAMES="other")
    async with world.running():
        assert [setting.name for setting in world.keeper.settings] == ["other", "mine"]
        assert warnings_in(caplog, "setting_only_in_file")
        write(tmp_path, "settings:\n- EVENT_COLLECTION_SETTINGS_NAME: web\n  TTL: 99\n")
        await until(lambda: "web" in [setting.name for setting in world.keeper.settings])
        found = {setting.name: (setting.ttl_s, bool(setting.id)) for setting in world.keeper.settings}
        assert found == {"other": (60, True), "web": (99, True)}


async def test_what_is_kept_on_the_volume_is_the_workspaces_answer_alone(
    simulator: WorkspaceSimulator, tmp_path: Path
) -> None:
    (tmp_path / "storage" / "org001" / "ws01" / "agent-oase-01").mkdir(parents=True)
    write(tmp_path, WHOLE.replace("3600", "777") + "    PASSWORD: hunter2\n")
    world = World(tmp_path, simulator, EVENT_COLLECTION_SETTINGS_NAMES="web")
    async with world.running():
        await until(lambda: list((tmp_path / "storage").rglob("settings.*.json")))
        simulator.add_setting(setting_row("web", "http://127.0.0.1:9", TTL=61))
        await world.keeper.reload()
        assert world.ttl_s == 777
    newest = max((tmp_path / "storage").rglob("settings.*.json"))
    (row,) = json.loads(newest.read_bytes())["content"]
    assert row["TTL"] == 61, "kept although the file hides the change"
    assert "hunter2" not in newest.read_text()
