"""SOURCE_OPTIONS_FILE is read again when it, or a file that it names, changes; a faulty version changes nothing."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from oase_agent.app.source_options import LookTimes, SourceOptionsFile
from oase_agent.errors import ConfigError
from oase_agent.model import Secret
from oase_agent.sources.options import SourceOptions
from oase_agent.telemetry import Telemetry
from oase_agent.telemetry.logs import LOGGER_NAME

QUICK = LookTimes(poll_s=0.02, settle_s=0.05)
NAMES = ("web", "mail")


def options_file(path: Path, times: LookTimes = QUICK) -> SourceOptionsFile:
    return SourceOptionsFile(path, source_ca_file=None, times=times)


def say(path: Path, web: str, more: str = "") -> None:
    path.write_text(f"version: 1\nsources:\n  web: {web}\n{more}")


class Watched:
    """A file that is watched, and what was noticed."""

    def __init__(self, file: SourceOptionsFile, caplog: pytest.LogCaptureFixture) -> None:
        self.file = file
        self.changes = 0
        self.telemetry = Telemetry()
        self._caplog = caplog

    def changed(self) -> None:
        self.changes += 1

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(10):
            while not condition():
                await asyncio.sleep(0.01)

    def logged(self, action: str) -> list[str]:
        return [
            record.getMessage()
            for record in self._caplog.records
            if getattr(record, "action", None) == action
        ]


@asynccontextmanager
async def watching(path: Path, caplog: pytest.LogCaptureFixture) -> AsyncIterator[Watched]:
    caplog.set_level(logging.INFO, LOGGER_NAME)
    watched = Watched(options_file(path), caplog)
    running = asyncio.create_task(watched.file.run(watched.telemetry, lambda: NAMES, watched.changed))
    try:
        yield watched
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_a_changed_file_is_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "options.yaml"
    say(path, "{timeout_s: 5}")
    async with watching(path, caplog) as watched:
        assert watched.file.of("web") == SourceOptions(timeout_s=5)
        say(path, "{timeout_s: 6, interval_s: 9}")
        await watched.until(lambda: watched.changes)
        assert watched.file.of("web") == SourceOptions(timeout_s=6, interval_s=9)
        assert watched.file.interval_s("web") == 9
        assert watched.file.of("mail") == SourceOptions()
    assert len(watched.logged("source_options_loaded")) == 2


async def test_a_rotated_secret_is_used_although_the_file_stayed_the_same(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "options.yaml"
    (tmp_path / "key").write_text("old")
    say(path, "{headers: {X-Key: {file: key}}}")
    async with watching(path, caplog) as watched:
        (tmp_path / "key").write_text("new")
        await watched.until(lambda: watched.changes)
        assert watched.file.of("web").headers == {"X-Key": Secret("new")}


async def test_a_swapped_link_is_noticed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Kubernetes mounts a ConfigMap as links to a folder whose link it replaces."""
    for version in (1, 2):
        (tmp_path / f"v{version}").mkdir()
        say(tmp_path / f"v{version}" / "options.yaml", f"{{timeout_s: {version}}}")
    (tmp_path / "data").symlink_to("v1")
    (tmp_path / "options.yaml").symlink_to("data/options.yaml")
    async with watching(tmp_path / "options.yaml", caplog) as watched:
        (tmp_path / "next").symlink_to("v2")
        (tmp_path / "next").replace(tmp_path / "data")
        await watched.until(lambda: watched.changes)
        assert watched.file.of("web").timeout_s == 2


async def test_nothing_happens_while_nothing_changes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "options.yaml"
    say(path, "{timeout_s: 5}")
    async with watching(path, caplog) as watched:
        say(path, "{timeout_s: 5}")
        await asyncio.sleep(0.2)
        assert watched.changes == 0
    assert len(watched.logged("source_options_loaded")) == 1


async def test_a_faulty_version_leaves_the_options_in_use_and_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "options.yaml"
    say(path, "{timeout_s: 5}")
    async with watching(path, caplog) as watched:
        say(path, "{timout_s: 6}")
        await watched.until(lambda: watched.logged("source_options_refused"))
        say(path, "{timout_s: 6}", "# the same fault in another version\n")
        await asyncio.sleep(0.3)
        assert watched.file.of("web").timeout_s == 5
        assert watched.changes == 0
        (told,) = watched.logged("source_options_refused")
        assert (
            told
            == "SOURCE_OPTIONS_FILE, line 3: sources.web.timout_s is not known: probably timeout_s is meant."
        )
        assert watched.telemetry.trouble_of("source_options") is not None

        say(path, "{timeout_s: nine}")
        await watched.until(lambda: len(watched.logged("source_options_refused")) == 2)
        say(path, "{timeout_s: 7}")
        await watched.until(lambda: watched.changes)
        assert watched.file.of("web").timeout_s == 7
        assert watched.telemetry.trouble_of("source_options") is None


async def test_a_file_that_is_gone_leaves_the_options_in_use(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "options.yaml"
    say(path, "{timeout_s: 5}")
    async with watching(path, caplog) as watched:
        path.unlink()
        await watched.until(lambda: watched.logged("source_options_refused"))
        assert watched.file.of("web").timeout_s == 5
        say(path, "{timeout_s: 6}")
        await watched.until(lambda: watched.changes)


async def test_a_secret_that_comes_later_mends_a_faulty_version(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "options.yaml"
    say(path, "{timeout_s: 5}")
    async with watching(path, caplog) as watched:
        say(path, "{headers: {X-Key: {file: key}}}")
        await watched.until(lambda: watched.logged("source_options_refused"))
        (tmp_path / "key").write_text("k")
        await watched.until(lambda: watched.changes)
        assert watched.file.of("web").headers == {"X-Key": Secret("k")}


async def test_a_file_that_is_being_written_is_left_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "options.yaml"
    say(path, "{timeout_s: 5}")
    caplog.set_level(logging.INFO, LOGGER_NAME)
    file = options_file(path, LookTimes(poll_s=0.01, settle_s=0.3))
    watched = Watched(file, caplog)
    running = asyncio.create_task(file.run(watched.telemetry, lambda: NAMES, watched.changed))
    for length in range(12):  # valid by chance after each piece
        path.write_text("version: 1\n" + "#" * length)
        await asyncio.sleep(0.05)
    say(path, "{timeout_s: 6}")
    await watched.until(lambda: watched.changes)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert watched.changes == 1
    assert file.of("web").timeout_s == 6


async def test_a_look_can_be_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "options.yaml"
    say(path, "{timeout_s: 5}")
    file = options_file(path, LookTimes(poll_s=3600, settle_s=0.01))
    changed = asyncio.Event()
    running = asyncio.create_task(file.run(Telemetry(), lambda: NAMES, changed.set))
    await asyncio.sleep(0.1)
    say(path, "{timeout_s: 6}")
    file.request_look()
    async with asyncio.timeout(10):
        await changed.wait()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert file.of("web").timeout_s == 6


async def test_insecure_sources_and_strange_names_are_warned_of_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "options.yaml"
    say(path, "{insecure: true}", "  mial: {timeout_s: 5}\n")
    async with watching(path, caplog) as watched:
        await watched.until(lambda: len(watched.logged("configuration_doubtful")) == 2)
        say(path, "{insecure: true, timeout_s: 5}", "  mial: {timeout_s: 5}\n")
        await watched.until(lambda: watched.changes)
        insecure, strange = watched.logged("configuration_doubtful")
    assert "insecure: true for 'web'" in insecure
    assert strange == (
        "SOURCE_OPTIONS_FILE has options for 'mial', but no setting of that name is collected: probably 'mail' is "
        "meant."
    )


def test_a_faulty_file_at_the_start_is_a_fault_of_the_configuration(tmp_path: Path) -> None:
    path = tmp_path / "options.yaml"
    say(path, "{timout_s: 5, intervall_s: 5}")
    with pytest.raises(ConfigError) as caught:
        options_file(path)
    assert len(caught.value.faults) == 2


async def test_without_a_file_no_setting_has_options() -> None:
    file = SourceOptionsFile(None, source_ca_file=None)
    assert file.of("web") == SourceOptions()
    assert file.interval_s("web") is None
    assert file.warnings(NAMES) == ()
    await file.run(Telemetry(), lambda: NAMES, lambda: None)
