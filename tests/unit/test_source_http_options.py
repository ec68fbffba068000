"""Options of single settings over HTTP: limits, headers, trust and identity, proxies."""

import asyncio
import ssl
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from oase_agent.config.source_options.read import read_source_options
from oase_agent.config.source_options.trust import TlsContexts
from oase_agent.errors import Reason, SettingRejected, SourceUnavailable
from oase_agent.model import ConnectionMethod, Secret, Setting
from oase_agent.proxies import ProxyEnvironment
from oase_agent.sources.http import HttpSource
from oase_agent.sources.options import SourceOptions, SourceProxy
from oase_agent.sources.routes import SourceTls
from oase_agent.tls import client_context
from tests.unit.source_servers import (
    GET_SETTING,
    Authority,
    Request,
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
OTHER_SETTING = replace(GET_SETTING, name="another source")
CREDENTIALS = "Basic dXNlcjpwYXNz"  # user:pass


def with_options(directory: Path, options: SourceOptions, **changes: Any) -> HttpSource:
    """Return a source where only `GET_SETTING` has options."""

    def options_of(name: str) -> SourceOptions:
        return options if name == GET_SETTING.name else SourceOptions()

    return a_source(directory, options_of=options_of, **changes)


def with_file(directory: Path, block: str, **changes: Any) -> HttpSource:
    """Return a source where `GET_SETTING` has the options of a file."""
    file = directory / "options.yaml"
    file.write_text(f"version: 1\nsources:\n  {GET_SETTING.name}: {block}\n")
    reading = read_source_options(file, TlsContexts(None))
    assert reading.table is not None, reading.faults
    return a_source(directory, options_of=reading.table.of, **changes)


async def refused(source: HttpSource, url: str, reason: Reason, setting: Setting = GET_SETTING) -> str:
    with pytest.raises(SourceUnavailable) as caught:
        await fetch(source, url, setting)
    assert caught.value.reason is reason
    return str(caught.value)


# -- limits ------------------------------------------------------------------------------------------------


async def test_a_setting_has_a_time_limit_of_its_own(tmp_path: Path) -> None:
    async def slow(request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.5)
        writer.write(http_answer(b"[1]"))

    async with serving(slow) as server, with_options(tmp_path, SourceOptions(timeout_s=0.1)) as source:
        assert "within 0.1 s" in await refused(source, server.url(), Reason.TIMEOUT)
        assert await fetch_bytes(source, server.url(), OTHER_SETTING) == b"[1]"


async def test_a_setting_has_a_size_limit_of_its_own(tmp_path: Path) -> None:
    large = answering(http_answer(b"[" + b"1," * 5000 + b"1]"))
    async with serving(large) as server, with_options(tmp_path, SourceOptions(max_bytes=5000)) as source:
        assert "larger than 5000 bytes" in await refused(source, server.url(), Reason.TOO_LARGE)
        assert len(await fetch_bytes(source, server.url(), OTHER_SETTING)) > 5000


async def test_options_may_be_changed_between_two_collections(tmp_path: Path) -> None:
    now = [SourceOptions(headers={"X-Key": Secret("old")})]
    async with serving(ANSWER) as server, a_source(tmp_path, options_of=lambda _name: now[0]) as source:
        await fetch(source, server.url())
        now[0] = SourceOptions(headers={"X-Key": Secret("new")})
        await fetch(source, server.url())
    assert [request.headers["x-key"] for request in server.requests] == ["old", "new"]


# -- headers -----------------------------------------------------------------------------------------------


async def test_headers_replace_those_of_the_setting_whatever_their_case(tmp_path: Path) -> None:
    setting = replace(GET_SETTING, connection_method=ConnectionMethod.BEARER, auth_token=Secret("own"))
    options = SourceOptions(headers={"x-key": Secret("from a file"), "Authorization": Secret("Token abc")})
    async with serving(ANSWER) as server, with_options(tmp_path, options) as source:
        await fetch(source, server.url(), setting, headers={"X-Key": "written", "X-Other": "written"})
    head = server.only_request.head.decode()
    assert "x-key: from a file\r\n" in head
    assert "X-Other: written\r\n" in head
    assert head.lower().count("x-key") == 1
    assert server.only_request.headers["authorization"] == "Token abc"


async def test_headers_stay_at_home_when_a_redirect_leads_away(tmp_path: Path) -> None:
    options = SourceOptions(headers={"X-Key": Secret("k")})
    async with serving(ANSWER) as elsewhere:
        script = answering(redirect_to(elsewhere.url("/there")))
        async with serving(script) as server, with_options(tmp_path, options) as source:
            await fetch(source, server.url(), headers={"X-Public": "p"})
    assert server.only_request.headers["x-key"] == "k"
    assert "x-key" not in elsewhere.only_request.headers
    assert elsewhere.only_request.headers["x-public"] == "p"


async def test_headers_follow_a_redirect_within_the_host(tmp_path: Path) -> None:
    async def script(request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(http_answer(b"[1]") if "/there" in request.line else redirect_to("/there"))

    options = SourceOptions(headers={"X-Key": Secret("k")})
    async with serving(script) as server, with_options(tmp_path, options) as source:
        await fetch(source, server.url())
    assert [request.headers["x-key"] for request in server.requests] == ["k", "k"]


# -- trust and identity ------------------------------------------------------------------------------------


async def test_s1_an_authority_is_trusted_for_its_setting_alone(tmp_path: Path) -> None:
    context = Authority(tmp_path).server_context("127.0.0.1")
    async with serving(ANSWER, context) as server, with_file(tmp_path, "{ca_file: authority.pem}") as source:
        assert await fetch_bytes(source, server.url()) == b"[1]"
        await refused(source, server.url(), Reason.TLS, OTHER_SETTING)
    assert len(server.requests) == 1


async def test_s1_insecure_is_for_its_setting_alone(tmp_path: Path) -> None:
    context = Authority(tmp_path).server_context("other.example")
    async with serving(ANSWER, context) as server, with_file(tmp_path, "{insecure: true}") as source:
        assert await fetch_bytes(source, server.url()) == b"[1]"
        await refused(source, server.url(), Reason.TLS, OTHER_SETTING)
    assert len(server.requests) == 1


async def test_s1_a_connection_of_one_trust_is_never_used_with_another(tmp_path: Path) -> None:
    async def keep_alive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)
        while await reader.readuntil(b"\r\n\r\n"):
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n[1]")

    connections: list[asyncio.StreamWriter] = []
    context = Authority(tmp_path).server_context("127.0.0.1")
    server = await asyncio.start_server(keep_alive, "127.0.0.1", 0, ssl=context)
    url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    async with with_file(tmp_path, "{insecure: true}") as source:
        await fetch(source, url)
        await fetch(source, url)
        assert len(connections) == 1
        await refused(source, url, Reason.TLS, OTHER_SETTING)
    server.close()
    for writer in connections:
        writer.close()


async def test_s1_insecure_does_not_hold_where_a_redirect_leads(tmp_path: Path) -> None:
    context = Authority(tmp_path).server_context("127.0.0.1")
    async with serving(ANSWER, context) as elsewhere:
        script = answering(redirect_to(elsewhere.url()))
        async with serving(script, context) as server, with_file(tmp_path, "{insecure: true}") as source:
            assert f"127.0.0.1:{elsewhere.port}" in await refused(source, server.url(), Reason.TLS)
    assert elsewhere.requests == []


def wanting_certificates(authority: Authority) -> ssl.SSLContext:
    context = authority.server_context("127.0.0.1")
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(authority.file)
    return context


async def test_a_client_certificate_is_shown_to_the_source(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    authority.identity("agent")
    block = "{ca_file: authority.pem, client_cert_file: agent.pem}"
    context = wanting_certificates(authority)
    async with serving(ANSWER, context) as server, with_file(tmp_path, block) as source:
        assert await fetch_bytes(source, server.url()) == b"[1]"
        with pytest.raises(SourceUnavailable):
            await fetch(source, server.url(), OTHER_SETTING)
    assert len(server.requests) == 1


async def test_a_client_certificate_is_not_shown_where_a_redirect_leads(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    authority.identity("agent")
    shown: list[Any] = []

    async def script(request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        shown.append(writer.get_extra_info("peercert"))
        writer.write(http_answer(b"[1]"))

    asking = authority.server_context("127.0.0.1")
    asking.verify_mode = ssl.CERT_OPTIONAL
    asking.load_verify_locations(authority.file)
    everywhere = SourceTls(client_context(ca_file=authority.file))
    async with serving(script, asking) as elsewhere:
        moved = answering(redirect_to(elsewhere.url()))
        block = "{ca_file: authority.pem, client_cert_file: agent.pem}"
        async with (
            serving(moved, wanting_certificates(authority)) as server,
            with_file(tmp_path, block, tls=everywhere) as source,
        ):
            assert await fetch_bytes(source, server.url()) == b"[1]"
            assert await fetch_bytes(source, elsewhere.url()) == b"[1]"
    assert [bool(certificate) for certificate in shown] == [False, True]


# -- proxies -----------------------------------------------------------------------------------------------


async def test_a_proxy_with_credentials_goes_before_every_other(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("pass\n")
    async with serving(ANSWER) as server, forward_proxy(CREDENTIALS) as proxy:
        block = (
            f"{{proxy: {{url: 'http://127.0.0.1:{proxy.port}', username: user, password_file: password}}}}"
        )
        nowhere = "http://127.0.0.1:1"
        setting = replace(GET_SETTING, proxy=nowhere)
        async with with_file(tmp_path, block, proxies=ProxyEnvironment(http=nowhere)) as source:
            assert await fetch_bytes(source, server.url("/p"), setting) == b"[1]"
    assert proxy.only_request.line == f"GET {server.url('/p')} HTTP/1.1"
    assert proxy.only_request.headers["proxy-authorization"] == CREDENTIALS


async def test_a_proxy_of_the_options_tunnels_tls_with_the_trust_of_the_options(tmp_path: Path) -> None:
    context = Authority(tmp_path).server_context("127.0.0.1")
    async with serving(ANSWER, context) as server, forward_proxy() as proxy:
        block = f"{{ca_file: authority.pem, proxy: {{url: 'http://127.0.0.1:{proxy.port}'}}}}"
        async with with_file(tmp_path, block) as source:
            assert await fetch_bytes(source, server.url()) == b"[1]"
    assert proxy.only_request.line.startswith(f"CONNECT 127.0.0.1:{server.port}")


async def test_a_password_that_the_proxy_refuses_is_not_shown(tmp_path: Path) -> None:
    async with forward_proxy(CREDENTIALS) as proxy:
        way = SourceProxy(f"http://127.0.0.1:{proxy.port}", "user", Secret("hunter2"))
        async with with_options(tmp_path, SourceOptions(proxy=way)) as source:
            told = await refused(source, "http://127.0.0.1:9/", Reason.PROXY)
    assert "407" in told
    assert "hunter2" not in told


async def test_a_socks_proxy_is_refused_for_http(tmp_path: Path) -> None:
    options = SourceOptions(proxy=SourceProxy("socks5://127.0.0.1:1080"))
    async with serving(ANSWER) as server, with_options(tmp_path, options) as source:
        with pytest.raises(SettingRejected, match="is SOCKS, which only mail") as caught:
            await fetch(source, server.url())
        assert caught.value.reason is Reason.UNSUPPORTED
    assert server.requests == []
