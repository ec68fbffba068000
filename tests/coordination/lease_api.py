"""An API server for Leases: resource versions, conflicts, watches and lists in parts as Kubernetes has them.

Replicas are told apart by their tokens, so that a test can slow, partition or refuse one of them and not the others.
"""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

Json = dict[str, Any]

_PATH = "/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
# Kubernetes forgets old versions: a watch that asks for one of those is told 410.
_KEPT_CHANGES = 1_000


@dataclass
class Weather:
    """What one replica, or every one, meets on its way to the API server."""

    is_partitioned: bool = False
    slow_s: float = 0.0
    # Lists that were made and are long under way.
    late_lists_s: float = 0.0
    # A watch that stays open and tells nothing any more.
    is_silent: bool = False
    # An answer that never comes, although the request was carried out.
    loses_answers: int = 0
    refusals: list[int] = field(default_factory=list)


@dataclass
class Refusal(Exception):
    status: int
    reason: str


class LeaseServer:
    """The state behind the sockets; `requests` counts by token and verb."""

    def __init__(self, namespace: str = "exastro") -> None:
        self.namespace = namespace
        self.port = 0
        self.leases: dict[str, Json] = {}
        self.requests: dict[tuple[str, str], int] = {}
        self.tokens: set[str] = set()
        # As a proxy would, or a server that is about to end.
        self.ends_watches = False
        self.allowed_names: Callable[[str], bool] = lambda _name: True
        self._weather: dict[str, Weather] = {}
        self._version = 1_000
        self._changes: list[tuple[int, str, Json]] = []
        self._changed = asyncio.Condition()
        self._clear = asyncio.Event()
        self.watches: set[asyncio.Timeout] = set()

    def weather(self, token: str = "*") -> Weather:
        """Return what the replica with `token` meets; `*` is everybody."""
        return self._weather.setdefault(token, Weather())

    async def heal(self, token: str = "*") -> None:
        """End all trouble of a replica; requests that hung in a partition break off."""
        weather = self.weather(token)
        weather.is_partitioned, weather.slow_s, weather.loses_answers = False, 0.0, 0
        weather.is_silent, weather.late_lists_s = False, 0.0
        weather.refusals.clear()
        self._clear.set()
        self._clear = asyncio.Event()

    def holders(self, kind: str) -> dict[str, str]:
        """Return who holds which Lease of a kind, by the setting of a claim or the name of a member Lease."""
        return {
            lease["metadata"]["annotations"].get("oase-agent.exastro.org/setting", name): lease["spec"][
                "holderIdentity"
            ]
            for name, lease in self.leases.items()
            if lease["metadata"]["labels"]["oase-agent.exastro.org/kind"] == kind
            and lease["spec"]["holderIdentity"]
        }

    # -- verbs --------------------------------------------------------------------------------------------

    async def create(self, lease: Json) -> Json:
        name = lease["metadata"]["name"]
        if name in self.leases:
            raise Refusal(409, "AlreadyExists")
        if lease["metadata"].get("resourceVersion"):
            raise Refusal(400, "BadRequest")
        return await self._store(name, lease, "ADDED")

    async def replace(self, name: str, lease: Json) -> Json:
        if not self.allowed_names(name):
            raise Refusal(403, "Forbidden")
        if name not in self.leases:
            raise Refusal(404, "NotFound")
        if lease["metadata"].get("resourceVersion") != self.leases[name]["metadata"]["resourceVersion"]:
            raise Refusal(409, "Conflict")
        return await self._store(name, lease, "MODIFIED")

    async def delete(self, name: str) -> None:
        """Delete a Lease, as an operator would."""
        lease = json.loads(json.dumps(self.leases.pop(name)))
        self._version += 1
        lease["metadata"]["resourceVersion"] = str(self._version)
        await self._publish("DELETED", lease)

    def end_watches(self) -> None:
        """End every watch there is, in order."""
        for end in self.watches:
            end.reschedule(0)

    def forget_changes(self) -> None:
        """Keep no history: who asks for changes since an old version is told that it is gone."""
        self._version += 10
        self._changes = [(self._version, "BOOKMARK", {"metadata": {"resourceVersion": str(self._version)}})]

    def list(self, selector: str, limit: int, after: str) -> Json:
        label, _, value = selector.partition("=")
        names = sorted(
            name for name, lease in self.leases.items() if lease["metadata"]["labels"].get(label) == value
        )
        rest = [name for name in names if name > after]
        page = rest[:limit]
        more = page[-1] if len(rest) > limit else ""
        return {
            "kind": "LeaseList",
            "apiVersion": "coordination.k8s.io/v1",
            "metadata": {"resourceVersion": str(self._version), **({"continue": more} if more else {})},
            "items": [self.leases[name] for name in page],
        }

    async def changes(self, version: int) -> AsyncIterator[tuple[str, Json]]:
        """Yield what changed after `version`; raises Refusal 410 for a version that is too old."""
        while True:
            if self._changes and version < self._changes[0][0] - 1:
                raise Refusal(410, "Expired")
            for at, kind, lease in [change for change in self._changes if change[0] > version]:
                version = at
                yield kind, lease
            async with self._changed:
                if not self._changes or self._changes[-1][0] <= version:
                    await self._changed.wait()

    async def _store(self, name: str, lease: Json, kind: str) -> Json:
        self._version += 1
        stored: Json = json.loads(json.dumps(lease))
        stored["metadata"]["resourceVersion"] = str(self._version)
        stored["metadata"].setdefault("uid", name)
        self.leases[name] = stored
        await self._publish(kind, stored)
        return stored

    async def _publish(self, kind: str, lease: Json) -> None:
        self._changes = [*self._changes[-_KEPT_CHANGES:], (self._version, kind, lease)]
        async with self._changed:
            self._changed.notify_all()

    # -- the way there ------------------------------------------------------------------------------------

    async def arrive(self, request: web.Request, verb: str) -> Weather:
        """Let a request through, or not; returns what its answer meets."""
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        self.requests[token, verb] = self.requests.get((token, verb), 0) + 1
        for weather in (self.weather(token), self.weather()):
            if weather.is_partitioned:
                await self._clear.wait()
                _break_off(request)
            if weather.refusals:
                raise Refusal(weather.refusals.pop(0), "Trouble")
            await asyncio.sleep(weather.slow_s)
        if self.tokens and token not in self.tokens:
            raise Refusal(401, "Unauthorized")
        return self.weather(token)

    async def depart(self, request: web.Request, weather: Weather) -> None:
        """Let an answer through, or lose it."""
        if weather.loses_answers:
            weather.loses_answers -= 1
            _break_off(request)
        await self.pass_on(request, weather)

    async def pass_on(self, request: web.Request, weather: Weather) -> None:
        """Let a change through to its watch, unless there is a partition."""
        if weather.is_partitioned or self.weather().is_partitioned:
            await self._clear.wait()
            _break_off(request)


def _break_off(request: web.Request) -> None:
    if request.transport is not None:  # unless the replica gave up first
        request.transport.abort()
    raise web.HTTPServiceUnavailable


@asynccontextmanager
async def serving_leases(
    server: LeaseServer, tls: ssl.SSLContext, port: int = 0
) -> AsyncIterator[LeaseServer]:
    """Serve on a loopback port until the context ends."""
    application = web.Application(middlewares=[_refusals])
    path = _PATH.format(namespace=server.namespace)

    async def collection(request: web.Request) -> web.StreamResponse:
        if request.query.get("watch") in {"1", "true"}:
            return await _watch(server, request)
        weather = await server.arrive(request, "LIST")
        query = request.query
        document = server.list(
            query["labelSelector"], int(query.get("limit", "500")), query.get("continue", "")
        )
        await asyncio.sleep(weather.late_lists_s)
        await server.depart(request, weather)
        return web.json_response(document)

    async def create(request: web.Request) -> web.Response:
        weather = await server.arrive(request, "CREATE")
        lease = await server.create(await request.json())
        await server.depart(request, weather)
        return web.json_response(lease, status=201)

    async def get(request: web.Request) -> web.Response:
        weather = await server.arrive(request, "GET")
        lease = server.leases.get(request.match_info["name"])
        if lease is None:
            raise Refusal(404, "NotFound")
        await server.depart(request, weather)
        return web.json_response(lease)

    async def replace(request: web.Request) -> web.Response:
        weather = await server.arrive(request, "UPDATE")
        lease = await server.replace(request.match_info["name"], await request.json())
        await server.depart(request, weather)
        return web.json_response(lease)

    application.router.add_get(path, collection)
    application.router.add_post(path, create)
    application.router.add_get(path + "/{name}", get)
    application.router.add_put(path + "/{name}", replace)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port, ssl_context=tls)
    await site.start()
    server.port = runner.addresses[0][1]
    try:
        yield server
    finally:
        server._clear.set()
        await runner.cleanup()


async def _watch(server: LeaseServer, request: web.Request) -> web.StreamResponse:
    weather = await server.arrive(request, "WATCH")
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    await response.prepare(request)
    seconds = 0.0 if server.ends_watches else float(request.query.get("timeoutSeconds", "300"))
    end = asyncio.timeout(seconds)
    try:
        async with end:
            server.watches.add(end)
            async for kind, lease in server.changes(int(request.query["resourceVersion"])):
                if weather.is_silent:
                    continue
                await server.pass_on(request, weather)
                line = json.dumps({"type": kind, "object": lease})
                await response.write(line.encode() + b"\n")
    except Refusal as refusal:
        status = {"kind": "Status", "code": refusal.status, "reason": refusal.reason}
        await response.write(json.dumps({"type": "ERROR", "object": status}).encode() + b"\n")
    except (TimeoutError, ConnectionError):
        pass  # the watch has lasted long enough, or the replica is gone
    finally:
        server.watches.discard(end)
    return response


@web.middleware
async def _refusals(request: web.Request, handler: Callable[[web.Request], Any]) -> web.StreamResponse:
    try:
        response: web.StreamResponse = await handler(request)
    except Refusal as refusal:
        status = {"kind": "Status", "status": "Failure", "code": refusal.status, "reason": refusal.reason}
        return web.json_response(status, status=refusal.status)
    except ConnectionError:
        return web.Response(status=503)  # nobody reads it: the replica is gone
    return response
