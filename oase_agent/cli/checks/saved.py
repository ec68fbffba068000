"""Extraction from answers that were saved before, without asking anybody."""

import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from oase_agent.cli.checks.order import WrongUse
from oase_agent.cli.checks.outcome import Answer, Collection, View, Yield
from oase_agent.cli.checks.section import Section
from oase_agent.cli.checks.showing import (
    show_events,
    show_next_cursor,
    show_troubles,
)
from oase_agent.cli.terminal import size
from oase_agent.errors import AgentError
from oase_agent.model import Cursor
from oase_agent.sources.body import MEMORY_BYTES, Body, Fetched


@dataclass(frozen=True, slots=True)
class SavedAnswer:
    """One answer: the file with its body, and what was known of it; `cut_bytes` is how much of it is missing."""

    file: Path
    fetched_time: int
    received_us: int
    status: int = 200
    content_type: str = ""
    is_first: bool = True
    is_last: bool = True
    is_unchanged: bool = False
    cut_bytes: int = 0


@dataclass(frozen=True, slots=True)
class SavedCollection:
    """The answers of one collection, which began at `cursor`."""

    collection: Collection
    cursor: Cursor
    answers: tuple[SavedAnswer, ...]


def extract_saved(section: Section, saved: SavedCollection, found: Yield, view: View) -> None:
    """Extract, and show what a collection would keep; what goes wrong is a failure of the section. Blocks."""
    last = None
    try:
        for answer in saved.answers:
            with opened(answer) as last:
                _take(section, saved.collection, answer, last, found)
            if found.lacks_response_key:
                break
    except AgentError as error:
        section.failure(str(error))
        return
    if last is None:
        section.failure(
            "There is no answer to extract: when this was recorded the source gave none, see report.txt."
        )
    else:
        show_events(section, found, view)
        show_next_cursor(section, found, last, saved.collection, saved.cursor)
    show_troubles(section, found)
    if not section.failures:
        section.fine("can be extracted")


def _take(
    section: Section, collection: Collection, answer: SavedAnswer, fetched: Fetched, found: Yield
) -> None:
    section.fact("answer", f"{answer.file.name}: {fetched.describe()}")
    if answer.cut_bytes:
        section.failure(
            f"{answer.file.name} lacks the last {size(answer.cut_bytes)} of the answer, because recordings are "
            "limited: save the whole answer, and give that file."
        )
    elif not answer.is_unchanged:
        new, known = found.take(collection, Answer(fetched, answer.fetched_time, answer.is_first))
        if not (fetched.is_last and answer.is_first):
            section.fact("", f"{new} new, {known} already known")


@contextmanager
def opened(answer: SavedAnswer) -> Iterator[Fetched]:
    """Read or map the body of an answer; raises WrongUse for a file that cannot be read."""
    try:
        with answer.file.open("rb") as file:
            body = Body(
                mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
                if answer.file.stat().st_size > MEMORY_BYTES
                else file.read()
            )
    except OSError as error:
        raise WrongUse(
            f"{str(answer.file)!r} cannot be read ({error.strerror}): --offline takes a file with the answer of a "
            "source, or a directory that --record made."
        ) from error
    with body:
        yield Fetched(
            body,
            answer.received_us,
            answer.status,
            answer.content_type,
            is_last=answer.is_last,
            is_unchanged=answer.is_unchanged,
        )
