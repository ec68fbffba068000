"""From parsed elements to labelled events: ids, reasons, the agent's fields, and the bytes that will be posted.

Fields on an event are its own first, then `_exastro_oase_event_id`, `_exastro_not_available` if there is a reason,
then the four of the collection. A label replaces a field of the same name that the source sent. A source that sends
`_exastro_not_available` itself keeps it unless the agent has a reason of its own: the rule that the first reason
wins (contract section 7) is about the agent's two passes, not about the source.
"""

import collections
import itertools
import json
import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from oase_agent.collect.expressions import Expression
from oase_agent.collect.newest import NewestEvent, newest_of
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
    seconds, a sum of integers without calendar or time zone (defect D25). The workspace fills in a missing id.
    """

    setting_name: str
    setting_id: str
    fetched_time: int
    end_time: int

    def fields(self) -> dict[str, str | int]:
        """Return the four fields that go on every event, mails included; three without an id."""
        setting_id = {FIELD_SETTING_ID: self.setting_id} if self.setting_id else {}
        times = {FIELD_FETCHED_TIME: self.fetched_time, FIELD_END_TIME: self.end_time}
        return {FIELD_SETTING_NAME: self.setting_name, **setting_id, **times}


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
class ExtractedSlice:
    """Some events of a collection, in the order of the answer.

    `events` are ready for the POST. `newest` is the newest of them without `_exastro_not_available` (contract
    section 5), or None. `lacks_response_key` tells that they are an answer in which RESPONSE_KEY selects nothing and
    which is no list either: it says nothing of the source's events (decision 14).
    """

    events: list[bytes]
    refused: list[RefusedEvent]
    newest: NewestEvent | None
    lacks_response_key: bool = False


AreNew = Callable[[Sequence[str]], Sequence[bool]]
"""Asked with the ids of some events; tells of each in its place whether it is new."""


@dataclass(frozen=True, slots=True)
class Picked:
    """Some events before they are labelled, column by column: what C does to a column, no loop of Python does.

    An id is None where the source gave none, a reason is None where the event is available.
    """

    events: list[dict[str, Any]]
    ids: list[str | None]
    reasons: list[str | None]

    def only(self, stays: Sequence[bool]) -> "Picked":
        """Return those that stay."""
        if all(stays):
            return self
        return Picked(
            list(itertools.compress(self.events, stays)),
            list(itertools.compress(self.ids, stays)),
            list(itertools.compress(self.reasons, stays)),
        )


class Labeller:
    """Picks and labels the events of one answer; counts its serial ids.

    Without `puts_ids` ids only tell which event is the newest: events of mail carry none (contract section 8).
    """

    __slots__ = ("_are_new", "_find_id", "_labels", "_puts_ids", "_serials")

    def __init__(
        self,
        labels: Labels,
        *,
        event_id_key: Expression | None,
        first_serial: int,
        are_new: AreNew,
        puts_ids: bool = True,
    ) -> None:
        self._puts_ids = puts_ids
        self._labels = labels.fields()
        self._find_id = _id_finder(event_id_key)
        self._serials = itertools.count(first_serial)
        self._are_new = are_new

    def pick(self, elements: Iterable[Any]) -> Iterator[Picked]:
        """Apply rules 5 and 7 of the decision table to elements: wrap, look up the id, drop what is known.

        Raises SettingRejected when EVENT_ID_KEY cannot be evaluated on an element.
        """
        for some in _slices(elements):
            picked = self._pick_alike(some) or self._pick_each(some)
            if picked.events:
                yield picked

    def _pick_alike(self, elements: list[Any]) -> Picked | None:
        """Pick from the usual elements, objects that all have an id; None when there are others."""
        if self._find_id is None or set(map(type, elements)) != {dict}:
            return None
        values = list(map(self._find_id, elements))
        if None in values:
            return None
        ids = list(map(str, values))
        if not "".join(ids).isascii():
            ids = list(map(_encodable, ids))
        return Picked(elements, [*ids], [None] * len(ids)).only(self._are_new(ids))

    def _pick_each(self, elements: list[Any]) -> Picked:
        find_id = self._find_id
        picked = Picked([], [], [])
        for element in elements:
            event_id, reason = None, None
            if not isinstance(element, dict):
                reason = EVENT_FORMAT_INVALID
            elif find_id is not None and (value := find_id(element)) is None:
                reason = EVENT_ID_KEY_NOT_FOUND
            elif find_id is not None:
                event_id = _encodable(str(value))
            picked.events.append(element if isinstance(element, dict) else {FIELD_RAW_DATA: element})
            picked.ids.append(event_id)
            picked.reasons.append(reason)
        answers = iter(self._are_new([event_id for event_id in picked.ids if event_id is not None]))
        return picked.only([event_id is None or next(answers) for event_id in picked.ids])

    def label(self, picked: Iterable[Picked], *, suspicious: bool) -> Iterator[ExtractedSlice]:
        """Put the agent's fields on events, in place, and yield them encoded, slice by slice.

        `suspicious` asks for a walk through every event for values that the workspace refuses, and for slices of
        about 1 MiB; without it, the caller knows that there are none, and has limited the size.
        """
        encode = _encode_closely if suspicious else _encode
        for some in picked:
            yield from encode(some.events, self._put_fields(some))

    def _put_fields(self, picked: Picked) -> list[str | None]:
        """Label the events; return of each its id, or None where it cannot be the newest event."""
        events, ids = picked.events, picked.ids
        if None in ids:
            ids = [str(next(self._serials)) if event_id is None else event_id for event_id in ids]
        if self._puts_ids:
            _run(map(operator.setitem, events, itertools.repeat(FIELD_EVENT_ID), ids))
        if any(picked.reasons):
            for event, reason in zip(events, picked.reasons, strict=True):
                if reason is not None:
                    event[FIELD_NOT_AVAILABLE] = reason
        _run(map(dict.update, events, itertools.repeat(self._labels)))
        if FIELD_SETTING_ID not in self._labels:  # nor may the source give one
            _run(map(dict.pop, events, itertools.repeat(FIELD_SETTING_ID), itertools.repeat(None)))
        unavailable = list(map(operator.contains, events, itertools.repeat(FIELD_NOT_AVAILABLE)))
        if not any(unavailable):
            return ids
        return [None if is_not else event_id for event_id, is_not in zip(ids, unavailable, strict=True)]


def flagged(elements: Iterable[Any], reason: str) -> Iterator[Picked]:
    """Pick elements that are not available for one reason: without ids, what is no object wrapped."""
    for some in _slices(elements):
        events = [dict(one) if isinstance(one, dict) else {FIELD_RAW_DATA: one} for one in some]
        yield Picked(events, [None] * len(some), [reason] * len(some))


def _slices(elements: Iterable[Any]) -> Iterator[list[Any]]:
    remaining = iter(elements)
    while some := list(itertools.islice(remaining, _SLICE_EVENTS)):
        yield some


def _run(calls: Iterator[None]) -> None:
    """Let the calls of a `map` happen, without a step of Python for each."""
    collections.deque(calls, maxlen=0)


def _encode(events: list[dict[str, Any]], ids: list[str | None]) -> Iterator[ExtractedSlice]:
    encoded = list(map(orjson.dumps, events))
    yield ExtractedSlice(encoded, [], newest_of(ids, encoded))


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
            yield ExtractedSlice(encoded, refused, newest_of(encoded_ids, encoded))
            encoded, encoded_ids, refused, size_bytes = [], [], [], 0
    if encoded or refused:
        yield ExtractedSlice(encoded, refused, newest_of(encoded_ids, encoded))


def _id_finder(key: Expression | None) -> Callable[[dict[str, Any]], Any] | None:
    if key is None:
        return None
    if key.plain_path is not None and len(key.plain_path) == 1:
        return operator.methodcaller(
            "get", key.plain_path[0]
        )  # the usual case, without a frame of Python per event
    return key.search


def _encodable(event_id: str) -> str:
    """Escape halves of surrogate pairs: the set of known ids is a file in UTF-8."""
    return event_id if event_id.isascii() else event_id.encode("utf-8", "backslashreplace").decode("utf-8")
