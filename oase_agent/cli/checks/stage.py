"""What every check with a configuration shares: where settings come from, and the names that are meant."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from oase_agent import __version__
from oase_agent.app.agent_directory import agent_directory
from oase_agent.app.build import build_workspace, settings_source
from oase_agent.app.build_sources import source_options
from oase_agent.app.source_options import SourceOptionsFile
from oase_agent.cli.checks.masking import Masker
from oase_agent.cli.checks.order import WrongUse
from oase_agent.cli.checks.secrets import secrets_of_config
from oase_agent.cli.checks.section import Section
from oase_agent.cli.checks.setting import CollectionTools
from oase_agent.cli.checks.storage import TokenDisk, check_storage
from oase_agent.collect.collector import Source
from oase_agent.collect.templates import RequestTemplates
from oase_agent.config.groups import AgentConfig
from oase_agent.model import AgentIdentity, ConnectionMethod
from oase_agent.schedule.settings_source import SettingsSource
from oase_agent.spool.known_ids import IdPolicy
from oase_agent.telemetry import Telemetry
from oase_agent.workspace.settings import folded


@dataclass(frozen=True, slots=True)
class CheckStage:
    """The parts of an agent that a check needs, none of them opened; `masker` hides what is in the configuration."""

    config: AgentConfig
    settings: SettingsSource
    options: SourceOptionsFile
    masker: Masker

    @classmethod
    def of(cls, config: AgentConfig) -> "CheckStage":
        """Make the parts; raises ConfigError for files that do not hold what they should."""
        options = source_options(config)
        identity = AgentIdentity(config.agent.name, __version__)
        workspace = build_workspace(config, identity, Telemetry(), disk=TokenDisk())
        settings = settings_source(config, workspace, options_of=options.of)
        return cls(config, settings, options, Masker(secrets_of_config(config)))

    def names(self, wanted: Sequence[str]) -> set[str]:
        """Return the settings to check, all if none is wanted; raises WrongUse for one that is not configured."""
        configured = self.settings.wanted()
        spelled = {folded(name): name for name in configured}
        strange = sorted(name for name in wanted if folded(name) not in spelled)
        if strange:
            file = " and SETTINGS_FILE do" if self.settings.local else " does"
            raise WrongUse(
                f"EVENT_COLLECTION_SETTINGS_NAMES{file} not name {_listed(strange)}. Configured: "
                f"{_listed(configured)}."
            )
        return {spelled[folded(name)] for name in wanted} or set(configured)

    def only_name(self, wanted: Sequence[str], option: str) -> str:
        """Return the one setting that an option is about; raises WrongUse when it may be several."""
        names = self.names(wanted)
        if len(names) != 1:
            raise WrongUse(f"{option} is about one setting: name it. Configured: {_listed(sorted(names))}.")
        return names.pop()

    def may_log_in(self, section: Section) -> bool:
        """Write down how the volume is; return whether a token that the exchange replaced could be kept there."""
        can_keep_token = check_storage(self.config, section)
        return can_keep_token or not self.config.credentials.refresh_token

    def tools(self, sources: Mapping[ConnectionMethod, Source]) -> CollectionTools:
        """Return what collecting needs; `sources` may be empty where nobody is asked."""
        config = self.config
        return CollectionTools(
            sources=sources,
            templates=RequestTemplates(),
            options_of=self.options.of,
            agent_directory=agent_directory(config),
            secrets=secrets_of_config(config),
            slots=asyncio.Semaphore(config.source.concurrency),
            ids=IdPolicy(config.spool.known_id_retention_h),
            document_max_bytes=config.source.document_max_bytes,
            now=time.time,
            monotonic=time.monotonic,
        )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names))
