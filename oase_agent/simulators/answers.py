"""The shapes in which the workspace API answers (contract section 3)."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

Envelope = dict[str, Any]
Answer = tuple[int, Envelope]
"""HTTP status and JSON document of an answer."""


def success(data: Sequence[Any], now_s: float) -> Answer:
    """Return 200 with the success envelope."""
    return 200, {"result": "000-00000", "message": "SUCCESS", "ts": _timestamp(now_s), "data": list(data)}


def refusal(result: str, message: str, now_s: float) -> Answer:
    """Return the error envelope, which has no `data`; the status is the first three digits, at most 500."""
    status = min(int(result[:3]), 500)
    return status, {"result": result, "message": message, "ts": _timestamp(now_s)}


def problem(status: int, title: str, detail: str) -> Answer:
    """Return the problem document of the layer before the receiver, which has no `result`."""
    return status, {"detail": detail, "status": status, "title": title, "type": "about:blank"}


def schema_violation(detail: str) -> Answer:
    """Return the answer to a request that does not fit the published schema: the whole of it is refused."""
    return problem(400, "Bad Request", detail)


def system_error(now_s: float) -> Answer:
    """Return the answer to what the receiver did not foresee."""
    return refusal("999-99999", "System Error", now_s)


def _timestamp(now_s: float) -> str:
    moment = datetime.fromtimestamp(now_s, tz=UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
