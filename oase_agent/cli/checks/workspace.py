"""The workspace: can we log in, and what becomes of each name that is configured."""

import asyncio
import time
from collections.abc import Collection
from dataclasses import dataclass

from oase_agent.cli.checks.section import Section
from oase_agent.cli.terminal import counted
from oase_agent.errors import AgentError
from oase_agent.model import Setting
from oase_agent.schedule.settings_keeper import SettingsSource
from oase_agent.workspace.settings import SettingsAnswer, parse_settings


@dataclass(frozen=True, slots=True)
class _Rows:
    """A settings answer as it came, and where it came from."""

    rows: list[object]
    origin: str


async def check_workspace(
    source: SettingsSource, section: Section, *, may_log_in: bool, left_out: Collection[str]
) -> tuple[Setting, ...]:
    """Ask for the settings, sort them, write down what there is, and return the collectable ones.

    All configured names are asked for, as the agent does it; those in `left_out` are then passed over. Without an
    answer, the settings that the agent last kept on the volume are used.
    """
    found = await _from_workspace(source, section, may_log_in=may_log_in) or await _from_volume(
        source, section
    )
    if found is None:
        return ()
    answer = await asyncio.to_thread(
        parse_settings, found.rows, source.box, source.names, checks=source.checks
    )
    return _show_settings(answer, found.origin, section, left_out)


async def _from_workspace(source: SettingsSource, section: Section, *, may_log_in: bool) -> _Rows | None:
    if not may_log_in:
        section.failure(
            "The workspace was not asked: the exchange may replace the refresh token, and STORAGE_PATH could not "
            "keep the new one. Solve the trouble of the storage first."
        )
        return None
    started_s = time.monotonic()
    try:
        rows = await source.workspace.fetch_settings(source.names)
    except AgentError as error:
        section.failure(str(error))
        return None
    section.fine(f"logged in, settings received in {time.monotonic() - started_s:.3f} s")
    section.fact("not tried", "whether the user may post events: this command posts nothing")
    return _Rows(rows, "the workspace")


async def _from_volume(source: SettingsSource, section: Section) -> _Rows | None:
    try:
        rows = await asyncio.to_thread(source.last_good.load)
    except OSError:
        rows = None
    if rows is None:
        section.warning("The sources are not checked: the volume holds no settings to use instead.")
        return None
    section.warning("The settings that the agent last kept on the volume are used instead.")
    return _Rows(rows, "the volume")


def _show_settings(
    answer: SettingsAnswer, origin: str, section: Section, left_out: Collection[str]
) -> tuple[Setting, ...]:
    respelled = {pair.name: pair.requested for pair in answer.respelled}

    def is_wanted(name: str) -> bool:
        return respelled.get(name, name) not in left_out

    settings = tuple(setting for setting in answer.settings if is_wanted(setting.name))
    section.fact("settings", f"{counted(len(settings), 'collectable setting')} from {origin}")
    for name in filter(is_wanted, respelled):
        section.warning(f"{respelled[name]!r} is spelt {name!r} in the workspace: write it like that.")
    for name in filter(is_wanted, answer.skipped):
        section.fact("skipped", f"{name!r}: CONNECTION_METHOD_ID 99, somebody else posts its events")
    for name in filter(is_wanted, answer.unknown):
        section.failure(
            f"{name!r} is unknown to {origin}, or discarded: check EVENT_COLLECTION_SETTINGS_NAMES."
        )
    for setting in answer.disabled:
        if is_wanted(setting.name):
            section.failure(f"{setting.name!r} is disabled: {setting.reason.removesuffix('.')}.")
    return settings
