"""`oase-agent`: parse the command line, run a command, turn errors into one clear line and an exit code."""

import argparse
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from oase_agent import __version__
from oase_agent.errors import AgentError, ConfigError

EXIT_FINE = 0
EXIT_FAILED = 1
EXIT_WRONG_USE = 2

_CHECK_EXAMPLES = """examples:
  oase-agent check                                        every setting
  oase-agent check web-01 --events 20 --full              see what the events look like
  oase-agent check web-01 --record report                 save what the source answers, for a bug report
  oase-agent check --offline report                       extract that again, on any host
  oase-agent check web-01 --offline saved.json            what would the setting make of this answer?"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that `arguments` name (default: of the process) and return the exit code."""
    # The first process of a container has no default action for SIGTERM: during the half second of imports a stop
    # would be lost, and the engine would kill the agent after its grace. `run` sets its own handler after that.
    if os.getpid() == 1:
        signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(EXIT_FINE))
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
    _add_check(commands)
    status = _add(commands, "status", _status, "ask the running agent how it is", "oase-agent status --json")
    status.add_argument("--json", action="store_true", help="print the answer of /api/status as it is")
    _add_dead(commands)
    _add_settings(commands)
    _add_simulate(commands)
    return parser


def _add_check(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    text = "check the configuration, the workspace and every source, without writing or posting anything"
    check = _add(commands, "check", _check, text, "")
    check.epilog = _CHECK_EXAMPLES
    check.formatter_class = argparse.RawDescriptionHelpFormatter
    check.add_argument("setting", nargs="*", help="check only these settings (default: all)")
    text = "show this many of the new events (default: 3)"
    check.add_argument("--events", type=_number(0, 1000), default=3, metavar="N", help=text)
    check.add_argument("--full", action="store_true", help="show every field of these events, in full length")
    text = "ask a source with pages for this many of them at most (default: 3)"
    check.add_argument("--answers", type=_number(1, 1000), default=3, metavar="N", help=text)
    ways = check.add_mutually_exclusive_group()
    text = "ask no source: take the events from a saved answer in JSON, or from what --record saved"
    ways.add_argument("--offline", metavar="FILE", help=text)
    text = "save what the source answers, without secrets, in a new directory for a bug report"
    ways.add_argument("--record", metavar="DIR", help=text)


def _number(lowest: int, highest: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        if not (text.isascii() and text.isdecimal() and lowest <= int(text[:9]) <= highest):
            raise argparse.ArgumentTypeError(f"give a number from {lowest} to {highest}")
        return int(text)

    return number


def _add_simulate(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    simulate = commands.add_parser(
        "simulate",
        help="serve a simulated workspace or simulated sources until stopped, to try an agent against them",
        description="Servers for a trial: nothing of what they keep outlives them.",
        epilog="example: oase-agent simulate workspace",
    )
    roles = simulate.add_subparsers(required=True, metavar="ROLE")
    text = "serve the workspace ws01 of organization org001, and print what arrives"
    example = (
        "oase-agent simulate workspace --zabbix http://127.0.0.1:8091 --alertmanager http://127.0.0.1:8092"
    )
    workspace = _add(roles, "workspace", _simulate_workspace, text, example)
    text = "serve a Zabbix, and an Alertmanager on the next port, where something happens again and again"
    sources = _add(roles, "sources", _simulate_sources, text, "oase-agent simulate sources --interval 1")
    for parser, port in ((workspace, 8090), (sources, 8091)):
        parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)")
        parser.add_argument("--port", type=int, default=port, help=f"port to listen on (default: {port})")
    for name, port in (("zabbix", 8091), ("alertmanager", 8092)):
        url = f"http://127.0.0.1:{port}"
        workspace.add_argument(f"--{name}", default=url, metavar="URL", help=f"its base URL (default: {url})")
    sources.add_argument(
        "--interval",
        type=float,
        default=2.0,
        metavar="SECONDS",
        help="from one problem to the next (default: 2)",
    )


def _add_settings(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    settings = commands.add_parser(
        "settings",
        help="turn the workspace's settings into a file for SETTINGS_FILE, or check such a file",
        description="Settings in a file of this host: see docs/local-settings.md.",
        epilog="example: oase-agent settings export --output settings.yaml",
    )
    actions = settings.add_subparsers(required=True, metavar="ACTION")
    text = "write the workspace's settings as YAML, with a place for each secret and without the secrets"
    example = "oase-agent settings export --output settings.yaml"
    exported = _add(actions, "export", _settings_export, text, example)
    exported.add_argument("--output", metavar="FILE", help="a new file (default: standard output)")
    text = "check a file and the secret files that it names, without asking anybody"
    checked = _add(actions, "check", _settings_check, text, "oase-agent settings check settings.yaml")
    checked.add_argument("file", metavar="FILE", help="what SETTINGS_FILE names")
    modes = ("merge", "only")
    text = "the SETTINGS_FILE_MODE it is for: with only, each setting must be whole (default: merge)"
    checked.add_argument("--mode", choices=modes, default=modes[0], help=text)


def _add_dead(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    dead = commands.add_parser(
        "dead",
        help="look at dead letters, deliver them once more, or drop them",
        description="Events that the workspace refused are kept as dead letters until you decide.",
        epilog="example: oase-agent dead list",
    )
    actions = dead.add_subparsers(required=True, metavar="ACTION")
    listed = _add(
        actions, "list", _dead_list, "list the dead letters of one setting, or of all", "oase-agent dead list"
    )
    listed.add_argument("setting", nargs="?", metavar="SETTING", help="only of this setting (default: all)")
    example = "web-01 0000000007.0000-0001.9a0b1c2d"
    text = "print a letter as JSON lines: why it is dead, then its events as they were"
    shown = _add(actions, "show", _dead_show, text, f"oase-agent dead show {example}")
    text = "let the agent deliver letters once more; it takes them up within about 10 seconds"
    replayed = _add(actions, "replay", _dead_replay, text, "oase-agent dead replay web-01 --all")
    text = "remove letters for good; their events stay counted as dead"
    dropped = _add(actions, "drop", _dead_drop, text, f"oase-agent dead drop --yes {example}")
    for parser in (shown, replayed, dropped):
        parser.add_argument("setting", metavar="SETTING", help="name of the setting")
    shown.add_argument("letter", metavar="LETTER", help="as `dead list` shows it")
    for parser in (replayed, dropped):
        which = parser.add_mutually_exclusive_group(required=True)
        which.add_argument("letter", nargs="?", metavar="LETTER", help="as `dead list` shows it")
        which.add_argument("--all", action="store_true", help="all letters of the setting")
    dropped.add_argument("--yes", action="store_true", help="say that the events may be lost")


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
    from oase_agent.cli.checks.order import CheckOrder, View

    return check(
        os.environ,
        CheckOrder(
            names=tuple(name.strip() for name in options.setting),
            view=View(options.events, options.full, options.answers),
            offline=Path(options.offline) if options.offline else None,
            record=Path(options.record) if options.record else None,
        ),
    )


def _status(options: argparse.Namespace) -> int:
    from oase_agent.cli.status import status

    return status(os.environ, as_json=options.json)


def _dead_list(options: argparse.Namespace) -> int:
    from oase_agent.cli.dead import list_letters

    return list_letters(os.environ, options.setting)


def _dead_show(options: argparse.Namespace) -> int:
    from oase_agent.cli.dead import show_letter

    return show_letter(os.environ, options.setting, options.letter)


def _dead_replay(options: argparse.Namespace) -> int:
    from oase_agent.cli.dead import replay_letters

    return replay_letters(os.environ, options.setting, options.letter)


def _dead_drop(options: argparse.Namespace) -> int:
    from oase_agent.cli.dead import drop_letters

    return drop_letters(os.environ, options.setting, options.letter, is_sure=options.yes)


def _settings_export(options: argparse.Namespace) -> int:
    from oase_agent.cli.settings import export_settings

    return export_settings(os.environ, Path(options.output) if options.output else None)


def _settings_check(options: argparse.Namespace) -> int:
    from oase_agent.cli.settings import check_settings

    return check_settings(Path(options.file), is_complete=options.mode == "only")


def _simulate_workspace(options: argparse.Namespace) -> int:
    from oase_agent.cli.simulate import Address, simulate_workspace

    return simulate_workspace(Address(options.host, options.port), (options.zabbix, options.alertmanager))


def _simulate_sources(options: argparse.Namespace) -> int:
    from oase_agent.cli.simulate import Address, simulate_sources

    return simulate_sources(Address(options.host, options.port), options.interval)


if __name__ == "__main__":
    raise SystemExit(main())
