"""The state of the agent at one moment, as plain data: what status, readiness and metrics are written from."""

from dataclasses import dataclass

from oase_agent.spool.queue import QueueFigures
from oase_agent.telemetry.ownership import Move


@dataclass(frozen=True, slots=True)
class SettingStatus:
    """One setting.

    `state` is `collecting`, `disabled`, `unknown`, `skipped` (somebody else collects it), `elsewhere` (another
    replica works for it) or `left` (only its waiting batches remain). `figures` are None until the queue was opened.
    `trouble` is why it is not collected or not delivered, or None. `next_attempt_at_s` is when a source that is
    paused is asked again, in epoch seconds, or None. `owner` is the replica that works for it, where replicas share
    the settings and it is known; of this one it is told since when, in epoch seconds.
    """

    name: str
    state: str
    figures: QueueFigures | None
    trouble: str | None
    next_attempt_at_s: float | None = None
    owner: str | None = None
    owned_since_s: float | None = None


@dataclass(frozen=True, slots=True)
class SharingStatus:
    """How replicas share the settings: by which engine, who they are, and the last moves, the newest first."""

    engine: str
    replica: str
    replicas: tuple[str, ...]
    moves: tuple[Move, ...]


@dataclass(frozen=True, slots=True)
class AgentStatus:
    """The whole agent. It is ready when `unready` is empty; its elements are sentences for an operator."""

    version: str
    agent_name: str
    organization_id: str
    workspace_id: str
    now_s: float
    started_at_s: float
    unready: tuple[str, ...]
    settings: tuple[SettingStatus, ...]
    sharing: SharingStatus | None = None

    @property
    def is_ready(self) -> bool:
        """Whether everything works that concerns more than one source."""
        return not self.unready
