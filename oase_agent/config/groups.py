"""The configuration as a whole, and every group of options but those about the workspace.

Names, defaults and bounds are those of contract section 1 and design section 7.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field
from pydantic_settings import NoDecode

from oase_agent.config import values
from oase_agent.config.coordination import CoordinationOptions
from oase_agent.config.local_settings import LocalSettingsOptions
from oase_agent.config.options import (
    Bounds,
    ByteBounds,
    NoEmptyElement,
    OneOf,
    OptionGroup,
    option,
)
from oase_agent.config.sources import EgressOptions, MailOptions, SourceDefaults
from oase_agent.config.values import MIB, ByteCount, from_text
from oase_agent.config.workspace import CredentialOptions, WorkspaceOptions, WorkspaceTlsOptions
from oase_agent.proxies import ProxyEnvironment


class AgentOptions(OptionGroup):
    """Agent."""

    name: Annotated[str, AfterValidator(values.agent_name)] = option(
        "AGENT_NAME",
        "Name in the workspace and of the agent's folder. Keep it across restarts: it makes repeats harmless.",
        must_be="a name without slash and control characters, at most 200 bytes",
        default="agent-oase-01",
    )
    language: str = option(
        "LANGUAGE",
        "Language of messages. The agent itself writes English.",
        must_be="a language such as en or ja",
        default="en",
    )


class CollectionOptions(OptionGroup):
    """Collection.

    If `EXECUTE_INTERVAL` × `ITERATION` comes to a day (86400 seconds) or more, both are limited further: settings
    are reloaded at least once a day.
    """

    setting_names: Annotated[tuple[str, ...], NoDecode, from_text(values.setting_names), NoEmptyElement()] = (
        option(
            "EVENT_COLLECTION_SETTINGS_NAMES",
            "Names of the event collection settings. Blanks around a name are trimmed.",
            must_be="names separated by commas",
            default=(),
            default_text="**required**, except with SETTINGS_FILE_MODE=only",
        )
    )
    interval_s: Annotated[int, Bounds(3)] = option(
        "EXECUTE_INTERVAL",
        "Seconds from one collection of a setting to the next.",
        must_be="a whole number",
        default="5",
    )
    iterations: Annotated[int, Bounds(10, 120)] = option(
        "ITERATION",
        "Reload the settings from the workspace after this many intervals.",
        must_be="a whole number",
        default="10",
    )


class SpoolOptions(OptionGroup):
    """Spool: where events wait, and how much room they may take."""

    path: Annotated[Path, AfterValidator(values.storage_path)] = option(
        "STORAGE_PATH", "Root of the spool.", must_be="the path of a folder", default="/storage", new=True
    )
    max_bytes: Annotated[ByteCount | None, ByteBounds(1 * MIB)] = option(
        "SPOOL_MAX_BYTES",
        "Size at which collecting pauses.",
        must_be="a number of bytes",
        default=None,
        default_text="80 % of the volume",
        new=True,
    )
    min_free_bytes: Annotated[ByteCount, ByteBounds(0)] = option(
        "SPOOL_MIN_FREE_BYTES",
        "Room left on the volume at which collecting pauses.",
        must_be="a number of bytes",
        default="64 MiB",
        new=True,
    )
    compression: Literal["auto", "always", "off"] = option(
        "SPOOL_COMPRESSION",
        "Whether batches that wait are compressed on the volume; auto does so when 4 MiB wait for a setting. What is "
        "kept already is read in any case.",
        must_be="auto, always or off",
        default="auto",
        new=True,
    )
    known_id_retention_h: Annotated[int, Bounds(1, 8784)] = option(
        "KNOWN_ID_RETENTION_H",
        "Hours that an event id is remembered after the source stopped reporting it.",
        must_be="a whole number",
        default="168",
        new=True,
    )


class AdminOptions(OptionGroup):
    """Admin server: health, readiness, metrics and status."""

    host: str = option(
        "ADMIN_HOST",
        "Address to listen on.",
        must_be="an address of this host",
        default="0.0.0.0",  # noqa: S104 - a container's probes and scrapers come from outside
        new=True,
    )
    port: Annotated[int, Field(ge=0, le=65535)] = option(
        "ADMIN_PORT",
        "Port to listen on; 0 picks a free one.",
        must_be="a whole number, 0 to 65535",
        default="8080",
        new=True,
    )


class LogOptions(OptionGroup):
    """Log.

    Lines go to standard output.
    """

    level: Annotated[str, OneOf(("ERROR", "WARNING", "INFO", "DEBUG"), otherwise="INFO")] = option(
        "LOG_LEVEL",
        "Least severity that is logged. No level logs secrets or bodies.",
        must_be="",
        default="INFO",
    )
    format: Literal["text", "json"] = option(
        "LOG_FORMAT",
        "One line of key=value text, or one JSON object.",
        must_be="text or json",
        default="text",
        new=True,
    )


@dataclass(frozen=True, slots=True)
class AgentConfig:
    """The whole configuration, checked; it prints without secrets."""

    workspace: WorkspaceOptions
    credentials: CredentialOptions
    workspace_tls: WorkspaceTlsOptions
    agent: AgentOptions
    collection: CollectionOptions
    local_settings: LocalSettingsOptions
    source: SourceDefaults
    egress: EgressOptions
    mail: MailOptions
    spool: SpoolOptions
    coordination: CoordinationOptions
    admin: AdminOptions
    log: LogOptions
    proxies: ProxyEnvironment = field(default_factory=ProxyEnvironment)


# The groups under their names in `AgentConfig`.
GROUPS: dict[str, type[OptionGroup]] = {
    "workspace": WorkspaceOptions,
    "credentials": CredentialOptions,
    "workspace_tls": WorkspaceTlsOptions,
    "agent": AgentOptions,
    "collection": CollectionOptions,
    "local_settings": LocalSettingsOptions,
    "source": SourceDefaults,
    "egress": EgressOptions,
    "mail": MailOptions,
    "spool": SpoolOptions,
    "coordination": CoordinationOptions,
    "admin": AdminOptions,
    "log": LogOptions,
}
