"""The settings answer, sorted: what runs, what is disabled and why, what is skipped, what is unknown.

Every setting is judged alone (promise C5): a faulty one is named with its reason and the others run. Nothing here
talks to the network; the rows are the `data` of the settings endpoint (contract 3.1), or the last good ones.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from oase_agent.errors import SettingRejected
from oase_agent.model import ConnectionMethod, DisabledSetting, Setting
from oase_agent.workspace.secrets import SecretBox
from oase_agent.workspace.setting_row import (
    DISCARDED_COLUMN,
    NAME_COLUMN,
    connection_method,
    read_setting,
)

Check = Callable[[Setting], object]
"""Looks at one setting with more knowledge than this module has: raises SettingRejected; its result is ignored."""


@dataclass(frozen=True, slots=True)
class Respelled:
    """A setting whose name in the workspace differs from the requested one by case or blanks at the ends."""

    requested: str
    name: str


@dataclass(frozen=True, slots=True)
class SettingsAnswer:
    """The settings by what becomes of them; together they cover every requested name and every row.

    `settings` are in the order of the requested names. `skipped` have method 99, because somebody else posts their
    events, or were discarded: the workspace leaves those out itself, a file of this host may switch one off.
    `unknown` were requested but not in the answer: the workspace omits them silently (contract 3.1).
    """

    settings: tuple[Setting, ...] = ()
    disabled: tuple[DisabledSetting, ...] = ()
    skipped: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    respelled: tuple[Respelled, ...] = ()


@dataclass(frozen=True, slots=True)
class _Matches:
    """Rows in the order of the requested names, each row once; and what is left on either side."""

    rows: tuple[Mapping[str, Any], ...]
    unknown: tuple[str, ...]
    respelled: tuple[Respelled, ...]
    not_asked_for: tuple[str, ...]


def parse_settings(
    rows: Sequence[object], box: SecretBox, requested: Sequence[str], *, checks: Sequence[Check] = ()
) -> SettingsAnswer:
    """Sort `rows`, the raw `data` of a settings answer, for the names in `requested`. Raises nothing.

    The name of a setting is the workspace's spelling of it, because that is what the workspace labels events with.
    """
    named, disabled = _named_rows(rows)
    matches = _match(named, requested)
    settings: list[Setting] = []
    skipped: list[str] = []
    for row in matches.rows:
        try:
            method = connection_method(row)
            if method is ConnectionMethod.NO_AGENT or row.get(DISCARDED_COLUMN) == "1":
                skipped.append(row[NAME_COLUMN])
                continue
            settings.append(_checked(read_setting(row, method, box), checks))
        except SettingRejected as error:
            disabled.append(DisabledSetting(row[NAME_COLUMN], str(error)))
    disabled.extend(
        DisabledSetting(name, "the workspace sent it, but EVENT_COLLECTION_SETTINGS_NAMES does not name it")
        for name in matches.not_asked_for
    )
    return SettingsAnswer(
        settings=tuple(settings),
        disabled=tuple(disabled),
        skipped=tuple(skipped),
        unknown=matches.unknown,
        respelled=matches.respelled,
    )


def _checked(setting: Setting, checks: Sequence[Check]) -> Setting:
    for check in checks:
        check(setting)
    return setting


def _named_rows(rows: Sequence[object]) -> tuple[dict[str, Mapping[str, Any]], list[DisabledSetting]]:
    """Return the rows by name, and an entry for each row that has no usable name."""
    named: dict[str, Mapping[str, Any]] = {}
    disabled: list[DisabledSetting] = []
    for position, row in enumerate(rows, start=1):
        place = f"setting {position} of the answer"
        name = row.get(NAME_COLUMN) if isinstance(row, Mapping) else None
        if not isinstance(row, Mapping):
            disabled.append(DisabledSetting(place, "it is not an object"))
        elif not isinstance(name, str) or not name.strip():
            disabled.append(DisabledSetting(place, f"it has no {NAME_COLUMN}"))
        elif name in named:
            disabled.append(DisabledSetting(place, f"another setting before it has the same name {name!r}"))
        else:
            named[name] = row
    return named, disabled


def _match(named: Mapping[str, Mapping[str, Any]], requested: Sequence[str]) -> _Matches:
    """Pair requested names with rows: exactly where possible, else as the workspace's database compares.

    Its collation ignores case and trailing blanks, so it may answer `Web ` when asked for `web` (contract D35).
    """
    by_folded: dict[str, str] = {}
    for spelled in named:
        by_folded.setdefault(folded(spelled), spelled)
    found: dict[str, Mapping[str, Any]] = {}  # by the workspace's name: two spellings may mean one row
    unknown: list[str] = []
    respelled: list[Respelled] = []
    for wanted in dict.fromkeys(requested):
        name = wanted if wanted in named else by_folded.get(folded(wanted), "")
        if not name:
            unknown.append(wanted)
            continue
        found.setdefault(name, named[name])
        if name != wanted:
            respelled.append(Respelled(wanted, name))
    return _Matches(
        rows=tuple(found.values()),
        unknown=tuple(unknown),
        respelled=tuple(respelled),
        not_asked_for=tuple(spelled for spelled in named if spelled not in found),
    )


def folded(name: str) -> str:
    """Return a name as the workspace compares it."""
    return name.strip().casefold()
