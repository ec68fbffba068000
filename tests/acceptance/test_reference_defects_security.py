"""Defects D16 to D19 of the reference (contract section 11): TLS, secrets in logs and on disk, templates."""

import logging
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import aiohttp
import pytest

from oase_agent.simulators.faults import Fault
from oase_agent.simulators.loopback import Reply
from oase_agent.telemetry import LOGGER_NAME, configure_logging
from tests.acceptance.sources import DocumentSource
from tests.acceptance.stage import Stage
from tests.acceptance.steps import collecting, polls, waits
from tests.unit.source_servers import Authority


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


async def test_reference_defect_16_the_workspace_must_prove_who_it_is(
    stage: Stage, authority: Authority
) -> None:
    """The reference verifies no certificate: whoever answers gets the refresh token and all events."""
    workspace = await stage.open()
    await workspace.stop()
    await workspace.start(tls=authority.server_context("127.0.0.1"))
    stage.environment["EXASTRO_URL"] = workspace.url
    logs = await stage.logs("logs")

    agent = await stage.start()
    await stage.until(lambda: "CA_FILE" in "".join(agent.status().unready))
    assert not workspace.requests
    assert not workspace.tokens.exchanges
    await stage.stop()

    await stage.start(CA_FILE=str(authority.file))
    await collecting(stage, "logs")
    line = logs.write("to a workspace that we trust")
    assert await stage.arrived("logs", 1) == [line]


async def test_reference_defect_16_a_source_must_prove_who_it_is(stage: Stage, authority: Authority) -> None:
    """The reference verifies no certificate of any https source: whoever answers gets its credentials."""
    await stage.open()
    source = DocumentSource([{"id": "7"}])
    await source.start(tls=authority.server_context("127.0.0.1"))
    try:
        stage.add("guarded", source.url, EVENT_ID_KEY="id", CONNECTION_METHOD_ID="1", AUTH_TOKEN="token")
        await stage.start()
        await stage.until(lambda: "SOURCE_CA_FILE" in (stage.setting("guarded").trouble or ""))
        assert not source.requests
        await stage.stop()

        await stage.start(SOURCE_CA_FILE=str(authority.file))
        assert await stage.arrived("guarded", 1) == ["7"]
    finally:
        await source.stop()


@contextmanager
def logging_as_the_agent_does(log_format: str) -> Iterator[None]:
    """Log to standard output at DEBUG, as `oase-agent run` does; give the test runner its own back at the end."""
    root, own = logging.getLogger(), logging.getLogger(LOGGER_NAME)
    handlers, levels = list(root.handlers), (root.level, own.level)
    configure_logging("DEBUG", log_format)
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(levels[0])
        own.setLevel(levels[1])


@pytest.mark.parametrize("log_format", ["text", "json"])
async def test_reference_defect_17_no_secret_header_or_body_is_logged_even_at_debug(
    stage: Stage, capsys: pytest.CaptureFixture[str], log_format: str
) -> None:
    """The reference prints its environment at DEBUG, and failed requests and templates with all they hold at INFO."""
    with logging_as_the_agent_does(log_format):
        doors = await everything_that_can_go_wrong(stage)
        await stage.stop()

    shown = capsys.readouterr()
    for action in (
        "setting_disabled",
        "collection_failed",
        "workspace_away",
        "events_buried",
        "agent_stopped",
    ):
        assert action in shown.out
    for text in (shown.out, shown.err, doors):
        assert "canary" not in text
        # The simulator's tokens, which the agent was given and sent.
        assert "access-token-" not in text


async def everything_that_can_go_wrong(stage: Stage) -> str:
    """Let settings, templates, sources and deliveries fail with canaries in them; return what the doors show."""
    workspace = await stage.open(refresh_token="canary-refresh")
    stage.environment["EXASTRO_REFRESH_TOKEN"] = "canary-refresh"
    workspace.acceptance.poison = lambda event: event["id"] == "canary-poison"
    guarded = {
        "CONNECTION_METHOD_ID": "1",
        "AUTH_TOKEN": "canary-token",
        "REQUEST_HEADER": '{"X-Key": "canary-header"}',
        "PARAMETER": '{"key": "canary-parameter"}',
        "EVENT_ID_KEY": "id",
    }
    async with (
        DocumentSource([{"id": "canary-poison"}, {"id": "canary-event"}]) as good,
        DocumentSource([]) as page,
        DocumentSource([]) as failing,
    ):
        page.reply = Reply(200, b"<html>canary-page</html>", "text/html")
        failing.reply = Reply(500, b'{"error":"canary-error"}')
        stage.add("good", f"{good.url}/canary-path?q=canary-query", **guarded)
        stage.add("page", f"http://canary-user:canary-password@{page.url[7:]}/?q=canary-query", **guarded)
        stage.add("failing", f"{failing.url}/?q=canary-query", **guarded)
        stage.add("template", good.url, PARAMETER="canary-text {{ EXASTRO_LAST_FETCHED_EVENT.a.canary_b }}")
        stage.add("syntax", good.url, PARAMETER="{{ canary_name | canary_filter }}")
        stage.add("header", good.url, **{**guarded, "REQUEST_HEADER": "canary-header"})
        stage.add("proxy", good.url, PROXY="http://user:canary-proxy@127.0.0.1:1")
        stage.add("faulty", good.url, PROXY="http://user:canary-proxy@127.0.0.1:canary")
        workspace.faults.add(Fault.status(503, "500-99999", endpoint="events"))
        agent = await stage.start(LOG_LEVEL="DEBUG")
        await stage.arrived("good", 1)
        await waits(stage, "good", 0)
        bad = ("page", "failing", "template", "syntax", "header", "proxy", "faulty")
        await stage.until(lambda: all(stage.setting(name).trouble for name in bad))
        async with aiohttp.ClientSession(f"http://127.0.0.1:{agent.admin_port}") as session:
            return "".join([await shown_at(session, door) for door in ("/readyz", "/api/status", "/metrics")])


async def shown_at(session: aiohttp.ClientSession, door: str) -> str:
    async with session.get(door) as response:
        return await response.text()


@pytest.mark.parametrize(
    "template",
    [
        "{{ cycler.__init__.__globals__.os.getpid() }}",
        "{{ EXASTRO_CURRENT_TIME.__class__.__mro__[-1].__subclasses__() }}",
        "{{ EXASTRO_EVENT_COLLECTION_SETTING.update({'URL': 'http://127.0.0.1:1'}) }}",
    ],
)
async def test_reference_defect_18_a_template_that_reaches_for_python_sends_nothing_and_stops_only_itself(
    stage: Stage, template: str
) -> None:
    """The reference runs whatever whoever may edit a setting writes into a template, as code of the agent."""
    await stage.open()
    logs = await stage.logs("logs")
    async with DocumentSource([]) as source:
        stage.add("hostile", source.url, REQUEST_METHOD_ID="2", PARAMETER=template)
        await stage.start()
        await collecting(stage, "logs", "hostile")
        await polls(logs, 2)

        line = logs.write("of a harmless setting")

        assert await stage.arrived("logs", 1) == [line]
        await stage.until(lambda: "PARAMETER" in (stage.setting("hostile").trouble or ""))
        assert source.bodies == []


async def test_reference_defect_19_what_is_kept_on_the_volume_is_private_and_secrets_stay_encrypted(
    stage: Stage,
) -> None:
    """The reference keeps settings whose secrets anybody can decrypt readable for every container of the pod."""
    secret = "the-token-of-the-source"
    workspace = await stage.open(refresh_token="configured", rotate_refresh_token=True)
    stage.environment["EXASTRO_REFRESH_TOKEN"] = "configured"
    logs = await stage.logs("logs", CONNECTION_METHOD_ID="1", AUTH_TOKEN=secret)
    workspace.acceptance.poison = lambda event: event["message"] == "poison"
    # Nobody else's care helps: what the agent creates is private by itself.
    umask = os.umask(0)
    try:
        await stage.start()
        await collecting(stage, "logs")
        logs.write("poison")
        logs.write("delivered")
        await stage.arrived("logs", 1)
        await waits(stage, "logs", 0)
        await workspace.refuse()
        logs.write("waiting")
        await waits(stage, "logs", 1)
        await stage.stop()
    finally:
        os.umask(umask)

    kept = sorted(stage.storage.rglob("*"))
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in kept}
    assert {path.name: oct(mode) for path, mode in modes.items() if mode & 0o077} == {}
    names = " ".join(path.name for path in kept)
    for stem in ("settings.", "token.", "out.", "state.", "dead"):
        assert stem in names
    assert not [path for path in kept if path.is_file() and secret.encode() in path.read_bytes()]
