"""From an answer of any size to labelled events, slice by slice: the decision table of contract section 7.

The usual answer, a list under a plain dotted RESPONSE_KEY, is never in memory as a whole: it is cut, parsed,
labelled and encoded slice by slice. Every other answer is read as one document, up to a size limit, and decided
by `_pick_from_document`, whose rules carry the numbers of the table.
"""

from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from oase_agent.collect.documents import Body, not_json, read_document
from oase_agent.collect.expressions import Expression, compile_expression
from oase_agent.collect.labelling import (
    EVENT_FORMAT_INVALID,
    LIST_TYPE,
    NOT_LIST_TYPE,
    RESPONSE_KEY_INVALID,
    RESPONSE_KEY_NOT_FOUND,
    AreNew,
    ExtractedSlice,
    Labeller,
    Labels,
    Picked,
    RefusedEvent,
    flagged,
)
from oase_agent.collect.mails import all_new, unknown_mails
from oase_agent.collect.newest import NewestEvent
from oase_agent.collect.slices import SLICE_BYTES, find_list, read_slices
from oase_agent.model import ConnectionMethod, Setting

__all__ = ["ExtractedSlice", "ExtractionRules", "Labels", "NewestEvent", "RefusedEvent", "extract_events"]


@dataclass(frozen=True, slots=True)
class ExtractionRules:
    """What a setting says about its answers: the two keys, RESPONSE_LIST_FLAG, and whether they are mails."""

    response_key: Expression | None
    event_id_key: Expression | None
    response_is_list: bool
    are_mails: bool = False

    @classmethod
    def for_setting(cls, setting: Setting) -> "ExtractionRules":
        """Compile the rules of a setting; raises SettingRejected for an expression that is none (row 64)."""

        def compiled(text: str | None, column: str) -> Expression | None:
            return None if text is None else compile_expression(text, column=column)

        return cls(
            response_key=compiled(setting.response_key, "RESPONSE_KEY"),
            event_id_key=compiled(setting.event_id_key, "EVENT_ID_KEY"),
            response_is_list=setting.response_is_list,
            are_mails=setting.connection_method is ConnectionMethod.IMAP,
        )

    @property
    def list_path(self) -> tuple[str, ...] | None:
        """The plain path to a list, `()` for the answer itself, or None when no such list is expected."""
        if not self.response_is_list:
            return None
        return () if self.response_key is None else self.response_key.plain_path


def extract_events(
    body: Body,
    rules: ExtractionRules,
    labels: Labels,
    *,
    first_serial: int,
    is_new: Callable[[str], bool],
    are_new: AreNew | None = None,
    whole_document_max_bytes: int,
    slice_bytes: int = SLICE_BYTES,
) -> Generator[ExtractedSlice, None, None]:
    """Yield the labelled events of an answer, in its order, in slices of at most 1,000 events; none for no events.

    `is_new` is asked once for each event that has an id by EVENT_ID_KEY, with the id's text; False drops the
    event. It answers the same for the same id throughout, so that an id occurring twice is kept twice. It is not
    asked for serial ids, which count up from `first_serial` (epoch microseconds of the response). `are_new`, where
    it is given, is asked instead, with the ids of some events at once.

    A mapped `body` stays in use until the generator is exhausted or closed. An error may come after some slices:
    nothing of a collection counts before its end. Raises SourceUnavailable with Reason.NOT_JSON or
    Reason.TOO_LARGE, and SettingRejected with Reason.EXPRESSION.
    """
    are_new = are_new or (lambda event_ids: list(map(is_new, event_ids)))
    labeller = Labeller(
        labels,
        event_id_key=rules.event_id_key,
        first_serial=first_serial,
        are_new=all_new if rules.are_mails else are_new,
        puts_ids=not rules.are_mails,
    )
    # What mails are new is decided before RESPONSE_KEY, which may leave nothing of them to tell by.
    only_new = partial(unknown_mails, are_new=are_new) if rules.are_mails else _all
    if rules.are_mails:
        whole_document_max_bytes = len(body)  # pages of mail are small by themselves
    try:
        text = None if rules.list_path is None else find_list(body, rules.list_path)
        if text is None:
            document = only_new(read_document(body, max_bytes=whole_document_max_bytes))
            key = rules.response_key
            selected = document if key is None else key.search(document)
            # A list answers the question, whatever RESPONSE_KEY makes of it: its elements are passed on one by one.
            lacks_key = key is not None and selected is None and not isinstance(document, list)
            picked = _pick_from_document(document, selected, rules, labeller)
            # Always walked: JMESPath makes an Infinity out of a harmless text (`to_number`).
            for piece in labeller.label(picked, suspicious=True):
                yield replace(piece, lacks_response_key=lacks_key)
            return
        with text:
            slices = read_slices(text, slice_bytes=slice_bytes, max_element_bytes=whole_document_max_bytes)
            for elements, suspicious in slices:
                yield from labeller.label(labeller.pick(only_new(elements)), suspicious=suspicious)
    except RecursionError as error:
        raise not_json("the answer is nested too deep") from error


def _pick_from_document(
    document: Any, selected: Any, rules: ExtractionRules, labeller: Labeller
) -> Iterable[Picked]:
    """Decide by the table of contract section 7; K of the table is `selected`."""
    key = rules.response_key
    if key is not None and selected is None:  # rule 1
        elements = document if isinstance(document, list) else [document]
        return flagged(elements, RESPONSE_KEY_NOT_FOUND)
    if selected in ([],) if rules.response_is_list else selected in ({}, ""):  # rule 2
        return ()
    if not isinstance(selected, dict | list):  # rule 3
        return flagged([document], EVENT_FORMAT_INVALID if key is None else RESPONSE_KEY_INVALID)
    if isinstance(selected, list) and not rules.response_is_list:  # rule 4
        return flagged([document], EVENT_FORMAT_INVALID if selected is document else LIST_TYPE)
    if isinstance(selected, dict) and rules.response_is_list:  # rule 6
        return flagged([selected], NOT_LIST_TYPE)
    elements = selected if isinstance(selected, list) else [selected]  # rules 7 and 5
    return labeller.pick(_copy(element) for element in elements)


def _all(document: Any) -> Any:
    return document


def _copy(element: Any) -> Any:
    """Copy an object before it is labelled: JMESPath may select the same object twice, or one within another."""
    return dict(element) if isinstance(element, dict) else element
