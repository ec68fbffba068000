"""Requests through a real little proxy: plain and tunnelled, with and without credentials (contract section 6)."""

import socket
from dataclasses import replace
from pathlib import Path

import pytest

from oase_agent.errors import Reason, SourceUnavailable
from oase_agent.model import Setting
from oase_agent.proxies import ProxyEnvironment
from oase_agent.sources.http import HttpSource
from oase_agent.sources.routes import SourceTls
from oase_agent.tls import client_context
from tests.unit.source_servers import (
    GET_SETTING,
    POST_SETTING,
    Authority,
    Server,
    a_source,
    answering,
    fetch,
    fetch_bytes,
    forward_proxy,
    http_answer,
    redirect_to,
    serving,
)

ANSWER = answering(http_answer(b"[1]"))
CREDENTIALS = "Basic dXNlcjpwYXNz"


def through(proxy: Server, setting: Setting = GET_SETTING, user: str = "") -> Setting:
    return replace(setting, proxy=f"http://{user}127.0.0.1:{proxy.port}")


async def proxy_failure(source: HttpSource, url: str, setting: Setting) -> str:
    with pytest.raises(SourceUnavailable) as caught:
        await fetch(source, url, setting)
    assert caught.value.reason is Reason.PROXY
    assert "pass" not in str(caught.value).replace("password", "")
    return str(caught.value)


async def test_a_plain_request_goes_to_the_proxy_with_its_whole_url(tmp_path: Path) -> None:
    async with serving(ANSWER) as server, forward_proxy() as proxy, a_source(tmp_path) as source:
        url = server.url("/p?x=1")
        assert await fetch_bytes(source, url, through(proxy, POST_SETTING), parameter=[1]) == b"[1]"
    assert proxy.only_request.line == f"POST {url} HTTP/1.1"
    assert "proxy-authorization" not in proxy.only_request.headers
    assert (server.only_request.line, server.only_request.body) == ("POST /p?x=1 HTTP/1.1", b"[1]")


async def test_a_plain_request_carries_the_credentials_of_the_proxy(tmp_path: Path) -> None:
    async with serving(ANSWER) as server, forward_proxy(CREDENTIALS) as proxy, a_source(tmp_path) as source:
        assert await fetch_bytes(source, server.url(), through(proxy, user="user:pass@")) == b"[1]"
        message = await proxy_failure(source, server.url(), through(proxy, user="user:other@"))
        assert len(server.requests) == 1
    assert "answered with status 407: check user and password in PROXY" in message


@pytest.mark.parametrize("user", ["", "user:pass@"])
async def test_a_tls_request_goes_through_a_tunnel(tmp_path: Path, user: str) -> None:
    authority = Authority(tmp_path)
    tls = SourceTls(client_context(ca_file=authority.file))
    context = authority.server_context("127.0.0.1")
    async with (
        serving(ANSWER, context) as server,
        forward_proxy(CREDENTIALS if user else None) as proxy,
        a_source(tmp_path, tls=tls) as source,
    ):
        headers = {"X-Api-Key": "k"}
        assert (
            await fetch_bytes(source, server.url("/p"), through(proxy, user=user), headers=headers) == b"[1]"
        )
    assert proxy.only_request.line == f"CONNECT 127.0.0.1:{server.port} HTTP/1.1"
    assert proxy.only_request.headers.get("proxy-authorization") == (CREDENTIALS if user else None)
    assert "x-api-key" not in proxy.only_request.headers
    assert server.only_request.headers["x-api-key"] == "k"
    assert "proxy-authorization" not in server.only_request.headers


async def test_s1_the_certificate_behind_a_tunnel_is_verified(tmp_path: Path) -> None:
    context = Authority(tmp_path).server_context("127.0.0.1")
    async with serving(ANSWER, context) as server, forward_proxy() as proxy, a_source(tmp_path) as source:
        with pytest.raises(SourceUnavailable) as caught:
            await fetch(source, server.url(), through(proxy))
        assert server.requests == []
    assert caught.value.reason is Reason.TLS


async def test_a_refused_tunnel_is_trouble_of_the_proxy(tmp_path: Path) -> None:
    async with forward_proxy(CREDENTIALS) as proxy, a_source(tmp_path) as source:
        message = await proxy_failure(source, "https://source.example:8443/", through(proxy))
    assert message.startswith(
        "the proxy refused a tunnel to source.example:8443 with status 407: check user and password in PROXY"
    )


@pytest.mark.parametrize(("user", "is_named"), [("", False), ("user:pass@", True)])
async def test_401_by_way_of_a_proxy_with_a_password_may_be_the_proxys(
    tmp_path: Path, user: str, is_named: bool
) -> None:
    refusing = answering(http_answer(b"", 401))
    async with serving(refusing) as proxy, a_source(tmp_path) as source:
        with pytest.raises(SourceUnavailable) as caught:
            await fetch(source, "http://source.example/", through(proxy, user=user))
    message = str(caught.value)
    assert "status 401: check the credentials of the setting" in message
    assert ("user and password of the proxy (PROXY of the setting" in message) is is_named


async def test_401_out_of_a_tunnel_is_the_sources(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    tls = SourceTls(client_context(ca_file=authority.file))
    context = authority.server_context("127.0.0.1")
    async with (
        serving(answering(http_answer(b"", 401)), context) as server,
        forward_proxy(CREDENTIALS) as proxy,
        a_source(tmp_path, tls=tls) as source,
    ):
        with pytest.raises(SourceUnavailable) as caught:
            await fetch(source, server.url(), through(proxy, user="user:pass@"))
    assert str(caught.value).endswith("status 401: check the credentials of the setting")


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_proxy_that_cannot_be_reached_is_trouble_of_the_proxy(tmp_path: Path, scheme: str) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    setting = replace(GET_SETTING, proxy=f"http://user:pass@127.0.0.1:{port}")
    async with a_source(tmp_path) as source:
        message = await proxy_failure(source, f"{scheme}://source.example/?token=hidden", setting)
    assert "source.example" in message
    assert "hidden" not in message


async def test_names_are_resolved_by_the_proxy(tmp_path: Path) -> None:
    async with serving(ANSWER) as server, a_source(tmp_path) as source:
        # The server stands in for a proxy that knows the host.
        assert await fetch_bytes(source, "http://only-the-proxy-knows.invalid/p", through(server)) == b"[1]"
    assert server.only_request.line == "GET http://only-the-proxy-knows.invalid/p HTTP/1.1"


async def test_the_proxy_of_the_environment_is_used_except_for_no_proxy(tmp_path: Path) -> None:
    async with serving(ANSWER) as server, forward_proxy() as proxy:
        proxies = ProxyEnvironment(http=f"127.0.0.1:{proxy.port}", no_proxy="localhost")
        async with a_source(tmp_path, proxies=proxies) as source:
            await fetch(source, server.url("/proxied"))
            await fetch(source, server.url("/direct", "localhost"))
    assert [request.line for request in server.requests] == ["GET /proxied HTTP/1.1", "GET /direct HTTP/1.1"]
    assert proxy.only_request.line == f"GET {server.url('/proxied')} HTTP/1.1"


async def test_the_proxy_is_chosen_anew_for_every_redirect(tmp_path: Path) -> None:
    async with serving(ANSWER) as target:
        elsewhere = redirect_to(target.url("/final", "localhost"))
        async with serving(answering(elsewhere)) as server, forward_proxy() as proxy:
            proxies = ProxyEnvironment(http=f"user:pass@127.0.0.1:{proxy.port}", no_proxy="localhost")
            async with a_source(tmp_path, proxies=proxies) as source:
                assert await fetch_bytes(source, server.url()) == b"[1]"
    assert proxy.only_request.headers["proxy-authorization"] == CREDENTIALS
    assert "proxy-authorization" not in target.only_request.headers
