"""Facts about who owns what: replicas come and go, settings change hands (see the package `coordination`)."""

import logging
from collections import deque
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from oase_agent.errors import AgentError, Reason

# Status shows the last moves; more are in the log.
_KEPT_MOVES = 20
# Seconds; an API server answers in milliseconds, or is in trouble.
_BUCKETS = (0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True, slots=True)
class Move:
    """A setting that came to this replica or left it, at `at_s` (epoch seconds)."""

    at_s: float
    setting: str
    change: str


class OwnershipFacts:
    """One method for every fact, as in `Telemetry`. Registered only where replicas share the work."""

    def __init__(self, registry: CollectorRegistry, logger: logging.Logger) -> None:
        self._log = logger
        self._trouble: Reason | None = None
        self._moves: deque[Move] = deque(maxlen=_KEPT_MOVES)
        self.changes = Counter(
            "oase_agent_ownership_changes",
            "Settings that this replica took, handed over, or lost",
            ["change"],
            registry=registry,
        )
        self.owned = Gauge(
            "oase_agent_owned_settings", "Settings that this replica owns at the moment", registry=registry
        )
        self.members = Gauge(
            "oase_agent_members", "Replicas that share the settings, this one included", registry=registry
        )
        self.requests = Histogram(
            "oase_agent_lease_request_duration_seconds",
            "Requests to the API server about Leases",
            ["verb", "outcome"],
            registry=registry,
            buckets=_BUCKETS,
        )

    @property
    def moves(self) -> tuple[Move, ...]:
        """The last moves, the newest first."""
        return tuple(reversed(self._moves))

    def joined(self, member: str) -> None:
        """This replica is one of the members now."""
        self._tell(logging.INFO, "replica_joined", "This replica shares the settings", member=member)

    def left(self, member: str) -> None:
        """This replica is no member any more; its settings are free."""
        self._tell(
            logging.INFO, "replica_left", "This replica has left; its settings are free", member=member
        )

    def members_changed(self, members: int) -> None:
        """Another number of replicas shares the settings now."""
        self.members.set(members)
        self._tell(logging.INFO, "members_changed", "Replicas came or went", members=members)

    def taken(self, setting: str, epoch: int, at_s: float) -> None:
        """This replica owns a setting from now on."""
        self._moved(setting, "taken", at_s)
        self._tell(
            logging.INFO, "setting_taken", "This replica owns the setting", setting=setting, epoch=epoch
        )

    def inherited(self, setting: str, kept: int, stored: int, dropped: int, is_unjudged: bool) -> None:  # noqa: FBT001
        """A setting came back to a volume with batches of it: so many events wait, or were delivered or dropped."""
        if not (kept or stored or dropped):
            return
        facts = {"setting": setting, "waiting": kept, "delivered": stored, "collected_by_others": dropped}
        if is_unjudged:
            self._tell(
                logging.WARNING,
                "leftovers_unknown",
                "Batches of the setting wait on this volume of which its claim knows nothing: they are delivered, "
                "and may arrive twice",
                **facts,
            )
        else:
            self._tell(
                logging.INFO, "leftovers_found", "Batches of the setting were left on this volume", **facts
            )

    def handed_over(self, setting: str, at_s: float, seconds: float) -> None:
        """What was under way is finished, and another replica may own the setting; it took `seconds`."""
        self._moved(setting, "handed_over", at_s)
        facts = {"setting": setting, "seconds": round(seconds, 3)}
        self._tell(logging.INFO, "setting_handed_over", "Another replica may own the setting", **facts)

    def lost(self, setting: str, at_s: float, why: str) -> None:
        """The setting is another replica's, or may be: nothing of it is done here any more."""
        self._moved(setting, "lost", at_s)
        self._tell(logging.WARNING, "setting_lost", why, setting=setting)

    def lease_request_done(self, verb: str, outcome: str, seconds: float) -> None:
        """A request to the API server ended; `outcome` is `success`, `conflict` or a reason."""
        self.requests.labels(verb, outcome).observe(seconds)

    def coordination_failed(self, error: AgentError) -> None:
        """Who owns what cannot be asked; told when it begins and when its reason changes."""
        if error.reason != self._trouble:
            self._trouble = error.reason
            self._tell(logging.WARNING, "coordination_failed", str(error), reason=error.reason.value)

    def coordination_works(self) -> None:
        """Who owns what can be asked again."""
        if self._trouble is not None:
            self._trouble = None
            self._tell(logging.INFO, "coordination_works_again", "Who owns what can be asked again")

    def _moved(self, setting: str, change: str, at_s: float) -> None:
        self.changes.labels(change).inc()
        self._moves.append(Move(at_s, setting, change))

    def _tell(self, level: int, action: str, message: str, **facts: object) -> None:
        self._log.log(level, message, extra={"action": action, "facts": facts})
