"""The command line that all benchmarks share."""

import argparse
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from benchmarks.machine import facts
from benchmarks.report import Row, line, markdown

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True, slots=True)
class Place:
    """Where and how much is measured: an empty directory on the volume, and whether quick sizes are wanted."""

    directory: Path
    quick: bool


Section = Callable[[Place], Iterator[Row]]


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A benchmark: its name, what it is about, and its sections, each of which can run alone."""

    name: str
    description: str
    sections: Mapping[str, Section]


def run(benchmark: Benchmark) -> int:
    """Run one benchmark as the command line says; returns the exit code."""
    parser = _parser(benchmark.description)
    parser.add_argument("--quick", action="store_true", help="small sizes and few runs")
    parser.add_argument(
        "--only", action="append", choices=list(benchmark.sections), help="run only this section (repeatable)"
    )
    options = parser.parse_args()
    _end_in_order()
    sections = {name: benchmark.sections[name] for name in options.only or benchmark.sections}
    chosen = Benchmark(benchmark.name, benchmark.description, sections)
    part = "-".join(["", *(options.only or ())])
    return _measure(chosen, options, part, quick=options.quick)


def run_all(benchmarks: Sequence[Benchmark], description: str) -> int:
    """Run benchmarks one after the other with quick sizes; returns the exit code."""
    options = _parser(description).parse_args()
    _end_in_order()
    return max(_measure(benchmark, options, "", quick=True) for benchmark in benchmarks)


def _parser(description: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--directory",
        type=Path,
        help="measure on the volume of this directory (default: that of temporary files)",
    )
    parser.add_argument(
        "--no-results",
        action="store_true",
        help=f"only print, write nothing to {RESULTS.parent.name}/results",
    )
    return parser


def _measure(benchmark: Benchmark, options: argparse.Namespace, part: str, *, quick: bool) -> int:
    """Run the sections, print and keep what they found; `part` tells in the report's name which ones were chosen."""
    rows: list[Row] = []
    failures: list[str] = []
    with tempfile.TemporaryDirectory(prefix="oase-agent-benchmark-", dir=options.directory) as root:
        machine = facts(Path(root))
        print(f"\n{benchmark.name}: {', '.join(f'{name} {value}' for name, value in machine.items())}")
        for name, section in benchmark.sections.items():
            directory = Path(root, name)
            directory.mkdir()
            try:
                for row in section(Place(directory, quick)):
                    rows.append(row)
                    print(line(row), flush=True)
            except (OSError, RuntimeError) as error:
                # What the other sections find is worth having; minutes of work may stand in it.
                failures.append(f"{name} ended early: {type(error).__name__}: {error}")
                print(failures[-1], file=sys.stderr)
    if not options.no_results:
        date = datetime.now().astimezone().date().isoformat()
        RESULTS.mkdir(exist_ok=True)
        path = RESULTS / f"{date}-{benchmark.name}{part}{'-quick' if quick else ''}.md"
        path.write_text(markdown(benchmark.name.replace("_", " "), _command(), machine, rows, failures))
    return 1 if failures else 0


def _end_in_order() -> None:
    """Let SIGTERM unwind the stack, so that children and files go as they do at the end."""
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))


def _command() -> str:
    module = Path(sys.argv[0]).stem
    name = "benchmarks" if module == "__main__" else f"benchmarks.{module}"
    return " ".join(["python -m", name, *sys.argv[1:]])
