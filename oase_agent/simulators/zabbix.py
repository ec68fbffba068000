"""A Zabbix server that knows one method, `problem.get`, in the shape of its public JSON-RPC API."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from oase_agent.simulators.acceptance import parse_json
from oase_agent.simulators.faults import FaultPlan
from oase_agent.simulators.loopback import Reply, json_reply
from oase_agent.simulators.source_base import SourceSimulator

_FIRST_EVENT_ID = 1001
_JSON_TYPES = {"application/json", "application/json-rpc", "application/jsonrequest"}
_SEVERITIES = 6
# JSON of one problem without its name.
_FRAME_BYTES = 330


@dataclass(frozen=True, slots=True)
class _Problem:
    event_id: int
    clock: int
    name: str
    severity: int


@dataclass(frozen=True, slots=True)
class _Wanted:
    """The parameters of one `problem.get` that are honoured; the API takes numbers also as strings."""

    time_from: int
    eventid_from: int
    eventids: set[int] | None
    limit: int | None
    newest_first: bool

    def includes(self, problem: _Problem) -> bool:
        if problem.clock < self.time_from or problem.event_id < self.eventid_from:
            return False
        return self.eventids is None or problem.event_id in self.eventids


class ZabbixSimulator(SourceSimulator):
    """Reports the problems that are not resolved.

    `token` is what a bearer header must carry; empty means that everybody may ask. `rate_per_s` raises problems
    by itself, by the injected clock, as many as are due whenever somebody asks.
    """

    def __init__(
        self,
        *,
        token: str = "",
        rate_per_s: float = 0.0,
        clock: Callable[[], float] = time.time,
        faults: FaultPlan | None = None,
    ) -> None:
        super().__init__(clock=clock, faults=faults)
        self.token = token
        self.rate_per_s = rate_per_s
        self._problems: dict[int, _Problem] = {}
        self._next_id = _FIRST_EVENT_ID
        self._rate_paid_until = clock()

    def routes(self) -> list[web.RouteDef]:
        """Return the API's one address."""
        return [web.post("/api_jsonrpc.php", self.on_request)]

    @property
    def active_ids(self) -> list[str]:
        """Ids of the problems that are not resolved, in the order in which they arose."""
        return [str(event_id) for event_id in self._problems]

    def raise_problem(self, name: str, severity: int = 3) -> str:
        """Report a problem from now on and return its event id. `severity` is 0 to 5."""
        event_id = self._next_id
        self._next_id += 1
        self._problems[event_id] = _Problem(event_id, int(self.clock()), name, severity)
        return str(event_id)

    def resolve(self, event_id: str) -> None:
        """Stop reporting a problem."""
        del self._problems[int(event_id)]

    def fill(self, count: int, event_bytes: int) -> None:
        """Raise `count` problems whose JSON takes about `event_bytes` bytes each."""
        name = "x" * max(1, event_bytes - _FRAME_BYTES)
        for _ in range(count):
            self.raise_problem(name)

    def content(self, request: web.Request, body: bytes) -> Reply:
        """Answer one JSON-RPC call. Errors come with status 200, as the API does it."""
        if request.content_type not in _JSON_TYPES:
            return Reply(412, b"", "text/plain")
        try:
            call = parse_json(body)
        except ValueError:
            return _error(None, -32700, "Parse error", "Invalid JSON.")
        if not isinstance(call, dict) or not isinstance(call.get("params", {}), dict):
            return _error(None, -32600, "Invalid Request.", "The call is not an object.")
        if self.token and request.headers.get("Authorization") != f"Bearer {self.token}":
            return _error(call, -32602, "Invalid params.", "Not authorized.")
        if call.get("method") != "problem.get":
            return _error(call, -32601, "Method not found.", f'Incorrect method "{call.get("method")}".')
        self._raise_what_is_due()
        return self._problem_get(call)

    def _raise_what_is_due(self) -> None:
        if self.rate_per_s <= 0:
            self._rate_paid_until = self.clock()
            return
        due = int((self.clock() - self._rate_paid_until) * self.rate_per_s)
        for number in range(self._next_id, self._next_id + due):
            self.raise_problem(f"High load on web{number % 5 + 1:02d}", number % _SEVERITIES)
        # Only what was raised is paid, so that fractions are not lost between two calls.
        self._rate_paid_until += max(due, 0) / self.rate_per_s

    def _problem_get(self, call: dict[str, Any]) -> Reply:
        try:
            wanted = _wanted(call.get("params", {}))
        except (TypeError, ValueError):
            return _error(call, -32602, "Invalid params.", "A parameter is not a number.")
        chosen = [problem for problem in self._problems.values() if wanted.includes(problem)]
        chosen.sort(key=lambda problem: problem.event_id, reverse=wanted.newest_first)
        result = [_document(problem) for problem in chosen[: wanted.limit]]
        return json_reply((200, {"jsonrpc": "2.0", "result": result, "id": call.get("id")}))


def _wanted(params: dict[str, Any]) -> _Wanted:
    ids = params.get("eventids")
    return _Wanted(
        time_from=int(params.get("time_from") or 0),
        eventid_from=int(params.get("eventid_from") or 0),
        eventids=None if ids is None else {int(one) for one in (ids if isinstance(ids, list) else [ids])},
        limit=int(params.get("limit") or 0) or None,
        # A tuple, because a list has no hash.
        newest_first=params.get("sortorder") in ("DESC", ["DESC"]),
    )


def _document(problem: _Problem) -> dict[str, Any]:
    """Return a problem as the API writes it: every number is a string."""
    return {
        "eventid": str(problem.event_id),
        "source": "0",
        "object": "0",
        "objectid": str(20_000 + problem.event_id),
        "clock": str(problem.clock),
        "ns": "0",
        "r_eventid": "0",
        "r_clock": "0",
        "r_ns": "0",
        "correlationid": "0",
        "userid": "0",
        "name": problem.name,
        "acknowledged": "0",
        "severity": str(problem.severity),
        "cause_eventid": "0",
        "opdata": "",
        "suppressed": "0",
        "urls": [],
    }


def _error(call: dict[str, Any] | None, code: int, message: str, data: str) -> Reply:
    error = {"code": code, "message": message, "data": data}
    return json_reply((200, {"jsonrpc": "2.0", "error": error, "id": call.get("id") if call else None}))
