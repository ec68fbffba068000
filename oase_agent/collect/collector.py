"""One collection of one setting, from the cursor to the spool: render → fetch → extract → commit.

A source may answer in several parts, such as pages: each is kept before the next one is asked for, and the time of
the cursor moves with the last one.

Open the stages in this order to follow an event: `sources/http.py`, `collect/extract.py`, `spool/queue.py`,
`deliver/deliverer.py`, `workspace/client.py`.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Protocol

from oase_agent.collect.extract import ExtractedSlice, ExtractionRules, Labels, NewestEvent, extract_events
from oase_agent.collect.templates import RequestTemplates, TemplateFacts
from oase_agent.errors import AgentError, Reason, SourceUnavailable
from oase_agent.model import ConnectionMethod, Cursor, Setting
from oase_agent.sources.body import Fetched
from oase_agent.sources.question import Question
from oase_agent.spool.known_ids import Sighting
from oase_agent.spool.queue import Kept, SettingQueue
from oase_agent.spool.spool import Spool
from oase_agent.telemetry import Telemetry


class Source(Protocol):
    """What the collector needs of a source."""

    def answers(self, question: Question) -> AsyncGenerator[Fetched, None]:
        """Ask the source, and yield its answers; the caller closes their bodies. Raises AgentError."""
        ...


@dataclass(frozen=True, slots=True)
class Clocks:
    """Wall and monotonic seconds, injected."""

    now: Callable[[], float]
    monotonic: Callable[[], float]


@dataclass(frozen=True, slots=True)
class _Step:
    """One answer of a collection that began at `cursor`; `newest` is the newest event of the answers before it."""

    setting: Setting
    queue: SettingQueue
    fetched: Fetched
    fetched_time: int
    cursor: Cursor
    newest: NewestEvent | None

    def cursor_after(self, newest: NewestEvent | None) -> Cursor:
        """Return the cursor to keep with this answer: its time moves when nothing of the collection is missing."""
        if not self.fetched.is_last:
            return replace(self.cursor, bookmark=self.fetched.bookmark)
        return Cursor(self.fetched_time, None if newest is None else newest.data, self.fetched.bookmark)


class Collector:
    """Collects settings one by one as it is told; different settings may run side by side."""

    def __init__(
        self,
        spool: Spool,
        sources: Mapping[ConnectionMethod, Source],
        telemetry: Telemetry,
        *,
        clocks: Clocks,
        document_max_bytes: int,
    ) -> None:
        self._spool = spool
        self._sources = sources
        self._telemetry = telemetry
        self._clocks = clocks
        self._document_max_bytes = document_max_bytes
        self._templates = RequestTemplates()

    async def collect(self, setting: Setting) -> None:
        """Collect once. Whatever goes wrong is told to telemetry and leaves the cursor where it was (promise C1)."""
        started_s = self._clocks.monotonic()
        try:
            kept = await self._collect(setting)
        except AgentError as error:
            self._telemetry.collection_failed(setting.name, error)
        except Exception as error:
            self._telemetry.task_failed(f"collect {setting.name}", error)
            self._telemetry.collection_failed(setting.name, _defect(error))
        else:
            self._told(setting, kept, self._clocks.monotonic() - started_s)

    async def _collect(self, setting: Setting) -> Kept:
        """Keep one answer after the other; what was kept stays kept if a later one fails."""
        queue = self._spool.queue(setting.name)
        cursor, saved_ids = await asyncio.to_thread(self._begin, setting, queue)
        fetched_time = int(self._clocks.now())
        facts = TemplateFacts(cursor=cursor, now_s=self._clocks.now(), saved_ids=saved_ids)
        request = self._templates.render_request(setting, facts)
        question = Question(setting, request, fetched_time, cursor.last_fetched_time, cursor.bookmark)
        kept = Kept()
        newest: NewestEvent | None = None
        async with aclosing(self._sources[setting.connection_method].answers(question)) as answers:
            async for fetched in answers:
                step = _Step(setting, queue, fetched, fetched_time, cursor, newest)
                with fetched.body:
                    more, newest = await asyncio.to_thread(self._keep, step)
                kept += more
        return kept

    def _begin(self, setting: Setting, queue: SettingQueue) -> tuple[Cursor, Sequence[str]]:
        """Return the cursor, and the known ids for templates that may ask for them: in a thread, and in one go."""
        self._spool.admission.check()
        cursor = queue.begin_collection(setting.id)
        return cursor, queue.exact_ids() if _reads_setting(setting) else ()

    def _keep(self, step: "_Step") -> tuple[Kept, NewestEvent | None]:
        """Extract and commit, slice by slice: in a thread, because it parses and writes."""
        newest = step.newest
        sighting = step.queue.sighting()
        expected_bytes = step.fetched.body.size_bytes
        with step.queue.collecting(step.fetched_time, expected_bytes=expected_bytes) as file:
            for piece in () if step.fetched.is_unchanged else self._extracted(step, sighting):
                file.add(piece.events)
                file.add_refused((refused.why, refused.text) for refused in piece.refused)
                if piece.newest is not None and piece.newest.outranks(newest):
                    newest = piece.newest
            return step.queue.commit(file, step.cursor_after(newest), sighting), newest

    def _extracted(self, step: "_Step", sighting: Sighting) -> Iterator[ExtractedSlice]:
        setting = step.setting
        return extract_events(
            step.fetched.body.view(),
            ExtractionRules.for_setting(setting),
            Labels(setting.name, setting.id, step.fetched_time, step.fetched_time + setting.ttl_s),
            first_serial=step.fetched.received_us,
            is_new=sighting.is_new,
            are_new=sighting.are_new,
            whole_document_max_bytes=self._document_max_bytes,
        )

    def _told(self, setting: Setting, kept: Kept, seconds: float) -> None:
        self._telemetry.collection_done(setting.name, kept.events, seconds, self._clocks.now())
        if kept.refused:
            self._telemetry.events_refused(setting.name, kept.refused)
        if kept.batches:
            self._spool.announce()


def _reads_setting(setting: Setting) -> bool:
    """Tell whether a template may look at SAVED_IDS (contract section 5): they may be many, and few ask for them."""
    texts = (setting.url, setting.request_header, setting.parameter)
    return any(text is not None and "EXASTRO_EVENT_COLLECTION_SETTING" in text for text in texts)


def _defect(error: Exception) -> SourceUnavailable:
    return SourceUnavailable(
        f"A defect of the agent stopped this collection ({type(error).__name__}); please report the log lines above.",
        Reason.INTERNAL,
    )
