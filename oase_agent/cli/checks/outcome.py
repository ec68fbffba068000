"""What a collection would keep of an answer: counted, not kept."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import orjson

from oase_agent.cli.checks.section import Section
from oase_agent.cli.terminal import counted, local_time, shortened
from oase_agent.collect.extract import ExtractionRules, Labels, NewestEvent, extract_events
from oase_agent.collect.labelling import (
    EVENT_FORMAT_INVALID,
    EVENT_ID_KEY_NOT_FOUND,
    LIST_TYPE,
    NOT_LIST_TYPE,
    RESPONSE_KEY_INVALID,
    RESPONSE_KEY_NOT_FOUND,
)
from oase_agent.model import FIELD_EVENT_ID, FIELD_NOT_AVAILABLE, Setting
from oase_agent.sources.body import Fetched
from oase_agent.spool.known_ids import KnownIds

_SHOWN_IDS = 3
_LONGEST_ID = 60
_MARK = f'"{FIELD_NOT_AVAILABLE}"'.encode()

_HINTS: Mapping[str, str] = MappingProxyType(
    {
        RESPONSE_KEY_NOT_FOUND: "RESPONSE_KEY leads to nothing in the answer: it is misspelt, or the source "
        "answered with an error document",
        RESPONSE_KEY_INVALID: "RESPONSE_KEY leads to a plain value: let it lead to the object or list of events",
        LIST_TYPE: "the answer is a list where one object is expected: set RESPONSE_LIST_FLAG to true",
        NOT_LIST_TYPE: "the answer is one object where a list is expected: set RESPONSE_LIST_FLAG to false, or let "
        "RESPONSE_KEY lead to the list",
        EVENT_ID_KEY_NOT_FOUND: "EVENT_ID_KEY leads to nothing in these events, so they get an id of their own and "
        "are collected again each time",
        EVENT_FORMAT_INVALID: "these are no objects: let RESPONSE_KEY lead to a list of objects",
    }
)


@dataclass(slots=True)
class Yield:
    """The events of one collection in numbers; `unavailable` and `refused` count by reason."""

    events: int = 0
    known: int = 0
    first_ids: list[str] = field(default_factory=list)
    unavailable: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    newest: NewestEvent | None = None

    def count(self, event: bytes) -> None:
        """Count one labelled event."""
        self.events += 1
        is_flagged = _MARK in event
        if is_flagged or len(self.first_ids) < _SHOWN_IDS:
            document = orjson.loads(event)
            if len(self.first_ids) < _SHOWN_IDS:
                self.first_ids.append(shortened(str(document[FIELD_EVENT_ID]), _LONGEST_ID))
            if FIELD_NOT_AVAILABLE in document:
                self.unavailable[str(document[FIELD_NOT_AVAILABLE])] += 1


def count_events(
    setting: Setting, fetched: Fetched, known: KnownIds, *, fetched_time: int, document_max_bytes: int
) -> Yield:
    """Extract the events of an answer as a collection does; blocks, and raises AgentError like `extract_events`."""
    found = Yield()
    sighting = known.sighting(fetched_time // 3600)

    def is_new(event_id: str) -> bool:
        new = sighting.is_new(event_id)
        found.known += not new
        return new

    for piece in extract_events(
        fetched.body.view(),
        ExtractionRules.for_setting(setting),
        Labels(setting.name, setting.id, fetched_time, fetched_time + setting.ttl_s),
        first_serial=fetched.received_us,
        is_new=is_new,
        whole_document_max_bytes=document_max_bytes,
    ):
        for event in piece.events:
            found.count(event)
        found.refused.update(refused.why for refused in piece.refused)
        if piece.newest is not None and piece.newest.outranks(found.newest):
            found.newest = piece.newest
    return found


def show_yield(section: Section, found: Yield, *, fetched_time: int) -> None:
    """Add the numbers, the cursor after the collection and, as failures, what is wrong with the events."""
    section.fact("events", f"{found.events} new, {found.known} already known")
    if found.first_ids:
        section.fact("first ids", ", ".join(found.first_ids))
    newest = "" if found.newest is None else f", newest event {shortened(found.newest.event_id, _LONGEST_ID)}"
    section.fact("next cursor", f"{fetched_time} ({local_time(fetched_time)}){newest}")
    for reason, number in found.unavailable.most_common():
        hint = _HINTS.get(reason, "the source itself says so")
        section.failure(f"{counted(number, 'event')} not available, {shortened(reason, 100)!r}: {hint}.")
    for why, number in found.refused.most_common():
        section.failure(
            f"{counted(number, 'event')} would be set aside as dead, because the workspace cannot store it: {why}."
        )
