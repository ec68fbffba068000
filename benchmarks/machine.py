"""What the figures were measured on: without it a figure says nothing."""

import os
import platform
import statistics
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

PROJECT = Path(__file__).parent.parent
_FSYNC_BYTES = 4096
_FSYNC_TIMES = 50


def facts(directory: Path) -> Mapping[str, str]:
    """Return the commit and the machine, in words; `directory` is on the volume that is measured."""
    return {
        "commit": _commit(),
        "CPU": f"{_from_proc('cpuinfo', 'model name') or platform.machine()}, {os.cpu_count()} cores",
        "memory": _memory(),
        "kernel": platform.release(),
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "load at start": f"{os.getloadavg()[0]:.2f} (1 min)",
        "fsync of 4 KiB": f"{fsync_median_s(directory) * 1000:.2f} ms (median of {_FSYNC_TIMES})",
    }


def fsync_median_s(directory: Path) -> float:
    """Return the median time to write 4 KiB to a file and sync it, in seconds."""
    times: list[float] = []
    with tempfile.TemporaryFile(dir=directory, buffering=0) as file:
        for _ in range(_FSYNC_TIMES):
            began = time.perf_counter()
            file.write(bytes(_FSYNC_BYTES))
            os.fsync(file.fileno())
            times.append(time.perf_counter() - began)
    return statistics.median(times)


def _commit() -> str:
    def git(*arguments: str) -> str:
        answer = subprocess.run(
            ["git", *arguments], cwd=PROJECT, capture_output=True, text=True, check=False, timeout=10
        )
        return answer.stdout.strip()

    commit = git("rev-parse", "HEAD") or "unknown"
    return f"{commit} with uncommitted changes" if git("status", "--porcelain") else commit


def _memory() -> str:
    kibibytes = (_from_proc("meminfo", "MemTotal") or "0").split()[0]
    return f"{int(kibibytes) / 2**20:.1f} GiB"


def _from_proc(file: str, field: str) -> str | None:
    for line in Path("/proc", file).read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == field:
            return value.strip()
    return None
