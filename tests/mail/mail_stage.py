"""What the tests of mail share: a setting, a source, and lives of an agent that collect into a real spool."""

import asyncio
import json
from contextlib import aclosing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from oase_agent.collect.collector import Clocks, Collector
from oase_agent.collect.pacing import Pacing
from oase_agent.errors import AgentError
from oase_agent.model import ConnectionMethod, RequestMethod, Secret, Setting, SourceRequest
from oase_agent.sources.egress import EgressPolicy
from oase_agent.sources.exchange import SourceLimits
from oase_agent.sources.mail.route import MailPolicy
from oase_agent.sources.mail.source import MailSource
from oase_agent.sources.question import Question
from oase_agent.sources.routes import SourceTls
from oase_agent.spool.known_ids import IdPolicy
from oase_agent.spool.limits import SpoolLimits
from oase_agent.spool.spool import Spool
from oase_agent.telemetry import Telemetry
from oase_agent.tls import client_context
from tests.mail.dovecot import PASSWORD

NOW_S = 1_700_000_000
HOUR_S = 3600
DAY_S = 86_400

SETTING = Setting(
    id="id-mail",
    name="mail",
    connection_method=ConnectionMethod.IMAP,
    request_method=RequestMethod.IMAP_PLAINTEXT,
    url="127.0.0.1",
    ttl_s=60,
    username="ops",
    password=Secret(PASSWORD),
    response_is_list=True,
)


def a_mail(number: object, *, subject: str = "", date: str = "", body: str = "x\r\n") -> bytes:
    """Return a small mail with the Message-ID `<number@test>`."""
    head = f"Message-ID: <{number}@test>\r\nSubject: {subject or number}\r\nFrom: monitor@test\r\n"
    dated = f"Date: {date}\r\n" if date else ""
    return f"{head}{dated}\r\n{body}".encode()


def mail_source(directory: Path, **changes: Any) -> MailSource:
    """Return a source with short limits; `changes` are arguments of MailSource."""
    arguments: dict[str, Any] = {
        "limits": SourceLimits(timeout_s=20),
        "policy": MailPolicy(),
        "tls": SourceTls(client_context()),
        "egress": EgressPolicy(),
        "clock": lambda: NOW_S * 1_000_000,
        "spill_dir": directory,
    }
    return MailSource(**(arguments | changes))


async def read_all(
    source: MailSource, setting: Setting, *, since: int = 0, bookmark: str | None = None
) -> list[dict[str, Any]]:
    """Read a mailbox without a collector; return its documents."""
    documents: list[dict[str, Any]] = []
    question = Question(setting, SourceRequest(setting.url, {}), NOW_S, since, bookmark)
    async with aclosing(source.answers(question)) as answers:
        async for fetched in answers:
            with fetched.body as body:
                documents += json.loads(bytes(body.view()))
    return documents


class Witness(Telemetry):
    """Remembers what went wrong."""

    def __init__(self) -> None:
        super().__init__()
        self.failures: list[AgentError] = []
        self.defects: list[BaseException] = []

    def collection_failed(self, setting: str, error: AgentError) -> None:
        super().collection_failed(setting, error)
        self.failures.append(error)

    def task_failed(self, task: str, error: BaseException) -> None:
        super().task_failed(task, error)
        self.defects.append(error)


class MailLife:
    """One process: a spool, opened from what the volume holds, and a collector of one mailbox."""

    def __init__(self, directory: Path, setting: Setting, **source: Any) -> None:
        self.now_s: float = NOW_S
        self.setting = setting
        self.telemetry = Witness()
        self.spool = Spool(
            directory / "spool",
            limits=SpoolLimits(10**9, 0),
            ids=IdPolicy(168),
            now=lambda: self.now_s,
            telemetry=self.telemetry,
        )
        self._collector = Collector(
            self.spool,
            {ConnectionMethod.IMAP: mail_source(directory, **source)},
            self.telemetry,
            clocks=Clocks(lambda: self.now_s, lambda: self.now_s),
            pacing=Pacing(
                0,
                self.telemetry.pacing,
                interval_s=lambda _name: 3,
                monotonic=lambda: self.now_s,
                random=lambda: 0.5,
            ),
            document_max_bytes=1024 * 1024,
        )
        # The first cursor is set when the setting becomes known, before it is collected for the first time.
        self.spool.open_queues([setting.name])

    async def collect(self) -> None:
        """Collect once; whatever goes wrong is in `failure`."""
        await self._collector.collect(self.setting)

    async def collect_well(self) -> list[str]:
        """Collect once, nothing may go wrong; return the subjects of all events that wait."""
        await self.collect()
        assert self.telemetry.failures == []
        return self.subjects

    async def collect_until_waiting(self, events: int) -> None:
        """Collect until so many events wait, then end as if the process were gone."""
        collection = asyncio.create_task(self.collect())
        while len(self.events) < events:
            assert not collection.done(), "the collection ended before it could be killed"
            await asyncio.sleep(0)
        collection.cancel()
        with suppress(asyncio.CancelledError):
            await collection

    def change(self, **columns: Any) -> None:
        """Change the setting."""
        self.setting = replace(self.setting, **columns)

    @property
    def failure(self) -> AgentError:
        """What went wrong last."""
        return self.telemetry.failures[-1]

    @property
    def events(self) -> list[dict[str, Any]]:
        """Every event that waits, in its order."""
        batches = self.spool.queue(self.setting.name).peek(10**9)
        return [event for batch in batches for event in json.loads(batch.events)]

    @property
    def subjects(self) -> list[str]:
        return [event["subject"] for event in self.events]
