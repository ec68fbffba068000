"""From a configuration to the sources of every connection method, none of them started yet."""

import time
from collections.abc import Sequence
from pathlib import Path

import aiohttp

from oase_agent.app.pacing import build_turns
from oase_agent.app.source_options import SourceOptionsFile
from oase_agent.app.sources import Sources
from oase_agent.app.tls_files import context_from
from oase_agent.config.groups import AgentConfig
from oase_agent.model import ConnectionMethod
from oase_agent.sources.egress import EgressPolicy
from oase_agent.sources.exchange import SourceLimits
from oase_agent.sources.http import HttpSource
from oase_agent.sources.mail.route import MailPolicy
from oase_agent.sources.mail.source import MailSource
from oase_agent.sources.options import OptionsOf, no_options
from oase_agent.sources.routes import SourceTls
from oase_agent.sources.turns import Turns
from oase_agent.telemetry.pacing import PacingFacts

HTTP_METHODS = (
    ConnectionMethod.BEARER,
    ConnectionMethod.BASIC,
    ConnectionMethod.SHARED_KEY_LITE,
    ConnectionMethod.OPTIONAL,
)


def source_options(config: AgentConfig) -> SourceOptionsFile:
    """Read SOURCE_OPTIONS_FILE, whose `of` tells the options of a setting; raises ConfigError with every fault."""
    return SourceOptionsFile(config.source.options_file, source_ca_file=config.source.ca_file)


def build_sources(
    config: AgentConfig,
    *,
    options_of: OptionsOf = no_options,
    spill_directory: Path | None = None,
    traces: Sequence[aiohttp.TraceConfig] = (),
    facts: PacingFacts | None = None,
) -> Sources:
    """Make the sources of every connection method; raises ConfigError.

    `options_of` tells the options of a setting at the moment. Large answers go to `spill_directory`, by default on
    the volume. `traces` look on at requests over HTTP, `facts` are told when hosts are not to be asked.
    """
    turns = build_turns(config, options_of, facts)
    tls = SourceTls(context_from("SOURCE_CA_FILE", config.source.ca_file), config.source.insecure_hosts)
    # On the volume: /tmp is often in memory, and a large answer must not be.
    place = spill_directory or config.spool.path
    http_source = _http_source(
        config, tls, turns, options_of=options_of, spill_directory=place, traces=traces
    )
    mail_source = _mail_source(config, tls, turns, options_of, place)
    return Sources({**dict.fromkeys(HTTP_METHODS, http_source), ConnectionMethod.IMAP: mail_source})


def _http_source(
    config: AgentConfig,
    tls: SourceTls,
    turns: Turns,
    *,
    options_of: OptionsOf,
    spill_directory: Path,
    traces: Sequence[aiohttp.TraceConfig],
) -> HttpSource:
    return HttpSource(
        _source_limits(config),
        tls,
        config.proxies,
        egress_policy(config),
        clock=_epoch_us,
        spill_dir=spill_directory,
        traces=traces,
        options_of=options_of,
        turns=turns,
    )


def _mail_source(
    config: AgentConfig, tls: SourceTls, turns: Turns, options_of: OptionsOf, spill_directory: Path
) -> MailSource:
    return MailSource(
        _source_limits(config),
        MailPolicy(config.mail.tls, config.mail.plaintext_hosts),
        tls,
        egress_policy(config),
        clock=_epoch_us,
        spill_dir=spill_directory,
        options_of=options_of,
        turns=turns,
    )


def _source_limits(config: AgentConfig) -> SourceLimits:
    return SourceLimits(config.source.timeout_s, config.source.max_bytes, config.source.concurrency)


def _epoch_us() -> int:
    return time.time_ns() // 1000


def egress_policy(config: AgentConfig) -> EgressPolicy:
    """Tell where sources of every kind may go."""
    egress = config.egress
    return EgressPolicy(
        egress.allowed_networks,
        egress.denied_networks,
        egress.allowed_hosts,
        egress.denied_hosts,
        egress.allowed_ports,
    )
