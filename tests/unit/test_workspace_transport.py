"""The way to the workspace: proxies, TLS with our own authority and certificate, and broken connections."""

import asyncio
import datetime
import gc
import ipaddress
import socket
import ssl
import traceback
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from oase_agent.errors import Reason, WorkspaceUnavailable
from oase_agent.proxies import ProxyEnvironment
from oase_agent.tls import client_context
from oase_agent.workspace.failures import sort_fault
from oase_agent.workspace.transport import Call, RawAnswer, Transport, watched_socket

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def call(url: str) -> Call:
    return Call(url, [b"body"], "application/json", 10.0, "Bearer canary-token")


async def post(
    url: str, *, proxies: ProxyEnvironment | None = None, tls: ssl.SSLContext | None = None
) -> RawAnswer:
    async with Transport(tls=tls or client_context(), proxies=proxies or ProxyEnvironment()) as transport:
        return await transport.post(call(url))


async def fails(
    url: str, *, proxies: ProxyEnvironment | None = None, tls: ssl.SSLContext | None = None
) -> WorkspaceUnavailable:
    with pytest.raises(WorkspaceUnavailable) as caught:
        await post(url, proxies=proxies, tls=tls)
    error = caught.value
    shown = "".join(traceback.format_exception(error)) + repr(error) + repr(error.__cause__)
    assert "canary" not in shown
    return error


@dataclass
class Listener:
    """A server on 127.0.0.1 that keeps the head of each request; a CONNECT is tunnelled, if it may be."""

    port: int = 0
    heads: list[str] = field(default_factory=list)
    tunnels: bool = True

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.heads.append(head)
            if head.startswith("CONNECT ") and self.tunnels:
                await self._tunnel(head.split()[1], reader, writer)
            elif head.startswith("CONNECT "):
                writer.write(b"HTTP/1.1 407 canary\r\nContent-Length: 0\r\n\r\n")
            else:
                await reader.readexactly(len(b"body"))
                writer.write(OK)
            await writer.drain()
        writer.close()

    async def _tunnel(self, target: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, _, port = target.rpartition(":")
        far_reader, far_writer = await asyncio.open_connection(host, int(port))
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer))


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


@asynccontextmanager
async def listening(tls: ssl.SSLContext | None = None) -> AsyncIterator[Listener]:
    listener = Listener()
    server = await asyncio.start_server(listener.handle, "127.0.0.1", 0, ssl=tls)
    listener.port = server.sockets[0].getsockname()[1]
    async with server:
        yield listener


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@dataclass(frozen=True)
class Certificates:
    """A throw-away authority, and files with key and certificate that it issued."""

    ca_file: Path
    server_file: Path
    other_name_file: Path
    client_file: Path


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    directory = tmp_path_factory.mktemp("certificates")
    ca_key = ec.generate_private_key(ec.SECP256R1())
    ca_file = directory / "ca.pem"
    ca_file.write_bytes(
        certificate("Test CA", ca_key, ca_key, is_ca=True).public_bytes(serialization.Encoding.PEM)
    )
    files = []
    for name in ("127.0.0.1", "10.0.0.1", "client"):
        key = ec.generate_private_key(ec.SECP256R1())
        path = directory / f"{name}.pem"
        path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            + certificate(name, key, ca_key).public_bytes(serialization.Encoding.PEM)
        )
        files.append(path)
    return Certificates(ca_file, *files)


def certificate(
    name: str, key: ec.EllipticCurvePrivateKey, ca_key: ec.EllipticCurvePrivateKey, *, is_ca: bool = False
) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    day = datetime.timedelta(days=1)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test CA")]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - day)
        .not_valid_after(now + day)
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
    )
    if not is_ca and name != "client":
        address = x509.IPAddress(ipaddress.ip_address(name))
        builder = builder.add_extension(x509.SubjectAlternativeName([address]), critical=False)
    return builder.sign(ca_key, hashes.SHA256())


def server_context(file: Path, *, client_ca_file: Path | None = None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    if client_ca_file is not None:
        context.load_verify_locations(client_ca_file)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


async def test_our_own_authority_is_trusted(certificates: Certificates) -> None:
    async with listening(server_context(certificates.server_file)) as server:
        answer = await post(
            f"https://127.0.0.1:{server.port}/", tls=client_context(ca_file=certificates.ca_file)
        )
    assert (answer.status, answer.body) == (200, b"ok")


async def test_an_unknown_authority_is_refused_before_anything_is_sent(certificates: Certificates) -> None:
    async with listening(server_context(certificates.server_file)) as server:
        error = await fails(f"https://127.0.0.1:{server.port}/")
    assert (error.reason, error.certainly_not_stored) == (Reason.TLS, True)
    assert "CA_FILE" in str(error)
    assert server.heads == []


async def test_a_certificate_for_another_name_is_refused(certificates: Certificates) -> None:
    async with listening(server_context(certificates.other_name_file)) as server:
        error = await fails(
            f"https://127.0.0.1:{server.port}/", tls=client_context(ca_file=certificates.ca_file)
        )
    assert (error.reason, error.certainly_not_stored) == (Reason.TLS, True)
    assert server.heads == []


async def test_our_own_certificate_is_shown(certificates: Certificates) -> None:
    tls = server_context(certificates.server_file, client_ca_file=certificates.ca_file)
    async with listening(tls) as server:
        ours = client_context(ca_file=certificates.ca_file, cert_file=certificates.client_file)
        answer = await post(f"https://127.0.0.1:{server.port}/", tls=ours)
    assert answer.status == 200


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_missing_certificate_of_our_own_is_named(
    certificates: Certificates, version: ssl.TLSVersion
) -> None:
    tls = server_context(certificates.server_file, client_ca_file=certificates.ca_file)
    tls.minimum_version = tls.maximum_version = version
    # In a thread with OpenSSL's own handshake, which sends its alert; asyncio's server only cuts the connection.
    with socket.create_server(("127.0.0.1", 0)) as server:
        handshake = asyncio.create_task(asyncio.to_thread(refuse_handshake, server, tls))
        error = await fails(
            f"https://127.0.0.1:{server.getsockname()[1]}/", tls=client_context(ca_file=certificates.ca_file)
        )
        await handshake
    assert error.reason is Reason.TLS
    assert "CLIENT_CERT_FILE" in str(error)


def refuse_handshake(server: socket.socket, tls: ssl.SSLContext) -> None:
    accepted, _ = server.accept()
    with tls.wrap_socket(accepted, server_side=True, do_handshake_on_connect=False) as connection:
        with pytest.raises(ssl.SSLError):
            connection.do_handshake()
        connection.shutdown(socket.SHUT_WR)
        with suppress(ConnectionError):
            while socket.socket.recv(connection, 65536):
                pass


async def test_tls_towards_a_plain_port_is_a_tls_failure() -> None:
    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 canary\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(plain, "127.0.0.1", 0)
    async with server:
        error = await fails(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
    assert (error.reason, error.certainly_not_stored) == (Reason.TLS, True)


async def test_a_refused_connection_was_certainly_not_stored() -> None:
    error = await fails(f"http://127.0.0.1:{free_port()}/")
    assert (error.reason, error.certainly_not_stored) == (Reason.UNREACHABLE, True)
    assert "EXASTRO_URL" in str(error)


async def test_a_request_in_clear_goes_through_the_http_proxy_with_its_credentials() -> None:
    async with listening() as proxy:
        proxies = ProxyEnvironment(http=f"http://user:canary-password@127.0.0.1:{proxy.port}")
        answer = await post("http://workspace.invalid:8000/x", proxies=proxies)
    assert answer.status == 200
    (head,) = proxy.heads
    assert head.startswith("POST http://workspace.invalid:8000/x HTTP/1.1\r\n")
    assert f"Proxy-Authorization: Basic {b64encode(b'user:canary-password').decode()}\r\n" in head


async def test_a_tls_request_goes_through_a_tunnel_of_the_https_proxy(certificates: Certificates) -> None:
    async with listening(server_context(certificates.server_file)) as server, listening() as proxy:
        proxies = ProxyEnvironment(https=f"http://user:canary-password@127.0.0.1:{proxy.port}")
        answer = await post(
            f"https://127.0.0.1:{server.port}/x",
            proxies=proxies,
            tls=client_context(ca_file=certificates.ca_file),
        )
    assert answer.status == 200
    (tunnel,) = proxy.heads
    assert tunnel.startswith(f"CONNECT 127.0.0.1:{server.port} HTTP/1.1\r\n")
    assert "canary-token" not in tunnel
    (head,) = server.heads
    assert head.startswith("POST /x HTTP/1.1\r\n")
    assert "Proxy-Authorization" not in head


async def test_no_proxy_goes_directly() -> None:
    async with listening() as server, listening() as proxy:
        proxies = ProxyEnvironment(http=f"http://127.0.0.1:{proxy.port}", no_proxy="127.0.0.1")
        await post(f"http://127.0.0.1:{server.port}/", proxies=proxies)
    assert (len(server.heads), len(proxy.heads)) == (1, 0)


async def test_the_process_environment_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    async with listening() as server:
        assert (await post(f"http://127.0.0.1:{server.port}/")).status == 200


async def test_a_proxy_that_refuses_is_named_without_its_credentials() -> None:
    async with listening() as proxy:
        proxy.tunnels = False
        proxies = ProxyEnvironment(https=f"http://user:canary-password@127.0.0.1:{proxy.port}")
        error = await fails("https://workspace.invalid/", proxies=proxies)
    assert (error.reason, error.certainly_not_stored) == (Reason.PROXY, True)
    assert "HTTPS_PROXY" in str(error)


async def test_a_proxy_that_is_away_is_named_without_its_credentials() -> None:
    proxies = ProxyEnvironment(http=f"http://user:canary-password@127.0.0.1:{free_port()}")
    error = await fails("http://workspace.invalid/", proxies=proxies)
    assert (error.reason, error.certainly_not_stored) == (Reason.PROXY, True)


@pytest.mark.parametrize(
    "proxy",
    ["socks5://canary:1080", "http://canary:port", "http://", "http://[canary", "http://user:canary@"],
)
async def test_a_proxy_that_cannot_be_one_is_told_without_its_value(proxy: str) -> None:
    error = await fails("http://workspace.invalid/", proxies=ProxyEnvironment(http=proxy))
    assert (error.reason, error.certainly_not_stored) == (Reason.PROXY, True)


@pytest.mark.parametrize(
    ("fault", "reason", "never_connected"),
    [
        (aiohttp.ConnectionTimeoutError("canary"), Reason.TIMEOUT, True),
        (aiohttp.SocketTimeoutError("canary"), Reason.TIMEOUT, False),
        (TimeoutError(), Reason.TIMEOUT, False),
        (aiohttp.ServerDisconnectedError("canary"), Reason.UNREACHABLE, False),
        (aiohttp.ClientPayloadError("canary"), Reason.UNREACHABLE, False),
        (aiohttp.ClientOSError(104, "canary"), Reason.UNREACHABLE, False),
        (aiohttp.ClientOSError(1, ssl.SSLError(1, "canary")), Reason.TLS, False),
        (aiohttp.InvalidURL("canary"), Reason.UNREACHABLE, True),
        (ConnectionResetError(104, "canary"), Reason.UNREACHABLE, False),
    ],
)
def test_a_fault_is_sorted(fault: BaseException, reason: Reason, never_connected: bool) -> None:
    error = sort_fault(fault)
    assert (error.reason, error.certainly_not_stored) == (reason, never_connected)
    assert "canary" not in str(error)


def test_a_name_that_does_not_resolve_is_told_apart() -> None:
    key: Any = SimpleNamespace(host="canary", port=443, ssl=True)
    error = sort_fault(aiohttp.ClientConnectorDNSError(key, OSError(-2, "Name or service not known")))
    assert (error.reason, error.certainly_not_stored) == (Reason.UNREACHABLE, True)
    assert "resolved" in str(error)


def test_a_socket_finds_a_dead_peer_within_about_a_minute() -> None:
    with watched_socket(
        (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", 1))
    ) as watched:
        idle_s, interval_s, probes = (
            watched.getsockopt(socket.IPPROTO_TCP, option)
            for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
        )
        assert watched.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert idle_s + interval_s * probes <= 60
        assert watched.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) <= 60_000


async def test_the_connection_of_a_request_is_watched() -> None:
    keepalive: list[int] = []

    async def look_at_the_other_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\nbody")
        port = writer.get_extra_info("sockname")[1]
        for other in (found for found in gc.get_objects() if type(found) is socket.socket):
            with suppress(OSError):  # not open, or not connected
                if other.family is socket.AF_INET and other.getpeername()[1] == port:
                    keepalive.append(other.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))
        writer.write(OK)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(look_at_the_other_end, "127.0.0.1", 0)
    async with server:
        await post(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
    assert keepalive == [1]


def test_a_call_does_not_print_its_secrets() -> None:
    assert "canary" not in repr(call("http://x/"))
    assert "body" not in repr(RawAnswer(200, b"body")).replace("body=", "")
