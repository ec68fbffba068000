"""Where a collection in pages goes on: the text that is kept with every page, and survives a crash.

It may hold a token or a URL with one, so it stands in files of the spool only, and in no message.
"""

from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from oase_agent.sources.options import PageStyle
from oase_agent.sources.pagination.plan import Plan

_FIELDS: Final = {
    PageStyle.LINK_HEADER: "url",
    PageStyle.NEXT_URL: "url",
    PageStyle.TOKEN: "token",
    PageStyle.PAGE: "number",
    PageStyle.OFFSET: "number",
}

Position = str | int | float
"""A URL, a token as the source gave it, a page number, or an offset."""


@dataclass(frozen=True, slots=True)
class Place:
    """The next page: `position`, None for the first one; how many came before it, and marks against circles."""

    position: Position | None = field(default=None, repr=False)
    pages: int = 0
    marks: tuple[str, ...] = ()


class _Bookmark(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, tag="pages"):
    """One of `url`, `token` and `number` is the position: by its name, `oase-agent check` knows what not to show."""

    identity: str
    pages: int
    marks: tuple[str, ...]
    url: str | None = None
    token: Position | None = None
    number: int | None = None


def written(place: Place, plan: Plan) -> str | None:
    """Return the bookmark of a place; None for the first page, which needs none."""
    if place.position is None:
        return None
    position: dict[str, Any] = {_FIELDS[plan.style]: place.position}
    return msgspec.json.encode(_Bookmark(plan.identity, place.pages, place.marks, **position)).decode()


def read(bookmark: str | None, plan: Plan) -> Place:
    """Return the place of a bookmark.

    It is the first page if there is none, or if it cannot be read, or if it is of another kind of source, of another
    request, or of other options.
    """
    try:
        found = msgspec.json.decode(bookmark or "", type=_Bookmark)
    except (msgspec.MsgspecError, ValueError):
        return Place()
    position: Position | None = getattr(found, _FIELDS[plan.style])
    if found.identity != plan.identity or found.pages < 1 or position is None:
        return Place()
    return Place(position, found.pages, found.marks)
