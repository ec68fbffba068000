"""A place in memory; and what tests count on the way, told once at the end of the run, by one or more processes."""

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Of Linux; elsewhere a test takes the volume it is given.
_MEMORY = Path("/dev/shm")

_COUNTED = "counted"

# How long an input or an example takes says something of the machine, and nothing of what is tested.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


@pytest.fixture
def memory_path(tmp_path: Path) -> Iterator[Path]:
    """Give an empty directory, in memory where there is such a place.

    For tests of what is called, not of the device: hundreds of spools wait minutes for the syncs of a busy volume.
    """
    if not os.access(_MEMORY, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(prefix="oase-agent-test-", dir=_MEMORY) as directory:
        yield Path(directory)


@pytest.fixture
def count(request: pytest.FixtureRequest) -> Callable[[str, object], None]:
    """Give a way to tell a figure, `count("crash points", 448)`: pytest shows it below the results of the run."""

    def count_(what: str, value: object) -> None:
        # Not printed: of several processes only the one that runs no test has the terminal. Properties reach it.
        request.node.user_properties.append((_COUNTED, f"{what}: {value}"))

    return count_


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show what was counted, in the order of the tests' names, whatever order they ran in."""
    reports = [
        report
        for reports in terminalreporter.stats.values()
        for report in reports
        if isinstance(report, pytest.TestReport) and report.when == "call"
    ]
    lines = [line for report in sorted(reports, key=lambda report: report.nodeid) for line in _told(report)]
    if lines:
        terminalreporter.section(_COUNTED)
        for line in lines:
            terminalreporter.line(line)


def _told(report: pytest.TestReport) -> Iterator[str]:
    return (str(value) for name, value in report.user_properties if name == _COUNTED)
