"""How the agent stands at a moment, gathered from its parts: for readiness, status and metrics."""

from collections.abc import Iterator

from oase_agent import __version__
from oase_agent.app.build import Parts
from oase_agent.config.groups import AgentConfig
from oase_agent.errors import Reason
from oase_agent.serve.status import AgentStatus, SettingStatus
from oase_agent.telemetry import Telemetry, Trouble


def standing(
    config: AgentConfig,
    parts: Parts,
    telemetry: Telemetry,
    *,
    waits_for: str | None,
    now_s: float,
    started_at_s: float,
) -> AgentStatus:
    """Return the status; `waits_for` tells why the agent does not work at all yet, or any more. Never blocks."""
    return AgentStatus(
        version=__version__,
        agent_name=config.agent.name,
        organization_id=config.workspace.organization_id,
        workspace_id=config.workspace.workspace_id,
        now_s=now_s,
        started_at_s=started_at_s,
        unready=tuple(_unready(parts, telemetry, waits_for)),
        settings=tuple(_settings(config, parts, telemetry)),
    )


def _unready(parts: Parts, telemetry: Telemetry, waits_for: str | None) -> Iterator[str]:
    if waits_for is not None:
        yield waits_for
        return
    settings = telemetry.trouble_of("settings")
    if settings is not None:
        yield f"settings: {settings.message}"
    elif not parts.keeper.is_loaded:
        yield "settings: not loaded yet"
    workspace = telemetry.trouble_of("workspace")
    if workspace is not None:
        yield f"workspace: {workspace.message}"
    if parts.spool.admission.pause is not None:
        yield f"spool: {parts.spool.admission.pause}"
    for queue in parts.spool.queues():
        volume = _volume_trouble(telemetry, queue.setting_name)
        if volume is not None:
            yield f"volume: {volume.message}"


def _settings(config: AgentConfig, parts: Parts, telemetry: Telemetry) -> Iterator[SettingStatus]:
    keeper = parts.keeper
    queues = {queue.setting_name: queue for queue in parts.spool.queues()}
    collecting = {setting.name for setting in keeper.settings}
    disabled = {setting.name: setting.reason for setting in keeper.disabled}
    names = dict.fromkeys((*config.collection.setting_names, *collecting, *disabled, *queues))
    for name in names:
        figures = queues[name].figures() if name in queues else None
        if name in collecting:
            yield SettingStatus(name, "collecting", figures, _trouble(telemetry, name))
        elif name in disabled:
            yield SettingStatus(name, "disabled", figures, disabled[name])
        elif name in config.collection.setting_names:
            why = "the workspace has no such setting" if keeper.is_loaded else None
            yield SettingStatus(name, "unknown", figures, why)
        else:
            yield SettingStatus(name, "left", figures, _trouble(telemetry, name))


def _volume_trouble(telemetry: Telemetry, name: str) -> Trouble | None:
    """Return what hinders delivering or collecting a setting and is the volume's fault."""
    collecting = telemetry.trouble_of("collect", name)
    is_volume = collecting is not None and collecting.reason in {Reason.DISK, Reason.DAMAGED}
    return telemetry.trouble_of("volume", name) or (collecting if is_volume else None)


def _trouble(telemetry: Telemetry, name: str) -> str | None:
    troubles = (telemetry.trouble_of(kind, name) for kind in ("volume", "collect", "deliver"))
    return next((trouble.message for trouble in troubles if trouble is not None), None)
