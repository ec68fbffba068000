"""An Alertmanager that lists its active alerts in the shape of its public API, version 2."""

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from oase_agent.simulators.faults import FaultPlan
from oase_agent.simulators.loopback import Reply, json_reply
from oase_agent.simulators.source_base import SourceSimulator

_ALERT_LIFETIME_S = 300.0
# JSON of one alert without its annotation text.
_FRAME_BYTES = 430


class AlertmanagerSimulator(SourceSimulator):
    """Reports every alert for as long as it fires: the same list again and again."""

    def __init__(self, *, clock: Callable[[], float] = time.time, faults: FaultPlan | None = None) -> None:
        super().__init__(clock=clock, faults=faults)
        self._alerts: dict[str, dict[str, Any]] = {}

    def routes(self) -> list[web.RouteDef]:
        """Return the one address that sources are polled at."""
        return [web.get("/api/v2/alerts", self.on_request)]

    @property
    def active_fingerprints(self) -> list[str]:
        """Fingerprints of the firing alerts, in the order in which they began."""
        return list(self._alerts)

    def fire(self, labels: Mapping[str, str], annotations: Mapping[str, str] | None = None) -> str:
        """Let an alert fire and return its fingerprint; equal labels are the same alert."""
        fingerprint = _fingerprint(labels)
        now_s = self.clock()
        since = self._alerts.get(fingerprint, {}).get("startsAt", _rfc3339(now_s))
        self._alerts[fingerprint] = {
            "annotations": dict(annotations or {}),
            "endsAt": _rfc3339(now_s + _ALERT_LIFETIME_S),
            "fingerprint": fingerprint,
            "receivers": [{"name": "default"}],
            "startsAt": since,
            "status": {"inhibitedBy": [], "mutedBy": [], "silencedBy": [], "state": "active"},
            "updatedAt": _rfc3339(now_s),
            "generatorURL": "http://prometheus.example/graph",
            "labels": dict(labels),
        }
        return fingerprint

    def resolve(self, fingerprint: str) -> None:
        """Let an alert end: it leaves the list."""
        del self._alerts[fingerprint]

    def fill(self, count: int, event_bytes: int) -> None:
        """Let `count` further alerts fire whose JSON takes about `event_bytes` bytes each."""
        text = "x" * max(1, event_bytes - _FRAME_BYTES)
        first = len(self._alerts)
        for number in range(first, first + count):
            self.fire({"alertname": "Filled", "instance": f"host-{number:07d}"}, {"summary": text})

    def content(self, _request: web.Request, _body: bytes) -> Reply:
        """Return the list of active alerts."""
        return json_reply((200, list(self._alerts.values())))


def _fingerprint(labels: Mapping[str, str]) -> str:
    text = json.dumps(sorted(labels.items())).encode()
    return hashlib.blake2b(text, digest_size=8).hexdigest()


def _rfc3339(epoch_s: float) -> str:
    moment = datetime.fromtimestamp(epoch_s, tz=UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
