"""From a configuration to the parts of an agent, none of them started yet.

Read from top to bottom, this is the data path: sources, collector, spool, deliverer, workspace.
"""

import asyncio
import random
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from oase_agent import __version__
from oase_agent.collect.collector import Clocks, Collector, Source
from oase_agent.collect.extract import ExtractionRules
from oase_agent.config.groups import AgentConfig
from oase_agent.deliver.deliverer import Chances, Deliverer
from oase_agent.disk import Disk
from oase_agent.errors import ConfigError
from oase_agent.model import AgentIdentity, ConnectionMethod, Setting
from oase_agent.schedule.scheduler import Scheduler
from oase_agent.schedule.settings_keeper import SettingsKeeper, SettingsSource
from oase_agent.sources.egress import EgressPolicy
from oase_agent.sources.exchange import SourceLimits
from oase_agent.sources.http import HttpSource
from oase_agent.sources.routes import SourceTls, proxy_of
from oase_agent.spool.collection_file import BatchLimits
from oase_agent.spool.compression import Compression, CompressionMode
from oase_agent.spool.known_ids import IdPolicy
from oase_agent.spool.limits import SpoolLimits
from oase_agent.spool.spool import Spool
from oase_agent.telemetry import Telemetry
from oase_agent.tls import client_context
from oase_agent.workspace.client import WorkspaceClient
from oase_agent.workspace.last_good import LastGoodSettings, StoredRefreshToken
from oase_agent.workspace.secrets import SecretBox
from oase_agent.workspace.token import BasicCredentials, Credentials, TokenExchange
from oase_agent.workspace.transport import Transport
from oase_agent.workspace.wire import WorkspaceAddress

HTTP_METHODS = (
    ConnectionMethod.BEARER,
    ConnectionMethod.BASIC,
    ConnectionMethod.SHARED_KEY_LITE,
    ConnectionMethod.OPTIONAL,
)


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of one agent."""

    spool: Spool
    workspace: WorkspaceClient
    http_source: HttpSource
    keeper: SettingsKeeper
    scheduler: Scheduler
    deliverer: Deliverer


def agent_directory(config: AgentConfig) -> Path:
    """Return where the agent keeps everything: `<STORAGE_PATH>/<organization>/<workspace>/<agent>`."""
    workspace = config.workspace
    return config.spool.path / workspace.organization_id / workspace.workspace_id / config.agent.name


def build(config: AgentConfig, telemetry: Telemetry) -> Parts:
    """Make all parts; raises ConfigError for files that do not hold what they should."""
    identity = AgentIdentity(config.agent.name, __version__)
    spool = build_spool(config, telemetry)
    workspace = build_workspace(config, identity, telemetry)
    http_source = build_http_source(config)
    sources: dict[ConnectionMethod, Source] = dict.fromkeys(HTTP_METHODS, http_source)
    collector = Collector(
        spool,
        sources,
        telemetry,
        clocks=Clocks(time.time, time.monotonic),
        document_max_bytes=config.source.document_max_bytes,
    )
    scheduler = Scheduler(
        collector.collect,
        telemetry,
        interval_s=config.collection.interval_s,
        now=time.time,
        monotonic=time.monotonic,
        random=random.random,
    )

    async def settings_changed(settings: Sequence[Setting]) -> None:
        # The cursor of a new setting is set now, not at its first poll: what happens in between is collected.
        await asyncio.to_thread(spool.open_queues, [setting.name for setting in settings])
        scheduler.apply(settings)

    keeper = SettingsKeeper(
        settings_source(config, workspace),
        telemetry,
        reload_every_s=config.collection.interval_s * config.collection.iterations,
        on_change=settings_changed,
        monotonic=time.monotonic,
        random=random.random,
    )
    deliverer = Deliverer(
        spool,
        workspace,
        identity,
        telemetry,
        max_post_bytes=config.workspace.max_post_bytes,
        chances=Chances(time.time, time.monotonic, random.random),
        reload_settings=keeper.reload,
    )
    return Parts(spool, workspace, http_source, keeper, scheduler, deliverer)


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
    context = _context("CA_FILE, CLIENT_CERT_FILE, CLIENT_KEY_FILE", tls.ca_file, tls.cert_file, tls.key_file)
    options = config.workspace
    address = WorkspaceAddress(options.url, options.organization_id, options.workspace_id)
    transport = Transport(tls=context, proxies=config.proxies, observer=telemetry)
    return WorkspaceClient(
        transport, address, _credentials(config, transport, address, disk or Disk()), identity
    )


def build_http_source(config: AgentConfig, *, spill_directory: Path | None = None) -> HttpSource:
    """Make the source of all HTTP settings, whose large answers go to `spill_directory`; raises ConfigError."""
    source = config.source
    return HttpSource(
        SourceLimits(source.timeout_s, source.max_bytes, source.concurrency),
        SourceTls(_context("SOURCE_CA_FILE", source.ca_file), source.insecure_hosts),
        config.proxies,
        EgressPolicy(config.egress.allowed_networks, config.egress.denied_networks),
        clock=lambda: time.time_ns() // 1000,
        # On the volume: /tmp is often in memory, and a large answer must not be.
        spill_dir=spill_directory or config.spool.path,
    )


def settings_source(config: AgentConfig, workspace: WorkspaceClient) -> SettingsSource:
    """Tell where settings come from and what each must pass."""
    ids = config.workspace
    return SettingsSource(
        workspace=workspace,
        last_good=LastGoodSettings(Disk(), agent_directory(config)),
        box=SecretBox(ids.organization_id, ids.workspace_id),
        names=config.collection.setting_names,
        checks=(ExtractionRules.for_setting, proxy_of),
    )


def _credentials(
    config: AgentConfig, transport: Transport, address: WorkspaceAddress, disk: Disk
) -> Credentials:
    credentials = config.credentials
    if credentials.refresh_token:
        store = StoredRefreshToken(disk, agent_directory(config), credentials.refresh_token)
        return TokenExchange(transport, address, store)
    return BasicCredentials(credentials.username or "", credentials.password)


def _context(
    options: str, ca_file: Path | None, cert_file: Path | None = None, key_file: Path | None = None
) -> ssl.SSLContext:
    try:
        return client_context(ca_file=ca_file, cert_file=cert_file, key_file=key_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError((f"{options}: the files do not hold what they should ({_why(error)}).",)) from error


def _why(error: OSError) -> str:
    return (
        error.reason if isinstance(error, ssl.SSLError) and error.reason else error.strerror or "unreadable"
    )
