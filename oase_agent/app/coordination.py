"""From the options to the engine by which replicas share the settings, or to none."""

import random
import time
from dataclasses import dataclass

from oase_agent.app.agent_directory import agent_directory
from oase_agent.app.carrying import Carrier, confirm_with
from oase_agent.config.coordination import CoordinationOptions
from oase_agent.config.groups import AgentConfig
from oase_agent.coordination.coordinator import Coordinator
from oase_agent.coordination.kubernetes.api import ApiServer, LeaseApi
from oase_agent.coordination.kubernetes.coordinator import KubernetesCoordinator
from oase_agent.coordination.kubernetes.lease import base_name
from oase_agent.coordination.kubernetes.membership import Clocks, Timing
from oase_agent.coordination.volume import VolumeCoordinator
from oase_agent.deliver.handover import Confirm
from oase_agent.errors import ConfigError
from oase_agent.spool.spool import setting_directory
from oase_agent.telemetry import Telemetry
from oase_agent.telemetry.ownership import OwnershipFacts


def boottime() -> float:
    """Return seconds that also count while the host sleeps: a lease goes on ageing then."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def engine_of(options: CoordinationOptions) -> str:
    """Return `none`, `volume` or `kubernetes`: what COORDINATION=auto means here."""
    if options.engine != "auto":
        return options.engine
    has_token = (options.service_account / "token").is_file()
    return "kubernetes" if options.namespace and options.api_host and has_token else "none"


@dataclass(frozen=True, slots=True)
class Coordination:
    """The engine, by its name in COORDINATION, and what is told of it.

    `confirm` is asked before each POST. `carrier` is None unless each replica has a volume of its own.
    """

    engine: str
    coordinator: Coordinator
    facts: OwnershipFacts
    confirm: Confirm
    carrier: Carrier | None = None


def build_coordination(config: AgentConfig, telemetry: Telemetry) -> Coordination | None:
    """Make the engine; None where nothing is shared. Raises ConfigError for options that are missing or unfit."""
    engine = engine_of(config.coordination)
    if config.coordination.volume == "own" and engine != "kubernetes":
        raise ConfigError((_own_needs_leases(config.coordination.engine, engine),))
    if engine == "none":
        return None
    facts = telemetry.ownership_facts()
    if engine == "kubernetes":
        leases = _kubernetes(config, facts)
        if config.coordination.volume == "own":
            carrier = Carrier(leases, leases)
            return Coordination(engine, leases, facts, carrier.confirm, carrier)
        return Coordination(engine, leases, facts, confirm_with(leases))
    locks = VolumeCoordinator(agent_directory(config), setting_directory)
    return Coordination(engine, locks, facts, confirm_with(locks))


def _own_needs_leases(wanted: str, found: str) -> str:
    engine = wanted if wanted == found else f"{wanted}, which is {found} here"
    return (
        f"COORDINATION_VOLUME is own, but COORDINATION is {engine}: where each replica has a volume of its own, only "
        "Leases carry the cursors between them. Use COORDINATION=kubernetes in a pod of the chart with coordination, "
        "or COORDINATION_VOLUME=shared."
    )


def _kubernetes(config: AgentConfig, facts: OwnershipFacts) -> KubernetesCoordinator:
    options = config.coordination
    if not options.namespace or not options.api_host:
        raise ConfigError(
            (
                "COORDINATION is kubernetes, but POD_NAMESPACE or KUBERNETES_SERVICE_HOST is missing: run in a pod "
                "of the chart with coordination, or use COORDINATION=volume or none.",
            )
        )
    host = f"[{options.api_host}]" if ":" in options.api_host else options.api_host
    server = ApiServer(
        f"https://{host}:{options.api_port}",
        options.namespace,
        options.service_account / "token",
        options.service_account / "ca.crt",
    )
    workspace = config.workspace
    base = base_name(workspace.organization_id, workspace.workspace_id, config.agent.name)
    return KubernetesCoordinator(
        LeaseApi(server, base, facts),
        base,
        slots=config.coordination.slots,
        pod_name=options.pod_name or "replica",
        timing=Timing.of(options.lease_s),
        clocks=Clocks(boottime, time.time, random.random),
        keeps_records=options.volume == "own",
    )
