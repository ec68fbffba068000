"""Faults that a simulator commits on command, one per request, in the order in which they were planned."""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Literal

Endpoint = Literal["token", "settings", "events", "source"]
"""What a request is for, as faults and records call it."""


class FaultKind(StrEnum):
    """What goes wrong. Refusing connections is no fault of a request: see `LoopbackServer.refuse`."""

    RESET = "reset"
    LOST_ANSWER = "lost_answer"
    CUT_ANSWER = "cut_answer"
    SLOW = "slow"
    STATUS = "status"
    TOO_LARGE = "too_large"
    GARBAGE = "garbage"


@dataclass(frozen=True, slots=True)
class Fault:
    """One planned fault; use the constructors below rather than the fields.

    It befalls the next `times` requests (None: until cleared), only those to `endpoint` if one is named.
    Times are in seconds, sizes in bytes.
    """

    kind: FaultKind
    times: int | None = 1
    endpoint: Endpoint | None = None
    before_s: float = 0.0
    after_s: float = 0.0
    http_status: int = 503
    result: str | None = None
    retry_after: str | None = None
    above_bytes: int = -1

    @classmethod
    def reset(cls, *, times: int | None = 1, endpoint: Endpoint | None = None) -> "Fault":
        """Reset the connection before anything is processed."""
        return cls(FaultKind.RESET, times, endpoint)

    @classmethod
    def lost_answer(cls, *, times: int | None = 1, endpoint: Endpoint | None = None) -> "Fault":
        """Process and store everything, then close the connection without an answer."""
        return cls(FaultKind.LOST_ANSWER, times, endpoint)

    @classmethod
    def cut_answer(cls, *, times: int | None = 1, endpoint: Endpoint | None = None) -> "Fault":
        """Process and store everything, then close the connection in the middle of the answer's body."""
        return cls(FaultKind.CUT_ANSWER, times, endpoint)

    @classmethod
    def slow(
        cls,
        *,
        before_s: float = 0.0,
        after_s: float = 0.0,
        times: int | None = 1,
        endpoint: Endpoint | None = None,
    ) -> "Fault":
        """Wait before processing, and again before answering; a client that leaves changes nothing."""
        return cls(FaultKind.SLOW, times, endpoint, before_s=before_s, after_s=after_s)

    @classmethod
    def status(
        cls,
        http_status: int,
        result: str | None = None,
        *,
        retry_after: str | None = None,
        times: int | None = 1,
        endpoint: Endpoint | None = None,
    ) -> "Fault":
        """Answer with a status without processing; with `result` in the envelope of the API, else as a page."""
        return cls(
            FaultKind.STATUS, times, endpoint, http_status=http_status, result=result, retry_after=retry_after
        )

    @classmethod
    def too_large(
        cls, above_bytes: int, *, times: int | None = None, endpoint: Endpoint | None = None
    ) -> "Fault":
        """Answer 413 to requests whose body is larger; others pass and do not count."""
        return cls(FaultKind.TOO_LARGE, times, endpoint, http_status=413, above_bytes=above_bytes)

    @classmethod
    def garbage(cls, *, times: int | None = 1, endpoint: Endpoint | None = None) -> "Fault":
        """Answer 200 with an HTML page, as a captive portal does, without processing."""
        return cls(FaultKind.GARBAGE, times, endpoint, http_status=200)

    def hits(self, endpoint: Endpoint, body_bytes: int) -> bool:
        """Tell whether a request with a body of this size is meant."""
        return self.endpoint in {None, endpoint} and body_bytes > self.above_bytes


class FaultPlan:
    """The faults that are still to come. One request takes one fault: the oldest that is meant for it."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []

    def add(self, fault: Fault) -> None:
        """Append a fault."""
        self._faults.append(fault)

    def clear(self) -> None:
        """Forget all faults."""
        self._faults.clear()

    @property
    def pending(self) -> tuple[Fault, ...]:
        """The faults that are still to come, with the times that are left."""
        return tuple(self._faults)

    def take(self, endpoint: Endpoint, body_bytes: int = 0) -> Fault | None:
        """Return the fault for a request and count it, or None."""
        for index, fault in enumerate(self._faults):
            if not fault.hits(endpoint, body_bytes):
                continue
            if fault.times is not None:
                # Replaced in place: the order among faults must not change.
                self._faults[index : index + 1] = (
                    [replace(fault, times=fault.times - 1)] if fault.times > 1 else []
                )
            return fault
        return None
