"""What is wrong at the moment, and how a fact is said: one log line with its action and its facts."""

import logging
from dataclasses import dataclass

from oase_agent.errors import Reason


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that goes wrong at the moment: a stable reason, and the sentence that was logged."""

    reason: Reason
    message: str


class Troubles:
    """Remembers what goes wrong, so that it is said when it begins, when its reason changes and when it ends."""

    def __init__(self, logger: logging.Logger) -> None:
        self._log = logger
        self._troubles: dict[str, Trouble] = {}

    def trouble_of(self, kind: str, setting: str = "") -> Trouble | None:
        """Return the present trouble of a part.

        Parts are `collect`, `deliver` or `volume` of a setting, `workspace`, `settings`, `settings_file` and
        `source_options`.
        """
        return self._troubles.get(f"{kind} {setting}" if setting else kind)

    def _began(self, trouble: str, reason: Reason, action: str, message: str, **facts: object) -> None:
        known = self._troubles.get(trouble)
        if known is not None and known.reason == reason:
            return
        self._troubles[trouble] = Trouble(reason, message)
        self._warning(action, message, reason=reason.value, **facts)

    def _ended(self, trouble: str) -> bool:
        return self._troubles.pop(trouble, None) is not None

    def _info(self, action: str, message: str, **facts: object) -> None:
        self._log.info(message, extra={"action": action, "facts": facts})

    def _warning(self, action: str, message: str, **facts: object) -> None:
        self._log.warning(message, extra={"action": action, "facts": facts})

    def _error(self, action: str, message: str, **facts: object) -> None:
        self._log.error(message, extra={"action": action, "facts": facts})
