"""The sources that are asked over HTTP: one pool of connections, slots, and a deadline for every collection.

Nothing is retried here: the next collection is the retry. What a body means is read elsewhere; sources that answer in
pages are asked by `pagination/pages.py`.
"""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import aiohttp

from oase_agent.model import Setting
from oase_agent.proxies import ProxyEnvironment
from oase_agent.sources.body import Fetched
from oase_agent.sources.conditional import Conditions
from oase_agent.sources.egress import EgressPolicy
from oase_agent.sources.exchange import Exchange, SourceLimits
from oase_agent.sources.failures import status_failure
from oase_agent.sources.host_budget import HostBudget
from oase_agent.sources.options import OptionsOf, SourceOptions, no_options
from oase_agent.sources.question import Question
from oase_agent.sources.redirects import Hop
from oase_agent.sources.requests import first_hop
from oase_agent.sources.routes import SourceTls
from oase_agent.sources.turns import Turns
from oase_agent.sources.urls import origin_of

if TYPE_CHECKING:
    from oase_agent.sources.pagination.pages import Pages


class HttpSource:
    """All sources that are asked over HTTP: use it as an async context manager.

    `clock` tells the time in epoch microseconds; `spill_dir` is where large answers go, in files without a
    name, so that it should be on a disk, not in memory. `traces` look on at every request, `options_of`
    tells the options of a setting at the moment. `turns` are shared with the sources of other protocols.
    """

    def __init__(
        self,
        limits: SourceLimits,
        tls: SourceTls,
        proxies: ProxyEnvironment,
        egress: EgressPolicy,
        *,
        clock: Callable[[], int],
        spill_dir: Path,
        traces: Sequence[aiohttp.TraceConfig] = (),
        options_of: OptionsOf = no_options,
        turns: Turns | None = None,
    ) -> None:
        self._limits = limits
        self._clock = clock
        self._conditions = Conditions()
        self._pages: Pages | None = None
        self._options_of = options_of
        self._turns = turns or Turns(limits.concurrency, HostBudget())
        self._exchange = Exchange(
            limits, tls, proxies, egress, clock=clock, spill_dir=spill_dir, traces=traces
        )

    async def answers(self, question: Question) -> AsyncGenerator[Fetched, None]:
        """Ask, and yield the answers of the collection; the caller closes their bodies.

        Raises SourceUnavailable when the source did not give a usable answer, SettingRejected when the request
        cannot be sent as it is, SpoolUnavailable when the answer cannot be kept on the volume.
        """
        # Asked once: a file that is read again in the middle of a collection does not mix two versions.
        options = self._options_of(question.setting.name)
        if options.pagination is None:
            yield await self._only_answer(question, options)
            return
        if self._pages is None:
            # Most agents have no source with pages, and the import takes a quarter of a MiB.
            from oase_agent.sources.pagination.pages import Pages  # noqa: PLC0415

            self._pages = Pages(self._ask, self._clock)
        async with aclosing(self._pages.answers(question, options, options.pagination)) as pages:
            async for page in pages:
                yield page

    async def _only_answer(self, question: Question, options: SourceOptions) -> Fetched:
        setting = question.setting
        hop = first_hop(setting, question.request, options, question.fetched_time)
        now_s = self._clock() / 1_000_000
        condition = self._conditions.on(hop, setting, options, question.bookmark, now_s)
        answer = await self._ask(setting, condition.hop, options)
        if answer.is_unchanged and not condition.is_asked:
            raise status_failure(origin_of(hop.url), answer.status, {}, now_s)
        return self._conditions.noted(condition, answer)

    async def _ask(self, setting: Setting, hop: Hop, options: SourceOptions) -> Fetched:
        """Send one request; its turn ends with its answer, so that nobody waits while a page is kept."""
        turn = self._turns.turn(setting.name, self._limits.under(options).timeout_s)
        async with turn:
            return await self._exchange.answer(setting, hop, turn, options)

    async def __aenter__(self) -> Self:
        await self._exchange.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._exchange.__aexit__(kind, error, trace)
