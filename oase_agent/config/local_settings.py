"""The options about settings that come from a file of this host."""

from typing import Literal, Self

from pydantic import model_validator

from oase_agent.config.options import OptionGroup, option
from oase_agent.config.values import ReadableFile


class LocalSettingsOptions(OptionGroup):
    """Local settings: a file beside, or instead of, the workspace's settings.

    See [docs/local-settings.md](local-settings.md).
    """

    file: ReadableFile | None = option(
        "SETTINGS_FILE",
        "Event collection settings in YAML, with the workspace's own names of fields. Looked at every 10 seconds.",
        must_be="the path of a readable file",
        default=None,
        default_text="–",
        new=True,
    )
    mode: Literal["merge", "only"] = option(
        "SETTINGS_FILE_MODE",
        "merge lays the settings of SETTINGS_FILE over the workspace's of the same name and adds the others; only "
        "never asks the workspace for settings.",
        must_be="merge or only",
        default="merge",
        new=True,
    )

    @property
    def is_only(self) -> bool:
        """Whether the workspace is never asked for settings."""
        return self.mode == "only"

    @model_validator(mode="after")
    def _only_needs_a_file(self) -> Self:
        if self.is_only and self.file is None:
            raise ValueError(
                "SETTINGS_FILE_MODE is only, but SETTINGS_FILE is not set: give the path of a readable file."
            )
        return self
