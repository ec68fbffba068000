"""From parsed elements to labelled events: ids, reasons, the agent's fields, and the bytes that will be posted.

Fields on an event are its own first, then `_exastro_oase_event_id`, `_exastro_not_available` if there is a reason,
then the four of the collection. A label replaces a field of the same name that the source sent. A source that sends
`_exastro_not_available` itself keeps it unless the agent has a reason of its own: the rule that the first reason
wins (contract section 7) is about the agent's two passes, not about the source.
"""

import itertools
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from operator import methodcaller
from typing import Any, Final

import orjson

from oase_agent.collect.expressions import Expression
from oase_agent.collect.unstorable import find_unstorable
from oase_agent.model import (
    FIELD_END_TIME,
    FIELD_EVENT_ID,
    FIELD_FETCHED_TIME,
    FIELD_NOT_AVAILABLE,
    FIELD_RAW_DATA,
    FIELD_SETTING_ID,
    FIELD_SETTING_NAME,
)

# Texts of `_exastro_not_available`, byte by byte those of contract section 7: rules in the workspace match them.
RESPONSE_KEY_NOT_FOUND: Final = "RESPONSE_KEY not found"
RESPONSE_KEY_INVALID: Final = "RESPONSE_KEY value is Invalid.(not Object and not List)"
LIST_TYPE: Final = "RESPONSE_LIST_FLAG is incorrect.(List Type)"
NOT_LIST_TYPE: Final = "RESPONSE_LIST_FLAG is incorrect.(Not List Type)"
EVENT_ID_KEY_NOT_FOUND: Final = "EVENT_ID_KEY not found"
EVENT_FORMAT_INVALID: Final = "event format is Invalid.(not Object)"

# One batch of the spool takes no more events (design section 5); the bytes bound what a slice costs in memory.
_SLICE_EVENTS: Final = 1000
_SLICE_BYTES: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Labels:
    """What all events of one collection share.

    `fetched_time` is epoch seconds, taken before the request; `end_time` is that plus the TTL of the setting in
    seconds, a sum of integers without calendar or time zone (defect D25).
    """

    setting_name: str
    setting_id: str
    fetched_time: int
    end_time: int

    def fields(self) -> dict[str, str | int]:
        """Return the four fields that go on every event, mails included."""
        return {
            FIELD_SETTING_NAME: self.setting_name,
            FIELD_SETTING_ID: self.setting_id,
            FIELD_FETCHED_TIME: self.fetched_time,
            FIELD_END_TIME: self.end_time,
        }


@dataclass(frozen=True, slots=True)
class RefusedEvent:
    """An event that the workspace could not store, for the dead letters.

    `text` is the labelled event as ASCII text in the wide sense of Python's json module: it may hold NaN, escaped
    halves of surrogate pairs and integers of any length (as a text of digits beyond 1,000). `why` is a part of a
    sentence for the operator, without content of the event.
    """

    text: str
    why: str


@dataclass(frozen=True, slots=True)
class NewestEvent:
    """The event that templates see as EXASTRO_LAST_FETCHED_EVENT: its id and the bytes that are posted."""

    event_id: str
    data: bytes

    def outranks(self, earlier: "NewestEvent | None") -> bool:
        """Tell whether this event replaces one that came earlier in the same collection.

        Ids of decimal digits compare as numbers, so that 1000 beats 999 (defect D28); other ids compare as text
        and beat every number. The later event wins a tie.
        """
        return earlier is None or _rank(self.event_id) >= _rank(earlier.event_id)


@dataclass(frozen=True, slots=True)
class ExtractedSlice:
    """Some events of a collection, in the order of the answer.

    `events` are ready for the POST. `newest` is the newest of them without `_exastro_not_available` (contract
    section 5), or None.
    """

    events: list[bytes]
    refused: list[RefusedEvent]
    newest: NewestEvent | None


# An event, its id when the source gave one, and the reason when it is not available.
Picked = tuple[dict[str, Any], str | None, str | None]


class Labeller:
    """Picks and labels the events of one answer; counts its serial ids."""

    __slots__ = ("_find_id", "_is_new", "_labels", "_next_serial")

    def __init__(
        self,
        labels: Labels,
        *,
        event_id_key: Expression | None,
        first_serial: int,
        is_new: Callable[[str], bool],
    ) -> None:
        self._labels = labels.fields()
        self._find_id = _id_finder(event_id_key)
        self._next_serial = first_serial
        self._is_new = is_new

    def pick(self, elements: Iterable[Any]) -> Iterator[Picked]:
        """Apply rules 5 and 7 of the decision table to elements: wrap, look up the id, drop what is known.

        Raises SettingRejected when EVENT_ID_KEY cannot be evaluated on an element.
        """
        find_id, is_new = self._find_id, self._is_new
        for element in elements:
            if not isinstance(element, dict):
                yield {FIELD_RAW_DATA: element}, None, EVENT_FORMAT_INVALID
            elif find_id is None:
                yield element, None, None
            elif (value := find_id(element)) is None:
                yield element, None, EVENT_ID_KEY_NOT_FOUND
            else:
                event_id = _encodable(str(value))
                if is_new(event_id):
                    yield element, event_id, None

    def label(self, picked: Iterable[Picked], *, suspicious: bool) -> Iterator[ExtractedSlice]:
        """Put the agent's fields on events, in place, and yield them encoded, in slices of at most 1,000.

        `suspicious` asks for a walk through every event for values that the workspace refuses, and for slices of
        about 1 MiB; without it, the caller knows that there are none, and has limited the size.
        """
        encode = _encode_closely if suspicious else _encode
        remaining = iter(picked)
        while True:
            events, ids = self._put_fields(itertools.islice(remaining, _SLICE_EVENTS))
            if not events:
                return
            yield from encode(events, ids)

    def _put_fields(self, picked: Iterable[Picked]) -> tuple[list[dict[str, Any]], list[str | None]]:
        """Return the labelled events, and for each its id, or None where it cannot be the newest event."""
        labels = self._labels
        events: list[dict[str, Any]] = []
        ids: list[str | None] = []
        for event, source_id, reason in picked:
            event_id = self._serial() if source_id is None else source_id
            event[FIELD_EVENT_ID] = event_id
            if reason is not None:
                event[FIELD_NOT_AVAILABLE] = reason
            event.update(labels)
            events.append(event)
            ids.append(None if FIELD_NOT_AVAILABLE in event else event_id)
        return events, ids

    def _serial(self) -> str:
        serial = self._next_serial
        self._next_serial = serial + 1
        return str(serial)


def _encode(events: list[dict[str, Any]], ids: list[str | None]) -> Iterator[ExtractedSlice]:
    encoded = list(map(orjson.dumps, events))
    yield ExtractedSlice(encoded, [], _newest(ids, encoded))


def _encode_closely(events: list[dict[str, Any]], ids: list[str | None]) -> Iterator[ExtractedSlice]:
    encoded: list[bytes] = []
    encoded_ids: list[str | None] = []
    refused: list[RefusedEvent] = []
    size_bytes = 0
    for event, event_id in zip(events, ids, strict=True):
        why = find_unstorable(event)
        if why is None:
            encoded.append(orjson.dumps(event))
            encoded_ids.append(event_id)
            size_bytes += len(encoded[-1])
        else:
            refused.append(RefusedEvent(json.dumps(event), why))
            size_bytes += len(refused[-1].text)
        if size_bytes >= _SLICE_BYTES:
            yield ExtractedSlice(encoded, refused, _newest(encoded_ids, encoded))
            encoded, encoded_ids, refused, size_bytes = [], [], [], 0
    if encoded or refused:
        yield ExtractedSlice(encoded, refused, _newest(encoded_ids, encoded))


def _id_finder(key: Expression | None) -> Callable[[dict[str, Any]], Any] | None:
    if key is None:
        return None
    if key.plain_path is not None and len(key.plain_path) == 1:
        return methodcaller("get", key.plain_path[0])  # the usual case, without a frame of Python per event
    return key.search


def _encodable(event_id: str) -> str:
    """Escape halves of surrogate pairs: the set of known ids is a file in UTF-8."""
    return event_id if event_id.isascii() else event_id.encode("utf-8", "backslashreplace").decode("utf-8")


def _newest(ids: list[str | None], encoded: list[bytes]) -> NewestEvent | None:
    places = [place for place, event_id in enumerate(ids) if event_id is not None]
    candidates = [event_id for event_id in ids if event_id is not None]
    if not candidates:
        return None
    ranks = _ranks(candidates)
    ranks.reverse()
    last = len(candidates) - 1 - ranks.index(max(ranks))
    return NewestEvent(candidates[last], encoded[places[last]])


def _ranks(ids: list[str]) -> list[Any]:
    """Return what orders the ids of one slice: plain integers in the usual case, which is twice as fast."""
    together = "".join(ids)
    if together.isdigit() and together.isascii():
        try:
            return list(map(int, ids))
        except ValueError:
            pass  # an empty id, or more digits than Python takes
    return list(map(_rank, ids))


def _rank(event_id: str) -> tuple[int, int, str]:
    """Order ids as `NewestEvent.outranks` says; digits without leading zeros sort by length, then as text."""
    if event_id.isdigit() and event_id.isascii():
        digits = event_id.lstrip("0")
        return 0, len(digits), digits
    return 1, 0, event_id
