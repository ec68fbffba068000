"""The process of a server that Debian packages: started on a free port, ended with the test, its log in a file."""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

PATIENCE_S = 20.0
_ATTEMPTS = 5
# Without root, the directories of servers are often missing in PATH.
_PLACES = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin"


def binary(name: str) -> str | None:
    """Return the path of a program, or None if it is not installed."""
    return shutil.which(name, path=_PLACES)


def needs(program: str, package: str) -> pytest.MarkDecorator:
    """Return the mark of tests that skip without `program`, and say how to get it."""
    return pytest.mark.skipif(
        binary(program) is None,
        reason=f"There is no {program} here; on Debian: apt-get install --no-install-recommends {package}",
    )


class _NotListening(Exception):
    """The process ended before it listened, often because somebody else took the port."""


@contextmanager
def listening(command_on: Callable[[int], Sequence[str | Path]], log: Path) -> Iterator[int]:
    """Run the command for a free port until the end of the block; yields the port once it is listened on.

    What the process writes goes to `log`. Raises RuntimeError with it if the process does not start.
    """
    with ExitStack() as stack:
        for attempt in range(_ATTEMPTS):
            port = free_port()
            try:
                stack.enter_context(_running(command_on(port), port, log))
                break
            except _NotListening:
                if attempt == _ATTEMPTS - 1:
                    raise RuntimeError(log.read_text()) from None
        yield port


@contextmanager
def _running(command: Sequence[str | Path], port: int, log: Path) -> Iterator[None]:
    with log.open("ab") as output, subprocess.Popen(command, stdout=output, stderr=output) as process:
        try:
            _wait_until_listening(process, port)
            yield
        finally:
            _end(process)


def _wait_until_listening(process: "subprocess.Popen[bytes]", port: int) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while process.poll() is None and time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.01)
    raise _NotListening


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(PATIENCE_S)
    except subprocess.TimeoutExpired:
        process.kill()


def free_port() -> int:
    """Return a port that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
