"""A real Prometheus Alertmanager as the source: what its answers do to ids, and which alerts arrive when."""

import asyncio
import re
import shutil
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.acceptance.stage import PATIENCE_S, Stage

# Debian renames the binary that others call `alertmanager`.
BINARY = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")

pytestmark = pytest.mark.skipif(
    BINARY is None,
    reason="There is no Alertmanager here; on Debian: "
    "apt-get install --no-install-recommends prometheus-alertmanager",
)

CONFIGURATION = "route: {receiver: nobody}\nreceivers: [{name: nobody}]\n"
LISTENS = re.compile(r"address=(127\.0\.0\.1:[0-9]+)")

# The two ways to identify an alert: by what it is about, and by what it is about and since when.
BY_LABELS = "fingerprint"
BY_EPISODE = "join('@', [fingerprint, startsAt])"


class Alertmanager:
    """A running Alertmanager, seen through version 2 of its API."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self.alerts_url = f"{url}/api/v2/alerts"
        self._url = url
        self._session = session

    async def fire(self, alert: str, *, since: datetime | None = None) -> None:
        """Let the alert of this name fire, or go on firing."""
        times = {} if since is None else {"startsAt": since.isoformat()}
        await self._post("alerts", [{"labels": {"alertname": alert}, **times}])

    async def resolve(self, alert: str) -> None:
        """Let an alert end."""
        now = datetime.now(UTC).isoformat()
        await self._post("alerts", [{"labels": {"alertname": alert}, "endsAt": now}])

    async def silence(self, alert: str) -> None:
        """Silence an alert for an hour."""
        now = datetime.now(UTC)
        matcher = {"name": "alertname", "value": alert, "isRegex": False}
        until = now + timedelta(hours=1)
        await self._post(
            "silences",
            {
                "matchers": [matcher],
                "startsAt": now.isoformat(),
                "endsAt": until.isoformat(),
                "createdBy": "test",
                "comment": "",
            },
        )

    async def reported(self) -> dict[str, dict[str, Any]]:
        """Return the alerts that it reports, by name."""
        async with self._session.get(self.alerts_url) as answer:
            return {alert["labels"]["alertname"]: alert for alert in await answer.json()}

    async def wait_until_ready(self) -> None:
        """Return when it takes requests."""
        while not await self._is_ready():
            await asyncio.sleep(0.05)

    async def _is_ready(self) -> bool:
        async with self._session.get(f"{self._url}/-/ready") as answer:
            return answer.status == 200

    async def _post(self, what: str, document: Any) -> None:
        async with self._session.post(f"{self._url}/api/v2/{what}", json=document) as answer:
            assert answer.status == 200, await answer.text()


@asynccontextmanager
async def running_alertmanager(directory: Path) -> AsyncIterator[Alertmanager]:
    """Run an Alertmanager without cluster on a free port."""
    configuration, log = directory / "alertmanager.yml", directory / "alertmanager.log"
    configuration.write_text(CONFIGURATION)
    with log.open("wb") as stderr:
        process = await asyncio.create_subprocess_exec(
            str(BINARY),
            f"--config.file={configuration}",
            f"--storage.path={directory / 'alertmanager'}",
            "--web.listen-address=127.0.0.1:0",
            "--cluster.listen-address=",
            stderr=stderr,
        )
    try:
        async with aiohttp.ClientSession() as session:
            async with asyncio.timeout(PATIENCE_S):
                alertmanager = Alertmanager(f"http://{await _address(process, log)}", session)
                await alertmanager.wait_until_ready()
            yield alertmanager
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _address(process: asyncio.subprocess.Process, log: Path) -> str:
    """Return host and port, which it only tells in its log."""
    while not (found := LISTENS.search(log.read_text())):
        assert process.returncode is None, log.read_text()
        await asyncio.sleep(0.05)
    return found[1]


@pytest.fixture
async def alertmanager(tmp_path: Path) -> AsyncIterator[Alertmanager]:
    """Give an Alertmanager without alerts."""
    async with running_alertmanager(tmp_path) as alertmanager:
        yield alertmanager


async def _open(stage: Stage, alertmanager: Alertmanager) -> None:
    """Let the agent ask this Alertmanager by two settings, one for each way to identify an alert."""
    await stage.open()
    stage.add("by labels", alertmanager.alerts_url, EVENT_ID_KEY=BY_LABELS)
    stage.add("by episode", alertmanager.alerts_url, EVENT_ID_KEY=BY_EPISODE)
    await stage.start()


def _arrivals(stage: Stage, setting: str) -> Counter[str]:
    """Return how often each alert arrived, by name."""
    return Counter(event["labels"]["alertname"] for event in stage.workspace.acceptance.events_of(setting))


async def _arrived(stage: Stage, alert: str, *settings: str) -> None:
    """Wait until an alert has arrived by all these settings.

    That of an alert that was just fired proves a poll of each setting after all that happened to the others.
    """
    await stage.workspace.wait_for(
        lambda _: all(_arrivals(stage, setting)[alert] for setting in settings), PATIENCE_S
    )


BOTH = ("by labels", "by episode")


async def test_active_alerts_arrive_once_each_over_many_polls_and_a_restart(
    stage: Stage, alertmanager: Alertmanager
) -> None:
    await _open(stage, alertmanager)

    fired = [f"alert {number}" for number in range(10)]
    for alert in fired[:5]:
        await alertmanager.fire(alert)
        await _arrived(stage, alert, *BOTH)
    await stage.stop()
    await stage.start()
    for alert in fired[5:]:
        # As Prometheus does every minute.
        await alertmanager.fire(fired[0])
        await alertmanager.fire(alert)
        await _arrived(stage, alert, *BOTH)

    assert set(await alertmanager.reported()) == set(fired)
    for setting in BOTH:
        assert _arrivals(stage, setting) == Counter(fired)


async def test_the_event_is_the_alert_as_alertmanager_reports_it(
    stage: Stage, alertmanager: Alertmanager
) -> None:
    await _open(stage, alertmanager)

    await alertmanager.fire("disk full")
    await _arrived(stage, "disk full", *BOTH)

    reported = (await alertmanager.reported())["disk full"]
    [by_labels] = stage.workspace.acceptance.events_of("by labels")
    [by_episode] = stage.workspace.acceptance.events_of("by episode")
    assert {name: by_labels[name] for name in reported} == reported
    assert by_labels["_exastro_oase_event_id"] == reported["fingerprint"]
    assert by_episode["_exastro_oase_event_id"] == f"{reported['fingerprint']}@{reported['startsAt']}"


@pytest.mark.parametrize("restarts", [False, True], ids=["in one run", "over a restart"])
async def test_an_alert_that_fires_again_arrives_again_only_by_episode(
    stage: Stage, alertmanager: Alertmanager, restarts: bool
) -> None:
    await _open(stage, alertmanager)
    await alertmanager.fire("flapping")
    await _arrived(stage, "flapping", *BOTH)

    await alertmanager.resolve("flapping")
    await alertmanager.fire("polled while it is resolved")
    await _arrived(stage, "polled while it is resolved", *BOTH)
    assert "flapping" not in await alertmanager.reported()
    if restarts:
        await stage.stop()
        await stage.start()
    await alertmanager.fire("flapping")
    await alertmanager.fire("polled while it fires again")
    await _arrived(stage, "polled while it fires again", *BOTH)

    # Its fingerprint is known for KNOWN_ID_RETENTION_H after the source stopped reporting it.
    assert _arrivals(stage, "by labels")["flapping"] == 1
    assert _arrivals(stage, "by episode")["flapping"] == 2


async def test_an_earlier_start_told_by_a_second_prometheus_is_another_episode(
    stage: Stage, alertmanager: Alertmanager
) -> None:
    await _open(stage, alertmanager)
    now = datetime.now(UTC)
    await alertmanager.fire("seen by two", since=now)
    await _arrived(stage, "seen by two", *BOTH)

    for earlier in (now - timedelta(seconds=10), now):
        await alertmanager.fire("seen by two", since=earlier)
        sentinel = f"polled after the start was said to be {earlier}"
        await alertmanager.fire(sentinel)
        await _arrived(stage, sentinel, *BOTH)

    # Alertmanager merges what it is told into the earliest start, so this ends after one step.
    assert _arrivals(stage, "by labels")["seen by two"] == 1
    assert _arrivals(stage, "by episode")["seen by two"] == 2


async def test_silenced_alerts_are_left_out_by_a_parameter(stage: Stage, alertmanager: Alertmanager) -> None:
    await alertmanager.silence("planned work")
    await alertmanager.fire("planned work")
    await stage.open()
    url, key = alertmanager.alerts_url, BY_LABELS
    stage.add("everything", url, EVENT_ID_KEY=key)
    stage.add("awake", url, EVENT_ID_KEY=key, PARAMETER='{"silenced": "false", "inhibited": "false"}')
    await stage.start()

    await alertmanager.fire("surprise")
    await _arrived(stage, "surprise", "everything", "awake")

    assert _arrivals(stage, "everything") == Counter({"planned work": 1, "surprise": 1})
    assert _arrivals(stage, "awake") == Counter({"surprise": 1})
