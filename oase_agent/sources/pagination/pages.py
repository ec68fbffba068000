"""One collection in pages: ask, read where the next page is, hand the page over with a bookmark, and go on.

A run ends with the last page, with a cap (the next run goes on from the bookmark), or with an error. Whatever makes
the bookmark useless lets the next run begin at the first page: known ids drop what comes again.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, replace

from oase_agent.errors import SourceUnavailable
from oase_agent.model import Setting
from oase_agent.sources.body import Body, Fetched
from oase_agent.sources.failures import EmptyAnswer
from oase_agent.sources.options import PageStyle, Pagination, SourceOptions
from oase_agent.sources.pagination import bookmark
from oase_agent.sources.pagination.bookmark import Place
from oase_agent.sources.pagination.guards import (
    Guards,
    digest_of_position,
    place_after,
    same_page,
    same_place,
)
from oase_agent.sources.pagination.next_request import page_hop
from oase_agent.sources.pagination.page import Page, read_page
from oase_agent.sources.pagination.plan import Plan, plan_for
from oase_agent.sources.pagination.refusals import Refusals
from oase_agent.sources.question import Question
from oase_agent.sources.redirects import Hop

Ask = Callable[[Setting, Hop, SourceOptions], Awaitable[Fetched]]
"""Sends a request, within the time of one, and returns the answer. Raises AgentError."""


@dataclass(frozen=True, slots=True)
class _Run:
    """What stays the same from page to page."""

    question: Question
    options: SourceOptions
    plan: Plan
    guards: Guards


@dataclass(frozen=True, slots=True)
class _Turn:
    """What follows a page: the next place, None for none; or an error, and whether the page is kept before it."""

    place: Place | None = None
    error: SourceUnavailable | None = None
    is_kept: bool = True

    @property
    def is_last(self) -> bool:
        """Whether the collection is complete with this page."""
        return self.place is None and self.error is None


class Pages:
    """Asks for all pages of a collection. `clock` tells the time in epoch microseconds."""

    def __init__(self, ask: Ask, clock: Callable[[], int]) -> None:
        self._ask = ask
        self._clock = clock
        self._refusals = Refusals()

    async def answers(
        self, question: Question, options: SourceOptions, pagination: Pagination
    ) -> AsyncGenerator[Fetched, None]:
        """Yield page after page, beginning where the bookmark of the question leads. Raises AgentError."""
        plan = plan_for(question.setting, pagination)
        place = bookmark.read(question.bookmark, plan)
        run = _Run(question, options, plan, Guards())
        size_bytes = 0
        for _ in range(pagination.max_pages):
            try:
                fetched, page = await self._page(run, place)
            except SourceUnavailable as error:
                if self._is_given_up(question.setting, place, error):
                    yield self._nothing(is_last=False)
                raise
            size_bytes += fetched.body.size_bytes
            turn = _turn(run, place, page)
            if turn.is_kept:
                yield _handed_over(fetched, page, place, turn, plan)
            else:
                fetched.body.close()
                yield self._nothing(is_last=False)
            if turn.error is not None:
                raise turn.error
            if turn.place is None or size_bytes >= pagination.max_bytes:
                return
            place = turn.place

    async def _page(self, run: _Run, place: Place) -> tuple[Fetched, Page]:
        """Ask for one page and read it; a page without a body is the end where numbers count up."""
        setting = run.question.setting
        hop = page_hop(run.question, run.options, run.plan, place.position, self._clock() / 1_000_000)
        run.guards.note(_digest_of_request(run.plan, hop, place), place)
        try:
            fetched = await self._ask(setting, hop, run.options)
        except EmptyAnswer:
            if not (place.pages and run.plan.counts):
                raise
            return self._nothing(is_last=True), Page("", None, 0, lacks_list=True)
        try:
            # In a thread, because it may be as large as any answer.
            page = await asyncio.to_thread(read_page, fetched.body.view(), fetched.head, run.plan, hop, place)
        except BaseException:
            fetched.body.close()
            raise
        self._refusals.answered(setting.name)
        return fetched, page

    def _is_given_up(self, setting: Setting, place: Place, error: SourceUnavailable) -> bool:
        # Without a position there is nothing to give up.
        position = place.position
        return position is not None and self._refusals.gives_up(setting.name, position, error)

    def _nothing(self, *, is_last: bool) -> Fetched:
        """Return what stands for no events: without a bookmark, so that the next run begins at the first page."""
        return Fetched(Body(b""), self._clock(), 204, is_last=is_last, is_unchanged=True)


def _turn(run: _Run, place: Place, page: Page) -> _Turn:
    name, number = run.question.setting.name, place.pages + 1
    # Pages without elements look alike: a source that filters sends many.
    if run.guards.note(page.digest, place) and page.elements:
        return _Turn(error=same_page(name, number), is_kept=False)
    if page.position is None:
        return _Turn()
    if run.guards.note(digest_of_position(page.position), place):
        # Some sources always name a next page; where nothing is left, it is the one that was just asked for.
        return _Turn() if page.elements == 0 else _Turn(error=same_place(name, number))
    return _Turn(place_after(place, page.position, page.digest))


def _digest_of_request(plan: Plan, hop: Hop, place: Place) -> str:
    if place.position is not None:
        return digest_of_position(place.position)
    is_url = plan.style in {PageStyle.LINK_HEADER, PageStyle.NEXT_URL}
    return digest_of_position(str(hop.url)) if is_url else ""


def _handed_over(fetched: Fetched, page: Page, place: Place, turn: _Turn, plan: Plan) -> Fetched:
    """Return the page with the bookmark that leads to the next one."""
    return replace(
        fetched,
        bookmark=None if turn.place is None else bookmark.written(turn.place, plan),
        is_last=turn.is_last,
        # The first page is judged as any answer is; that a later one has no list is no event.
        is_unchanged=fetched.is_unchanged or (page.lacks_list and place.pages > 0),
    )
