"""The texts with which the workspace refuses single groups of a POST (contract 3.2).

They come as the `data` of an answer 200, one per refused group, or joined inside the message of a 499-01802. They
are always English. The receiver writes names the way Python prints a text (`'N'`, `"it's"`, `'\u3000'`), so a name
is read back by the same rule; a name in plain quotes without that escaping is understood too.
"""

import ast
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

_LONGEST_TEXT = 500  # characters of a text that nobody knows: enough for a dead letter, too few to hurt

_LEAD = "The events were not saved because "
_NAME = r"\(event_collection_settings_name=(?P<name>'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\")\)"
_PLAIN_NAME = r"\(event_collection_settings_name='(?P<name>.*)'\)"
_POSITION = (
    r"\(event_collection_settings_id:(?P<id>.*?), received_fetched_time:(?P<received>-?[0-9]{1,19}),"
    r" latest fetched_time:(?P<latest>-?[0-9]{1,19})\)"
)


@dataclass(frozen=True, slots=True)
class InvalidSetting:
    """499-01801: the workspace knows no setting of this name."""

    name: str


@dataclass(frozen=True, slots=True)
class DiscardedSetting:
    """499-01827: the setting was discarded in the workspace."""

    name: str


@dataclass(frozen=True, slots=True)
class NotLatest:
    """499-01818: the fence refused group time `received`, because `latest` is stored already; epoch seconds."""

    setting_id: str
    received: int
    latest: int


@dataclass(frozen=True, slots=True)
class UnknownText:
    """A text that nobody knows, cut to 500 characters."""

    text: str


Refusal = InvalidSetting | DiscardedSetting | NotLatest | UnknownText


def parse_refusals(data: Sequence[object]) -> tuple[Refusal, ...]:
    """Return what each element of an answer's `data` says, in order, one for each."""
    return tuple(_one_refusal(text) for text in data)


def refusals_in(message: str) -> tuple[Refusal, ...]:
    """Return the refusals embedded in the message of a 499-01802, whatever language surrounds them."""
    return tuple(_embedded(message))


def _one_refusal(text: object) -> Refusal:
    if not isinstance(text, str):
        return UnknownText(f"not a text but {type(text).__name__}")
    refusal, end = _refusal_at(text, 0, len(text))
    return refusal if end == len(text) else UnknownText(text[:_LONGEST_TEXT])


def _embedded(message: str) -> Iterator[Refusal]:
    start = message.find(_LEAD)
    while start >= 0:
        following = message.find(_LEAD, start + len(_LEAD))
        refusal, end = _refusal_at(message, start, following if following >= 0 else len(message))
        yield refusal
        start = message.find(_LEAD, end)


def _refusal_at(text: str, start: int, stop: int) -> tuple[Refusal, int]:
    """Return the refusal that begins at `start`, and where it ends.

    A form that is not unambiguous by itself may reach up to `stop`, where the next refusal begins.
    """
    for pattern, build in _EXACT_FORMS:
        if match := pattern.match(text, start):
            return build(match), match.end()
    for pattern, build in _PLAIN_FORMS:
        if match := pattern.match(text, start, stop):
            return build(match), match.end()
    return UnknownText(text[start:stop][:_LONGEST_TEXT]), stop


def _written_name(match: re.Match[str]) -> str:
    literal = match["name"]
    try:
        return str(ast.literal_eval(literal))
    except (SyntaxError, ValueError):
        return literal[1:-1]


def _not_latest(match: re.Match[str]) -> Refusal:
    return NotLatest(match["id"], int(match["received"]), int(match["latest"]))


_Form = tuple[re.Pattern[str], Callable[[re.Match[str]], Refusal]]
_INVALID = re.escape(f"{_LEAD}received data is invalid.")
_DISCARDED = re.escape(f"{_LEAD}the settings has been discarded.")
_OLD = re.escape(f"{_LEAD}the fetched_time is not the latest.")

_EXACT_FORMS: tuple[_Form, ...] = (
    (re.compile(rf"{_INVALID}\s*{_NAME}", re.DOTALL), lambda match: InvalidSetting(_written_name(match))),
    (re.compile(rf"{_DISCARDED}\s*{_NAME}", re.DOTALL), lambda match: DiscardedSetting(_written_name(match))),
    (re.compile(rf"{_OLD}\s*{_POSITION}", re.DOTALL), _not_latest),
)
_PLAIN_FORMS: tuple[_Form, ...] = (
    (re.compile(rf"{_INVALID}\s*{_PLAIN_NAME}", re.DOTALL), lambda match: InvalidSetting(match["name"])),
    (re.compile(rf"{_DISCARDED}\s*{_PLAIN_NAME}", re.DOTALL), lambda match: DiscardedSetting(match["name"])),
)
