"""SOURCE_OPTIONS_FILE while the agent runs: read at the start, and again when it or a file that it names changes.

Changes are looked for by content and not by notifications: Kubernetes swaps symbolic links far above the file, and
network volumes do not notify at all. A faulty file changes nothing: the last good options stay.
"""

import asyncio
import contextlib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from oase_agent.errors import ConfigError
from oase_agent.sources.options import SourceOptions, no_options
from oase_agent.telemetry import Telemetry

if TYPE_CHECKING:
    from oase_agent.config.source_options.read import OptionsTable, Reading

_POLL_S = 10.0
# A file that is being written may be valid by chance and lack half of its options: it has to stay the same this long.
_SETTLE_S = 1.0


@dataclass(frozen=True, slots=True)
class LookTimes:
    """Seconds between two looks at the files, and for how long a change has to stay."""

    poll_s: float = _POLL_S
    settle_s: float = _SETTLE_S


class SourceOptionsFile:
    """The options in use. `of` may be asked at any time; without a `path` no setting has options."""

    def __init__(
        self,
        path: Path | None,
        *,
        source_ca_file: Path | None,
        times: LookTimes | None = None,
    ) -> None:
        """Read the file for the first time; blocks. Raises ConfigError with every fault."""
        self._path = path
        self._times = times or LookTimes()
        self._wanted = asyncio.Event()
        self._table: OptionsTable | None = None
        self._digests: Mapping[Path, bytes | None] = {}
        if path is None:
            return
        # Imported here, like everything that only this option needs: memory counts.
        from oase_agent.config.source_options.trust import TlsContexts  # noqa: PLC0415

        self._contexts = TlsContexts(source_ca_file)
        reading = self._read(path)
        if reading.table is None:
            raise ConfigError(reading.faults)

    def of(self, setting_name: str) -> SourceOptions:
        """Return the options that a setting has now."""
        return no_options(setting_name) if self._table is None else self._table.of(setting_name)

    def interval_s(self, setting_name: str) -> float | None:
        """Return the interval that a setting has of its own, in seconds."""
        return self.of(setting_name).interval_s

    def warnings(self, setting_names: Collection[str]) -> tuple[str, ...]:
        """Return what an operator of these settings should know of the options in use, one sentence each."""
        return () if self._table is None else tuple(_doubts(self._table, setting_names))

    def request_look(self) -> None:
        """Look for changes soon (SIGHUP)."""
        self._wanted.set()

    async def run(
        self,
        telemetry: Telemetry,
        setting_names: Callable[[], Collection[str]],
        on_change: Callable[[], None],
    ) -> None:
        """Tell what is in use; then look for changes until cancelled, and call `on_change` after each.

        `setting_names` are those that are to be collected at the moment. Returns at once if there is no file.
        """
        if self._path is None:
            return
        told = self._tell(telemetry, setting_names(), ())
        faults: tuple[str, ...] = ()
        while True:
            if await self._have_changed():
                reading = await asyncio.to_thread(self._read, self._path)
                if reading.table is not None:
                    told = self._tell(telemetry, setting_names(), told)
                    on_change()
                elif reading.faults != faults:
                    telemetry.source_options_refused(reading.faults)
                faults = reading.faults
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wanted.wait(), self._times.poll_s)
            self._wanted.clear()

    def _read(self, path: Path) -> "Reading":
        from oase_agent.config.source_options.read import read_source_options  # noqa: PLC0415

        reading = read_source_options(path, self._contexts)
        self._digests = reading.digests
        if reading.table is not None:
            self._table = reading.table
        return reading

    async def _have_changed(self) -> bool:
        """Tell whether files differ from what was read, and have come to rest."""
        from oase_agent.config.source_options.files import digests_now  # noqa: PLC0415

        before: Mapping[Path, bytes | None] = self._digests
        while (now := await asyncio.to_thread(digests_now, self._digests)) != before:
            before = now
            await asyncio.sleep(self._times.settle_s)
        return now != self._digests

    def _tell(
        self, telemetry: Telemetry, setting_names: Collection[str], told: Collection[str]
    ) -> tuple[str, ...]:
        """Tell that options are in use, and what is doubtful about them unless it was told already."""
        assert self._table is not None
        telemetry.source_options_loaded(len(self._table.by_name))
        warnings = self.warnings(setting_names)
        for warning in warnings:
            if warning not in told:
                telemetry.configuration_doubtful(warning)
        return warnings


def _doubts(table: "OptionsTable", setting_names: Collection[str]) -> Iterator[str]:
    for name in table.insecure:
        yield (
            f"SOURCE_OPTIONS_FILE has insecure: true for {name!r}: whoever is on the way to the source can read and "
            "change what is collected."
        )
    for name in sorted(table.by_name.keys() - set(setting_names)):
        close = get_close_matches(name, setting_names, n=1)
        meant = f": probably {close[0]!r} is meant" if close else ""
        yield f"SOURCE_OPTIONS_FILE has options for {name!r}, but no setting of that name is collected{meant}."
