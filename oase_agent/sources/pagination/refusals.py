"""When a place is given up: tokens expire, and what the source does not take must not be asked for ever."""

from typing import Final

from oase_agent.errors import Reason, SourceUnavailable
from oase_agent.sources.failures import EmptyAnswer, StatusFailure
from oase_agent.sources.pagination.bookmark import Position

# Credentials, a proxy, time and load: these say nothing about the place.
_OTHER_TROUBLE: Final = frozenset({401, 403, 407, 408, 425, 429, 502, 503, 504})
# Servers answer an expired token in many ways, and all of them may mean something else, too.
_ATTEMPTS: Final = 3
_DOUBTFUL: Final = frozenset({Reason.NOT_JSON, Reason.MALFORMED, Reason.REDIRECT})


class Refusals:
    """Counts the failures at one place of each setting. In memory: after a restart the count begins anew."""

    def __init__(self) -> None:
        self._failures: dict[str, tuple[Position, int]] = {}

    def gives_up(self, setting_name: str, position: Position, error: SourceUnavailable) -> bool:
        """Take in a failure at `position`; return whether the collection has to begin anew."""
        if isinstance(error, StatusFailure):
            if error.status in _OTHER_TROUBLE:
                return False
            if error.status < 500:
                self.answered(setting_name)
                return True
        elif not isinstance(error, EmptyAnswer) and error.reason not in _DOUBTFUL:
            return False
        before, count = self._failures.get(setting_name, (position, 0))
        count = count + 1 if before == position else 1
        if count >= _ATTEMPTS:
            self.answered(setting_name)
            return True
        self._failures[setting_name] = (position, count)
        return False

    def answered(self, setting_name: str) -> None:
        """Forget failures: the collection goes on, or begins anew."""
        self._failures.pop(setting_name, None)
