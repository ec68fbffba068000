"""A container as a process of this machine: its user, its command, its probes, its end."""

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import aiohttp

from tests.chart.manifests import Manifest
from tests.chart_wiring.kubelet_environment import CannotStart

# Long enough for a loaded machine: only a failing test waits that long.
PATIENCE_S = 60.0

_PROGRAMS = {"oase-agent": [sys.executable, "-m", "oase_agent"], "python3": [sys.executable]}
# For the interpreter, which may be where only root looks. It lets read everything and write nothing.
_TO_SEE_THE_INTERPRETER = "DAC_READ_SEARCH"


class ContainerProcess:
    """One container that runs. `log` is where its output goes."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, log: Path) -> None:
        self.name = name
        self.log = log
        self._process = process

    @classmethod
    async def start(
        cls,
        container: Manifest,
        words: Sequence[str],
        environment: Mapping[str, str],
        log: Path,
        *,
        pod_context: Mapping[str, Any],
    ) -> "ContainerProcess":
        """Start a command line with this environment and nothing of ours."""
        if words[0] not in _PROGRAMS:
            raise CannotStart(f"{container['name']}: the image has no program {words[0]}")
        program = [*as_its_user(container, pod_context), *_PROGRAMS[words[0]], *words[1:]]
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                *program,
                env={"PATH": os.defpath, **environment},
                cwd="/",
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        return cls(container["name"], process, log)

    @property
    def output(self) -> str:
        """All that it wrote so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self._process.returncode is None

    def send(self, number: signal.Signals) -> None:
        """Send a signal, unless it has ended."""
        if self.is_running:
            self._process.send_signal(number)

    async def ended(self, within_s: float = PATIENCE_S) -> int:
        """Wait for the exit code. Raises TimeoutError."""
        async with asyncio.timeout(within_s):
            return await self._process.wait()

    async def kill(self) -> None:
        """End it at once and reap it."""
        self.send(signal.SIGKILL)
        await self.ended()


def as_its_user(container: Manifest, pod_context: Mapping[str, Any]) -> list[str]:
    """Return the words that start a command with the user, groups and capabilities that a container names.

    Nothing where the test is not root or has no setpriv: then the command runs as the test does.
    """
    setpriv = shutil.which("setpriv")
    context = {**pod_context, **(container.get("securityContext") or {})}
    if os.geteuid() != 0 or setpriv is None:
        return []
    user = int(context.get("runAsUser", 1000))
    if user == 0 and context.get("runAsNonRoot"):
        raise CannotStart(f"{container['name']} has runAsNonRoot and would run as root")
    group = int(context.get("runAsGroup", 0))
    groups = {group, *filter(None, [pod_context.get("fsGroup")])}
    wanted = [*((context.get("capabilities") or {}).get("add") or [])]
    if user != 0:
        wanted.append(_TO_SEE_THE_INTERPRETER)
    words = ",".join(["-all", *(f"+{name.lower()}" for name in wanted)])
    users = [f"--reuid={user}", f"--regid={group}", f"--groups={','.join(map(str, sorted(groups)))}"]
    sets = [f"--{which}={words}" for which in ("inh-caps", "ambient-caps", "bounding-set")]
    return [setpriv, *users, *sets, "--no-new-privs"]


async def http_status(address: str, port: int, path: str) -> int:
    """Ask as the kubelet's probes do; return the status, 0 if nobody answers."""
    timeout = aiohttp.ClientTimeout(total=PATIENCE_S)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(f"http://{address}:{port}{path}") as answer,
        ):
            return answer.status
    except aiohttp.ClientError:
        return 0
