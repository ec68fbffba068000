"""What a source is asked: one collection of one setting."""

from dataclasses import dataclass

from oase_agent.model import Setting, SourceRequest


@dataclass(frozen=True, slots=True)
class Question:
    """One collection of `setting`, whose templates are rendered into `request`.

    `fetched_time` is epoch seconds, taken before the request; signed requests carry it. `since` is the time of the
    cursor, epoch seconds, and `bookmark` what the source noted with the last answer that was kept, or None.
    """

    setting: Setting
    request: SourceRequest
    fetched_time: int
    since: int
    bookmark: str | None = None
