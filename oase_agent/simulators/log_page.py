"""A page that lists log lines, newest last, from a given time on."""

import json
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web

from oase_agent.simulators.faults import FaultPlan
from oase_agent.simulators.loopback import Reply
from oase_agent.simulators.source_base import SourceSimulator

_KEPT_LINES = 100_000


@dataclass(frozen=True, slots=True)
class _Lines:
    """Lines of one moment, already serialised and joined; `one` makes the n-th of them again."""

    time: float
    count: int
    joined: bytes
    one: Callable[[int], bytes]


class LogPageSimulator(SourceSimulator):
    """`GET /logs?since=<epoch>&limit=<n>` answers `{"lines":[{"id","time","level","message"}]}`.

    Lines are those *after* `since` (epoch seconds, fractions allowed), oldest first, at most `limit`. `time` is
    epoch seconds with fractions. The newest 100,000 writes are kept.
    """

    def __init__(self, *, clock: Callable[[], float] = time.time, faults: FaultPlan | None = None) -> None:
        super().__init__(clock=clock, faults=faults)
        self._lines: deque[_Lines] = deque(maxlen=_KEPT_LINES)
        self._next_id = 1

    def routes(self) -> list[web.RouteDef]:
        """Return the page."""
        return [web.get("/logs", self.on_request)]

    def write(self, message: str, level: str = "INFO") -> str:
        """Write one line and return its id."""
        line_id, now_s = self._next_id, self.clock()
        line = _line(line_id, now_s, level, message)
        self._lines.append(_Lines(now_s, 1, line, lambda _index: line))
        self._next_id += 1
        return str(line_id)

    def fill(self, count: int, event_bytes: int) -> None:
        """Write `count` lines of exactly `event_bytes` bytes of JSON each, or as small as a line can be.

        They are serialised here, once; answering costs no more than sending the bytes.
        """
        first, now_s = self._next_id, self.clock()
        self._next_id += count

        def one(index: int) -> bytes:
            line_id = first + index
            room = event_bytes - len(_line(line_id, now_s, "INFO", ""))
            return _line(line_id, now_s, "INFO", "x" * max(0, room))

        self._lines.append(_Lines(now_s, count, b",".join(map(one, range(count))), one))

    def clear(self) -> None:
        """Forget all lines; ids go on."""
        self._lines.clear()

    def content(self, request: web.Request, _body: bytes) -> Reply:
        """Return the lines after `since`."""
        try:
            since = float(request.query.get("since", "0"))
            limit = int(request.query["limit"]) if "limit" in request.query else None
        except ValueError:
            return Reply(400, b'{"error":"since and limit are numbers"}')
        return Reply(200, b'{"lines":[' + b",".join(self._after(since, limit)) + b"]}")

    def _after(self, since: float, limit: int | None) -> list[bytes]:
        parts: list[bytes] = []
        for lines in self._lines:
            if lines.time <= since or lines.count == 0:
                continue
            if limit is None or lines.count <= limit:
                parts.append(lines.joined)
            else:
                parts += [lines.one(index) for index in range(limit)]
            if limit is not None:
                limit = max(0, limit - lines.count)
        return parts


def _line(line_id: int, epoch_s: float, level: str, message: str) -> bytes:
    fields = {"id": str(line_id), "time": epoch_s, "level": level, "message": message}
    return json.dumps(fields, separators=(",", ":")).encode()
