"""The settings: can we log in to the workspace, and what becomes of each name."""

import asyncio
import time
from collections.abc import Collection
from dataclasses import dataclass

from oase_agent.cli.checks.section import Section
from oase_agent.cli.terminal import counted
from oase_agent.errors import AgentError, Reason
from oase_agent.model import Setting
from oase_agent.schedule.settings_source import SettingsSource
from oase_agent.workspace.settings import SettingsAnswer

_FILE = "SETTINGS_FILE"


@dataclass(frozen=True, slots=True)
class _Rows:
    """A settings answer as it came, and where it came from."""

    rows: list[object]
    origin: str


async def check_workspace(
    source: SettingsSource, section: Section, *, may_log_in: bool, left_out: Collection[str]
) -> tuple[Setting, ...]:
    """Ask for the settings, sort them, write down what there is, and return the collectable ones.

    All wanted names are asked for, as the agent does it; those in `left_out` are then passed over. Without an
    answer, the settings that the agent last kept on the volume are used. What SETTINGS_FILE says is laid over them.
    """
    found = await _from_workspace(source, section, may_log_in=may_log_in)
    if not source.asks_workspace:
        await _tell_strangers(source, section, found, left_out)
        found = _Rows([], _FILE)
    found = found or await _from_volume(source, section)
    if found is None:
        return ()
    answer = await asyncio.to_thread(source.sort, found.rows)
    origin = f"{found.origin} and {_FILE}" if source.local and source.asks_workspace else found.origin
    return _show_settings(answer, origin, section, left_out)


async def _from_workspace(source: SettingsSource, section: Section, *, may_log_in: bool) -> _Rows | None:
    if not may_log_in:
        section.failure(
            "The workspace was not asked: the exchange may replace the refresh token, and STORAGE_PATH could not "
            "keep the new one. Solve the trouble of the storage first."
        )
        return None
    started_s = time.monotonic()
    try:
        rows = await source.workspace.fetch_settings(source.wanted())
    except AgentError as error:
        if source.asks_workspace or error.reason is not Reason.ROLE_MISSING:
            section.failure(str(error))
        return None
    section.fine(f"logged in, settings received in {time.monotonic() - started_s:.3f} s")
    section.fact("not tried", "whether the user may post events: this command posts nothing")
    return _Rows(rows, "the workspace")


async def _tell_strangers(
    source: SettingsSource, section: Section, found: _Rows | None, left_out: Collection[str]
) -> None:
    """Warn of settings that only the file knows: the workspace takes no events of a setting that it does not know."""
    if found is None:
        return
    answer = await asyncio.to_thread(source.sort_without_file, found.rows)
    for name in answer.unknown:
        if name not in left_out:
            section.warning(
                f"{name!r} is unknown to the workspace, or discarded, so its events would be refused: make it there."
            )


async def _from_volume(source: SettingsSource, section: Section) -> _Rows | None:
    rows = await asyncio.to_thread(kept_rows, source)
    if rows is None:
        if source.local is not None:
            section.warning("The volume holds no settings to use instead: only SETTINGS_FILE is left.")
            return _Rows([], _FILE)
        section.warning("The sources are not checked: the volume holds no settings to use instead.")
        return None
    section.warning("The settings that the agent last kept on the volume are used instead.")
    return _Rows(rows, "the volume")


def kept_rows(source: SettingsSource) -> list[object] | None:
    """Return what the workspace told the agent last, if the volume holds that and can be read. Blocks."""
    try:
        return source.last_good.load()
    except OSError:
        return None


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
        section.fact(
            "skipped",
            f"{name!r}: CONNECTION_METHOD_ID 99, somebody else posts its events; or it was discarded",
        )
    for name in filter(is_wanted, answer.unknown):
        section.failure(
            f"{name!r} is unknown to {origin}, or discarded: check EVENT_COLLECTION_SETTINGS_NAMES."
        )
    for setting in answer.disabled:
        if is_wanted(setting.name):
            section.failure(f"{setting.name!r} is disabled: {setting.reason.removesuffix('.')}.")
    return settings
