"""From a configuration to the parts of an agent, none of them started yet.

Read from top to bottom, this is the data path: sources, collector, spool, deliverer, workspace.
"""

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from oase_agent import __version__
from oase_agent.app.agent_directory import agent_directory
from oase_agent.app.build_sources import build_sources, source_options
from oase_agent.app.coordination import build_coordination
from oase_agent.app.pacing import build_pacing
from oase_agent.app.sharing import Shared, share
from oase_agent.app.source_options import SourceOptionsFile
from oase_agent.app.sources import Sources
from oase_agent.app.tls_files import context_from
from oase_agent.collect.collector import Clocks, Collector
from oase_agent.collect.extract import ExtractionRules
from oase_agent.collect.pacing import Pacing
from oase_agent.config.groups import AgentConfig
from oase_agent.deliver.deliverer import Chances, Deliverer
from oase_agent.deliver.handover import alone
from oase_agent.disk import Disk
from oase_agent.model import AgentIdentity, ConnectionMethod, Setting
from oase_agent.schedule.scheduler import Scheduler
from oase_agent.schedule.settings_keeper import SettingsKeeper
from oase_agent.schedule.settings_source import SettingsSource
from oase_agent.sources.mail.route import mail_proxy_of
from oase_agent.sources.options import OptionsOf, no_options
from oase_agent.sources.routes import proxy_of
from oase_agent.spool.collection_file import BatchLimits
from oase_agent.spool.compression import Compression, CompressionMode
from oase_agent.spool.known_ids import IdPolicy
from oase_agent.spool.limits import SpoolLimits
from oase_agent.spool.spool import Spool
from oase_agent.telemetry import Telemetry
from oase_agent.workspace.client import WorkspaceClient
from oase_agent.workspace.last_good import LastGoodSettings, StoredRefreshToken
from oase_agent.workspace.local_settings import LocalSettingsFile
from oase_agent.workspace.secrets import SecretBox
from oase_agent.workspace.settings import Check
from oase_agent.workspace.token import BasicCredentials, Credentials, TokenExchange
from oase_agent.workspace.transport import Transport
from oase_agent.workspace.wire import WorkspaceAddress


def setting_checks(options_of: OptionsOf) -> Sequence[Check]:
    """Return what a setting must pass beyond its types and bounds, wherever it comes from."""

    def check_proxy(setting: Setting) -> None:
        # A proxy of SOURCE_OPTIONS_FILE stands in for PROXY: what that says does not matter then.
        if options_of(setting.name).proxy is not None:
            return
        if setting.connection_method is ConnectionMethod.IMAP:
            mail_proxy_of(setting)
        else:
            proxy_of(setting)

    return ExtractionRules.for_setting, check_proxy


SETTING_CHECKS = setting_checks(no_options)


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of one agent."""

    spool: Spool
    workspace: WorkspaceClient
    sources: Sources
    keeper: SettingsKeeper
    scheduler: Scheduler
    deliverer: Deliverer
    source_options: SourceOptionsFile
    pacing: Pacing
    shared: Shared | None


def build(config: AgentConfig, telemetry: Telemetry) -> Parts:
    """Make all parts; raises ConfigError for files that do not hold what they should."""
    identity = AgentIdentity(config.agent.name, __version__)
    spool = build_spool(config, telemetry)
    workspace = build_workspace(config, identity, telemetry)
    options = source_options(config)
    sources = build_sources(config, options_of=options.of, facts=telemetry.pacing)
    pacing = build_pacing(config, options.of, telemetry.pacing)
    collector = Collector(
        spool,
        sources.by_method,
        telemetry,
        clocks=Clocks(time.time, time.monotonic),
        pacing=pacing,
        document_max_bytes=config.source.document_max_bytes,
    )
    scheduler = Scheduler(
        collector.collect,
        telemetry,
        interval_s=config.collection.interval_s,
        own_interval_s=options.interval_s,
        now=time.time,
        monotonic=time.monotonic,
        random=random.random,
    )

    async def settings_changed(settings: Sequence[Setting]) -> None:
        pacing.forget_others(settings)
        if shared is not None:
            await shared.settings_changed(settings)
            return
        # The cursor of a new setting is set now, not at its first poll: what happens in between is collected.
        await asyncio.to_thread(spool.open_queues, [setting.name for setting in settings])
        scheduler.apply(settings)

    keeper = SettingsKeeper(
        settings_source(config, workspace, options_of=options.of),
        telemetry,
        reload_every_s=config.collection.interval_s * config.collection.iterations,
        on_change=settings_changed,
        monotonic=time.monotonic,
        random=random.random,
    )
    coordination = build_coordination(config, telemetry)
    deliverer = Deliverer(
        spool,
        workspace,
        identity,
        telemetry,
        max_post_bytes=config.workspace.max_post_bytes,
        chances=Chances(time.time, time.monotonic, random.random),
        reload_settings=keeper.reload,
        confirm=coordination.confirm if coordination else alone,
    )
    shared = None
    if coordination is not None:
        shared = share(coordination, spool, scheduler, deliverer, telemetry)
    return Parts(spool, workspace, sources, keeper, scheduler, deliverer, options, pacing, shared)


def build_spool(config: AgentConfig, telemetry: Telemetry) -> Spool:
    """Make the spool of the agent's directory."""
    return Spool(
        agent_directory(config),
        limits=SpoolLimits(config.spool.max_bytes, config.spool.min_free_bytes),
        ids=IdPolicy(config.spool.known_id_retention_h),
        now=time.time,
        telemetry=telemetry,
        batches=BatchLimits(compression=Compression(CompressionMode(config.spool.compression))),
    )


def build_workspace(
    config: AgentConfig, identity: AgentIdentity, telemetry: Telemetry, *, disk: Disk | None = None
) -> WorkspaceClient:
    """Make the client of the workspace, which keeps a rotated refresh token on `disk`; raises ConfigError."""
    tls = config.workspace_tls
    context = context_from(
        "CA_FILE, CLIENT_CERT_FILE, CLIENT_KEY_FILE", tls.ca_file, tls.cert_file, tls.key_file
    )
    options = config.workspace
    address = WorkspaceAddress(options.url, options.organization_id, options.workspace_id)
    transport = Transport(tls=context, proxies=config.proxies, observer=telemetry)
    return WorkspaceClient(
        transport, address, _credentials(config, transport, address, disk or Disk()), identity
    )


def settings_source(
    config: AgentConfig, workspace: WorkspaceClient, *, options_of: OptionsOf = no_options
) -> SettingsSource:
    """Tell where settings come from and what each must pass; raises ConfigError for a faulty SETTINGS_FILE."""
    ids = config.workspace
    local = config.local_settings
    checks = setting_checks(options_of)
    file = local_settings_file(local.file, is_complete=local.is_only, checks=checks) if local.file else None
    return SettingsSource(
        workspace=workspace,
        last_good=LastGoodSettings(Disk(), agent_directory(config)),
        box=SecretBox(ids.organization_id, ids.workspace_id),
        names=config.collection.setting_names,
        checks=checks,
        local=file,
        asks_workspace=not local.is_only,
    )


def local_settings_file(
    path: Path, *, is_complete: bool, checks: Sequence[Check] = SETTING_CHECKS
) -> LocalSettingsFile:
    """Read a file with settings, which must be whole if `is_complete`; raises ConfigError with all its faults."""
    file = LocalSettingsFile(path, is_complete=is_complete, checks=checks)
    file.refresh()
    return file


def _credentials(
    config: AgentConfig, transport: Transport, address: WorkspaceAddress, disk: Disk
) -> Credentials:
    credentials = config.credentials
    if credentials.refresh_token:
        store = StoredRefreshToken(disk, agent_directory(config), credentials.refresh_token)
        return TokenExchange(transport, address, store)
    return BasicCredentials(credentials.username or "", credentials.password)
