"""What happens to replicas, drawn from a seed: each disturbance is begun while earlier ones still last.

Every one ends what it began. The moments depend on the machine, so that a seed repeats the choices, not the run.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping

from oase_agent.simulators.faults import Fault
from tests.replicas.replica_stage import Replica, ReplicaStage

# How many replicas there are, at least and at most, when nothing restarts.
_FEWEST, _MOST = 2, 4
_WRITE_EVERY_S = 0.25
_MOST_LINES = 8
# Between the beginnings of two disturbances.
_MOST_QUIET_S = 3.0
# So that there is nearly always a POST under way when something happens.
_WORKSPACE_LATENCY_S = 0.15

Disturbance = Callable[[], Awaitable[None]]


class Disturber:
    """Disturbs the replicas of a stage; `story` tells what was done, and when."""

    def __init__(self, stage: ReplicaStage, lease_s: float, seed: int) -> None:
        self._stage = stage
        self._lease_s = lease_s
        self._chance = random.Random(seed)
        self._began_s = time.monotonic()
        self.story = [f"seed {seed}"]
        self.counts: dict[str, int] = {}

    def kinds(self) -> Mapping[str, Disturbance]:
        """Return every disturbance by its name, as it suits the engine."""
        everywhere: dict[str, Disturbance] = {
            "kill": self._kill,
            "freeze": self._freeze,
            "restart": self._restart,
            "one more": self._grow,
            "one fewer": self._shrink,
            "workspace": self._workspace,
        }
        if self._stage.engine == "volume":
            return everywhere
        return everywhere | {
            "partition": self._partition,
            "partition of all": self._partition_of_all,
            "slow API": self._slow_api,
            "API refuses": self._refusals,
            "lost answers": self._lost_answers,
            "Lease deleted": self._delete_lease,
        }

    async def disturb(self, times: int) -> None:
        """Disturb so many times, with every kind about equally often, while sources go on writing."""
        kinds = self.kinds()
        names = [name for _ in range(times // len(kinds) + 1) for name in kinds][:times]
        self._chance.shuffle(names)
        writing = asyncio.create_task(self._write())
        try:
            async with asyncio.TaskGroup() as lasting:
                for name in names:
                    lasting.create_task(self._one(name, kinds[name]))
                    await asyncio.sleep(self._chance.uniform(0.3, _MOST_QUIET_S))
        finally:
            writing.cancel()
        self._tell("all is over")

    async def _one(self, name: str, disturbance: Disturbance) -> None:
        self.counts[name] = self.counts.get(name, 0) + 1
        await disturbance()

    async def _write(self) -> None:
        while True:
            name = self._chance.choice(list(self._stage.sources))
            self._stage.write(name, self._chance.randint(1, _MOST_LINES))
            await asyncio.sleep(_WRITE_EVERY_S)

    def _tell(self, what: str) -> None:
        self.story.append(f"{time.monotonic() - self._began_s:7.2f} s  {what}")

    async def _running(self, *, at_least: int = 1) -> Replica:
        """Return one that runs and is not about to end, once there are so many."""
        while True:
            found = [one for one in self._stage.replicas if not one.is_paused and not one.is_ending]
            if len(found) >= at_least:
                return self._chance.choice(found)
            await asyncio.sleep(0.1)

    # -- processes ----------------------------------------------------------------------------------------

    async def _kill(self) -> None:
        replica = await self._running()
        self._tell(f"kill {replica.token}")
        await self._stage.kill(replica)
        await asyncio.sleep(self._chance.uniform(0, 2))
        await self._start()

    async def _restart(self) -> None:
        replica = await self._running()
        self._tell(f"restart {replica.token}")
        await self._stage.stop(replica)
        await self._start()

    async def _freeze(self) -> None:
        # One goes on: else time stands still for everybody.
        replica = await self._running(at_least=2)
        seconds = self._lease_s * self._chance.uniform(1.1, 1.8)
        self._tell(f"freeze {replica.token} for {seconds:.1f} s")
        replica.pause()
        await asyncio.sleep(seconds)
        self._tell(f"thaw {replica.token}")
        replica.resume()

    async def _grow(self) -> None:
        if len(self._stage.replicas) < _MOST:
            await self._start()
        else:
            await self._restart()

    async def _shrink(self) -> None:
        replica = await self._running(at_least=2)
        if len(self._stage.replicas) > _FEWEST:
            self._tell(f"stop {replica.token}")
            await self._stage.stop(replica)
        else:
            await self._restart()

    async def _start(self) -> None:
        replica = await self._stage.start()
        self._tell(f"started {replica.token}")

    # -- the way to the API server ------------------------------------------------------------------------

    async def _partition(self) -> None:
        replica = await self._running()
        await self._cut_off(replica.token, self._lease_s * self._chance.uniform(0.8, 1.8))

    async def _partition_of_all(self) -> None:
        await self._cut_off("*", self._lease_s * self._chance.uniform(0.4, 1.4))

    async def _cut_off(self, token: str, seconds: float) -> None:
        self._tell(f"partition of {token} for {seconds:.1f} s")
        self._stage.server.weather(token).is_partitioned = True
        await asyncio.sleep(seconds)
        self._tell(f"partition of {token} is over")
        await self._stage.server.heal(token)

    async def _slow_api(self) -> None:
        token = self._chance.choice(["*", (await self._running()).token])
        slow_s, seconds = self._chance.uniform(0.3, 3), self._lease_s * self._chance.uniform(0.5, 1.5)
        self._tell(f"every answer to {token} takes {slow_s:.1f} s, for {seconds:.1f} s")
        self._stage.server.weather(token).slow_s = slow_s
        await asyncio.sleep(seconds)
        self._stage.server.weather(token).slow_s = 0.0

    async def _refusals(self) -> None:
        statuses = [self._chance.choice([429, 500, 503]) for _ in range(self._chance.randint(1, 20))]
        self._tell(f"the API server refuses {len(statuses)} times")
        self._stage.server.weather().refusals.extend(statuses)

    async def _lost_answers(self) -> None:
        replica, times = await self._running(), self._chance.randint(1, 4)
        self._tell(f"{times} answers to {replica.token} are lost")
        self._stage.server.weather(replica.token).loses_answers += times

    async def _delete_lease(self) -> None:
        if self._stage.server.leases:
            name = self._chance.choice(sorted(self._stage.server.leases))
            self._tell(f"somebody deletes {name}")
            await self._stage.server.delete(name)

    # -- the workspace ------------------------------------------------------------------------------------

    async def _workspace(self) -> None:
        times = self._chance.randint(1, 5)
        fault = self._chance.choice(
            [
                Fault.lost_answer(times=times, endpoint="events"),
                Fault.cut_answer(times=times, endpoint="events"),
                Fault.reset(times=times, endpoint="events"),
                Fault.slow(before_s=self._chance.uniform(0, 2), times=times, endpoint="events"),
                Fault.slow(after_s=self._chance.uniform(0, 4), times=times, endpoint="events"),
                Fault.status(503, times=times, endpoint="events"),
            ]
        )
        self._tell(f"workspace: {fault.kind.value}, {times} times")
        self._stage.stage.workspace.faults.add(fault)


async def count_through_disturbances(stage: ReplicaStage, disturber: Disturber, times: int) -> None:
    """Disturb three replicas, wait until all events are there, and count them one by one."""
    stage.stage.workspace.latency_s = _WORKSPACE_LATENCY_S
    first = await stage.start()
    await stage.shared_by(first, seconds=60)
    await stage.start()
    await stage.start()
    try:
        await disturber.disturb(times)
        stage.stage.workspace.faults.clear()
        await stage.shared_by(*stage.replicas, seconds=120)
        await stage.everything_arrives(120)
    finally:
        print(*disturber.story, f"lost, doubled: {stage.lost_and_doubled()}", sep="\n")
    story = "\n".join(disturber.story)
    assert stage.lost_and_doubled() == (0, 0), story
    assert all(replica.process.is_running for replica in stage.replicas), story
