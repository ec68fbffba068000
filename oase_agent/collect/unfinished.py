"""What a collection in several answers must not forget before its last one: it goes on after a crash.

It stands around the bookmark of the source, in the bookmark of the cursor: so it becomes durable together with the
answer that it is true after. The cursor itself moves with the last answer only, so that a template renders the same
request again.
"""

from dataclasses import dataclass, replace

import msgspec

from oase_agent.collect.newest import NewestEvent
from oase_agent.spool.collecting import MAX_LAST_EVENT_BYTES

# Tells it from the bookmark of a source alone, which is kept with the last answer of a collection.
_PREFIX = "unfinished:"


class _Written(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    began: float
    newest_id: str | None
    newest: str | None
    bookmark: str | None


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a collection is.

    It began at `began_s`, epoch seconds; `newest` is the newest event of its answers so far; `bookmark` is what the
    source noted with the last one. `is_resumed` tells that its first answer was kept by an earlier run.
    """

    began_s: float
    newest: NewestEvent | None = None
    bookmark: str | None = None
    is_resumed: bool = False

    def after(self, newest: NewestEvent | None, bookmark: str | None) -> "Progress":
        """Return the progress after one more answer."""
        return replace(self, newest=newest, bookmark=bookmark)


def progress_from(bookmark: str | None, now_s: float) -> Progress:
    """Return where a collection begins that is asked for at `now_s`, from the bookmark of the cursor.

    One that was given up by the source, or that cannot be read, begins anew; the newest event of what was kept of it
    counts on, because the same events are known by then, and known events are never the newest.
    """
    if bookmark is None or not bookmark.startswith(_PREFIX):
        return Progress(now_s, bookmark=bookmark)
    try:
        found = msgspec.json.decode(bookmark.removeprefix(_PREFIX), type=_Written)
    except (msgspec.MsgspecError, ValueError):
        return Progress(now_s)
    newest = None
    if found.newest_id is not None and found.newest is not None:
        newest = NewestEvent(found.newest_id, found.newest.encode())
    if found.bookmark is None:
        return Progress(now_s, newest)
    return Progress(found.began, newest, found.bookmark, is_resumed=True)


def unfinished_bookmark(progress: Progress) -> str | None:
    """Return the bookmark of a cursor for a collection that is not complete; None if there is nothing to note."""
    newest = progress.newest
    if newest is not None and len(newest.data) > MAX_LAST_EVENT_BYTES:
        newest = None
    if progress.bookmark is None and newest is None:
        return None
    written = _Written(
        progress.began_s,
        None if newest is None else newest.event_id,
        None if newest is None else newest.data.decode(),
        progress.bookmark,
    )
    return _PREFIX + msgspec.json.encode(written).decode()
