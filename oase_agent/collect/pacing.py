"""When a source that is due may be asked: one that keeps failing is asked less often, and each as late as it wishes.

One circuit per setting. It is closed while the source works, and through the first failures, so that a blip costs one
interval. Then it opens for a pause that grows, exponentially and with full jitter. The first collection after a pause
tries how things are (half open): one success closes the circuit, a failure opens it for longer.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from oase_agent.errors import AgentError, RetryLater, SpoolUnavailable
from oase_agent.model import Setting
from oase_agent.retry import RetryPolicy
from oase_agent.sources.host_budget import HostBusy
from oase_agent.telemetry.pacing import PacingFacts

_FREE_FAILURES = 2
# The first pause is drawn below so many intervals: what is shorter than one does not put anything off.
_FIRST_INTERVALS = 2.0
# What is left of a pause when a collection is due is waited for, up to this: else a pause as long as the interval
# would always cost two of them.
_SHORT_PAUSE_S = 5.0
# Settings that were sent away until the same moment do not all come back at that moment.
_SPREAD_SHARE = 0.1
_MAX_SPREAD_S = 1.0


@dataclass(slots=True)
class _Circuit:
    """The circuit of one version of a setting; `not_before_s` is monotonic seconds, `outcome` names the pause."""

    setting: Setting
    failures: int = 0
    not_before_s: float = 0.0
    is_open: bool = False
    outcome: str = "backing_off"


class Pacing:
    """The circuits of all settings. `longest_pause_s` is SOURCE_BACKOFF_MAX_S; 0 leaves only what sources ask for.

    `interval_s` is asked with the name of a setting.
    """

    def __init__(
        self,
        longest_pause_s: float,
        facts: PacingFacts,
        *,
        interval_s: Callable[[str], float],
        monotonic: Callable[[], float],
        random: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._longest_pause_s = longest_pause_s
        self._facts = facts
        self._interval_s = interval_s
        self._monotonic = monotonic
        self._random = random
        self._sleep = sleep
        self._circuits: dict[str, _Circuit] = {}

    async def may_begin(self, setting: Setting) -> bool:
        """Tell whether a collection that is due may begin, perhaps after a moment; one that may not is counted."""
        pause_s = self.seconds_paused(setting)
        if pause_s <= 0:
            return True
        interval_s = self._interval_s(setting.name)
        if pause_s <= min(_SHORT_PAUSE_S, interval_s):
            await self._sleep(pause_s + self._random() * min(_SPREAD_SHARE * interval_s, _MAX_SPREAD_S))
            return True
        self._facts.put_off(setting.name, self._circuit(setting).outcome)
        return False

    def succeeded(self, setting: Setting) -> None:
        """A collection succeeded: the circuit is closed."""
        self._circuits.pop(setting.name, None)

    def failed(self, setting: Setting, error: AgentError) -> None:
        """A collection ended with `error`.

        Trouble of the volume is not the source's, and of a setting that is rejected its source knows nothing.
        """
        if not isinstance(error, RetryLater) or isinstance(error, SpoolUnavailable):
            return
        circuit = self._circuit(setting)
        circuit.failures += 1
        pause_s = max(self._backoff_s(circuit), _wish_s(error))
        circuit.not_before_s = self._monotonic() + pause_s
        circuit.outcome = "backing_off"
        if pause_s > 0 and not circuit.is_open:
            circuit.is_open = True
            self._facts.circuit_opened(setting.name, pause_s, circuit.failures, error.reason)

    def put_off(self, setting: Setting, busy: HostBusy) -> None:
        """The host was not to be asked: nothing failed, and nothing is known of the source."""
        circuit = self._circuit(setting)
        circuit.not_before_s = self._monotonic() + _wish_s(busy)
        circuit.outcome = "over_budget" if busy.is_over_budget else "backing_off"
        self._facts.put_off(setting.name, circuit.outcome)

    def seconds_paused(self, setting: Setting) -> float:
        """Return for how long `setting` is not collected; 0 if it is."""
        circuit = self._circuits.get(setting.name)
        # A setting that was changed may work at once, and its source may be another one.
        if circuit is None or circuit.setting != setting:
            return 0.0
        return max(0.0, circuit.not_before_s - self._monotonic())

    def forget_others(self, settings: Iterable[Setting]) -> None:
        """Keep the circuits of these settings only."""
        names = {setting.name for setting in settings}
        for name in self._circuits.keys() - names:
            del self._circuits[name]

    def _circuit(self, setting: Setting) -> _Circuit:
        circuit = self._circuits.get(setting.name)
        if circuit is None or circuit.setting != setting:
            circuit = self._circuits[setting.name] = _Circuit(setting)
        return circuit

    def _backoff_s(self, circuit: _Circuit) -> float:
        attempt = circuit.failures - _FREE_FAILURES
        if attempt < 1:
            return 0.0
        interval_s = self._interval_s(circuit.setting.name)
        policy = RetryPolicy(first_s=_FIRST_INTERVALS * interval_s, cap_s=self._longest_pause_s, min_s=0.0)
        pause_s = policy.delay_s(attempt, None, self._random)
        return pause_s if pause_s > interval_s else 0.0


def _wish_s(error: RetryLater) -> float:
    return min(error.retry_after_s or 0.0, RetryPolicy().longest_wish_s)
