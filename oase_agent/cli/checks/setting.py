"""What one collection of a setting would do: as `collect/collector.py` does it, without the spool."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path

from oase_agent.cli.checks.exchanges import Seen, watched
from oase_agent.cli.checks.masking import Masker
from oase_agent.cli.checks.outcome import Answer, Collection, View, Yield
from oase_agent.cli.checks.recording import NO_RECORDING, RECORDED_EVENTS, RECORDED_IDS, Recording
from oase_agent.cli.checks.request import shown_request
from oase_agent.cli.checks.secrets import secrets_of_request, secrets_of_setting
from oase_agent.cli.checks.section import Section
from oase_agent.cli.checks.showing import (
    show_cursor,
    show_events,
    show_next_cursor,
    show_request,
    show_troubles,
)
from oase_agent.cli.checks.spool import Position, read_position
from oase_agent.cli.terminal import counted
from oase_agent.collect.collector import Source
from oase_agent.collect.templates import RequestTemplates, TemplateFacts
from oase_agent.collect.unfinished import progress_from
from oase_agent.errors import AgentError
from oase_agent.model import ConnectionMethod, Secret, Setting
from oase_agent.sources.body import Fetched
from oase_agent.sources.host_budget import HostBusy
from oase_agent.sources.options import OptionsOf, SourceOptions, secrets_of_options
from oase_agent.sources.question import Question
from oase_agent.spool.known_ids import IdPolicy


@dataclass(frozen=True, slots=True)
class CollectionTools:
    """What all settings share. `now` gives epoch seconds, `secrets` are those of the configuration.

    `slots` bounds how many settings are worked on at once.
    """

    sources: Mapping[ConnectionMethod, Source]
    templates: RequestTemplates
    options_of: OptionsOf
    agent_directory: Path
    secrets: tuple[Secret, ...]
    slots: asyncio.Semaphore
    ids: IdPolicy
    document_max_bytes: int
    now: Callable[[], float]
    monotonic: Callable[[], float]


async def check_setting(
    setting: Setting, tools: CollectionTools, view: View, recording: Recording = NO_RECORDING
) -> Section:
    """Collect once and keep nothing; whatever goes wrong is a failure of the section."""
    options = tools.options_of(setting.name)
    masker = Masker((*tools.secrets, *secrets_of_setting(setting), *secrets_of_options(options)))
    section = Section(f"setting {setting.name!r}", masker)
    # Around everything, so that waiting for a slot is in no duration and no answer waits in memory.
    async with tools.slots:
        with watched() as seen:
            trial = _Trial(setting, tools, view, recording, section, options, seen)
            try:
                await trial.run()
                if not section.failures:
                    section.fine("can be collected")
            except HostBusy as busy:
                # Not the fault of the setting: the others that were asked before it took their turns.
                section.warning(f"Not checked, because {busy}: check this setting alone.")
            except AgentError as error:
                trial.show_exchanges()
                section.failure(str(error))
            except Exception as error:
                trial.show_exchanges()
                section.failure(f"A defect of the agent ({type(error).__name__}): please report it.")
        await asyncio.to_thread(recording.finish, section, setting, options, seen.exchanges)
    return section


@dataclass(slots=True)
class _Trial:
    """One collection that nothing is kept of, as far as it got."""

    setting: Setting
    tools: CollectionTools
    view: View
    recording: Recording
    section: Section
    options: SourceOptions
    seen: Seen
    _shown_exchanges: int = 0
    _answers: int = 0
    _is_first: bool = True
    _is_cut: bool = False
    _last: Fetched | None = field(default=None, init=False)

    async def run(self) -> None:
        """Show everything from the cursor to the next cursor. Raises AgentError."""
        tools, setting, section = self.tools, self.setting, self.section
        position = await asyncio.to_thread(
            read_position, tools.agent_directory, setting.name, now_s=tools.now()
        )
        cursor, now_s = position.cursor, tools.now()
        progress = progress_from(cursor.bookmark, now_s)
        show_cursor(section, cursor, position_origin(position), progress)
        facts = TemplateFacts(
            cursor=cursor, now_s=progress.began_s, saved_ids=list(position.known.exact_ids())
        )
        request = tools.templates.render_request(setting, facts)
        section.masker = section.masker.and_also(secrets_of_request(request))
        shown = shown_request(tools.templates, setting, facts, self.options.headers)
        show_request(section, shown)
        collection = Collection(setting, int(progress.began_s), tools.document_max_bytes)
        self.recording.begin(collection, cursor, shown)
        found = Yield(max(self.view.events, RECORDED_EVENTS), RECORDED_IDS, position.known, tools.ids)
        found.newest = progress.newest
        self._is_first = not progress.is_resumed
        question = Question(setting, request, int(now_s), cursor.last_fetched_time, progress.bookmark)
        try:
            await self._ask(question, collection, found)
        finally:
            self._show_yield(collection, found, position)

    async def _ask(self, question: Question, collection: Collection, found: Yield) -> None:
        """Take the answers as they come, up to the limit of the view."""
        asked_s, began_s = self.tools.now(), self.tools.monotonic()
        source = self.tools.sources[self.setting.connection_method]
        async with aclosing(source.answers(question)) as answers:
            async for fetched in answers:
                with fetched.body:
                    self._show_answer(fetched, self.tools.monotonic() - began_s)
                    await self._take(Answer(fetched, int(asked_s), self._is_first), collection, found)
                self._is_first = False
                is_over = fetched.is_last or found.lacks_response_key
                self._is_cut = not is_over and self._answers == self.view.answers
                if is_over or self._is_cut:
                    break
                asked_s, began_s = self.tools.now(), self.tools.monotonic()

    def _show_answer(self, fetched: Fetched, seconds: float) -> None:
        self._answers += 1
        self._last = fetched
        self.show_exchanges()
        label = "answer" if self._is_alone(fetched) else f"answer {self._answers}"
        self.section.fact(label, f"{fetched.describe()}, complete after {seconds:.3f} s")

    async def _take(self, answer: Answer, collection: Collection, found: Yield) -> None:
        """Record an answer, then extract it: what is recorded may be what cannot be extracted."""
        await asyncio.to_thread(self.recording.add, answer, self.section)
        if answer.fetched.is_unchanged:
            return
        new, known = await asyncio.to_thread(found.take, collection, answer)
        if not self._is_alone(answer.fetched):
            self.section.fact("", f"{new} new, {known} already known")

    def _is_alone(self, fetched: Fetched) -> bool:
        return fetched.is_last and self._answers == 1

    def _show_yield(self, collection: Collection, found: Yield, position: Position) -> None:
        """Show what was found; also when a later answer failed, because what came before it stays."""
        if self._last is None:
            return
        section = self.section
        show_events(section, found, self.view)
        if self._is_cut:
            section.fact(
                "not asked", f"for more than {counted(self._answers, 'answer')}: --answers sets how many"
            )
        elif not self._last.is_last and not found.lacks_response_key:
            section.fact("incomplete", "the next collection goes on from the bookmark")
        show_next_cursor(section, found, self._last, collection, position.cursor)
        show_troubles(section, found)
        self.recording.found(found)

    def show_exchanges(self) -> None:
        """Show the requests over HTTP since the last time; what they carried must not be shown from now on."""
        self.section.masker = self.section.masker.and_also(self.seen.secrets)
        for exchange in self.seen.exchanges[self._shown_exchanges :]:
            self.section.fact("exchange", exchange.describe())
        self._shown_exchanges = len(self.seen.exchanges)


def position_origin(position: Position) -> str:
    """Return where the cursor is from, as the end of a sentence."""
    return "now, because the spool has none yet" if position.is_new else "from the spool"
