"""Notices that the file with the settings of this host changed, and tells how it goes."""

import asyncio

from oase_agent.errors import ConfigError
from oase_agent.telemetry import Telemetry
from oase_agent.workspace.local_settings import LocalSettingsFile

# How long a file must stay as it is before it is read, as a part of the time between two looks.
_SETTLED_PART = 0.1


class LocalSettingsWatch:
    """Keeps `file` up to date; a faulty version leaves the last good one in use, with one warning."""

    def __init__(self, file: LocalSettingsFile, telemetry: Telemetry, *, look_every_s: float) -> None:
        self._file = file
        self._telemetry = telemetry
        self._look_every_s = look_every_s
        self._was_faulty = False
        self._told_inline: set[str] = set()

    async def refresh(self) -> bool:
        """Read the file if it changed; return whether its settings are others now."""
        try:
            is_other = await asyncio.to_thread(self._file.refresh)
        except ConfigError as error:
            self._was_faulty = True
            self._telemetry.settings_file_refused(error.faults)
            return False
        if self._was_faulty and not self._file.is_faulty:
            self._was_faulty = False
            self._telemetry.settings_file_accepted()
        self._tell_inline()
        return is_other

    async def changed(self) -> None:
        """Return when the file, or a secret that it names, is another than at the last `refresh`."""
        while True:
            await asyncio.sleep(self._look_every_s)
            found = await asyncio.to_thread(self._file.fingerprint)
            if self._file.is_new(found):
                # Whoever writes it in place may not be done: half a list would be taken for a whole one.
                await asyncio.sleep(self._look_every_s * _SETTLED_PART)
                if await asyncio.to_thread(self._file.fingerprint) == found:
                    return

    def _tell_inline(self) -> None:
        new = [secret for secret in self._file.settings.inline if secret not in self._told_inline]
        self._told_inline.update(new)
        if new:
            self._telemetry.configuration_doubtful(
                f"SETTINGS_FILE holds secrets in plain text ({', '.join(new)}): put each into a file of its own and "
                "name that, as in PASSWORD_FILE."
            )
