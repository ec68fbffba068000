"""What an accepted POST (HTTP 200) means for each setting in it: the refusals of its `data`, sorted. Pure.

A 200 does not mean that everything was stored: the workspace names the groups it refused as texts, without an order
that could be relied on, and names a too old group by the setting's id (contract 3.2, promise D2).
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from oase_agent.errors import Reason
from oase_agent.spool.outgoing import Outgoing
from oase_agent.workspace.refusals import (
    DiscardedSetting,
    InvalidSetting,
    NotLatest,
    Refusal,
    UnknownText,
)


@dataclass(frozen=True, slots=True)
class Sent:
    """The batches of one setting in a POST, oldest first; `setting_id` is empty where it is not known."""

    setting_name: str
    setting_id: str
    batches: Sequence[Outgoing]


@dataclass(frozen=True, slots=True)
class Delivered:
    """Everything of the setting was stored."""


@dataclass(frozen=True, slots=True)
class Fenced:
    """Batches up to `refused` (a count) were refused as not newer than `latest`; the others were stored."""

    refused: int
    latest: int


@dataclass(frozen=True, slots=True)
class SettingRefused:
    """The workspace does not take events of this setting; nothing of it was stored."""

    reason: Reason
    answer: str


@dataclass(frozen=True, slots=True)
class Unclear:
    """The answer holds a text that nobody knows and that may be about this setting."""

    answer: str


Verdict = Delivered | Fenced | SettingRefused | Unclear


def judge(sent: Sequence[Sent], refusals: Sequence[Refusal]) -> list[Verdict]:
    """Return one verdict for each setting sent, in the same order."""
    return [_verdict(course, _about(course, sent, refusals)) for course in sent]


def position_in(sent: Sent, refusals: Iterable[Refusal]) -> int | Verdict | None:
    """Read the answer to a position probe of one setting, alone or among others.

    Returns the latest group time, None where the workspace has no history, or why it takes nothing of the setting.
    A setting whose id is not known must have been probed alone.
    """
    unknown: UnknownText | None = None
    for refusal in refusals:
        if isinstance(refusal, NotLatest) and refusal.setting_id == (sent.setting_id or refusal.setting_id):
            return refusal.latest
        if isinstance(refusal, InvalidSetting | DiscardedSetting) and refusal.name == sent.setting_name:
            return _refused_setting(refusal)
        if isinstance(refusal, UnknownText):
            unknown = refusal
    return None if unknown is None else Unclear(unknown.text)


def _about(course: Sent, sent: Sequence[Sent], refusals: Sequence[Refusal]) -> list[Refusal]:
    def concerns(refusal: Refusal) -> bool:
        if isinstance(refusal, NotLatest):
            return course in _of_time(refusal, sent)
        if isinstance(refusal, UnknownText):
            return len(sent) == 1 or _names_no_other(refusal.text, course, sent)
        return refusal.name == course.setting_name

    return [refusal for refusal in refusals if concerns(refusal)]


def _of_time(refusal: NotLatest, sent: Sequence[Sent]) -> list[Sent]:
    """Return whose group time was refused: told by the setting's id, else by the time, which only few share.

    An id that nobody has may be that of a setting whose id was never learned, or of one that was made anew under its
    old name.
    """
    by_id = [setting for setting in sent if setting.setting_id == refusal.setting_id]
    by_time = [
        setting for setting in sent if any(batch.group_time == refusal.received for batch in setting.batches)
    ]
    nameless = [setting for setting in by_time if not setting.setting_id]
    return by_id or nameless or by_time


def _names_no_other(text: str, course: Sent, sent: Sequence[Sent]) -> bool:
    """Tell whether a text may be about a setting: it names it, or it names none of those that were sent."""

    def is_named(setting: Sent) -> bool:
        words = filter(None, (setting.setting_name, setting.setting_id))
        return any(re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", text) for word in words)

    return is_named(course) or not any(map(is_named, sent))


def _verdict(course: Sent, refusals: Sequence[Refusal]) -> Verdict:
    for refusal in refusals:
        if isinstance(refusal, InvalidSetting | DiscardedSetting):
            return _refused_setting(refusal)
        if isinstance(refusal, UnknownText):
            return Unclear(refusal.text)
    fenced = [refusal for refusal in refusals if isinstance(refusal, NotLatest)]
    if not fenced:
        return Delivered()
    latest = max(refusal.latest for refusal in fenced)
    # The fence compares with what was stored before the request, so the refused ones are the oldest.
    refused = sum(batch.group_time <= latest for batch in course.batches)
    if not refused:
        return Unclear(f"a group was refused as not newer than {latest}, but all of them are")
    return Fenced(refused, latest)


def _refused_setting(refusal: InvalidSetting | DiscardedSetting) -> SettingRefused:
    if isinstance(refusal, DiscardedSetting):
        return SettingRefused(Reason.DISCARDED_SETTING, "the setting has been discarded in the workspace")
    return SettingRefused(Reason.UNKNOWN_SETTING, "the workspace knows no setting of this name")
