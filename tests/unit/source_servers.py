"""Servers, proxies and certificates for the tests of `oase_agent.sources`: small, real, and scripted by the test."""

import asyncio
import datetime
import ipaddress
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from oase_agent.model import ConnectionMethod, RequestMethod, Setting, SourceRequest
from oase_agent.proxies import ProxyEnvironment
from oase_agent.sources.body import Fetched
from oase_agent.sources.egress import EgressPolicy
from oase_agent.sources.exchange import SourceLimits
from oase_agent.sources.http import HttpSource
from oase_agent.sources.question import Question
from oase_agent.sources.routes import SourceTls
from oase_agent.tls import client_context

NOW_US = 1_700_000_000_000_000
FETCHED_TIME = 1_700_000_000

GET_SETTING = Setting(
    id="id-1",
    name="a source",
    connection_method=ConnectionMethod.OPTIONAL,
    request_method=RequestMethod.GET,
    url="",
    ttl_s=60,
)
POST_SETTING = replace(GET_SETTING, request_method=RequestMethod.POST)

Script = Callable[["Request", asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass(frozen=True)
class Request:
    """A request as it came over the wire."""

    line: str
    headers: Mapping[str, str]
    body: bytes
    head: bytes


@dataclass
class Server:
    port: int
    scheme: str = "http"
    requests: list[Request] = field(default_factory=list)

    def url(self, path: str = "/", host: str = "127.0.0.1") -> str:
        return f"{self.scheme}://{host}:{self.port}{path}"

    @property
    def only_request(self) -> Request:
        (request,) = self.requests
        return request


async def read_request(reader: asyncio.StreamReader) -> Request:
    head = await reader.readuntil(b"\r\n\r\n")
    line, *rest = head.decode("latin-1").split("\r\n")[:-2]
    headers = {name.lower(): value.strip() for name, _, value in (text.partition(":") for text in rest)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Request(line, headers, body, head)


@asynccontextmanager
async def serving(script: Script, tls: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    """Serve on a free port; `script` answers one request, then the connection is closed."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = await read_request(reader)
            server.requests.append(request)
            await script(request, reader, writer)
            await writer.drain()
        finally:
            writer.close()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(serve_one(reader, writer))
        tasks.add(task)
        with suppress(OSError, EOFError, asyncio.CancelledError):
            await task

    listener = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=tls)
    server = Server(listener.sockets[0].getsockname()[1], "https" if tls else "http")
    try:
        yield server
    finally:
        listener.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def answering(raw: bytes) -> Script:
    """Return a script that sends `raw` and closes."""

    async def script(request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(raw)

    return script


def http_answer(body: bytes = b"[]", status: int = 200, **headers: str) -> bytes:
    """Return a complete answer; underscores in header names become hyphens."""
    fields = {"Content-Length": str(len(body)), "Connection": "close"}
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status} Any\r\n{lines}\r\n".encode() + body


def redirect_to(location: str, status: int = 302) -> bytes:
    return http_answer(b"moved", status, Location=location)


def a_source(directory: Path, **changes: Any) -> HttpSource:
    """Return a source with short limits; `changes` are arguments of HttpSource."""
    arguments: dict[str, Any] = {
        "limits": SourceLimits(timeout_s=10, max_bytes=1_000_000, memory_bytes=1000),
        "tls": SourceTls(client_context()),
        "proxies": ProxyEnvironment(),
        "egress": EgressPolicy(),
        "clock": lambda: NOW_US,
        "spill_dir": directory,
    }
    return HttpSource(**(arguments | changes))


async def fetch(source: HttpSource, url: str, setting: Setting = GET_SETTING, **request: Any) -> Fetched:
    arguments: dict[str, Any] = {"headers": {}} | request
    question = Question(setting, SourceRequest(url, **arguments), FETCHED_TIME, FETCHED_TIME)
    async with aclosing(source.answers(question)) as answers:
        return await anext(answers)


async def fetch_bytes(source: HttpSource, url: str, setting: Setting = GET_SETTING, **request: Any) -> bytes:
    fetched = await fetch(source, url, setting, **request)
    with fetched.body as body:
        return bytes(body.view())


@asynccontextmanager
async def forward_proxy(authorization: str | None = None) -> AsyncIterator[Server]:
    """Run a plain HTTP proxy: absolute-form requests and CONNECT, with `authorization` if it is given."""

    async def script(request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if authorization is not None and request.headers.get("proxy-authorization") != authorization:
            writer.write(http_answer(b"", 407))
            return
        method, target, _ = request.line.split(" ")
        if method == "CONNECT":
            await _tunnel(target, reader, writer)
        else:
            await _forward(method, target, request, writer)

    async with serving(script) as server:
        yield server


async def _tunnel(target: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    host, _, port = target.rpartition(":")
    far_reader, far_writer = await asyncio.open_connection(host, int(port))
    writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
    try:
        await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer))
    finally:
        far_writer.close()


async def _forward(method: str, target: str, request: Request, writer: asyncio.StreamWriter) -> None:
    parts = urlsplit(target)
    assert parts.hostname is not None, "a proxy is asked with the absolute URL"
    reader, far_writer = await asyncio.open_connection(parts.hostname, parts.port or 80)
    path = f"{parts.path}?{parts.query}" if parts.query else parts.path
    head = request.head.replace(target.encode(), path.encode(), 1)
    try:
        far_writer.write(head + request.body)
        await _pump(reader, writer)
    finally:
        far_writer.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()


class Authority:
    """A throw-away certificate authority with its files in `directory`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "throw-away authority")])
        certificate = self._signed(self._name, self._key, x509.BasicConstraints(ca=True, path_length=0))
        self.file = directory / "authority.pem"
        self.file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def server_context(self, host: str) -> ssl.SSLContext:
        """Return the TLS context of a server whose certificate is for `host`, a name or an IP address."""
        key = ec.generate_private_key(ec.SECP256R1())
        try:
            name: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(host))
        except ValueError:
            name = x509.DNSName(host)
        certificate = self._signed(x509.Name([]), key, x509.SubjectAlternativeName([name]))
        file = self._directory / f"server-{host}.pem"
        file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            + certificate.public_bytes(serialization.Encoding.PEM)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context

    def identity(self, name: str, password: bytes | None = None) -> Path:
        """Write a certificate of a client with its key, `name`.pem, and return the file."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        certificate = self._signed(subject, key, x509.SubjectAlternativeName([x509.DNSName(name)]))
        lock = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
        file = self._directory / f"{name}.pem"
        file.write_bytes(
            key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, lock)
            + certificate.public_bytes(serialization.Encoding.PEM)
        )
        return file

    def _signed(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, extension: x509.ExtensionType
    ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(hours=1))
            .add_extension(extension, critical=True)
            .sign(self._key, hashes.SHA256())
        )
