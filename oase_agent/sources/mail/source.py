"""The mail boxes among the sources: settings with connection method 4 (contract section 8).

This module is all that the event loop sees of mail, and light: IMAP is imported in the first thread that needs it.
"""

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from oase_agent.errors import Reason, SourceUnavailable
from oase_agent.sources.body import Fetched
from oase_agent.sources.egress import EgressPolicy
from oase_agent.sources.exchange import SourceLimits
from oase_agent.sources.host_budget import HostBudget
from oase_agent.sources.mail.route import MailLimits, MailPolicy, MailRoute, mail_route
from oase_agent.sources.mail.threads import in_own_thread, start
from oase_agent.sources.options import OptionsOf, no_options
from oase_agent.sources.question import Question
from oase_agent.sources.routes import SourceTls
from oase_agent.sources.turns import Turns

if TYPE_CHECKING:
    from oase_agent.sources.mail.conversation import Conversation, Page

_PAGE_BYTES: Final = 1024 * 1024
# A mail takes several times its size while it is parsed, and more than one processor cannot be used anyway.
_PARSERS: Final = 2
# The thread sees its own deadline first. It does not where nothing can be interrupted, such as looking up a name.
_PATIENCE_S: Final = 1.0
# What a server says for every page is "OK"; the number is for messages that know HTTP only.
_OK: Final = 200


class MailSource:
    """All sources that are mail boxes: use it as an async context manager.

    `clock` tells the time in epoch microseconds; `spill_dir` is where large pages go, in files without a name.
    `options_of` tells the options of a setting at the moment, `turns` are shared with the sources of other protocols,
    `monotonic` is seconds.
    """

    def __init__(
        self,
        limits: SourceLimits,
        policy: MailPolicy,
        tls: SourceTls,
        egress: EgressPolicy,
        *,
        clock: Callable[[], int],
        spill_dir: Path,
        options_of: OptionsOf = no_options,
        turns: Turns | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limits = limits
        self._policy = policy
        self._tls = tls
        self._egress = egress
        self._clock = clock
        self._spill_dir = spill_dir
        self._options_of = options_of
        self._monotonic = monotonic
        self._parsing = threading.Semaphore(_PARSERS)
        self._turns = turns or Turns(limits.concurrency, HostBudget())
        self._running: set[Conversation] = set()

    async def answers(self, question: Question) -> AsyncGenerator[Fetched, None]:
        """Read what is new, and yield it in pages, each a JSON list of mails; the caller closes their bodies.

        Raises SourceUnavailable when the mailbox could not be read, SettingRejected when the setting cannot be used
        as it is, SpoolUnavailable when a page cannot be kept on the volume.
        """
        options = self._options_of(question.setting.name)
        limits = self._limits.under(options)
        route = mail_route(question.setting, question.request.url, options, self._policy, self._tls)
        async with self._turns.turn(question.setting.name, limits.timeout_s) as turn:
            await turn.may_ask(route.origin)
            conversation = await in_own_thread(lambda: self._conversation(question, route, limits))
            self._running.add(conversation)
            try:
                while page := await _next_page(conversation, route, limits):
                    yield Fetched(
                        page.body, self._clock(), _OK, "application/json", page.bookmark, page.is_last
                    )
            except asyncio.CancelledError:
                conversation.abort()
                raise
            finally:
                self._running.discard(conversation)
                await _end(conversation)

    def _conversation(self, question: Question, route: MailRoute, limits: SourceLimits) -> "Conversation":
        from oase_agent.sources.mail.conversation import Conversation  # noqa: PLC0415

        # A page is an answer: whoever allows less for one gets smaller pages.
        page_bytes = min(_PAGE_BYTES, limits.max_bytes)
        return Conversation(
            question,
            route,
            MailLimits(limits.timeout_s, limits.connect_timeout_s, page_bytes),
            self._egress,
            spill_dir=self._spill_dir,
            monotonic=self._monotonic,
            parsing=self._parsing,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for conversation in self._running:
            conversation.abort()


async def _next_page(conversation: "Conversation", route: MailRoute, limits: SourceLimits) -> "Page | None":
    try:
        async with asyncio.timeout(limits.timeout_s + _PATIENCE_S):
            return await in_own_thread(conversation.next_page)
    except TimeoutError:
        conversation.abort()
        raise SourceUnavailable(
            f"{route.origin} did not answer to the end within {limits.timeout_s:g} s (SOURCE_TIMEOUT_S), or its name "
            "could not be looked up in that time",
            Reason.TIMEOUT,
        ) from None


async def _end(conversation: "Conversation") -> None:
    """Say goodbye if there is someone to say it to; else only let go, and wait for nothing."""
    if conversation.is_aborted:
        start(conversation.close)
    else:
        await in_own_thread(conversation.close)
