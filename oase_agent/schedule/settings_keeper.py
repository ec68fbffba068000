"""Which settings are collected: loaded at start, reloaded at intervals, on SIGHUP and when names were refused.

The last good answer stays on the volume, so that a start without the workspace still collects (defect D10). One bad
setting is disabled and named; the others run (promise C5).
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from oase_agent.errors import AgentError, Reason, WorkspaceUnavailable
from oase_agent.model import DisabledSetting, Setting
from oase_agent.retry import RetryPolicy
from oase_agent.telemetry import Telemetry
from oase_agent.workspace.client import WorkspaceClient
from oase_agent.workspace.last_good import LastGoodSettings
from oase_agent.workspace.secrets import SecretBox
from oase_agent.workspace.settings import Check, SettingsAnswer, parse_settings

# A workspace that is there answers within this, in seconds; after it, the settings of the volume are used meanwhile.
_FIRST_ANSWER_S = 3.0


@dataclass(frozen=True, slots=True)
class SettingsSource:
    """Where settings come from: the workspace, by name, and the volume."""

    workspace: WorkspaceClient
    last_good: LastGoodSettings
    box: SecretBox
    names: Sequence[str]
    checks: Sequence[Check]


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
        """The configured names that the workspace does not know."""
        return self._answer.unknown if self._answer else ()

    @property
    def is_loaded(self) -> bool:
        """Whether there ever was an answer, from the workspace or from the volume."""
        return self._answer is not None

    async def run(self) -> None:
        """Load, then reload at intervals and when asked, until cancelled."""
        first = asyncio.ensure_future(self._load())
        await asyncio.wait({first}, timeout=_FIRST_ANSWER_S)
        if self._answer is None:
            await self._use_last_good()
        await first
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wanted.wait(), self._seconds_to_next())
            self._wanted.clear()
            await self._load()

    def request_reload(self) -> None:
        """Reload soon (SIGHUP)."""
        self._wanted.set()

    async def reload(self) -> None:
        """Reload and return when it is done; callers that come together share one request."""
        asked_at_s = self._monotonic()
        async with self._lock:
            if self._asked_at_s is None or self._asked_at_s < asked_at_s:
                await self._ask()

    async def _load(self) -> None:
        async with self._lock:
            await self._ask()

    async def _ask(self) -> None:
        self._asked_at_s = self._monotonic()
        try:
            rows = await self._source.workspace.fetch_settings(self._source.names)
        except AgentError as error:
            self._failures += 1
            self._telemetry.settings_unavailable(error)
            return
        answer = await self._parsed(rows)
        if self._is_no_answer(rows, answer):
            return
        self._failures = 0
        self._telemetry.settings_answered()
        if await self._take(answer, "workspace") and rows:
            await self._keep(rows)

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
        if rows is not None:
            await self._take(await self._parsed(rows), "volume")

    async def _parsed(self, rows: Sequence[object]) -> SettingsAnswer:
        source = self._source
        # In a thread: the first secret costs a key derivation of 50,000 rounds.
        return await asyncio.to_thread(parse_settings, rows, source.box, source.names, checks=source.checks)

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
            if origin == "workspace" and (before is None or name not in before.unknown):
                self._telemetry.setting_unknown(name)
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
