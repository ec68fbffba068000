"""`oase-agent check`: configuration, volume, workspace, and what one collection of each setting would yield.

It posts nothing and keeps nothing, with one exception: a refresh token that the exchange replaced is stored exactly
as the agent stores it, because the replaced one may be void from then on. Where the volume could not keep it, the
token is not exchanged at all. Because nothing is posted, it cannot tell whether the user has the right to post.
"""

import asyncio
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from oase_agent import __version__
from oase_agent.app.build import agent_directory, build_http_source, build_workspace, settings_source
from oase_agent.cli.checks.masking import Masker, secrets_of_config
from oase_agent.cli.checks.section import Section
from oase_agent.cli.checks.setting import CollectionTools, check_setting
from oase_agent.cli.checks.storage import TokenDisk, check_storage
from oase_agent.cli.checks.workspace import check_workspace
from oase_agent.cli.main import EXIT_FAILED, EXIT_FINE, EXIT_WRONG_USE
from oase_agent.cli.terminal import counted, printable
from oase_agent.collect.templates import RequestTemplates
from oase_agent.config.groups import AgentConfig
from oase_agent.config.load import load_config
from oase_agent.model import AgentIdentity
from oase_agent.telemetry import Telemetry


def check(environment: Mapping[str, str], names: Sequence[str]) -> int:
    """Check everything, or only the settings in `names`, and print a report.

    Returns 0 when all is fine, 1 when something failed, 2 for a name that is not configured. Raises ConfigError.
    """
    config, warnings = load_config(environment)
    wanted = {name.strip() for name in names} or set(config.collection.setting_names)
    strange = sorted(wanted.difference(config.collection.setting_names))
    if strange:
        print(_not_configured(strange, config.collection.setting_names), file=sys.stderr)
        return EXIT_WRONG_USE
    failures = asyncio.run(_check(config, warnings, wanted))
    print(f"{counted(failures, 'problem')} found: see FAIL above." if failures else "Everything is fine.")
    return EXIT_FAILED if failures else EXIT_FINE


async def _check(config: AgentConfig, warnings: Sequence[str], wanted: set[str]) -> int:
    """Print section after section as they are done; return the number of failures."""
    with tempfile.TemporaryDirectory(prefix="oase-agent-check-") as spill_directory:
        identity = AgentIdentity(config.agent.name, __version__)
        workspace = build_workspace(config, identity, Telemetry(), disk=TokenDisk())
        http_source = build_http_source(config, spill_directory=Path(spill_directory))
        masker = Masker(secrets_of_config(config))
        configuration = _configuration(config, warnings, Section("configuration", masker))
        storage = Section("storage", masker)
        can_keep_token = check_storage(config, storage)
        failures = _printed(configuration) + _printed(storage)
        async with workspace, http_source:
            section = Section(f"workspace {config.workspace.workspace_id!r}", masker)
            settings = await check_workspace(
                settings_source(config, workspace),
                section,
                may_log_in=can_keep_token or not config.credentials.refresh_token,
                left_out=set(config.collection.setting_names) - wanted,
            )
            failures += _printed(section)
            tools = CollectionTools(
                source=http_source,
                templates=RequestTemplates(),
                agent_directory=agent_directory(config),
                secrets=secrets_of_config(config),
                slots=asyncio.Semaphore(config.source.concurrency),
                document_max_bytes=config.source.document_max_bytes,
                now=time.time,
                monotonic=time.monotonic,
            )
            running = [asyncio.create_task(check_setting(setting, tools)) for setting in settings]
            # In the order of the names, so that two reports can be compared; each as soon as those before are out.
            for task in running:
                failures += _printed(await task)
    return failures


def _configuration(config: AgentConfig, warnings: Sequence[str], section: Section) -> Section:
    way = "refresh token" if config.credentials.refresh_token else "user name and password"
    collection = config.collection
    section.fine(
        f"agent {config.agent.name!r} with {counted(len(collection.setting_names), 'name')} of settings"
    )
    section.fact(
        "workspace", f"{config.workspace.url}, organization {config.workspace.organization_id!r}, {way}"
    )
    section.fact(
        "interval", f"{collection.interval_s} s, settings are reloaded every {collection.iterations} of them"
    )
    for warning in warnings:
        section.warning(warning)
    return section


def _printed(section: Section) -> int:
    """Print a section; return its failures."""
    for line in section.lines():
        print(line)
    print(flush=True)
    return section.failures


def _not_configured(strange: Sequence[str], configured: Sequence[str]) -> str:
    names = ", ".join(map(repr, strange))
    return printable(
        f"oase-agent: EVENT_COLLECTION_SETTINGS_NAMES does not name {names}. Configured: "
        f"{', '.join(map(repr, configured))}."
    )
