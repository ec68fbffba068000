"""A saved response and the setting that it belongs to: where the setting comes from, and where it stands.

What is on this host comes first, because offline means that nobody is asked; only a setting that is nowhere here is
asked for in the workspace.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

from oase_agent.cli.checks.masking import Masker
from oase_agent.cli.checks.outcome import Collection, View, Yield
from oase_agent.cli.checks.request import shown_request
from oase_agent.cli.checks.saved import SavedAnswer, SavedCollection, extract_saved
from oase_agent.cli.checks.secrets import secrets_of_request, secrets_of_setting
from oase_agent.cli.checks.section import Section
from oase_agent.cli.checks.setting import CollectionTools, position_origin
from oase_agent.cli.checks.showing import show_cursor, show_request
from oase_agent.cli.checks.spool import Position, read_position
from oase_agent.cli.checks.workspace import kept_rows
from oase_agent.collect.templates import TemplateFacts
from oase_agent.errors import AgentError, SpoolUnavailable
from oase_agent.model import Cursor, Setting
from oase_agent.schedule.settings_source import SettingsSource
from oase_agent.sources.options import secrets_of_options
from oase_agent.spool.known_ids import KnownIds
from oase_agent.workspace.settings import SettingsAnswer, folded


async def find_setting(
    source: SettingsSource, name: str, section: Section, *, may_log_in: bool
) -> tuple[Setting, str] | None:
    """Return the setting of a name and where it was found; if there is none, the section says why."""
    answer, origin = SettingsAnswer(), "this host"
    async with aclosing(_answers(source, section, may_log_in=may_log_in)) as answers:
        async for answer, origin in answers:
            for setting in answer.settings:
                if folded(setting.name) == folded(name):
                    return setting, origin
    for disabled in answer.disabled:
        if folded(disabled.name) == folded(name):
            section.failure(f"{disabled.name!r} is disabled: {disabled.reason.removesuffix('.')}.")
            return None
    if source.asks_workspace and not may_log_in:
        section.failure(
            f"{name!r} is not a setting that this host knows, and the workspace was not asked, because STORAGE_PATH "
            "could not keep a new refresh token: run `oase-agent check` and solve the trouble of the storage first."
        )
        return None
    section.failure(f"{name!r} is not a setting that is collected, as far as {origin} tells: check its name.")
    return None


async def _answers(
    source: SettingsSource, section: Section, *, may_log_in: bool
) -> AsyncGenerator[tuple[SettingsAnswer, str], None]:
    """Yield what each place says, the nearest first."""
    over = " with SETTINGS_FILE over them" if source.local else ""
    rows = await asyncio.to_thread(kept_rows, source) if source.asks_workspace else None
    if rows is not None:
        origin = f"the settings that the agent last kept on the volume{over}"
        yield await asyncio.to_thread(source.sort, rows), origin
    if source.local is not None:
        yield await asyncio.to_thread(source.sort, []), "SETTINGS_FILE"
    if source.asks_workspace and may_log_in:
        try:
            rows = await source.workspace.fetch_settings(source.wanted())
        except AgentError as error:
            section.failure(f"The setting is not on this host, and the workspace cannot tell it: {error}")
            return
        yield await asyncio.to_thread(source.sort, rows), f"the workspace{over}"


def check_response(file: Path, setting: Setting, origin: str, tools: CollectionTools, view: View) -> Section:
    """Take a file for the answer that `setting` gets just now, and show what a collection would keep. Blocks."""
    options = tools.options_of(setting.name)
    secrets = (*tools.secrets, *secrets_of_setting(setting), *secrets_of_options(options))
    section = Section(f"setting {setting.name!r}", Masker(secrets))
    section.fact("setting from", origin)
    position = _position(setting, tools, section)
    show_cursor(section, position.cursor, position_origin(position))
    now_s = tools.now()
    facts = TemplateFacts(position.cursor, now_s, list(position.known.exact_ids()))
    try:
        section.masker = section.masker.and_also(
            secrets_of_request(tools.templates.render_request(setting, facts))
        )
        show_request(section, shown_request(tools.templates, setting, facts, options.headers))
    except AgentError as error:
        section.failure(str(error))
    collection = Collection(setting, int(now_s), tools.document_max_bytes)
    saved = SavedCollection(
        collection, position.cursor, (SavedAnswer(file, int(now_s), int(now_s * 1_000_000)),)
    )
    extract_saved(section, saved, Yield(view.events, view.events, position.known, tools.ids), view)
    return section


def _position(setting: Setting, tools: CollectionTools, section: Section) -> Position:
    try:
        return read_position(tools.agent_directory, setting.name, now_s=tools.now())
    except SpoolUnavailable as error:
        section.warning(f"{error} All events count as new.")
        return Position(Cursor(int(tools.now())), KnownIds(), is_new=True)
