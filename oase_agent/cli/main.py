"""`oase-agent`: parse the command line, run a command, turn errors into one clear line and an exit code."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence

from oase_agent import __version__
from oase_agent.errors import AgentError, ConfigError

EXIT_FINE = 0
EXIT_FAILED = 1
EXIT_WRONG_USE = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that `arguments` name (default: of the process) and return the exit code."""
    options = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = options.command
    try:
        return command(options)
    except ConfigError as error:
        print(f"oase-agent: {len(error.faults)} fault(s) in the configuration:", file=sys.stderr)
        for fault in error.faults:
            print(f"  - {fault}", file=sys.stderr)
        return EXIT_WRONG_USE
    except AgentError as error:
        print(f"oase-agent: {error}", file=sys.stderr)
        return EXIT_FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="oase-agent", description="Event collection agent for Exastro OASE.", epilog="docs: README.md"
    )
    parser.add_argument("--version", action="version", version=f"oase-agent {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add(
        commands,
        "run",
        _run,
        "collect and deliver until stopped; the configuration comes from the environment",
        "EXASTRO_URL=https://exastro.example.com … oase-agent run",
    )
    _add(
        commands,
        "demo",
        _demo,
        "run the agent against simulators on this machine for about 20 seconds and show what happens",
        "oase-agent demo --seconds 20",
    ).add_argument("--seconds", type=float, default=20.0, help="how long events are made (default: 20)")
    _add(
        commands,
        "check",
        _check,
        "check the configuration, the workspace and every source, without writing or posting anything",
        "oase-agent check web-01",
    ).add_argument("setting", nargs="*", help="check only these settings (default: all)")
    status = _add(commands, "status", _status, "ask the running agent how it is", "oase-agent status --json")
    status.add_argument("--json", action="store_true", help="print the answer of /api/status as it is")
    return parser


def _add(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    command: Callable[[argparse.Namespace], int],
    text: str,
    example: str,
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=text, description=text, epilog=f"example: {example}")
    parser.set_defaults(command=command)
    return parser


# Each command is imported when it is run: `run` needs no simulators, and memory counts there.


def _run(_options: argparse.Namespace) -> int:
    from oase_agent.cli.run import run

    return run(os.environ)


def _demo(options: argparse.Namespace) -> int:
    from oase_agent.cli.demo import demo

    return demo(options.seconds)


def _check(options: argparse.Namespace) -> int:
    from oase_agent.cli.check import check

    return check(os.environ, options.setting)


def _status(options: argparse.Namespace) -> int:
    from oase_agent.cli.status import status

    return status(os.environ, as_json=options.json)


if __name__ == "__main__":
    raise SystemExit(main())
