"""The server under every simulator: starts, stops, refuses, records requests and commits planned faults."""

import asyncio
import json
import socket
import ssl
import struct
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType, TracebackType
from typing import Any, Self

from aiohttp import web

from oase_agent.simulators.answers import Answer, refusal
from oase_agent.simulators.faults import Endpoint, Fault, FaultKind, FaultPlan

MAX_BODY_BYTES = 256 * 2**20
"""The real gateway has no limit; this one only keeps a runaway test from taking the machine down."""

_KEPT_REQUESTS = 100_000
# Handlers that still sleep when the server stops are cancelled after this time.
_STOP_GRACE_S = 0.2
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_HTML_PAGE = b"<html><body><h1>Simulated page</h1></body></html>"


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer that is ready to be sent. `groups` is the number of groups the request carried."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    groups: int = 0


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """One request that was read completely.

    `http_status` is what the processing came to, 0 when the request was not processed and not answered;
    `received_at` is epoch seconds of the simulator's clock; `path` includes the query.
    """

    endpoint: Endpoint
    http_status: int
    body_bytes: int
    groups: int
    received_at: float
    path: str
    fault: FaultKind | None = None


def json_reply(answer: Answer | tuple[int, Any], *, groups: int = 0) -> Reply:
    """Return a reply with a JSON document."""
    status, document = answer
    return Reply(status, json.dumps(document).encode(), groups=groups)


class LoopbackServer:
    """Base of the simulators; usable as an async context manager.

    `faults` may be shared by several servers. `latency_s` passes between processing and answering. `requests`
    holds the newest 100,000 records.
    """

    def __init__(self, *, clock: Callable[[], float] = time.time, faults: FaultPlan | None = None) -> None:
        self.clock = clock
        self.faults = FaultPlan() if faults is None else faults
        self.latency_s = 0.0
        self.requests: deque[RequestRecord] = deque(maxlen=_KEPT_REQUESTS)
        self._changed = asyncio.Event()
        self._runner: web.AppRunner | None = None
        self._site: web.TCPSite | None = None
        self._address = ("", 0)
        self._tls: ssl.SSLContext | None = None

    @property
    def url(self) -> str:
        """Base URL without a trailing slash; valid once started, also while connections are refused."""
        host, port = self._address
        return f"{'http' if self._tls is None else 'https'}://{host}:{port}"

    def routes(self) -> list[web.RouteDef]:
        """Return what the server answers to; a simulator adds its own."""
        return []

    async def start(
        self, host: str = "127.0.0.1", port: int = 0, *, tls: ssl.SSLContext | None = None
    ) -> None:
        """Listen; port 0 takes a free one.

        Raises:
            OSError: the address cannot be used.

        """
        self._tls = tls
        app = web.Application(client_max_size=MAX_BODY_BYTES)
        app.add_routes(self.routes())
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=_STOP_GRACE_S)
        await self._runner.setup()
        self._address = (host, port)
        await self.resume()
        self._address = (host, self._runner.addresses[0][1])

    async def stop(self) -> None:
        """Close everything; requests under way get a short grace."""
        if self._runner is not None:
            await self._runner.cleanup()
        self._runner = self._site = None

    async def refuse(self) -> None:
        """Refuse new connections and cut those that are open, as if the process were gone; keeps its memory."""
        if self._site is None or self._runner is None or self._runner.server is None:
            return
        site, self._site = self._site, None
        await site.stop()
        for connection in self._runner.server.connections:
            connection.force_close()

    async def resume(self) -> None:
        """Listen again, on the same port."""
        if self._runner is None or self._site is not None:
            return
        host, port = self._address
        self._site = web.TCPSite(self._runner, host, port, ssl_context=self._tls)
        await self._site.start()

    async def wait_for(self, predicate: Callable[[Self], bool], timeout_s: float = 10.0) -> None:
        """Return as soon as the predicate is true; it is asked now and after every request.

        Raises:
            TimeoutError: it stayed false.

        """
        async with asyncio.timeout(timeout_s):
            while not predicate(self):
                await self._changed.wait()

    def notify(self) -> None:
        """Wake those who wait for a change."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def serve(
        self, request: web.Request, endpoint: Endpoint, process: Callable[[web.Request, bytes], Reply]
    ) -> web.StreamResponse:
        """Read a request, process it, answer it, and commit the fault that is due, if any.

        `process` is called with nothing awaited in between once the body is complete: a client that is killed
        at any moment has either sent a whole request, which then counts, or none.
        """
        body = await request.read()
        fault = self.faults.take(endpoint, len(body))
        match fault:
            case None:
                reply = self._process(request, endpoint, body, process, None)
                return await self._send(reply)
            case Fault(kind=FaultKind.RESET):
                self.record(request, endpoint, body, Reply(0, b""), fault)
                return _drop(request, reset=True)
            case Fault(kind=FaultKind.STATUS | FaultKind.TOO_LARGE | FaultKind.GARBAGE):
                reply = self._faulty_reply(fault)
                self.record(request, endpoint, body, reply, fault)
                return await self._send(reply)
        if fault.before_s > 0:
            await asyncio.sleep(fault.before_s)
        reply = self._process(request, endpoint, body, process, fault)
        if fault.kind is FaultKind.LOST_ANSWER:
            return _drop(request, reset=False)
        if fault.kind is FaultKind.CUT_ANSWER:
            return await _send_half(request, reply)
        await asyncio.sleep(fault.after_s)
        return await self._send(reply)

    def _process(
        self,
        request: web.Request,
        endpoint: Endpoint,
        body: bytes,
        process: Callable[[web.Request, bytes], Reply],
        fault: Fault | None,
    ) -> Reply:
        reply = process(request, body)
        self.record(request, endpoint, body, reply, fault)
        return reply

    def record(
        self, request: web.Request, endpoint: Endpoint, body: bytes, reply: Reply, fault: Fault | None
    ) -> None:
        """Remember a request and wake those who wait."""
        kind = None if fault is None else fault.kind
        self.requests.append(
            RequestRecord(
                endpoint, reply.status, len(body), reply.groups, self.clock(), request.path_qs, kind
            )
        )
        self.notify()

    async def _send(self, reply: Reply) -> web.Response:
        if self.latency_s > 0:
            await asyncio.sleep(self.latency_s)
        return web.Response(
            status=reply.status, body=reply.body, content_type=reply.content_type, headers=reply.headers
        )

    def _faulty_reply(self, fault: Fault) -> Reply:
        headers = {} if fault.retry_after is None else {"Retry-After": fault.retry_after}
        if fault.result is None:
            return Reply(fault.http_status, _HTML_PAGE, "text/html", headers)
        _, envelope = refusal(fault.result, "Simulated fault", self.clock())
        return Reply(fault.http_status, json.dumps(envelope).encode(), headers=headers)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()


def _drop(request: web.Request, *, reset: bool) -> web.Response:
    """Close the connection under a request; the returned response finds it closed and is thrown away."""
    transport = request.transport
    if transport is not None:
        connection = transport.get_extra_info("socket")
        if reset and connection is not None:
            # Lingering for zero seconds makes the kernel send RST instead of FIN.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        transport.abort()
    return web.Response()


async def _send_half(request: web.Request, reply: Reply) -> web.StreamResponse:
    response = web.StreamResponse(status=reply.status, headers=reply.headers)
    response.content_type = reply.content_type
    response.content_length = len(reply.body)
    await response.prepare(request)
    await response.write(reply.body[: len(reply.body) // 2])
    if request.transport is not None:
        request.transport.close()
    return response
