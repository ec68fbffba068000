"""SOURCE_OPTIONS_FILE in a running agent: what it says holds, and what it says later holds without a restart."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from oase_agent.errors import ConfigError
from tests.acceptance.stage import Stage
from tests.unit.source_servers import Request, Server, forward_proxy, http_answer, serving

CREDENTIALS = "Basic dXNlcjpwYXNz"  # user:pass


class OptionsFile:
    """The file, and the secrets beside it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.path = directory / "options.yaml"

    def say(self, **blocks: str) -> None:
        lines = "".join(f"  {name}: {block}\n" for name, block in blocks.items())
        self.path.write_text(f"version: 1\nsources:\n{lines}")

    def keep(self, name: str, secret: str) -> None:
        (self.directory / name).write_text(f"{secret}\n")


@pytest.fixture
def options(tmp_path: Path) -> OptionsFile:
    return OptionsFile(tmp_path)


class Source:
    """A source that lists its events each time, and keeps the requests with their headers."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.server: Server

    async def answer(
        self, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        writer.write(http_answer(json.dumps([{"id": event} for event in self.events]).encode()))

    @property
    def keys(self) -> list[str | None]:
        """What came as X-Key, request by request."""
        return [request.headers.get("x-key") for request in self.server.requests]


@asynccontextmanager
async def a_source(stage: Stage, name: str, **columns: Any) -> AsyncIterator[Source]:
    """Start a source and add its setting."""
    source = Source()
    async with serving(source.answer) as source.server:
        columns = {"RESPONSE_LIST_FLAG": "1", "EVENT_ID_KEY": "id", **columns}
        stage.add(name, source.server.url(), **columns)
        yield source


async def test_a_changed_secret_and_interval_hold_without_a_restart(
    stage: Stage, options: OptionsFile
) -> None:
    await stage.open()
    options.keep("key", "old")
    options.say(web="{headers: {X-Key: {file: key}}}")
    async with a_source(stage, "web") as web, a_source(stage, "other") as other:
        agent = await stage.start_collecting("web", "other", SOURCE_OPTIONS_FILE=str(options.path))
        await stage.until(lambda: web.keys[-1:] == ["old"] and other.keys[-1:] == [None])

        options.keep("key", "new")
        agent.reload_settings()
        await stage.until(lambda: web.keys[-1] == "new")

        options.say(web="{interval_s: 3600}", other="{headers: {X-Key: {file: key}}}")
        agent.reload_settings()
        await stage.until(lambda: other.keys[-1] == "new")
        asked, asked_other = len(web.keys), len(other.keys)
        await stage.until(lambda: len(other.keys) >= asked_other + 5)
        assert len(web.keys) <= asked + 1

        other.events.append("still collected")
        assert await stage.arrived("other", 1) == ["still collected"]
        await stage.stop()


async def test_a_faulty_version_stops_nothing(
    stage: Stage, options: OptionsFile, caplog: pytest.LogCaptureFixture
) -> None:
    await stage.open()
    options.keep("key", "right")
    options.say(web="{headers: {X-Key: {file: key}}}")
    async with a_source(stage, "web") as web:
        agent = await stage.start_collecting("web", SOURCE_OPTIONS_FILE=str(options.path))

        options.say(web="{heeders: {}}")
        agent.reload_settings()
        await stage.until(lambda: "probably headers is meant" in caplog.text)
        web.events.append("collected as before")

        assert await stage.arrived("web", 1) == ["collected as before"]
        assert web.keys[-1] == "right"
        assert agent.status().unready == ()
        await stage.stop()


async def test_a_proxy_that_was_wrong_is_put_right_without_a_restart(
    stage: Stage, options: OptionsFile
) -> None:
    await stage.open()
    options.keep("password", "wrong")
    async with (
        forward_proxy(CREDENTIALS) as proxy,
        a_source(stage, "web", PROXY="socks5://not.usable.example:1080") as web,
    ):
        way = f"{{url: 'http://127.0.0.1:{proxy.port}', username: user, password_file: password}}"
        options.say(web=f"{{proxy: {way}}}")
        agent = await stage.start(SOURCE_OPTIONS_FILE=str(options.path))
        await stage.until(lambda: proxy.requests)
        assert web.keys == []

        options.keep("password", "pass")
        agent.reload_settings()
        web.events.append("through the proxy")
        assert await stage.arrived("web", 1) == ["through the proxy"]
        await stage.stop()


async def test_a_faulty_file_at_the_start_lists_every_fault(stage: Stage, options: OptionsFile) -> None:
    await stage.open()
    stage.add("web", "http://127.0.0.1:9/")
    options.say(web="{timout_s: 5, proxy: {url: 'http://p:1', password: hunter2}}")
    with pytest.raises(ConfigError) as caught:
        await stage.start(SOURCE_OPTIONS_FILE=str(options.path))
    assert len(caught.value.faults) == 2
    assert "hunter2" not in str(caught.value)
