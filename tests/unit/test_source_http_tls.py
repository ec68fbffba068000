"""TLS towards sources, with a throw-away certificate authority (promise S1)."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from oase_agent.errors import Reason, SourceUnavailable
from oase_agent.sources.http import HttpSource
from oase_agent.sources.routes import SourceTls
from oase_agent.tls import client_context
from tests.peers.authority import PeerAuthority
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
    assert (
        "is for another host (IP address mismatch, certificate is not valid for '127.0.0.1'): write a name"
        in message
    )
    assert "SOURCE_CA_FILE" not in message


async def test_s1_a_certificate_for_another_name_is_refused(tmp_path: Path, authority: Authority) -> None:
    trusting = SourceTls(client_context(ca_file=authority.file))
    context = authority.server_context("other.example")
    async with serving(ANSWER, context) as server, a_source(tmp_path, tls=trusting) as source:
        message = await tls_failure(source, server.url(host="localhost"))
    assert f"the certificate of localhost:{server.port} is for another host (Hostname mismatch" in message


async def test_s1_a_certificate_that_has_ended_is_refused(tmp_path: Path) -> None:
    authority = PeerAuthority(tmp_path)
    trusting = SourceTls(client_context(ca_file=authority.file))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.expired_server_file("localhost"))
    async with serving(ANSWER, context) as server, a_source(tmp_path, tls=trusting) as source:
        message = await tls_failure(source, server.url(host="localhost"))
    assert "is out of date (certificate has expired): renew it there, and check the clock" in message
    assert "TLS_INSECURE_HOSTS" not in message


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


@asynccontextmanager
async def saying_at_once(raw: bytes) -> AsyncIterator[int]:
    """Say this to whoever begins to speak, and nothing else; gives the port."""

    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(raw)
        await writer.drain()
        with suppress(OSError):
            while await reader.read(65536):
                pass
        writer.close()

    server = await asyncio.start_server(say, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def test_a_plain_server_behind_https_is_explained(tmp_path: Path) -> None:
    refusal = b"HTTP/1.1 400 Bad Request\r\n\r\n"
    async with saying_at_once(refusal) as port, a_source(tmp_path) as source:
        message = await tls_failure(source, f"https://127.0.0.1:{port}/")
    assert "check scheme and port of the URL" in message


# A server that answers with the first message of TLS 1.0, whatever was offered to it; and the alert of one that
# does not know what was offered.
HELLO_OF_TLS_1_0 = bytes.fromhex("160301002a020000260301") + bytes(32) + bytes.fromhex("00002f00")
ALERT_PROTOCOL_VERSION = bytes.fromhex("15030100020246")


@pytest.mark.parametrize("raw", [HELLO_OF_TLS_1_0, ALERT_PROTOCOL_VERSION], ids=["hello", "alert"])
async def test_a_server_that_speaks_old_versions_only_is_told_as_such(tmp_path: Path, raw: bytes) -> None:
    async with saying_at_once(raw) as port, a_source(tmp_path) as source:
        message = await tls_failure(source, f"https://127.0.0.1:{port}/")
    assert message.startswith(f"127.0.0.1:{port} offers no TLS that is new enough")
    assert "TLS 1.2 or 1.3" in message


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


async def test_a_refusal_within_the_handshake_names_the_client_certificate(tmp_path: Path) -> None:
    # Fatal: unknown_ca.
    async with saying_at_once(bytes.fromhex("15030300020230")) as port, a_source(tmp_path) as source:
        message = await tls_failure(source, f"https://127.0.0.1:{port}/")
    assert "check client_cert_file of the setting in SOURCE_OPTIONS_FILE" in message


async def test_a_large_answer_over_tls_is_complete(tmp_path: Path, authority: Authority) -> None:
    content = bytes(range(256)) * 3000

    async def script(request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(http_answer(content))

    trusting = SourceTls(client_context(ca_file=authority.file))
    context = authority.server_context("127.0.0.1")
    async with serving(script, context) as server, a_source(tmp_path, tls=trusting) as source:
        assert await fetch_bytes(source, server.url()) == content
