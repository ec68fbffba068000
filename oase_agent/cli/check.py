"""`oase-agent check`: configuration, volume, workspace, and what one collection of each setting would yield.

It posts nothing and keeps nothing, with one exception: a refresh token that the exchange replaced is stored exactly
as the agent stores it, because the replaced one may be void from then on. Where the volume could not keep it, the
token is not exchanged at all. Because nothing is posted, it cannot tell whether the user has the right to post.

With `--offline` no source is asked: events come from a saved response. With `--record` what a source answered is
saved, without secrets.
"""

import asyncio
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from oase_agent.app.build_sources import build_sources
from oase_agent.cli.checks.exchanges import http_trace
from oase_agent.cli.checks.offline import check_response, find_setting
from oase_agent.cli.checks.order import CheckOrder, WrongUse
from oase_agent.cli.checks.recorded_setting import recorded_configuration
from oase_agent.cli.checks.recording import NO_RECORDING, DirectoryRecording, Recording, prepare_directory
from oase_agent.cli.checks.replay import check_recording, read_recording, recording_directory
from oase_agent.cli.checks.section import Section
from oase_agent.cli.checks.setting import check_setting
from oase_agent.cli.checks.stage import CheckStage
from oase_agent.cli.checks.workspace import check_workspace
from oase_agent.cli.main import EXIT_FAILED, EXIT_FINE, EXIT_WRONG_USE
from oase_agent.cli.terminal import counted, printable
from oase_agent.config.groups import AgentConfig
from oase_agent.config.load import load_config


def check(environment: Mapping[str, str], order: CheckOrder) -> int:
    """Check what `order` names, and print a report.

    Returns 0 when all is fine, 1 when something failed, 2 for an order that makes no sense. Raises ConfigError.
    """
    try:
        failures = _failures(environment, order)
    except WrongUse as error:
        print(printable(f"oase-agent: {error}"), file=sys.stderr)
        return EXIT_WRONG_USE
    print(f"{counted(failures, 'problem')} found: see FAIL above." if failures else "Everything is fine.")
    return EXIT_FAILED if failures else EXIT_FINE


def _failures(environment: Mapping[str, str], order: CheckOrder) -> int:
    recording = None if order.offline is None else recording_directory(order.offline)
    if recording is not None:
        return _replay(recording, order)
    config, warnings = load_config(environment)
    if order.offline is not None:
        return asyncio.run(_extract(config, order, order.offline))
    return asyncio.run(_check(config, warnings, order))


def _replay(directory: Path, order: CheckOrder) -> int:
    """Extract a recording once more: all that it needs is in it."""
    recorded = read_recording(directory)
    name = recorded.saved.collection.setting.name
    if set(order.names) - {name}:
        raise WrongUse(
            f"the recording is of setting {name!r}: leave the name out. To extract its answer by another setting, "
            "give the .body file itself to --offline."
        )
    return _printed(check_recording(recorded, order.view))


async def _extract(config: AgentConfig, order: CheckOrder, file: Path) -> int:
    """Extract a file by a setting that this host knows, or else the workspace."""
    stage = CheckStage.of(config)
    name = stage.only_name(order.names, "--offline with a file")
    if not await asyncio.to_thread(file.is_file):
        raise WrongUse(
            f"--offline {str(file)!r} is no file: give one with the answer of a source, or a recording."
        )
    storage = Section("storage", stage.masker)
    may_log_in = stage.may_log_in(storage)
    section = Section(f"setting {name!r}", stage.masker)
    async with stage.settings.workspace:
        found = await find_setting(stage.settings, name, section, may_log_in=may_log_in)
    if found is None:
        return _printed(section)
    return _printed(check_response(file, *found, stage.tools({}), order.view))


async def _check(config: AgentConfig, warnings: Sequence[str], order: CheckOrder) -> int:
    """Print section after section as they are done; return the number of failures."""
    stage = CheckStage.of(config)
    names = {stage.only_name(order.names, "--record")} if order.record else stage.names(order.names)
    recording = _recording(config, order.record)
    failures = _printed(_configuration(config, warnings, stage))
    storage = Section("storage", stage.masker)
    may_log_in = stage.may_log_in(storage)
    failures += _printed(storage)
    with tempfile.TemporaryDirectory(prefix="oase-agent-check-") as spill_directory:
        sources = build_sources(
            config, options_of=stage.options.of, spill_directory=Path(spill_directory), traces=[http_trace()]
        )
        async with stage.settings.workspace, sources:
            section = Section(f"workspace {config.workspace.workspace_id!r}", stage.masker)
            left_out = set(stage.settings.wanted()) - names
            settings = await check_workspace(
                stage.settings, section, may_log_in=may_log_in, left_out=left_out
            )
            failures += _printed(section)
            tools = stage.tools(sources.by_method)
            running = [
                asyncio.create_task(check_setting(setting, tools, order.view, recording))
                for setting in settings
            ]
            # In the order of the names, so that two reports can be compared; each as soon as those before are out.
            for task in running:
                failures += _printed(await task)
    return failures


def _recording(config: AgentConfig, directory: Path | None) -> Recording:
    if directory is None:
        return NO_RECORDING
    if directory.resolve().is_relative_to(config.spool.path.resolve()):
        raise WrongUse(
            f"--record {str(directory)!r} is within STORAGE_PATH, where only the agent writes: name another."
        )
    prepare_directory(directory)
    return DirectoryRecording(directory, recorded_configuration(config))


def _configuration(config: AgentConfig, warnings: Sequence[str], stage: CheckStage) -> Section:
    section = Section("configuration", stage.masker)
    way = "refresh token" if config.credentials.refresh_token else "user name and password"
    collection = config.collection
    names = stage.settings.wanted()
    section.fine(f"agent {config.agent.name!r} with {counted(len(names), 'name')} of settings")
    section.fact(
        "workspace", f"{config.workspace.url}, organization {config.workspace.organization_id!r}, {way}"
    )
    section.fact(
        "interval", f"{collection.interval_s} s, settings are reloaded every {collection.iterations} of them"
    )
    for warning in (*warnings, *stage.options.warnings(names)):
        section.warning(warning)
    return section


def _printed(section: Section) -> int:
    """Print a section; return its failures."""
    for line in section.lines():
        print(line)
    print(flush=True)
    return section.failures
