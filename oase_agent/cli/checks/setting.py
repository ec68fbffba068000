"""What one collection of a setting would do: as `collect/collector.py` does it, without the spool."""

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

from oase_agent.cli.checks.masking import Masker, secrets_of_setting
from oase_agent.cli.checks.outcome import count_events, show_yield
from oase_agent.cli.checks.request import show_request
from oase_agent.cli.checks.section import Section
from oase_agent.cli.checks.spool import Position, read_position
from oase_agent.cli.terminal import local_time
from oase_agent.collect.templates import RequestTemplates, TemplateFacts
from oase_agent.errors import AgentError
from oase_agent.model import Secret, Setting
from oase_agent.sources.http import HttpSource
from oase_agent.sources.question import Question


@dataclass(frozen=True, slots=True)
class CollectionTools:
    """What all settings share. `now` gives epoch seconds, `secrets` are those of the configuration.

    `slots` bounds how many settings are worked on at once.
    """

    source: HttpSource
    templates: RequestTemplates
    agent_directory: Path
    secrets: tuple[Secret, ...]
    slots: asyncio.Semaphore
    document_max_bytes: int
    now: Callable[[], float]
    monotonic: Callable[[], float]


async def check_setting(setting: Setting, tools: CollectionTools) -> Section:
    """Collect once and keep nothing; whatever goes wrong is a failure of the section."""
    masker = Masker((*tools.secrets, *secrets_of_setting(setting)))
    section = Section(f"setting {setting.name!r}", masker)
    # Around everything, so that waiting for a slot is in no duration and no answer waits in memory.
    async with tools.slots:
        try:
            await _collect(setting, tools, section)
        except AgentError as error:
            section.failure(str(error))
        except Exception as error:
            section.failure(f"A defect of the agent ({type(error).__name__}): please report it.")
    return section


async def _collect(setting: Setting, tools: CollectionTools, section: Section) -> None:
    position = await asyncio.to_thread(read_position, tools.agent_directory, setting.name, now_s=tools.now())
    section.fact("cursor", _cursor(position))
    fetched_time = int(tools.now())
    facts = TemplateFacts(
        cursor=position.cursor, now_s=tools.now(), saved_ids=list(position.known.exact_ids())
    )
    request = tools.templates.render_request(setting, facts)
    show_request(section, tools.templates, setting, facts)
    started_s = tools.monotonic()
    question = Question(
        setting, request, fetched_time, position.cursor.last_fetched_time, position.cursor.bookmark
    )
    async with aclosing(tools.source.answers(question)) as answers:
        fetched = await anext(answers)
    with fetched.body:
        section.fact("answer", f"{fetched.describe()} in {tools.monotonic() - started_s:.3f} s")
        found = await asyncio.to_thread(
            count_events,
            setting,
            fetched,
            position.known,
            fetched_time=fetched_time,
            document_max_bytes=tools.document_max_bytes,
        )
    show_yield(section, found, fetched_time=fetched_time)
    if not section.failures:
        section.fine("can be collected")


def _cursor(position: Position) -> str:
    epoch_s = position.cursor.last_fetched_time
    origin = "now, because the spool has none yet" if position.is_new else "from the spool"
    return f"{epoch_s} ({local_time(epoch_s)}), {origin}"
