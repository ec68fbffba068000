"""The sources that are asked over HTTP: one pool of connections, slots, and a deadline for every collection.

Nothing is retried here: the next collection is the retry. What a body means is read elsewhere.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from oase_agent.model import RequestMethod
from oase_agent.proxies import ProxyEnvironment
from oase_agent.sources.authentication import request_headers
from oase_agent.sources.body import Fetched
from oase_agent.sources.egress import EgressPolicy
from oase_agent.sources.exchange import Exchange, SourceLimits
from oase_agent.sources.parameters import json_body, query_url
from oase_agent.sources.question import Question
from oase_agent.sources.redirects import Hop
from oase_agent.sources.routes import SourceTls
from oase_agent.sources.urls import wire_url


class HttpSource:
    """All sources that are asked over HTTP: use it as an async context manager.

    `clock` tells the time in epoch microseconds; `spill_dir` is where large answers go, in files without a
    name, so that it should be on a disk, not in memory.
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
    ) -> None:
        self._limits = limits
        self._slots = asyncio.Semaphore(limits.concurrency)
        self._exchange = Exchange(limits, tls, proxies, egress, clock=clock, spill_dir=spill_dir)

    async def answers(self, question: Question) -> AsyncGenerator[Fetched, None]:
        """Ask, and yield the answers of the collection; the caller closes their bodies.

        Raises SourceUnavailable when the source did not give a usable answer, SettingRejected when the request
        cannot be sent as it is, SpoolUnavailable when the answer cannot be kept on the volume.
        """
        hop = _first_hop(question)
        async with self._slots:
            # Set here, so that waiting for a slot does not use up the time of the source.
            deadline = asyncio.get_running_loop().time() + self._limits.timeout_s
            answer = await self._exchange.answer(question.setting, hop, deadline)
        yield answer

    async def __aenter__(self) -> Self:
        await self._exchange.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._exchange.__aexit__(kind, error, trace)


def _first_hop(question: Question) -> Hop:
    setting, request = question.setting, question.request
    headers = request_headers(setting, request.url, request.headers, question.fetched_time)
    if setting.request_method is RequestMethod.POST:
        return Hop("POST", wire_url(request.url), headers, json_body(request.parameter))
    return Hop("GET", wire_url(query_url(request.url, request.parameter)), headers)
