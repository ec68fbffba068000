"""The real command as a child process: started, watched through its log, signalled, killed, always reaped."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Self

import aiohttp

# Long enough for a loaded machine: only a failing test waits that long.
PATIENCE_S = 30.0
_MAX_LINE_BYTES = 2**20

LogLine = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Ended:
    """A command that ended by itself; `exit_code` is negative for the signal that killed it."""

    exit_code: int
    stdout: str
    stderr: str


async def run_command(*arguments: str, environment: Mapping[str, str] | None = None) -> Ended:
    """Run `oase-agent` with arguments until it ends. Raises TimeoutError if it does not."""
    async with AgentProcess.start(environment or {}, *arguments) as process:
        exit_code = await process.ended()
        return Ended(exit_code, process.stdout, process.stderr)


class AgentProcess:
    """One child process. Its log must be JSON: `start` sees to that."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._stdout: list[str] = []
        self._stderr: list[str] = []
        self._grown = asyncio.Event()

    @classmethod
    @asynccontextmanager
    async def start(cls, environment: Mapping[str, str], *arguments: str) -> AsyncIterator[Self]:
        """Start `oase-agent run`, or what the arguments say, with this environment and nothing of ours."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "oase_agent",
            *(arguments or ("run",)),
            env={"PATH": os.defpath, "LOG_FORMAT": "json", **environment},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=_MAX_LINE_BYTES,
        )
        assert process.stdout is not None
        assert process.stderr is not None
        agent = cls(process)
        async with asyncio.TaskGroup() as readers:
            readers.create_task(agent._read(process.stdout, agent._stdout))
            readers.create_task(agent._read(process.stderr, agent._stderr))
            try:
                yield agent
            finally:
                agent.send(signal.SIGKILL)
                await agent.ended()
                # pytest shows it with a failure.
                print(f"--- process {process.pid}", agent.stdout, agent.stderr, sep="\n")

    # -- what it says -------------------------------------------------------------------------------------

    @property
    def stdout(self) -> str:
        """All that it wrote to its standard output so far."""
        return "".join(self._stdout)

    @property
    def stderr(self) -> str:
        """All that it wrote to its standard error so far."""
        return "".join(self._stderr)

    def log(self, action: str | None = None) -> list[LogLine]:
        """Return the complete log lines so far, or those of one action."""
        lines = [json.loads(line) for line in self._stdout if line.endswith("\n")]
        return [line for line in lines if action in {None, line["action"]}]

    async def logged(self, action: str, *, times: int = 1) -> LogLine:
        """Wait until an action was logged so many times; return the last of these lines. Raises TimeoutError."""
        async with asyncio.timeout(PATIENCE_S):
            while len(lines := self.log(action)) < times:
                assert self._process.returncode is None, f"It ended: {self.stdout}{self.stderr}"
                await self._grown.wait()
        return lines[times - 1]

    async def printed(self, part: str) -> str:
        """Wait until a complete line of its output has this part; return the first. Raises TimeoutError."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                for line in self._stdout:
                    if part in line:
                        return line
                assert self._process.returncode is None, f"It ended: {self.stdout}{self.stderr}"
                await self._grown.wait()

    async def ask(self, path: str) -> tuple[int, str]:
        """Return status and text of the admin server's answer."""
        port = (await self.logged("admin_listens"))["port"]
        timeout = aiohttp.ClientTimeout(total=PATIENCE_S)
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(f"http://127.0.0.1:{port}{path}") as answer,
        ):
            return answer.status, await answer.text()

    async def unready(self) -> str:
        """Return why it is not ready, one reason a line; empty when it is."""
        status, text = await self.ask("/readyz")
        return "" if status == 200 else text

    # -- how it ends --------------------------------------------------------------------------------------

    @property
    def is_running(self) -> bool:
        """Whether it has not ended, stopped by a signal or not."""
        return self._process.returncode is None

    def send(self, number: signal.Signals) -> None:
        """Send a signal, unless the process has ended."""
        if self._process.returncode is None:
            self._process.send_signal(number)

    async def ended(self, within_s: float = PATIENCE_S) -> int:
        """Wait until it has ended and all its output is read; return the exit code. Raises TimeoutError."""
        async with asyncio.timeout(within_s):
            await self._process.wait()
        async with asyncio.timeout(PATIENCE_S):
            while not self._is_read:
                await self._grown.wait()
        assert self._process.returncode is not None
        return self._process.returncode

    async def kill(self) -> None:
        """End it as a power cut would, at this moment, and reap it."""
        self.send(signal.SIGKILL)
        await self.ended()

    @property
    def _is_read(self) -> bool:
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        return self._process.stdout.at_eof() and self._process.stderr.at_eof()

    async def _read(self, stream: asyncio.StreamReader, into: list[str]) -> None:
        while line := await stream.readline():
            into.append(line.decode())
            self._tell()
        self._tell()

    def _tell(self) -> None:
        """Wake all who wait now; who comes later waits for the next line."""
        self._grown.set()
        self._grown = asyncio.Event()
