"""One collection of one setting, from the cursor to the spool: render → fetch → extract → commit.

A source may answer in several parts, such as pages: each is kept before the next one is asked for, and the time of
the cursor moves with the last one, to when the first one was asked for: nothing falls between two collections. An
event carries the time of the request that brought it (contract section 7), because its TTL counts from there and a
collection may take hours.

Open the stages in this order to follow an event: `sources/http.py`, `collect/extract.py`, `spool/queue.py`,
`deliver/deliverer.py`, `workspace/client.py`.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Protocol

from oase_agent.collect.extract import ExtractedSlice, ExtractionRules, Labels, NewestEvent, extract_events
from oase_agent.collect.pacing import Pacing
from oase_agent.collect.templates import RequestTemplates, TemplateFacts
from oase_agent.collect.unfinished import Progress, progress_from, unfinished_bookmark
from oase_agent.errors import AgentError, Reason, SourceUnavailable
from oase_agent.model import ConnectionMethod, Cursor, Setting
from oase_agent.sources.body import Fetched
from oase_agent.sources.host_budget import HostBusy
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
    """One answer of a collection whose cursor is still `cursor`; `progress` is what came before the answer.

    `fetched_time` is when it was asked for, epoch seconds. `is_first` tells that no answer of the collection was kept
    before, `is_noted` that the volume may hold a bookmark of it.
    """

    setting: Setting
    queue: SettingQueue
    fetched: Fetched
    fetched_time: int
    cursor: Cursor
    progress: Progress
    is_first: bool
    is_noted: bool

    def cursor_after(self, found: "_Found") -> Cursor:
        """Return the cursor to keep with this answer: its time moves when nothing of the collection is missing."""
        newest = found.newest
        if found.lacks_response_key:
            # Asked again as if it had not been asked (decision 14): what the source noted with it leads nowhere. Of
            # several answers the first one is asked for again, because what led here may be what the source refuses.
            given_up = replace(self.cursor, bookmark=unfinished_bookmark(self.progress.after(newest, None)))
            return self.cursor if self.is_first else given_up
        if not self.fetched.is_last:
            progress = self.progress.after(newest, self.fetched.bookmark)
            return replace(self.cursor, bookmark=unfinished_bookmark(progress))
        began = int(self.progress.began_s)
        return Cursor(began, None if newest is None else newest.data, self.fetched.bookmark)

    def sighting(self) -> Sighting:
        """Begin to note which ids the answer reports. That nothing changed tells nothing about any id."""
        is_empty = self.is_first and self.fetched.is_unchanged
        return self.queue.sighting(
            begins=self.is_first and not is_empty, ends=self.fetched.is_last and not is_empty
        )

    def ends_a_bookmark(self, found: "_Found") -> bool:
        """Tell whether the volume must not go on to lead to the next answer, once this one is kept."""
        leads_on = not self.fetched.is_last and self.fetched.bookmark is not None
        return self.is_noted and (found.lacks_response_key or not leads_on)


@dataclass(frozen=True, slots=True)
class _Found:
    """What an answer held beside its events: the newest event so far, and whether RESPONSE_KEY was not in it."""

    newest: NewestEvent | None
    lacks_response_key: bool = False

    def and_also(self, piece: ExtractedSlice) -> "_Found":
        """Return this after one more piece of the answer."""
        is_newer = piece.newest is not None and piece.newest.outranks(self.newest)
        lacks = self.lacks_response_key or piece.lacks_response_key
        return _Found(piece.newest if is_newer else self.newest, lacks)


class Collector:
    """Collects settings one by one as it is told; different settings may run side by side."""

    def __init__(
        self,
        spool: Spool,
        sources: Mapping[ConnectionMethod, Source],
        telemetry: Telemetry,
        *,
        clocks: Clocks,
        pacing: Pacing,
        document_max_bytes: int,
    ) -> None:
        self._spool = spool
        self._sources = sources
        self._telemetry = telemetry
        self._clocks = clocks
        self._pacing = pacing
        self._document_max_bytes = document_max_bytes
        self._templates = RequestTemplates()

    async def collect(self, setting: Setting) -> None:
        """Collect once, unless the source is not to be asked now.

        Whatever goes wrong is told to telemetry and leaves the cursor where it was (promise C1).
        """
        if not await self._pacing.may_begin(setting):
            return
        started_s = self._clocks.monotonic()
        try:
            kept = await self._collect(setting)
        except HostBusy as busy:
            self._pacing.put_off(setting, busy)
        except AgentError as error:
            self._failed(setting, error)
        except Exception as error:
            self._telemetry.task_failed(f"collect {setting.name}", error)
            self._failed(setting, _defect(error))
        else:
            self._pacing.succeeded(setting)
            seconds = self._clocks.monotonic() - started_s
            self._telemetry.collection_done(setting.name, kept.events, seconds, self._clocks.now())

    async def _collect(self, setting: Setting) -> Kept:
        """Keep one answer after the other; what was kept stays kept if a later one fails."""
        queue = self._spool.queue(setting.name)
        cursor, saved_ids = await asyncio.to_thread(self._begin, setting, queue)
        now_s = self._clocks.now()
        progress = progress_from(cursor.bookmark, now_s)
        # A request that is asked for again has the same times in it as before.
        facts = TemplateFacts(cursor=cursor, now_s=progress.began_s, saved_ids=saved_ids)
        request = self._templates.render_request(setting, facts)
        fetched_time = int(now_s)
        question = Question(setting, request, fetched_time, cursor.last_fetched_time, progress.bookmark)
        kept, is_first = Kept(), not progress.is_resumed
        async with aclosing(self._sources[setting.connection_method].answers(question)) as answers:
            while (fetched := await anext(answers, None)) is not None:
                is_noted = progress.is_resumed or kept.batches > 0
                step = _Step(setting, queue, fetched, fetched_time, cursor, progress, is_first, is_noted)
                with fetched.body:
                    more, found = await asyncio.to_thread(self._keep, step)
                self._tell_kept(setting, more)
                kept, is_first = kept + more, False
                if found.lacks_response_key:
                    break
                progress = progress.after(found.newest, fetched.bookmark)
                if not fetched.is_last:
                    await asyncio.to_thread(self._spool.admission.check)
                fetched_time = int(self._clocks.now())
        return kept

    def _begin(self, setting: Setting, queue: SettingQueue) -> tuple[Cursor, Sequence[str]]:
        """Return the cursor, and the known ids for templates that may ask for them: in a thread, and in one go."""
        self._spool.admission.check()
        cursor = queue.begin_collection(setting.id)
        return cursor, queue.exact_ids() if _reads_setting(setting) else ()

    def _keep(self, step: "_Step") -> tuple[Kept, _Found]:
        """Extract and commit, slice by slice: in a thread, because it parses and writes."""
        found = _Found(step.progress.newest)
        sighting = step.sighting()
        expected_bytes = step.fetched.body.size_bytes
        with step.queue.collecting(step.fetched_time, expected_bytes=expected_bytes) as file:
            for piece in () if step.fetched.is_unchanged else self._extracted(step, sighting):
                file.add(piece.events)
                file.add_refused((refused.why, refused.text) for refused in piece.refused)
                found = found.and_also(piece)
            if found.lacks_response_key:
                sighting.tells_nothing()
            kept = step.queue.commit(file, step.cursor_after(found), sighting)
        if step.ends_a_bookmark(found) and not kept.batches:
            # Nothing was written. After a crash the older bookmark would let the collection go on where it ended.
            step.queue.checkpoint()
        return kept, found

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

    def _failed(self, setting: Setting, error: AgentError) -> None:
        self._telemetry.collection_failed(setting.name, error)
        self._pacing.failed(setting, error)

    def _tell_kept(self, setting: Setting, kept: Kept) -> None:
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
