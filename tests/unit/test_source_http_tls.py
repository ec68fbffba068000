"""TLS towards sources, with a throw-away certificate authority (promise S1)."""

import asyncio
import ssl
from pathlib import Path

import pytest

from oase_agent.errors import Reason, SourceUnavailable
from oase_agent.sources.http import HttpSource
from oase_agent.sources.routes import SourceTls
from oase_agent.tls import client_context
from tests.unit.source_servers import (
    Authority,
    Request,
    a_source,
    answering,
    fetch,
    fetch_bytes,
    http_answer,
    redirect_to,
    serving,
)

ANSWER = answering(http_answer(b"[1]"))


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


async def tls_failure(source: HttpSource, url: str) -> str:
    with pytest.raises(SourceUnavailable) as caught:
        await fetch(source, url)
    assert caught.value.reason is Reason.TLS
    return str(caught.value)


async def test_s1_a_certificate_of_a_known_authority_is_accepted(
    tmp_path: Path, authority: Authority
) -> None:
    trusting = SourceTls(client_context(ca_file=authority.file))
    context = authority.server_context("127.0.0.1")
    async with serving(ANSWER, context) as server, a_source(tmp_path, tls=trusting) as source:
        assert await fetch_bytes(source, server.url()) == b"[1]"


async def test_s1_a_certificate_of_an_unknown_authority_is_refused(
    tmp_path: Path, authority: Authority
) -> None:
    context = authority.server_context("127.0.0.1")
    async with serving(ANSWER, context) as server, a_source(tmp_path) as source:
        message = await tls_failure(source, server.url("/?token=hidden"))
        assert server.requests == []
    assert f"the certificate of 127.0.0.1:{server.port} is not trusted" in message
    assert "SOURCE_CA_FILE" in message
    assert "TLS_INSECURE_HOSTS" in message
    assert "hidden" not in message


async def test_s1_a_certificate_for_another_host_is_refused(tmp_path: Path, authority: Authority) -> None:
    trusting = SourceTls(client_context(ca_file=authority.file))
    context = authority.server_context("other.example")
    async with serving(ANSWER, context) as server, a_source(tmp_path, tls=trusting) as source:
        message = await tls_failure(source, server.url())
    assert "not valid for '127.0.0.1'" in message


@pytest.mark.parametrize("entry", ["127.0.0.1", "127.0.0.1:{port}"])
async def test_s1_a_listed_host_is_not_verified(tmp_path: Path, authority: Authority, entry: str) -> None:
    context = authority.server_context("other.example")
    async with serving(ANSWER, context) as server:
        tls = SourceTls(client_context(), [entry.format(port=server.port)])
        async with a_source(tmp_path, tls=tls) as source:
            assert await fetch_bytes(source, server.url()) == b"[1]"


async def test_s1_a_listed_host_cannot_send_elsewhere_unverified(
    tmp_path: Path, authority: Authority
) -> None:
    context = authority.server_context("127.0.0.1")
    async with (
        serving(ANSWER, context) as target,
        serving(answering(redirect_to(target.url())), context) as server,
    ):
        tls = SourceTls(client_context(), [f"127.0.0.1:{server.port}"])
        async with a_source(tmp_path, tls=tls) as source:
            message = await tls_failure(source, server.url())
        assert target.requests == []
    assert f"127.0.0.1:{target.port}" in message


async def test_a_plain_server_behind_https_is_explained(tmp_path: Path) -> None:
    async def garbage(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(garbage, "127.0.0.1", 0)
    async with server, a_source(tmp_path) as source:
        port = server.sockets[0].getsockname()[1]
        message = await tls_failure(source, f"https://127.0.0.1:{port}/")
    assert "check scheme and port of the URL" in message


async def test_a_server_that_wants_a_client_certificate_is_an_error(
    tmp_path: Path, authority: Authority
) -> None:
    context = authority.server_context("127.0.0.1")
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(authority.file)
    trusting = SourceTls(client_context(ca_file=authority.file))
    async with serving(ANSWER, context) as server, a_source(tmp_path, tls=trusting) as source:
        with pytest.raises(SourceUnavailable) as caught:
            await fetch(source, server.url())
        assert server.requests == []
    # With TLS 1.3 the refusal comes after the handshake, and may be lost in the reset that follows it.
    assert caught.value.reason in {Reason.TLS, Reason.UNREACHABLE}


async def test_a_large_answer_over_tls_is_complete(tmp_path: Path, authority: Authority) -> None:
    content = bytes(range(256)) * 3000

    async def script(request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(http_answer(content))

    trusting = SourceTls(client_context(ca_file=authority.file))
    context = authority.server_context("127.0.0.1")
    async with serving(script, context) as server, a_source(tmp_path, tls=trusting) as source:
        assert await fetch_bytes(source, server.url()) == content
