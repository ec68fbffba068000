"""Other processes: servers that are told what to do, functions that run in a fresh process, and what they use.

Nothing outlives a benchmark: a child ends when its pipe closes, which the kernel does even for a killed parent.
"""

import asyncio
import inspect
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import uvloop

MIB = 2**20
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_LOOK_S = 0.02
_END_S = 5.0
_SPAWN = multiprocessing.get_context("spawn")


# -- what a process uses ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Memory:
    """Memory of a process in MiB: all that is resident, its own part (RssAnon), and the peak of the former."""

    rss_mib: float
    anon_mib: float
    peak_rss_mib: float


def memory_of(pid: int) -> Memory:
    """Read the memory of a process; raises OSError when it is gone."""
    fields: dict[str, float] = {}
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name in {"VmRSS", "RssAnon", "VmHWM"}:
            fields[name] = int(value.split()[0]) / 1024
    if not fields:
        raise ProcessLookupError(f"process {pid} has ended")
    return Memory(fields["VmRSS"], fields["RssAnon"], fields["VmHWM"])


def cpu_s_of(pid: int) -> float:
    """Return the processor seconds, user and system, that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


class MemoryWatch:
    """Looks at a process every 20 ms while the context lasts: `peak_anon_mib` is the most of its own memory."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self.first_anon_mib = 0.0
        self.peak_anon_mib = 0.0

    @property
    def growth_mib(self) -> float:
        """How much the process' own memory grew above what it was at the beginning."""
        return self.peak_anon_mib - self.first_anon_mib

    def _look(self) -> None:
        while not self._end.wait(_LOOK_S):
            self._note()

    def _note(self) -> None:
        try:
            self.peak_anon_mib = max(self.peak_anon_mib, memory_of(self._pid).anon_mib)
        except OSError:
            self._end.set()

    def __enter__(self) -> Self:
        self._note()
        self.first_anon_mib = self.peak_anon_mib
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        self._thread.join()


# -- servers in processes of their own ----------------------------------------------------------------------


class Server(Protocol):
    """What runs in another process: `start` returns where it is; its other methods can be called from here."""

    async def start(self) -> object:
        """Begin to serve."""

    async def stop(self) -> None:
        """End."""


class Remote:
    """A server in another process, as a context manager; `address` is what its `start` returned."""

    def __init__(self, kind: Callable[..., Server], **arguments: Any) -> None:
        self._connection, theirs = _SPAWN.Pipe()
        self._process = _SPAWN.Process(target=_host, args=(theirs, kind, arguments), daemon=True)
        self._process.start()
        theirs.close()
        self.address: Any = self._answer(60.0)

    @property
    def pid(self) -> int:
        """The number of the process."""
        assert self._process.pid is not None
        return self._process.pid

    def call(self, method: str, *, patience_s: float = 120.0, **arguments: Any) -> Any:
        """Call a method over there and return what it returns; raises RuntimeError with what it raised."""
        self._connection.send((method, arguments))
        return self._answer(patience_s)

    def _answer(self, patience_s: float) -> Any:
        if not self._connection.poll(patience_s):
            raise TimeoutError(f"No answer from a benchmark's server within {patience_s} s.")
        is_fine, result = self._connection.recv()
        if not is_fine:
            raise RuntimeError(result)
        return result

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()
        _end(self._process)


def _host(connection: Connection, kind: Callable[..., Server], arguments: dict[str, Any]) -> None:
    # Ctrl-C reaches the whole group; the parent ends us by closing the pipe.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(connection, kind(**arguments)))


async def _serve(connection: Connection, server: Server) -> None:
    readable = asyncio.Event()
    asyncio.get_running_loop().add_reader(connection.fileno(), readable.set)
    # uvloop makes what it watches non-blocking, and a pipe's buffer is smaller than some answers.
    os.set_blocking(connection.fileno(), True)
    connection.send((True, await server.start()))
    try:
        while True:
            await readable.wait()
            readable.clear()
            while connection.poll():
                method, arguments = connection.recv()
                connection.send(await _called(server, method, arguments))
    except (EOFError, ConnectionError):
        pass
    finally:
        asyncio.get_running_loop().remove_reader(connection.fileno())
        await server.stop()


async def _called(server: Server, method: str, arguments: dict[str, Any]) -> tuple[bool, object]:
    try:
        result = getattr(server, method)(**arguments)
        return True, await result if inspect.isawaitable(result) else result
    except Exception as error:
        return False, f"{method}: {type(error).__name__}: {error}"


# -- a function in a fresh process --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a function returned in a process of its own; its own memory (RssAnon) in MiB before, at most and after."""

    result: Any
    first_anon_mib: float
    peak_anon_mib: float
    last_anon_mib: float

    @property
    def growth_mib(self) -> float:
        """How much more memory there was at most than before the function."""
        return self.peak_anon_mib - self.first_anon_mib


def run_fresh(function: Callable[..., Any], *arguments: Any, patience_s: float = 600.0) -> Outcome:
    """Call a module's function in a fresh process and watch its memory."""
    ours, theirs = _SPAWN.Pipe()
    process = _SPAWN.Process(target=_compute, args=(theirs, function, arguments), daemon=True)
    process.start()
    theirs.close()
    assert process.pid is not None
    try:
        ours.recv()  # everything is imported
        with MemoryWatch(process.pid) as watch:
            ours.send(None)
            if not ours.poll(patience_s):
                raise TimeoutError(f"{function.__name__} took longer than {patience_s} s.")
            is_fine, result = ours.recv()
        if not is_fine:
            raise RuntimeError(result)
        last = memory_of(process.pid).anon_mib
        return Outcome(result, watch.first_anon_mib, max(watch.peak_anon_mib, last), last)
    finally:
        ours.close()
        _end(process)


def _compute(connection: Connection, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        connection.send(None)
        connection.recv()
        try:
            connection.send((True, function(*arguments)))
        except Exception as error:
            connection.send((False, f"{function.__name__}: {type(error).__name__}: {error}"))
        connection.recv()  # until the parent has looked at the memory
    except (EOFError, ConnectionError):
        pass


def _end(process: multiprocessing.process.BaseProcess) -> None:
    process.join(_END_S)
    if process.is_alive():
        process.kill()
        process.join()
