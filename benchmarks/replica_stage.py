"""A stage for several replicas of one agent: one volume, one workspace, one page of log lines, and Leases or locks.

When settings change hands is read from the replicas' own logs, each of which has its lines with their times.
"""

import itertools
import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from benchmarks.agent_process import AgentPlace, AgentProcess
from benchmarks.lease_server import NAMESPACE, Leases
from benchmarks.processes import Remote
from benchmarks.servers import Sources, Workspace
from benchmarks.stage import COLUMNS

_LOOK_S = 0.25
_PATIENCE_S = 180.0


@dataclass(frozen=True, slots=True)
class Change:
    """A setting that a replica took, handed over or lost, at `at_s` (epoch seconds), which took `seconds`."""

    at_s: float
    setting: str
    action: str
    seconds: float


class Replica:
    """One replica, and what its log tells."""

    def __init__(self, process: AgentProcess) -> None:
        self.process = process

    def _lines(self) -> Iterator[str]:
        # The last one may be half written; what Python itself has to say is no JSON.
        for line in self.process.log.read_text().splitlines(keepends=True):
            if line.startswith("{") and line.endswith("}\n"):
                yield line

    def changes(self) -> list[Change]:
        """Return which settings came and went, in order."""
        return [
            Change(_epoch_s(line["time"]), line["setting"], line["action"], line.get("seconds", 0.0))
            for line in map(json.loads, self._lines())
            if line["action"] in {"setting_taken", "setting_handed_over", "setting_lost"}
        ]

    def owned(self) -> set[str]:
        """Return the settings that it owns."""
        last = {change.setting: change.action for change in self.changes()}
        return {name for name, action in last.items() if action == "setting_taken"}


def _epoch_s(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


class ReplicaStage:
    """Simulators that are up, and the replicas that run."""

    def __init__(self, directory: Path, engine: str, workspace: Remote, page: Remote) -> None:
        self.workspace = workspace
        self.page = page
        self.leases: Remote | None = None
        self.names: tuple[str, ...] = ()
        self.replicas: list[Replica] = []
        self._directory = directory
        self._engine = engine
        self._numbers = itertools.count(1)
        self._stack = ExitStack()

    def open(self, stack: ExitStack, settings: int) -> None:
        """Add the settings, all of the one page, and start what the engine needs."""
        self._stack = stack
        self.names = tuple(f"log-page-{number:04}" for number in range(settings))
        for name in self.names:
            self.workspace.call("add_setting", name=name, url=self.page.address[0], columns=COLUMNS)
        if self._engine == "kubernetes":
            self.leases = stack.enter_context(Remote(Leases, directory=str(self._directory)))

    def start(self, **environment: str) -> Replica:
        """Start one more replica."""
        number = next(self._numbers)
        shared = self._directory / "storage"
        shared.mkdir(exist_ok=True)
        # Its log stands beside its own name for the volume.
        storage = self._directory / f"replica-{number}"
        storage.symlink_to(shared, target_is_directory=True)
        place = AgentPlace(self.workspace.address, self.names, storage)
        more = {"LOG_FORMAT": "json", "COORDINATION": self._engine, **self._in_a_pod(number), **environment}
        replica = Replica(self._stack.enter_context(AgentProcess(place, **more)))
        self.replicas.append(replica)
        return replica

    def _in_a_pod(self, number: int) -> dict[str, str]:
        if self.leases is None:
            return {}
        account = self._directory / f"account-{number}"
        account.mkdir()
        (account / "token").write_text(f"token-{number}")
        (account / "ca.crt").write_bytes((self._directory / "authority.pem").read_bytes())
        return {
            "POD_NAME": f"replica-{number}",
            "POD_NAMESPACE": NAMESPACE,
            "KUBERNETES_SERVICE_HOST": "127.0.0.1",
            "KUBERNETES_SERVICE_PORT": str(self.leases.address),
            "SERVICE_ACCOUNT_PATH": str(account),
        }

    def wait_until_shared(self) -> None:
        """Return when every setting has one owner, and nothing moved for a while."""
        self.wait(lambda: self._is_shared() and time.time() - self._last_change_s() > 2)

    def _is_shared(self) -> bool:
        owned = [replica.owned() for replica in self.replicas]
        return sum(map(len, owned)) == len(set().union(*owned)) == len(self.names)

    def _last_change_s(self) -> float:
        return max((change.at_s for replica in self.replicas for change in replica.changes()), default=0.0)

    def wait(self, condition: Callable[[], bool]) -> None:
        """Return when a condition holds. Raises TimeoutError."""
        until = time.monotonic() + _PATIENCE_S
        while not condition():
            if time.monotonic() > until:
                raise TimeoutError("The replicas did not come to share the settings.")
            time.sleep(_LOOK_S)

    def taken_after(self, at_s: float, names: set[str]) -> dict[str, float]:
        """Wait until another replica has taken each of these; return when the first one did, epoch seconds."""
        found: dict[str, float] = {}

        def is_complete() -> bool:
            for change in (change for replica in self.replicas for change in replica.changes()):
                if change.action == "setting_taken" and change.at_s >= at_s and change.setting in names:
                    found[change.setting] = min(change.at_s, found.get(change.setting, change.at_s))
            return found.keys() == names

        self.wait(is_complete)
        return found


@contextmanager
def replica_stage(directory: Path, engine: str, *, settings: int) -> Iterator[ReplicaStage]:
    """Set a stage up for replicas that share `settings` settings by `engine`, `volume` or `kubernetes`."""
    with ExitStack() as stack:
        workspace = stack.enter_context(Remote(Workspace))
        page = stack.enter_context(Remote(Sources, count=1))
        scene = ReplicaStage(directory, engine, workspace, page)
        scene.open(stack, settings)
        yield scene
