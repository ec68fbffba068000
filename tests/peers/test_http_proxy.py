"""A real tinyproxy that wants user and password, between the agent and sources over http and https."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.sources import DocumentSource
from tests.acceptance.stage import Stage
from tests.acceptance.steps import polls
from tests.peers.authority import PeerAuthority
from tests.peers.options_file import OptionsFile
from tests.peers.proxies import PASSWORD, USER, WRONG, RunningProxy, needs_tinyproxy, running_tinyproxy
from tests.peers.server_process import free_port
from tests.peers.steps import trouble_of

pytestmark = needs_tinyproxy

over_both = pytest.mark.parametrize("scheme", ["http", "https"])


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[RunningProxy]:
    """Give a proxy that listens."""
    with running_tinyproxy(tmp_path) as proxy:
        yield proxy


@pytest.fixture
def trusting(authority: PeerAuthority, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Give the environment of an agent that trusts the authority, and knows no proxy of this machine."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return {"SOURCE_CA_FILE": str(authority.file)}


@asynccontextmanager
async def a_source(scheme: str, authority: PeerAuthority) -> AsyncIterator[DocumentSource]:
    """Run a source with one event, over http or https."""
    source = DocumentSource([{"id": "1"}])
    await source.start(tls=authority.server_context("127.0.0.1") if scheme == "https" else None)
    try:
        yield source
    finally:
        await source.stop()


def target_of(source: DocumentSource, scheme: str) -> str:
    """Return how the proxy is asked for a source: with its URL, or for a tunnel."""
    return f"GET {source.url}/a" if scheme == "http" else f"CONNECT {source.url.removeprefix('https://')}"


@over_both
async def test_through_proxy_of_the_setting(
    stage: Stage, proxy: RunningProxy, authority: PeerAuthority, trusting: dict[str, Any], scheme: str
) -> None:
    async with a_source(scheme, authority) as source:
        stage.add("web", f"{source.url}/a", PROXY=proxy.url(), EVENT_ID_KEY="id")
        await stage.start(**trusting)
        assert await stage.arrived("web", 1) == ["1"]
        await polls(source, 3)
        await stage.stop()
    assert set(proxy.asked()) == {target_of(source, scheme)}
    assert set(proxy.made()) == {"127.0.0.1"}


@over_both
async def test_through_the_proxy_of_the_options_file_with_its_password_in_a_file(
    stage: Stage,
    proxy: RunningProxy,
    authority: PeerAuthority,
    options: OptionsFile,
    trusting: dict[str, Any],
    scheme: str,
) -> None:
    way = {"url": proxy.bare_url, "username": USER, "password_file": options.keep("password", PASSWORD)}
    async with a_source(scheme, authority) as source:
        # Nobody listens on what the setting says; the file goes first.
        stage.add("web", f"{source.url}/a", PROXY=f"http://127.0.0.1:{free_port()}", EVENT_ID_KEY="id")
        await stage.start(**trusting, **options.say(web={"proxy": way}))
        assert await stage.arrived("web", 1) == ["1"]
        await stage.stop()
    assert set(proxy.asked()) == {target_of(source, scheme)}


@over_both
async def test_through_the_proxy_of_the_environment_with_the_workspace(
    stage: Stage, proxy: RunningProxy, authority: PeerAuthority, trusting: dict[str, Any], scheme: str
) -> None:
    async with a_source(scheme, authority) as source:
        stage.add("web", f"{source.url}/a", EVENT_ID_KEY="id")
        await stage.start(**trusting, HTTP_PROXY=proxy.url(), HTTPS_PROXY=proxy.url())
        assert await stage.arrived("web", 1) == ["1"]
        await stage.stop()
    asked = proxy.asked()
    assert target_of(source, scheme) in asked
    posted = [target for target in asked if target.startswith(f"POST {stage.workspace.url}/")]
    assert any("events" in target for target in posted), "events go through it, too"


async def test_no_proxy_takes_the_workspace_out(
    stage: Stage, proxy: RunningProxy, authority: PeerAuthority, trusting: dict[str, Any]
) -> None:
    async with a_source("http", authority) as source:
        stage.add("web", f"{source.url}/a", EVENT_ID_KEY="id")
        workspace = stage.workspace.url.removeprefix("http://")
        await stage.start(**trusting, HTTP_PROXY=proxy.url(), NO_PROXY=f"localhost,{workspace}")
        assert await stage.arrived("web", 1) == ["1"]
        await stage.stop()
    assert set(proxy.asked()) == {target_of(source, "http")}


@over_both
async def test_without_password_the_refusal_is_told_with_the_remedy(
    stage: Stage, proxy: RunningProxy, authority: PeerAuthority, trusting: dict[str, Any], scheme: str
) -> None:
    async with a_source(scheme, authority) as source:
        stage.add("web", f"{source.url}/a", PROXY=proxy.bare_url, EVENT_ID_KEY="id")
        await stage.start(**trusting)
        trouble = await trouble_of(stage, "web")
        await stage.stop()
    assert "status 407: check user and password in PROXY of the setting" in trouble
    assert "SOURCE_OPTIONS_FILE" in trouble
    assert (len(source.requests), proxy.made()) == (0, [])


@over_both
async def test_a_wrong_password_is_told_with_the_remedy_and_without_the_password(
    stage: Stage,
    proxy: RunningProxy,
    authority: PeerAuthority,
    trusting: dict[str, Any],
    scheme: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with a_source(scheme, authority) as source:
        stage.add("web", f"{source.url}/a", PROXY=proxy.url(WRONG), EVENT_ID_KEY="id")
        await stage.start(**trusting)
        trouble = await trouble_of(stage, "web")
        await stage.stop()
    # tinyproxy answers a wrong password with 401, as if it were the source; only a missing one with 407.
    if scheme == "https":
        assert "refused a tunnel" in trouble
        assert "with status 401: check user and password in PROXY of the setting" in trouble
    else:
        assert (
            "status 401: check the credentials of the setting, and user and password of the proxy (PROXY"
            in trouble
        )
    assert (len(source.requests), proxy.made()) == (0, [])
    assert WRONG not in trouble + caplog.text


@over_both
async def test_a_proxy_that_is_down_is_told(
    stage: Stage,
    authority: PeerAuthority,
    trusting: dict[str, Any],
    scheme: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with running_tinyproxy(tmp_path) as proxy:
        pass  # its port is free now
    async with a_source(scheme, authority) as source:
        stage.add("web", f"{source.url}/a", PROXY=proxy.url(), EVENT_ID_KEY="id")
        await stage.start(**trusting, SOURCE_BACKOFF_MAX_S="0")
        trouble = await trouble_of(stage, "web")
        assert "the proxy on the way to" in trouble
        assert "cannot be reached" in trouble
        assert "PROXY of the setting" in trouble
        assert len(source.requests) == 0
        await stage.stop()
    assert PASSWORD not in trouble + caplog.text


@over_both
async def test_a_denied_host_is_refused_before_the_proxy_is_asked(
    stage: Stage, proxy: RunningProxy, authority: PeerAuthority, trusting: dict[str, Any], scheme: str
) -> None:
    async with a_source(scheme, authority) as source:
        denied = source.url.replace("127.0.0.1", "denied.localhost")
        stage.add("web", f"{denied}/a", PROXY=proxy.url(), EVENT_ID_KEY="id")
        await stage.start(**trusting, SOURCE_DENIED_HOSTS="*.localhost")
        trouble = await trouble_of(stage, "web")
        await stage.stop()
    assert "denied.localhost matches *.localhost in SOURCE_DENIED_HOSTS" in trouble
    assert proxy.log.read_text().count("Connect (file descriptor") <= 1, "the first was the test's own look"
    assert proxy.asked() == []


@over_both
async def test_a_source_that_the_proxy_cannot_reach_is_told(
    stage: Stage, proxy: RunningProxy, scheme: str
) -> None:
    stage.add("web", f"{scheme}://127.0.0.1:{free_port()}/a", PROXY=proxy.url(), EVENT_ID_KEY="id")
    await stage.start()
    trouble = await trouble_of(stage, "web")
    await stage.stop()
    # Without a tunnel the proxy answers in the name of the source.
    assert "status 500" in trouble
    assert ("refused a tunnel" in trouble) is (scheme == "https")


async def test_a_tunnel_that_the_proxys_own_rules_forbid_is_told(
    stage: Stage, authority: PeerAuthority, trusting: dict[str, Any], tmp_path: Path
) -> None:
    with running_tinyproxy(tmp_path, "ConnectPort 443") as proxy:
        async with a_source("https", authority) as source:
            stage.add("web", f"{source.url}/a", PROXY=proxy.url(), EVENT_ID_KEY="id")
            await stage.start(**trusting)
            trouble = await trouble_of(stage, "web")
            await stage.stop()
    assert "the proxy refused a tunnel" in trouble
    assert "status 403" in trouble
    assert len(source.requests) == 0


async def test_a_large_answer_comes_whole_through_a_tunnel(
    stage: Stage, proxy: RunningProxy, authority: PeerAuthority, trusting: dict[str, Any]
) -> None:
    async with a_source("https", authority) as source:
        source.fill(4000, 500)
        stage.add("web", f"{source.url}/a", PROXY=proxy.url(), EVENT_ID_KEY="id")
        await stage.start(**trusting)
        assert await stage.arrived("web", 4000) == [str(number) for number in range(4000)]
        await stage.stop()
