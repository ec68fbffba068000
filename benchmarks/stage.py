"""A stage for the real agent: a workspace and sources in other processes, and the settings between them."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.agent_process import AgentPlace, AgentProcess
from benchmarks.processes import Remote
from benchmarks.servers import Sources, Workspace

# What a setting says about a page of log lines: ask for what is new, drop what is known.
COLUMNS: dict[str, Any] = {
    "PARAMETER": '{"since": {{ EXASTRO_LAST_FETCHED_TIMESTAMP }}}',
    "RESPONSE_KEY": "lines",
    "EVENT_ID_KEY": "id",
}


@dataclass(frozen=True, slots=True)
class Stage:
    """Simulators that are up, and where the agent finds them."""

    workspace: Remote
    sources: Remote
    place: AgentPlace

    def agent(self, **environment: str) -> AgentProcess:
        """Start an agent."""
        return AgentProcess(self.place, **environment)

    def wait_for_polls(self, each: int, patience_s: float = 60.0) -> None:
        """Return when every source was asked `each` times."""
        until = time.monotonic() + patience_s
        while min(map(len, self.sources.call("polls"))) < each:
            if time.monotonic() > until:
                raise TimeoutError("The agent did not ask every source.")
            time.sleep(0.05)

    def wait_for_events(self, count: int, patience_s: float = 300.0) -> float:
        """Return when the workspace has `count` events, as epoch seconds."""
        stored_at_s: float = self.workspace.call(
            "wait_for", count=count, timeout_s=patience_s, patience_s=patience_s + 10
        )
        return stored_at_s


@contextmanager
def stage(
    directory: Path,
    *,
    sources: int = 1,
    source_latency_s: float = 0.0,
    workspace_latency_s: float = 0.0,
    is_unread: bool = False,
) -> Iterator[Stage]:
    """Set a stage up, with one setting for each source; `is_unread` is that of `Workspace`."""
    with (
        Remote(Workspace, is_unread=is_unread, latency_s=workspace_latency_s) as workspace,
        Remote(Sources, count=sources, latency_s=source_latency_s) as pages,
    ):
        names = tuple(f"log-page-{number:03}" for number in range(sources))
        for name, url in zip(names, pages.address, strict=True):
            workspace.call("add_setting", name=name, url=url, columns=COLUMNS)
        yield Stage(workspace, pages, AgentPlace(workspace.address, names, directory / "storage"))
