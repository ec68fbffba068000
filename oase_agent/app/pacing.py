"""How often sources are asked, from the configuration: the budget of hosts, slots, and circuits of settings."""

import random
import time
from collections.abc import Callable

from oase_agent.collect.pacing import Pacing
from oase_agent.config.groups import AgentConfig
from oase_agent.sources.host_budget import HostBudget
from oase_agent.sources.options import OptionsOf
from oase_agent.sources.turns import Turns
from oase_agent.telemetry.pacing import PacingFacts


def build_turns(config: AgentConfig, options_of: OptionsOf, facts: PacingFacts | None) -> Turns:
    """Make the slots and host budgets that the sources of all protocols share."""
    hosts = HostBudget(
        config.source.requests_per_minute, longest_wait_s=_intervals_s(config, options_of), facts=facts
    )
    return Turns(config.source.concurrency, hosts)


def build_pacing(config: AgentConfig, options_of: OptionsOf, facts: PacingFacts) -> Pacing:
    """Make the circuits of all settings."""
    return Pacing(
        config.source.backoff_max_s,
        facts,
        interval_s=_intervals_s(config, options_of),
        monotonic=time.monotonic,
        random=random.random,
    )


def _intervals_s(config: AgentConfig, options_of: OptionsOf) -> Callable[[str], float]:
    return lambda setting_name: options_of(setting_name).interval_s or config.collection.interval_s
