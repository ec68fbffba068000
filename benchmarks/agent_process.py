"""The real agent, `oase-agent run`, as a process of its own, configured by its environment alone."""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from benchmarks.machine import PROJECT
from benchmarks.processes import Memory, cpu_s_of, memory_of
from benchmarks.servers import ORGANIZATION, REFRESH_TOKEN, WORKSPACE

INTERVAL_S = 3  # the shortest that the agent takes
AGENT_NAME = "benchmark-agent"
_LOOK_S = 0.005
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
# Each name of a setting is a line of the environment; none of them must reach the agent from outside.
_KEPT_FROM_OUTSIDE = ("PATH", "HOME", "LANG", "LD_LIBRARY_PATH")


@dataclass(frozen=True, slots=True)
class AgentPlace:
    """What an agent needs to know: the workspace, its settings, and its directory on the volume."""

    workspace_url: str
    setting_names: tuple[str, ...]
    storage: Path

    def environment(self, more: Mapping[str, str]) -> dict[str, str]:
        """Return the agent's whole environment."""
        return {
            **{name: os.environ[name] for name in _KEPT_FROM_OUTSIDE if name in os.environ},
            "EXASTRO_URL": self.workspace_url,
            "EXASTRO_ORGANIZATION_ID": ORGANIZATION,
            "EXASTRO_WORKSPACE_ID": WORKSPACE,
            "EXASTRO_REFRESH_TOKEN": REFRESH_TOKEN,
            "EVENT_COLLECTION_SETTINGS_NAMES": ",".join(self.setting_names),
            "EXECUTE_INTERVAL": str(INTERVAL_S),
            "AGENT_NAME": AGENT_NAME,
            "STORAGE_PATH": str(self.storage),
            "ADMIN_HOST": "127.0.0.1",
            "ADMIN_PORT": "0",
            **more,
        }

    @property
    def spool_directory(self) -> Path:
        """Where the agent's spool is (design section 5)."""
        return self.storage / ORGANIZATION / WORKSPACE / AGENT_NAME


class AgentProcess:
    """A running agent, as a context manager that kills it at the end if it still runs."""

    def __init__(self, place: AgentPlace, **more: str) -> None:
        place.storage.mkdir(parents=True, exist_ok=True)
        self.log = place.storage.with_name(f"{place.storage.name}.log")
        self.started_at_s = time.time()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "oase_agent", "run"],
                cwd=PROJECT,
                env=place.environment(more),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=_end_with_parent,  # noqa: PLW1509 - no other thread runs yet
            )

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

    def memory(self) -> Memory:
        """Return what the agent uses at the moment."""
        return memory_of(self.pid)

    def cpu_s(self) -> float:
        """Return the processor seconds used since the start."""
        return cpu_s_of(self.pid)

    def log_bytes(self) -> int:
        """Return how much the agent has logged."""
        return self.log.stat().st_size

    def wait_for_line(self, text: str, patience_s: float = 30.0) -> None:
        """Return when a line with `text` was logged."""
        until = time.monotonic() + patience_s
        while text not in self.log.read_text():
            if self._process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"The agent did not log {text!r}:\n{self.log.read_text()[-2000:]}")
            time.sleep(_LOOK_S)

    def terminate(self, patience_s: float = 30.0) -> float:
        """Send SIGTERM and return the seconds until the process was gone."""
        began = time.perf_counter()
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(patience_s)
        return time.perf_counter() - began

    def kill(self) -> None:
        """End it at this moment, as a crash would."""
        self._process.kill()
        self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.terminate(5.0)
            self.kill()


def _end_with_parent() -> None:
    """Ask the kernel to kill this process when its parent ends, even if that is killed itself."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
