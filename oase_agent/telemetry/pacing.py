"""Facts about asking sources less often: because they fail, because they want it, or because of their budget."""

import logging

from prometheus_client import Counter

from oase_agent.errors import Reason


class PacingFacts:
    """One method for every fact, as in `Telemetry`, where it stands under `pacing`."""

    def __init__(self, collections: Counter, logger: logging.Logger) -> None:
        self._collections = collections
        self._log = logger

    def put_off(self, setting: str, outcome: str) -> None:
        """A collection was due and did not begin; `outcome` is `backing_off` or `over_budget`. Counted only."""
        self._collections.labels(setting, outcome).inc()

    def circuit_opened(self, setting: str, seconds: float, failures: int, reason: Reason) -> None:
        """A source is not asked for a while. Told once: longer pauses follow until `collection_works_again`."""
        self._tell(
            logging.INFO,
            "circuit_opened",
            "The source is asked less often until it works again",
            setting=setting,
            seconds=round(seconds, 1),
            failures=failures,
            reason=reason.value,
        )

    def host_asks_to_wait(self, host: str, seconds: float) -> None:
        """A host wants no requests for a while, of any setting."""
        self._tell(
            logging.INFO,
            "host_asks_to_wait",
            "The host is not asked for as long as it wishes",
            host=host,
            seconds=round(seconds, 1),
        )

    def host_over_budget(self, host: str) -> None:
        """More is to be asked of a host than its budget allows, so that collections are put off."""
        self._tell(
            logging.WARNING,
            "host_over_budget",
            "Collections are put off: raise SOURCE_REQUESTS_PER_MINUTE, or use longer intervals",
            host=host,
        )

    def _tell(self, level: int, action: str, message: str, **facts: object) -> None:
        self._log.log(level, message, extra={"action": action, "facts": facts})
