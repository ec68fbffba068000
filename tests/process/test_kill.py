"""Kill -9, again and again: every event arrives, none twice, and those of one log in their order (promise D1).

The environment sets `KILL_ROUNDS`, and `KILL_SEED` to repeat the choices of a run; both are printed. The moments
themselves depend on the machine, so that each run tries others.
"""

import asyncio
import json
import os
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping

import pytest

from oase_agent.simulators.sources import AlertmanagerSimulator, LogPageSimulator, SourceSimulator
from oase_agent.simulators.workspace import WorkspaceSimulator
from tests.acceptance.stage import Stage
from tests.process.agent_process import PATIENCE_S, AgentProcess
from tests.process.conftest import Children

ROUNDS = int(os.environ.get("KILL_ROUNDS", "20"))
LONG_ROUNDS = 200
SEED = int(os.environ.get("KILL_SEED", time.time_ns() % 1_000_000))

# Several settings share one interval, so that something happens every half second.
LOGS = ("log 1", "log 2", "log 3")
ALERTS = ("alerts 1", "alerts 2", "alerts 3")
# Long enough that many kills fall between storing and answering, and between answering and the commit.
ANSWER_TAKES_S = 0.03
BETWEEN_WRITES_S = 0.03
# More than fit into one batch.
BURST_LINES, LINE_BYTES = 1_500, 200


class Written:
    """The sources, what was written to them so far, and a writer that does not mind kills."""

    def __init__(
        self, logs: Mapping[str, LogPageSimulator], alerts: Mapping[str, AlertmanagerSimulator]
    ) -> None:
        self.logs = logs
        self.alerts = alerts
        self.lines = dict.fromkeys(logs, 0)
        self.fired: dict[str, list[str]] = {name: [] for name in alerts}

    @property
    def sources(self) -> list[SourceSimulator]:
        return [*self.logs.values(), *self.alerts.values()]

    async def write(self, chance: random.Random) -> None:
        """Write until cancelled, now one event and now many."""
        while True:
            name = chance.choice([*self.logs, *self.alerts])
            if name in self.alerts:
                self._fire(name)
            elif chance.random() < 0.01:
                self.logs[name].fill(BURST_LINES, LINE_BYTES)
                self.lines[name] += BURST_LINES
            else:
                self.logs[name].write("a line")
                self.lines[name] += 1
            await asyncio.sleep(chance.uniform(0, 2 * BETWEEN_WRITES_S))

    def _fire(self, name: str) -> None:
        labels = {"alertname": name, "instance": str(len(self.fired[name]))}
        self.fired[name].append(self.alerts[name].fire(labels))

    def expected(self) -> dict[str, Counter[str]]:
        """Return every event id that was written, by setting."""
        lines = {name: Counter(self.ids_of_log(name)) for name in self.logs}
        return lines | {name: Counter(fired) for name, fired in self.fired.items()}

    def ids_of_log(self, name: str) -> list[str]:
        """Return the ids of a log in the order in which they were written: they count from 1."""
        return [str(number) for number in range(1, self.lines[name] + 1)]


async def after_a_while(stage: Stage, written: Written, chance: random.Random) -> None:
    """Any moment from the first instruction of the process on."""
    await asyncio.sleep(chance.uniform(0.05, 1.5))


async def around_a_collection(stage: Stage, written: Written, chance: random.Random) -> None:
    """While a source answers, or while its answer is cut, labelled and committed."""
    waits = [asyncio.create_task(_asked(source)) for source in written.sources]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()
    await asyncio.gather(*waits, return_exceptions=True)
    await asyncio.sleep(chance.uniform(0, 3 * ANSWER_TAKES_S))


async def around_a_post(stage: Stage, written: Written, chance: random.Random) -> None:
    """While the workspace answers, or while the answer is made durable and files are removed."""
    for _ in range(chance.randint(1, 2)):
        await _stored(stage.workspace)
    await asyncio.sleep(chance.uniform(0, 2 * ANSWER_TAKES_S))


async def _asked(source: SourceSimulator) -> None:
    seen = len(source.requests)
    await source.wait_for(lambda source: len(source.requests) > seen, PATIENCE_S)


async def _stored(workspace: WorkspaceSimulator) -> None:
    stored = workspace.count()
    await workspace.wait_for(lambda workspace: workspace.count() > stored, PATIENCE_S)


def tell(text: str) -> None:
    """Print what is needed to understand a failure."""
    print(text)


Moment = Callable[[Stage, Written, random.Random], Awaitable[None]]
MOMENTS: tuple[Moment, ...] = (after_a_while, around_a_collection, around_a_post, around_a_post)


async def sources_of(stage: Stage) -> Written:
    workspace = await stage.open()
    workspace.latency_s = ANSWER_TAKES_S
    written = Written(
        {name: await stage.logs(name) for name in LOGS}, {name: await stage.alerts(name) for name in ALERTS}
    )
    for source in written.sources:
        source.latency_s = ANSWER_TAKES_S
    return written


async def killed_again_and_again(stage: Stage, children: Children, written: Written, rounds: int) -> None:
    """Run agents one after the other; return when the last of them has been killed."""
    chance = random.Random(SEED)
    resolved = 0
    for number in range(rounds):
        agent = await children.start()
        if number == 0:
            # A log is collected from the agent's first start on.
            await asyncio.gather(*(_asked(source) for source in written.logs.values()))
            writer = asyncio.create_task(written.write(random.Random(SEED)))
        moment = chance.choice(MOMENTS)
        await moment(stage, written, chance)
        await agent.kill()
        resolved += len(agent.log("fence_resolved"))
        arrived = stage.workspace.count()
        tell(
            f"round {number}: {moment.__name__}, {arrived} events arrived, {resolved} lost answers made up for"
        )
        assert_nothing_is_wrong(agent)
    writer.cancel()
    await asyncio.gather(writer, return_exceptions=True)


def assert_nothing_is_wrong(agent: AgentProcess) -> None:
    """A kill is no damage: no agent finds anything that needs a human."""
    assert [line for line in agent.log() if line["level"] != "INFO"] == []
    assert agent.stderr == ""


async def delivered_completely(agent: AgentProcess, written: Written) -> None:
    """Return when the agent has collected as many events as were written and has nothing waiting.

    Raises TimeoutError after a number of intervals with the figures that stayed wrong.
    """
    wanted = {name: ids.total() for name, ids in written.expected().items()}
    deadline_s = time.monotonic() + PATIENCE_S
    while (figures := await figures_of(agent)) != {
        name: {"collected": count, "delivered": count, "waiting": 0, "dead": 0}
        for name, count in wanted.items()
    }:
        assert time.monotonic() < deadline_s, f"{wanted} was written, but the agent tells {figures}"
        await asyncio.sleep(0.1)


async def figures_of(agent: AgentProcess) -> dict[str, dict[str, int]]:
    _, text = await agent.ask("/api/status")
    wanted = ("collected", "delivered", "waiting", "dead")
    return {
        setting["name"]: {name: setting["figures"][name] for name in wanted}
        for setting in json.loads(text)["settings"]
        if setting["figures"]
    }


def assert_each_once_and_logs_in_order(stage: Stage, written: Written) -> None:
    for name, expected in written.expected().items():
        arrived = Counter(stage.workspace.ids_of(name))
        assert (arrived - expected, expected - arrived) == (Counter(), Counter()), f"too much, lost of {name}"
    for name in written.logs:
        assert stage.workspace.ids_of(name) == written.ids_of_log(name)


async def check(stage: Stage, children: Children, rounds: int) -> None:
    tell(f"KILL_SEED={SEED} KILL_ROUNDS={rounds}")
    written = await sources_of(stage)

    await killed_again_and_again(stage, children, written, rounds)

    agent = await children.start()
    await agent.logged("settings_loaded")
    try:
        await delivered_completely(agent, written)
    finally:
        # Told first when something is missing: it says more than figures do.
        assert_each_once_and_logs_in_order(stage, written)
    assert_nothing_is_wrong(agent)


async def test_killed_at_any_moment_every_event_arrives_once(stage: Stage, children: Children) -> None:
    await check(stage, children, ROUNDS)


@pytest.mark.long
async def test_killed_hundreds_of_times_every_event_arrives_once(stage: Stage, children: Children) -> None:
    await check(stage, children, LONG_ROUNDS)
