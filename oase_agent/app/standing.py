"""How the agent stands at a moment, gathered from its parts: for readiness, status and metrics."""

from collections.abc import Iterator
from dataclasses import replace

from oase_agent import __version__
from oase_agent.app.build import Parts
from oase_agent.app.sharing import Shared
from oase_agent.config.groups import AgentConfig
from oase_agent.errors import Reason
from oase_agent.serve.status import AgentStatus, SettingStatus, SharingStatus
from oase_agent.telemetry import Telemetry, Trouble


def standing(
    config: AgentConfig,
    parts: Parts,
    telemetry: Telemetry,
    *,
    waits_for: str | None,
    is_ready_as_standby: bool,
    now_s: float,
    started_at_s: float,
) -> AgentStatus:
    """Return the status; `waits_for` tells why the agent does not work at all yet, or any more. Never blocks.

    A replica that `is_ready_as_standby` lacks nothing: it waits for its turn.
    """
    return AgentStatus(
        version=__version__,
        agent_name=config.agent.name,
        organization_id=config.workspace.organization_id,
        workspace_id=config.workspace.workspace_id,
        now_s=now_s,
        started_at_s=started_at_s,
        unready=() if is_ready_as_standby else tuple(_unready(parts, telemetry, waits_for)),
        settings=tuple(_with_owner(parts, setting) for setting in _settings(config, parts, telemetry, now_s)),
        sharing=None if parts.shared is None else _sharing(parts.shared),
    )


def _sharing(shared: Shared) -> SharingStatus:
    return SharingStatus(
        engine=shared.coordination.engine,
        replica=shared.coordination.coordinator.name,
        replicas=tuple(sorted(shared.sharing.view.members)),
        moves=shared.coordination.facts.moves,
    )


def _with_owner(parts: Parts, setting: SettingStatus) -> SettingStatus:
    if parts.shared is None:
        return setting
    held = parts.shared.sharing.held.get(setting.name)
    if held is not None:
        return replace(setting, owner=parts.shared.coordination.coordinator.name, owned_since_s=held.since_s)
    owner = parts.shared.sharing.view.owners.get(setting.name)
    state = "elsewhere" if setting.state == "collecting" else setting.state
    return replace(setting, owner=owner, state=state)


def _unready(parts: Parts, telemetry: Telemetry, waits_for: str | None) -> Iterator[str]:
    if waits_for is not None:
        yield waits_for
        return
    settings = telemetry.trouble_of("settings")
    if settings is not None:
        yield f"settings: {settings.message}"
    elif not parts.keeper.is_loaded:
        yield "settings: not loaded yet"
    settings_file = telemetry.trouble_of("settings_file")
    if settings_file is not None:
        yield f"settings file: {settings_file.message}"
    coordination = None if parts.shared is None else parts.shared.sharing.trouble
    # All slots taken: a replica that waits for one is as it should be.
    if coordination is not None and coordination.reason is not Reason.STANDBY:
        yield f"coordination: {coordination}"
    workspace = telemetry.trouble_of("workspace")
    if workspace is not None:
        yield f"workspace: {workspace.message}"
    if parts.spool.admission.pause is not None:
        yield f"spool: {parts.spool.admission.pause}"
    for queue in parts.spool.queues():
        volume = _volume_trouble(telemetry, queue.setting_name)
        if volume is not None:
            yield f"volume: {volume.message}"


def _settings(
    config: AgentConfig, parts: Parts, telemetry: Telemetry, now_s: float
) -> Iterator[SettingStatus]:
    keeper = parts.keeper
    queues = {queue.setting_name: queue for queue in parts.spool.queues()}
    collecting = {setting.name: setting for setting in keeper.settings}
    disabled = {setting.name: setting.reason for setting in keeper.disabled}
    unknown = keeper.names if not keeper.is_loaded else keeper.unknown
    why_unknown = (
        f"the {'settings file' if config.local_settings.is_only else 'workspace'} has no such setting"
    )
    names = dict.fromkeys((*keeper.names, *collecting, *disabled, *queues))
    for name in names:
        figures = queues[name].figures() if name in queues else None
        if name in collecting:
            paused_s = parts.pacing.seconds_paused(collecting[name])
            again_s = now_s + paused_s if paused_s > 0 else None
            yield SettingStatus(name, "collecting", figures, _trouble(telemetry, name), again_s)
        elif name in disabled:
            yield SettingStatus(name, "disabled", figures, disabled[name])
        elif name in unknown:
            yield SettingStatus(name, "unknown", figures, why_unknown if keeper.is_loaded else None)
        elif name in keeper.skipped:
            yield SettingStatus(name, "skipped", figures, None)
        elif name in queues:  # else it is another spelling of one of the others
            yield SettingStatus(name, "left", figures, _trouble(telemetry, name))


def _volume_trouble(telemetry: Telemetry, name: str) -> Trouble | None:
    """Return what hinders delivering or collecting a setting and is the volume's fault."""
    collecting = telemetry.trouble_of("collect", name)
    is_volume = collecting is not None and collecting.reason in {Reason.DISK, Reason.DAMAGED}
    return telemetry.trouble_of("volume", name) or (collecting if is_volume else None)


def _trouble(telemetry: Telemetry, name: str) -> str | None:
    troubles = (telemetry.trouble_of(kind, name) for kind in ("volume", "collect", "deliver"))
    return next((trouble.message for trouble in troubles if trouble is not None), None)
