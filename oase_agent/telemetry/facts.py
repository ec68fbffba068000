"""One method for every fact: it moves the metric and writes the log line, so that no two places word it apart.

Levels go by consequence: ERROR means events are lost or a human is needed, WARNING means trouble without loss, INFO
a change of state. Nothing is logged for every event, and trouble that goes on is logged when it begins, when its
reason changes and when it ends. No method takes a body, a header or a secret (promise S3).
"""

import logging
from collections.abc import Sequence

from prometheus_client import CollectorRegistry

from oase_agent.errors import AgentError, Reason
from oase_agent.telemetry.logs import LOGGER_NAME
from oase_agent.telemetry.metrics import Metrics
from oase_agent.telemetry.ownership import OwnershipFacts
from oase_agent.telemetry.pacing import PacingFacts
from oase_agent.telemetry.troubles import Trouble, Troubles

_SHOWN_FAULTS = 10


class Telemetry(Troubles):
    """Metrics and log lines of one agent. Call its methods from the event loop or from a worker thread alike."""

    def __init__(
        self, registry: CollectorRegistry | None = None, logger: logging.Logger | None = None
    ) -> None:
        self.registry = registry if registry is not None else CollectorRegistry()
        super().__init__(logger if logger is not None else logging.getLogger(LOGGER_NAME))
        self._metrics = Metrics(self.registry)
        self.pacing = PacingFacts(self._metrics.collections, self._log)

    def ownership_facts(self) -> OwnershipFacts:
        """Register what is told of replicas that share the settings; once, and only where they do."""
        return OwnershipFacts(self.registry, self._log)

    # -- the agent ----------------------------------------------------------------------------------------

    def agent_started(self, version: str, agent_name: str, settings: int) -> None:
        """The agent runs."""
        self._info("agent_started", "The agent runs", version=version, agent=agent_name, settings=settings)

    def agent_stopping(self, why: str) -> None:
        """The agent was asked to stop, or must."""
        self._info("agent_stopping", "The agent stops", why=why)

    def agent_stopped(self, seconds: float) -> None:
        """Everything that ran has ended."""
        self._info("agent_stopped", "The agent has stopped", seconds=round(seconds, 3))

    def task_failed(self, task: str, error: BaseException) -> None:
        """A part of the agent ended that should not: a defect, so the traceback is wanted."""
        self._log.error(
            "A part of the agent failed",
            exc_info=error,
            extra={"action": "task_failed", "facts": {"task": task}},
        )

    def configuration_doubtful(self, warning: str) -> None:
        """Something in the configuration was corrected or will not do what it seems to."""
        self._warning("configuration_doubtful", warning)

    def admin_listens(self, host: str, port: int) -> None:
        """Health, metrics and status can be asked for."""
        self._info("admin_listens", "Health, metrics and status", host=host, port=port)

    def standing_by(self, directory: str) -> None:
        """Another process owns the spool."""
        self._warning(
            "standing_by", "Another agent owns this spool; waiting for it to end", directory=directory
        )

    def clock_jumped(self, seconds: float) -> None:
        """The wall clock moved apart from the monotonic one."""
        self._warning(
            "clock_jumped", "The clock jumped; collections were rescheduled", seconds=round(seconds, 1)
        )

    # -- settings -----------------------------------------------------------------------------------------

    def settings_loaded(self, names: int, origin: str) -> None:
        """The settings in use changed or were read for the first time."""
        self._info("settings_loaded", "Settings are in use", settings=names, origin=origin)

    def settings_unavailable(self, error: AgentError) -> None:
        """The workspace did not give the settings; those in use stay in use."""
        self._began("settings", error.reason, "settings_unavailable", str(error))

    def settings_answered(self) -> None:
        """The workspace gave the settings."""
        if self._ended("settings"):
            self._info("settings_available", "The workspace gives the settings again")

    def settings_file_refused(self, faults: Sequence[str]) -> None:
        """A new version of SETTINGS_FILE has faults; the last good one stays in use. Each version is told once."""
        message = _shortened(faults)
        self._troubles["settings_file"] = Trouble(Reason.INVALID_SETTING, message)
        self._warning("settings_file_refused", message, faults=len(faults))

    def settings_file_accepted(self) -> None:
        """SETTINGS_FILE is without faults again."""
        if self._ended("settings_file"):
            self._info("settings_file_accepted", "The settings file is in use again")

    def setting_only_in_file(self, setting: str) -> None:
        """SETTINGS_FILE has a setting that the workspace does not know, so that it will refuse its events."""
        self._warning(
            "setting_only_in_file",
            "The workspace has no setting of this name and will refuse its events: add it there, with "
            "CONNECTION_METHOD_ID 99 if only this agent is to collect it",
            setting=setting,
        )

    def setting_disabled(self, setting: str, reason: str) -> None:
        """A setting is not collected because of what it says; the others are (promise C5)."""
        self._error("setting_disabled", reason, setting=setting)

    def setting_unknown(self, setting: str, origin: str = "workspace") -> None:
        """The workspace, or SETTINGS_FILE in its place, does not know a name of EVENT_COLLECTION_SETTINGS_NAMES."""
        self._error(
            "setting_unknown",
            f"The {origin} has no such setting: check EVENT_COLLECTION_SETTINGS_NAMES",
            setting=setting,
        )

    def source_options_loaded(self, settings: int) -> None:
        """The options of SOURCE_OPTIONS_FILE are in use, for so many settings by name."""
        self._ended("source_options")
        self._info("source_options_loaded", "The options of sources are in use", settings=settings)

    def source_options_refused(self, faults: Sequence[str]) -> None:
        """A new version of SOURCE_OPTIONS_FILE has faults; the options in use stay. Each version is told once."""
        message = _shortened(faults)
        self._troubles["source_options"] = Trouble(Reason.INVALID_SETTING, message)
        self._warning("source_options_refused", message, faults=len(faults))

    # -- collecting ---------------------------------------------------------------------------------------

    def collection_done(self, setting: str, events: int, seconds: float, now: float) -> None:
        """A collection succeeded, with or without events."""
        self._metrics.collections.labels(setting, "success").inc()
        self._metrics.collection_seconds.observe(seconds)
        self._metrics.last_success.labels(setting).set(now)
        if self._ended(f"collect {setting}"):
            self._info("collection_works_again", "The source answers again", setting=setting, events=events)

    def collection_failed(self, setting: str, error: AgentError) -> None:
        """A collection failed; its cursor stays (promise C1)."""
        self._metrics.collections.labels(setting, error.reason.value).inc()
        self._began(f"collect {setting}", error.reason, "collection_failed", str(error), setting=setting)

    def collection_skipped(self, setting: str) -> None:
        """A collection was still running when the next one was due."""
        self._metrics.collections.labels(setting, "skipped").inc()

    def events_refused(self, setting: str, events: int) -> None:
        """Events hold values that the workspace cannot store; they become dead letters."""
        self._error(
            "events_refused",
            "Events hold values that the workspace cannot store",
            setting=setting,
            events=events,
        )

    def collecting_paused(self, why: str) -> None:
        """Back-pressure: nothing is collected until the spool has room (promise P7)."""
        self._warning("collecting_paused", why)

    def collecting_resumed(self) -> None:
        """The spool has room again."""
        self._info("collecting_resumed", "The spool has room again")

    # -- delivering ---------------------------------------------------------------------------------------

    def events_delivered(self, setting: str, now: float) -> None:
        """Events of a setting were accepted."""
        self._metrics.last_delivery.labels(setting).set(now)

    def events_buried(self, setting: str, events: int, reason: str) -> None:
        """Events became dead letters: they are kept, but will not be delivered by themselves."""
        self._error(
            "events_buried", "Events became dead letters", setting=setting, events=events, reason=reason
        )

    def fence_resolved(self, setting: str, events: int) -> None:
        """A lost answer was made up for by the workspace's position."""
        self._metrics.fence_resolved.labels(setting).inc(events)
        self._info("fence_resolved", "The workspace had these already", setting=setting, events=events)

    def foreign_writer(self, setting: str) -> None:
        """Somebody else posts under our name, or our volume is older than the workspace's history."""
        self._metrics.foreign_writer.labels(setting).inc()
        self._error(
            "foreign_writer",
            "The workspace has a later group time than this agent ever used: another agent posts under the same "
            "AGENT_NAME, or the volume was restored from an older copy",
            setting=setting,
        )

    def workspace_away(self, error: AgentError) -> None:
        """The workspace does not take requests; collecting goes on."""
        self._began("workspace", error.reason, "workspace_away", str(error))

    def workspace_back(self) -> None:
        """The workspace takes requests again."""
        if self._ended("workspace"):
            self._info("workspace_back", "The workspace takes requests again")

    def delivery_hindered(self, setting: str, error: AgentError) -> None:
        """A setting's batches cannot be delivered now, although the workspace takes others."""
        self._began(f"deliver {setting}", error.reason, "delivery_hindered", str(error), setting=setting)

    def delivery_works_again(self, setting: str) -> None:
        """A setting's batches are accepted again."""
        if self._ended(f"deliver {setting}"):
            self._info("delivery_works_again", "Batches are accepted again", setting=setting)

    def post_limit_lowered(self, limit_bytes: int) -> None:
        """The workspace, or something before it, refuses requests of the size used so far."""
        self._warning(
            "post_limit_lowered", "Requests were too large; smaller ones are sent", limit_bytes=limit_bytes
        )

    def request_done(self, endpoint: str, outcome: str, seconds: float) -> None:
        """A request to the workspace ended; `outcome` is a reason or `success`."""
        self._metrics.requests.labels(endpoint, outcome).observe(seconds)

    # -- the volume ---------------------------------------------------------------------------------------

    def volume_found(self, file_system: str, fsync_s: float | None, warning: str | None) -> None:
        """The spool's directory is ours, on this kind of volume; `warning` tells what it cannot promise."""
        facts: dict[str, object] = {"file_system": file_system}
        if fsync_s is not None:
            self._metrics.fsync_seconds.set(fsync_s)
            facts["fsync_seconds"] = round(fsync_s, 6)
        if warning is None:
            self._info("volume_found", "The spool is on this volume", **facts)
        else:
            self._warning("volume_found", warning, **facts)

    def spool_damaged(self, setting: str, trouble: str) -> None:
        """Something on the volume could not be read; it was set aside, and the rest goes on (promise P6)."""
        self._metrics.damaged.labels(setting).inc()
        self._error("spool_damaged", trouble, setting=setting)

    def spool_taken_over(self, error: AgentError) -> None:
        """Another process owns the spool although this one holds its lock; this one ends."""
        self._error("spool_taken_over", str(error))

    def volume_failed(self, setting: str, error: AgentError) -> None:
        """The volume refused a write or a read; memory was forgotten and the disk is believed."""
        self._began(f"volume {setting}", error.reason, "volume_failed", str(error), setting=setting)

    def volume_works_again(self, setting: str) -> None:
        """The volume takes writes again."""
        if self._ended(f"volume {setting}"):
            self._info("volume_works_again", "The volume works again", setting=setting)

    def reference_state_taken(
        self, setting: str, *, cursor_time: int, unsent: int, known_ids: int, unreadable: int
    ) -> None:
        """A setting's cursor (epoch seconds), unsent events and known ids came over from the reference agent."""
        self._info(
            "reference_state_taken",
            "The state of the former agent was taken over",
            setting=setting,
            cursor_time=cursor_time,
            unsent=unsent,
            known_ids=known_ids,
            unreadable=unreadable,
        )


def _shortened(faults: Sequence[str]) -> str:
    """Return the first faults in one text: what keeps log lines cuts long ones, and mending shows the rest."""
    more = f" And {len(faults) - _SHOWN_FAULTS} more." if len(faults) > _SHOWN_FAULTS else ""
    return " ".join(faults[:_SHOWN_FAULTS]) + more
