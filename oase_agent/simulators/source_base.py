"""What the simulated sources have in common."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable

from aiohttp import web

from oase_agent.simulators.faults import FaultPlan
from oase_agent.simulators.loopback import LoopbackServer, Reply
from oase_agent.simulators.odd_answers import OddAnswer


class SourceSimulator(LoopbackServer, ABC):
    """A monitoring system with one endpoint, which faults and records call "source".

    To turn while it runs: `latency_s` (delay of each answer), `error_status` (answer with this status instead
    of content), `odd_answer` (send this instead of everything else, faults included), and `fill`.
    """

    def __init__(self, *, clock: Callable[[], float] = time.time, faults: FaultPlan | None = None) -> None:
        super().__init__(clock=clock, faults=faults)
        self.error_status: int | None = None
        self.odd_answer: OddAnswer | None = None

    @abstractmethod
    def fill(self, count: int, event_bytes: int) -> None:
        """Report `count` further events of about `event_bytes` bytes of JSON each."""

    @abstractmethod
    def content(self, request: web.Request, body: bytes) -> Reply:
        """Return the regular answer to a request."""

    async def on_request(self, request: web.Request) -> web.StreamResponse:
        """Answer one request, regularly or as told."""
        odd_answer = self.odd_answer
        if odd_answer is None:
            return await self.serve(request, "source", self._reply)
        self.record(request, "source", await request.read(), Reply(200, b""), None)
        try:
            return await odd_answer.send(request)
        except ConnectionError:
            # The client left, as most do; aiohttp would log it as an error of ours.
            return web.Response()

    def _reply(self, request: web.Request, body: bytes) -> Reply:
        if self.error_status is not None:
            return Reply(self.error_status, b'{"error":"simulated"}')
        return self.content(request, body)
