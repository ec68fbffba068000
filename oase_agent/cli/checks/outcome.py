"""What a collection would keep of the answers of a source: counted, and the first events of it."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import orjson

from oase_agent.collect.extract import ExtractionRules, Labels, NewestEvent, extract_events
from oase_agent.model import FIELD_NOT_AVAILABLE, Setting
from oase_agent.sources.body import Fetched
from oase_agent.spool.known_ids import IdPolicy, KnownIds

_MARK = f'"{FIELD_NOT_AVAILABLE}"'.encode()


@dataclass(frozen=True, slots=True)
class View:
    """How much is shown: the first `events` new ones, in full length or cut; `answers` is how many are asked for."""

    events: int = 3
    is_full: bool = False
    answers: int = 3


@dataclass(frozen=True, slots=True)
class Collection:
    """What the extraction of one collection needs; it `began` at that time, epoch seconds."""

    setting: Setting
    began: int
    document_max_bytes: int


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer of a collection, asked for at `fetched_time`, epoch seconds.

    `is_first` tells that it is the first one, unless an earlier collection that this one goes on with had that.
    """

    fetched: Fetched
    fetched_time: int
    is_first: bool


@dataclass(slots=True)
class Yield:
    """The events of one collection, answer by answer; `unavailable` and `refused` count by reason.

    The first `most_events` new ones and the first `most_known` ids that are known are kept. `lacks_response_key`
    tells that an answer ends the collection without completing it (decision 14): no further one is taken.
    """

    most_events: int
    most_known: int
    known_ids: KnownIds
    policy: IdPolicy
    events: int = 0
    known: int = 0
    first_events: list[bytes] = field(default_factory=list)
    first_known: list[str] = field(default_factory=list)
    unavailable: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    newest: NewestEvent | None = None
    lacks_response_key: bool = False

    def take(self, collection: Collection, answer: Answer) -> tuple[int, int]:
        """Extract the events of an answer as a collection does; return how many are new and how many known.

        Blocks, and raises AgentError like `extract_events`.
        """
        before = self.events, self.known
        setting, fetched, fetched_time = collection.setting, answer.fetched, answer.fetched_time
        sighting = self.known_ids.sighting(fetched_time // 3600, begins=answer.is_first, ends=fetched.is_last)

        def are_new(event_ids: Sequence[str]) -> Sequence[bool]:
            answers = sighting.are_new(event_ids)
            self._note_known(event_ids, answers)
            return answers

        for piece in extract_events(
            fetched.body.view(),
            ExtractionRules.for_setting(setting),
            Labels(setting.name, setting.id, fetched_time, fetched_time + setting.ttl_s),
            first_serial=fetched.received_us,
            is_new=sighting.is_new,
            are_new=are_new,
            whole_document_max_bytes=collection.document_max_bytes,
        ):
            for event in piece.events:
                self._count(event)
            self.refused.update(refused.why for refused in piece.refused)
            if piece.newest is not None and piece.newest.outranks(self.newest):
                self.newest = piece.newest
            self.lacks_response_key |= piece.lacks_response_key
        # What one answer brought is known to the next one.
        self.known_ids.absorb(sighting, self.policy)
        return self.events - before[0], self.known - before[1]

    def _count(self, event: bytes) -> None:
        self.events += 1
        if len(self.first_events) < self.most_events:
            self.first_events.append(event)
        if _MARK in event and FIELD_NOT_AVAILABLE in (document := orjson.loads(event)):
            self.unavailable[str(document[FIELD_NOT_AVAILABLE])] += 1

    def _note_known(self, event_ids: Sequence[str], are_new: Sequence[bool]) -> None:
        self.known += len(are_new) - sum(are_new)
        wanted = self.most_known - len(self.first_known)
        if wanted > 0:
            known = (event_id for event_id, is_new in zip(event_ids, are_new, strict=True) if not is_new)
            self.first_known.extend(event_id for event_id, _ in zip(known, range(wanted), strict=False))
