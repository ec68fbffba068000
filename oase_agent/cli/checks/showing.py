"""The lines of a report about one collection: request, events, troubles, cursors."""

import json
from collections.abc import Mapping
from types import MappingProxyType

import orjson

from oase_agent.cli.checks.bookmark import describe_bookmark
from oase_agent.cli.checks.outcome import Collection, View, Yield
from oase_agent.cli.checks.request import ShownRequest
from oase_agent.cli.checks.section import Section
from oase_agent.cli.terminal import counted, local_time
from oase_agent.collect.labelling import (
    EVENT_FORMAT_INVALID,
    EVENT_ID_KEY_NOT_FOUND,
    LIST_TYPE,
    NOT_LIST_TYPE,
    RESPONSE_KEY_INVALID,
    RESPONSE_KEY_NOT_FOUND,
)
from oase_agent.collect.unfinished import Progress
from oase_agent.model import (
    FIELD_END_TIME,
    FIELD_EVENT_ID,
    FIELD_FETCHED_TIME,
    FIELD_SETTING_ID,
    FIELD_SETTING_NAME,
    Cursor,
)
from oase_agent.sources.body import Fetched

_SHOWN_IDS = 10
_LONGEST_ID = 60
_LONGEST_EVENT = 400
_LONGEST_VALUE = 20_000
_LONGEST_REQUEST_LINE = 2000
# The same on every event of a collection: shown once.
_SHARED_LABELS = (FIELD_SETTING_NAME, FIELD_SETTING_ID, FIELD_FETCHED_TIME, FIELD_END_TIME)
# Mails have no field of ours for it (contract section 8).
_MAIL_ID = "message_id"
_HEADED_LABELS = {*_SHARED_LABELS, FIELD_EVENT_ID}

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


def show_cursor(section: Section, cursor: Cursor, origin: str, progress: Progress | None = None) -> None:
    """Add where the collection begins; `origin` is the end of the sentence, `progress` what came before it."""
    epoch_s = cursor.last_fetched_time
    section.fact("cursor", f"{epoch_s} ({local_time(epoch_s)}), {origin}")
    if progress is None:
        return
    if progress.is_resumed:
        section.fact(
            "", f"goes on with the collection of {local_time(progress.began_s)}, which is not complete yet"
        )
    _show_bookmark(section, progress.bookmark)


def show_request(section: Section, request: ShownRequest) -> None:
    """Add the request line by line."""
    for label, text in request:
        section.fact(label, section.cut(text, _LONGEST_REQUEST_LINE))


def show_events(section: Section, found: Yield, view: View) -> None:
    """Add the first events with the labels they share, and the first ids that are known."""
    section.fact("events", f"{found.events} new, {found.known} already known")
    documents = [orjson.loads(event) for event in found.first_events[: view.events]]
    if documents and not view.is_full:
        shared = [f"{name}={documents[0][name]}" for name in _SHARED_LABELS if name in documents[0]]
        section.fact("labels", ", ".join(shared))
    for document in documents:
        event_id = section.cut(str(document.get(FIELD_EVENT_ID) or document.get(_MAIL_ID)), _LONGEST_ID)
        if view.is_full:
            section.fact("new", event_id)
            for name, value in document.items():
                section.fact("", f"{name}: {section.cut(_text(value), _LONGEST_VALUE)}")
        else:
            own = {name: value for name, value in document.items() if name not in _HEADED_LABELS}
            section.fact("new", f"{event_id}: {section.cut(_text(own), _LONGEST_EVENT)}")
    rest = found.events - view.events
    if rest > 0 and view.events:
        section.fact("", f"and {rest} more: --events shows more of them")
    known = found.first_known[: max(view.events, _SHOWN_IDS)]
    if known:
        ids = ", ".join(section.cut(event_id, _LONGEST_ID) for event_id in known)
        rest = found.known - len(known)
        more = f" and {rest} more" if rest else ""
        section.fact("known", f"{ids}{more}: collected before, and not again while the source reports them")


def show_troubles(section: Section, found: Yield) -> None:
    """Add, as failures, what is wrong with the events."""
    for reason, number in found.unavailable.most_common():
        hint = _HINTS.get(reason, "the source itself says so")
        section.failure(f"{counted(number, 'event')} not available, {section.cut(reason, 100)!r}: {hint}.")
    for why, number in found.refused.most_common():
        section.failure(
            f"{counted(number, 'event')} would be set aside as dead, because the workspace cannot store it: {why}."
        )


def show_next_cursor(
    section: Section, found: Yield, last: Fetched, collection: Collection, before: Cursor
) -> None:
    """Add where the next collection would begin, if `last` is the last answer that was taken."""
    is_complete = last.is_last and not found.lacks_response_key
    epoch_s = collection.began if is_complete else before.last_fetched_time
    moves = "" if is_complete else ", as before, until the last answer is kept"
    if found.lacks_response_key:
        moves = (
            ", as before, because RESPONSE_KEY leads to nothing in the answer: this time is asked for again"
        )
    newest = (
        "" if found.newest is None else f", newest event {section.cut(found.newest.event_id, _LONGEST_ID)}"
    )
    section.fact("next cursor", f"{epoch_s} ({local_time(epoch_s)}){moves}{newest}")
    if not found.lacks_response_key:
        _show_bookmark(section, last.bookmark)


def _show_bookmark(section: Section, bookmark: str | None) -> None:
    if bookmark is not None:
        section.fact("bookmark", describe_bookmark(bookmark, section.masker))


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
