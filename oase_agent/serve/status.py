"""The state of the agent at one moment, as plain data: what status, readiness and metrics are written from."""

from dataclasses import dataclass

from oase_agent.spool.queue import QueueFigures


@dataclass(frozen=True, slots=True)
class SettingStatus:
    """One setting. `state` is `collecting`, `disabled`, `unknown` or `left` (only its waiting batches remain).

    `figures` are None until the queue was opened. `trouble` is why it is not collected or not delivered, or None.
    """

    name: str
    state: str
    figures: QueueFigures | None
    trouble: str | None


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

    @property
    def is_ready(self) -> bool:
        """Whether everything works that concerns more than one source."""
        return not self.unready
