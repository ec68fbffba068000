"""Doors under /simulator/ through which another process looks at a simulated workspace and disturbs it.

| Door | Effect |
| --- | --- |
| `GET /simulator/counts` | number of stored events by setting, and of requests by endpoint |
| `GET /simulator/events?setting=NAME` | the stored events of a setting |
| `POST /simulator/faults` | plans a fault: `{"kind":"lost_answer","endpoint":"events"}`, see `Fault` |
| the same | refuses connections for a while: `{"kind":"refuse","for_s":2}` |
| `DELETE /simulator/faults` | forgets the planned faults |
| `POST /simulator/maintenance` | `{"on":true}` or `{"on":false}` |
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

from aiohttp import web

from oase_agent.simulators.acceptance import Acceptance, parse_json
from oase_agent.simulators.faults import Fault, FaultKind
from oase_agent.simulators.loopback import LoopbackServer


class Control:
    """The control doors of one workspace. These requests are not recorded and meet no fault."""

    def __init__(
        self, server: LoopbackServer, acceptance: Acceptance, set_maintenance: Callable[[bool], None]
    ) -> None:
        self._server = server
        self._acceptance = acceptance
        self._set_maintenance = set_maintenance

    def routes(self) -> list[web.RouteDef]:
        """Return the doors."""
        return [
            web.get("/simulator/counts", self._counts),
            web.get("/simulator/events", self._events),
            web.post("/simulator/faults", self._add_fault),
            web.delete("/simulator/faults", self._clear_faults),
            web.post("/simulator/maintenance", self._switch_maintenance),
        ]

    async def _counts(self, _request: web.Request) -> web.Response:
        requests = Counter(record.endpoint for record in self._server.requests)
        return web.json_response({"events": self._acceptance.counts(), "requests": dict(requests)})

    async def _events(self, request: web.Request) -> web.Response:
        try:
            events = self._acceptance.events_of(request.query.get("setting", ""))
        except RuntimeError as error:
            raise web.HTTPConflict(text=str(error)) from error
        return web.json_response({"events": events})

    async def _add_fault(self, request: web.Request) -> web.StreamResponse:
        fields = await _json_object(request)
        if fields.get("kind") == "refuse":
            return await self._refuse_for_a_while(request, fields)
        try:
            fault = Fault(**fields | {"kind": FaultKind(fields.get("kind", ""))})
        except (TypeError, ValueError) as error:
            kinds = ", ".join(FaultKind)
            raise web.HTTPBadRequest(
                text=f"A fault needs a kind (refuse, {kinds}) and its fields."
            ) from error
        self._server.faults.add(fault)
        return web.json_response({"pending": len(self._server.faults.pending)})

    async def _refuse_for_a_while(self, request: web.Request, fields: dict[str, Any]) -> web.StreamResponse:
        try:
            for_s = float(fields["for_s"])
        except (KeyError, TypeError, ValueError) as error:
            raise web.HTTPBadRequest(text="refuse needs for_s, in seconds.") from error
        # Answer first: refusing cuts the connection over which this request came.
        response = web.json_response({"refusing_for_s": for_s})
        await response.prepare(request)
        await response.write_eof()
        await self._server.refuse()
        await asyncio.sleep(for_s)
        await self._server.resume()
        return response

    async def _clear_faults(self, _request: web.Request) -> web.Response:
        self._server.faults.clear()
        return web.json_response({"pending": 0})

    async def _switch_maintenance(self, request: web.Request) -> web.Response:
        fields = await _json_object(request)
        on = fields.get("on") is True
        self._set_maintenance(on)
        return web.json_response({"maintenance": on})


async def _json_object(request: web.Request) -> dict[str, Any]:
    try:
        fields = parse_json(await request.read())
    except ValueError as error:
        raise web.HTTPBadRequest(text="The body must be a JSON object.") from error
    if not isinstance(fields, dict):
        raise web.HTTPBadRequest(text="The body must be a JSON object.")
    return fields
