"""The HTTP interfaces of monitoring systems, answering in the shapes of their public documents.

`answers/` holds documents written by hand in these shapes: Zabbix 6.0, 6.4 and 7.0 (problem and event objects),
Grafana 10 (Prometheus-compatible alerts and rules, Alertmanager v2) and Prometheus 2 (alerts).
"""

import json
import time
from pathlib import Path
from typing import Any

from aiohttp import web

from oase_agent.simulators.loopback import Reply, json_reply
from tests.acceptance.sources import DocumentSource

_ANSWERS = Path(__file__).parent / "answers"


def documented(name: str) -> Any:
    """Return one of the documents in `answers/`."""
    return json.loads((_ANSWERS / f"{name}.json").read_text())


class TokenApi(DocumentSource):
    """Reports one document to whoever shows the token, as Grafana does; `tokens` are all that were shown."""

    def __init__(self, document: Any, token: str) -> None:
        super().__init__(document)
        self.token = token
        self.asked: list[str] = []

    def content(self, request: web.Request, body: bytes) -> Reply:
        """Answer, or refuse in Grafana's words."""
        self.asked.append(request.path_qs)
        if request.headers.get("Authorization") != f"Bearer {self.token}":
            return json_reply(
                (401, {"message": "Invalid API key", "messageId": "api-key.invalid", "statusCode": 401})
            )
        return super().content(request, body)


class ZabbixApi(DocumentSource):
    """JSON-RPC as Zabbix speaks it: `events` are all there are, `calls` the parameters of the calls so far.

    Before 7.2 the token may be in the body as `auth`; since 6.4 it may be in a header, since 7.2 it has to be.
    """

    def __init__(self, token: str, *, takes_auth_in_body: bool) -> None:
        super().__init__([])
        self.token = token
        self.events: list[dict[str, Any]] = []
        self.calls: list[dict[str, Any]] = []
        self._takes_auth_in_body = takes_auth_in_body

    def happen(self, event: dict[str, Any], *, seconds_ago: int = 0) -> str:
        """Let an event happen and return its id; its `clock` is the time of the moment."""
        self.events.append(event | {"clock": str(int(time.time()) - seconds_ago)})
        return str(event["eventid"])

    def content(self, request: web.Request, body: bytes) -> Reply:
        """Answer one call; errors come with status 200."""
        call = json.loads(body)
        if not isinstance(call, dict):
            return _error(None, -32600, "Invalid request.", 'Invalid parameter "/": an array is expected.')
        if "auth" in call and not self._takes_auth_in_body:
            return _error(
                call, -32600, "Invalid request.", 'Invalid parameter "/": unexpected parameter "auth".'
            )
        shown = call.get("auth") or request.headers.get("Authorization", "").removeprefix("Bearer ")
        if shown != self.token:
            return _error(call, -32602, "Invalid params.", "Session terminated, re-login, please.")
        self.calls.append(call["params"])
        found = [event for event in self.events if _fits(event, call["params"])]
        return json_reply((200, {"jsonrpc": "2.0", "result": found, "id": call["id"]}))


def _fits(event: dict[str, Any], params: dict[str, Any]) -> bool:
    is_late_enough = int(event["clock"]) >= int(params.get("time_from", 0))
    return is_late_enough and int(event["eventid"]) >= int(params.get("eventid_from", 0))


def _error(call: dict[str, Any] | None, code: int, message: str, data: str) -> Reply:
    number = call["id"] if call else None
    error = {"code": code, "message": message, "data": data}
    return json_reply((200, {"jsonrpc": "2.0", "error": error, "id": number}))
