"""How long to wait before trying again: exponential, with full jitter, as long as the other side asks."""

from collections.abc import Callable
from dataclasses import dataclass

# A lost answer may belong to a request that the workspace is still working on; two requests of one setting must
# not race there (contract 3.2: the fence is not atomic), so the next one never follows at once.
MIN_DELAY_S = 1.0


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Seconds between attempts: the bound doubles from `first_s` to `cap_s`, the delay is drawn below it."""

    first_s: float = 2.0
    cap_s: float = 60.0
    min_s: float = MIN_DELAY_S
    # A wish beyond this is an error of its sender; the next refusal may repeat it.
    longest_wish_s: float = 3600.0

    def delay_s(self, attempt: int, retry_after_s: float | None, random: Callable[[], float]) -> float:
        """Return the wait before attempt number `attempt` + 1, counted from 1; `random` gives [0, 1).

        `retry_after_s` is the other side's wish (RFC 9110, 10.2.3): never earlier, and not much later, because a
        jitter spreads the agents that were sent away together.
        """
        bound = min(self.cap_s, self.first_s * 2.0 ** min(attempt - 1, 32))
        drawn = self.min_s + (max(bound, self.min_s) - self.min_s) * random()
        if retry_after_s is not None:
            return min(retry_after_s, self.longest_wish_s) + min(drawn, self.first_s)
        return drawn
