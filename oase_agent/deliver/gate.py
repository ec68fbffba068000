"""The gate to the workspace: closed while the workspace as a whole cannot take requests."""

from collections.abc import Callable

from oase_agent.errors import WorkspaceUnavailable
from oase_agent.retry import RetryPolicy


class Gate:
    """Closed by trouble of the whole workspace, for longer each time; one success opens it.

    While trouble goes on, the gate opens for a single request at a time, which tries how things are.
    """

    def __init__(self, policy: RetryPolicy, random: Callable[[], float]) -> None:
        self._policy = policy
        self._random = random
        self._attempts = 0
        self._closed_until_s = 0.0
        self.closed_by: WorkspaceUnavailable | None = None

    def close(self, error: WorkspaceUnavailable, monotonic_s: float) -> None:
        """Let nothing through for a while. Requests that were under way together count as one attempt."""
        if self.seconds_closed(monotonic_s) <= 0:
            self._attempts += 1
        self.closed_by = error
        delay_s = self._policy.delay_s(self._attempts, error.retry_after_s, self._random)
        self._closed_until_s = max(self._closed_until_s, monotonic_s + delay_s)

    def open(self) -> None:
        """The workspace answers: let everything through."""
        self._attempts = 0
        self._closed_until_s = 0.0
        self.closed_by = None

    def seconds_closed(self, monotonic_s: float) -> float:
        """Return how long nothing may pass; 0 when something may."""
        return max(0.0, self._closed_until_s - monotonic_s)
