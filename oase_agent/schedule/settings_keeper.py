"""Which settings are collected: loaded at start, reloaded at intervals, on SIGHUP and when names were refused.

The workspace's last good answer stays on the volume, as it came, so that a start without the workspace still collects
(defect D10). What a file of this host says is laid over it each time, and never kept. One bad setting is disabled and
named; the others run (promise C5).
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence

from oase_agent.errors import AgentError, Reason, WorkspaceUnavailable
from oase_agent.model import DisabledSetting, Setting
from oase_agent.retry import RetryPolicy
from oase_agent.schedule.local_watch import LocalSettingsWatch
from oase_agent.schedule.settings_source import SettingsSource
from oase_agent.telemetry import Telemetry
from oase_agent.workspace.settings import SettingsAnswer, folded

# A workspace that is there answers within this, in seconds; after it, the settings of the volume are used meanwhile.
_FIRST_ANSWER_S = 3.0
# From one look at the file of this host to the next, in seconds.
_LOOK_AT_FILE_S = 10.0


class SettingsKeeper:
    """Keeps `settings` up to date and awaits `on_change` for every new set of them."""

    def __init__(
        self,
        source: SettingsSource,
        telemetry: Telemetry,
        *,
        reload_every_s: float,
        on_change: Callable[[Sequence[Setting]], Awaitable[None]],
        monotonic: Callable[[], float],
        random: Callable[[], float],
        look_at_file_s: float = _LOOK_AT_FILE_S,
    ) -> None:
        self._source = source
        self._telemetry = telemetry
        self._reload_every_s = reload_every_s
        self._on_change = on_change
        self._monotonic = monotonic
        self._random = random
        self._policy = RetryPolicy()
        self._lock = asyncio.Lock()
        self._wanted = asyncio.Event()
        self._failures = 0
        self._asked_at_s: float | None = None
        self._answer: SettingsAnswer | None = None
        # What the workspace said last: its rows, and what they come to without the file of this host.
        self._rows: Sequence[object] | None = None
        self._theirs: SettingsAnswer | None = None
        self._only_in_file: frozenset[str] = frozenset()
        self._watch = (
            LocalSettingsWatch(source.local, telemetry, look_every_s=look_at_file_s) if source.local else None
        )

    @property
    def names(self) -> tuple[str, ...]:
        """The names to collect, wherever they come from."""
        return self._source.wanted()

    @property
    def settings(self) -> tuple[Setting, ...]:
        """The settings that are collected."""
        return self._answer.settings if self._answer else ()

    @property
    def disabled(self) -> tuple[DisabledSetting, ...]:
        """The settings that are not collected because of what they say."""
        return self._answer.disabled if self._answer else ()

    @property
    def unknown(self) -> tuple[str, ...]:
        """The wanted names that the workspace, or the file in its place, does not know."""
        return self._answer.unknown if self._answer else ()

    @property
    def skipped(self) -> tuple[str, ...]:
        """The settings that somebody else collects, or that were discarded."""
        return self._answer.skipped if self._answer else ()

    @property
    def is_loaded(self) -> bool:
        """Whether there ever was an answer, from the workspace or from the volume."""
        return self._answer is not None

    async def run(self) -> None:
        """Load, then reload at intervals and when asked, until cancelled."""
        first = asyncio.ensure_future(self._load())
        await asyncio.wait({first}, timeout=_FIRST_ANSWER_S)
        if self._answer is None and self._source.asks_workspace:
            await self._use_last_good()
        await first
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wanted.wait(), self._seconds_to_next())
            self._wanted.clear()
            await self._load()

    async def watch_file(self) -> None:
        """Use new versions of the file of this host, until cancelled; return at once if there is none."""
        while self._watch is not None:
            await self._watch.changed()
            await self._load()

    def request_reload(self) -> None:
        """Reload soon (SIGHUP)."""
        self._wanted.set()

    async def reload(self) -> None:
        """Reload and return when it is done; callers that come together share one request."""
        asked_at_s = self._monotonic()
        async with self._lock:
            if self._asked_at_s is None or self._asked_at_s < asked_at_s:
                await self._look_everywhere()

    async def _load(self) -> None:
        async with self._lock:
            await self._look_everywhere()

    async def _look_everywhere(self) -> None:
        """Read the file if it changed, ask the workspace, and use what comes of the two."""
        self._asked_at_s = self._monotonic()
        is_other_file = await self._watch.refresh() if self._watch else False
        if not self._source.asks_workspace:
            await self._take(await self._sorted([]), "settings file")
        elif not await self._ask() and is_other_file and self._rows is not None:
            await self._take(await self._sorted(self._rows), "settings file")

    async def _ask(self) -> bool:
        """Ask the workspace, and use its answer; return whether there was one."""
        try:
            rows = await self._source.workspace.fetch_settings(self._source.wanted())
        except AgentError as error:
            self._failures += 1
            self._telemetry.settings_unavailable(error)
            return False
        theirs = await asyncio.to_thread(self._source.sort_without_file, rows)
        if self._is_no_answer(rows, theirs):
            return False
        self._failures = 0
        self._telemetry.settings_answered()
        self._tell_only_in_file(theirs)
        before, self._theirs, self._rows = self._theirs, theirs, rows
        await self._take(await self._sorted(rows) if self._watch else theirs, "workspace")
        if before != theirs and rows:
            await self._keep(rows)
        return True

    def _is_no_answer(self, rows: Sequence[object], answer: SettingsAnswer) -> bool:
        """Tell whether rows came of which none is a setting: a malformed answer changes nothing."""
        is_malformed = bool(rows) and not (answer.settings or answer.disabled or answer.skipped)
        if is_malformed or (rows and all(not isinstance(row, dict) for row in rows)):
            self._failures += 1
            self._telemetry.settings_unavailable(
                WorkspaceUnavailable(
                    "the settings answer of the workspace holds no setting", Reason.MALFORMED
                )
            )
            return True
        return False

    async def _use_last_good(self) -> None:
        try:
            rows = await asyncio.to_thread(self._source.last_good.load)
        except OSError:
            rows = None
        if rows is None:
            return
        theirs = await asyncio.to_thread(self._source.sort_without_file, rows)
        answer = await self._sorted(rows)
        if self._answer is None:  # the workspace may have answered meanwhile
            self._rows, self._theirs = rows, theirs
            await self._take(answer, "volume")

    async def _sorted(self, rows: Sequence[object]) -> SettingsAnswer:
        # In a thread: the first secret costs a key derivation of 50,000 rounds.
        return await asyncio.to_thread(self._source.sort, rows)

    def _tell_only_in_file(self, theirs: SettingsAnswer) -> None:
        in_file = set(map(folded, self._source.local.settings.names)) if self._source.local else set()
        before = self._only_in_file
        self._only_in_file = frozenset(name for name in theirs.unknown if folded(name) in in_file)
        for name in sorted(self._only_in_file - before):
            self._telemetry.setting_only_in_file(name)

    async def _take(self, answer: SettingsAnswer, origin: str) -> bool:
        """Use an answer; return whether it differs from the one in use."""
        before, self._answer = self._answer, answer
        if before == answer:
            return False
        known = set(before.disabled) if before else set()
        for setting in answer.disabled:
            if setting not in known:
                self._telemetry.setting_disabled(setting.name, setting.reason)
        for name in answer.unknown:
            # The volume only tells which settings there were when it was written.
            if origin != "volume" and (before is None or name not in before.unknown):
                self._telemetry.setting_unknown(name, origin)
        self._telemetry.settings_loaded(len(answer.settings), origin)
        await self._on_change(answer.settings)
        return True

    async def _keep(self, rows: Sequence[object]) -> None:
        try:
            await asyncio.to_thread(self._source.last_good.save, rows)
        except OSError as error:
            self._telemetry.configuration_doubtful(
                f"The settings could not be kept on the volume ({error.strerror}): a start without the workspace "
                "would collect nothing."
            )

    def _seconds_to_next(self) -> float:
        if not self._failures:
            return self._reload_every_s
        delay_s = self._policy.delay_s(self._failures, None, self._random)
        return min(delay_s, self._reload_every_s)
