"""A source that says what a test wants."""

import json
from typing import Any

from aiohttp import web

from oase_agent.simulators.loopback import Reply
from oase_agent.simulators.source_base import SourceSimulator


class DocumentSource(SourceSimulator):
    """Answers every request, whatever its path and method, with `reply`; `bodies` are those of the requests."""

    def __init__(self, document: Any) -> None:
        super().__init__()
        self.reply = Reply(200, b"")
        self.bodies: list[bytes] = []
        self.say(document)

    def routes(self) -> list[web.RouteDef]:
        """Take everything."""
        return [web.route("*", "/{path:.*}", self.on_request)]

    def say(self, document: Any) -> None:
        """Answer with this JSON document from now on."""
        self.reply = Reply(200, json.dumps(document).encode())

    def fill(self, count: int, event_bytes: int) -> None:
        """Answer with a list of `count` events."""
        self.say([{"id": str(number), "text": "x" * event_bytes} for number in range(count)])

    def content(self, request: web.Request, body: bytes) -> Reply:
        """Return the answer of the moment."""
        self.bodies.append(body)
        return self.reply
