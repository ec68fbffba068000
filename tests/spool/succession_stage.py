"""Owners of one setting, each with a volume of its own: a claim, a source and a workspace's fence between them."""

import itertools
from dataclasses import dataclass, field
from pathlib import Path

from oase_agent.model import Cursor
from oase_agent.spool.outgoing import Outgoing
from oase_agent.spool.queue import SettingQueue
from oase_agent.spool.succession import Inherited
from tests.spool.queue_stage import (
    ENOUGH_BYTES,
    SETTING,
    SETTING_ID,
    START,
    Clock,
    Witness,
    event_text,
    ids_in,
    open_queue,
)


class LostAnswer(Exception):
    """The workspace did, or did not, store what was sent: nobody was told."""


@dataclass
class Fence:
    """The workspace: it stores a group only above the last time that it stored before the request."""

    latest: int | None = None
    stored: list[str] = field(default_factory=list)

    def post(self, batches: list[Outgoing]) -> list[Outgoing]:
        """Store what is newer; return what is not."""
        before = self.latest
        accepted = [batch for batch in batches if before is None or batch.group_time > before]
        for batch in accepted:
            self.latest = batch.group_time
            self.stored.extend(ids_in([batch]))
        return [batch for batch in batches if batch not in accepted]


class Owner:
    """A replica that has claimed the setting, and its queue on its volume."""

    def __init__(self, world: "World", volume: str, queue: SettingQueue, inherited: Inherited) -> None:
        self.world = world
        self.volume = volume
        self.queue = queue
        self.inherited = inherited

    def collect(self) -> None:
        """Ask the source for what is not older than the cursor; every event has an id."""
        world = self.world
        cursor = self.queue.begin_collection(SETTING_ID)
        answer = [(at, event_id) for at, event_id in world.source if at >= cursor.last_fetched_time]
        sighting = self.queue.sighting()
        new = [(at, event_id) for at, event_id in answer if sighting.is_new(event_id)]
        now = int(world.clock.now)
        with self.queue.collecting(now) as file:
            file.add(event_text(event_id) for _, event_id in new)
            last = event_text(new[-1][1]) if new else None
            self.queue.commit(file, Cursor(now, last), sighting)

    def carry(self) -> bool:
        """Write the record into the claim if one is due."""
        record = self.queue.succession.due()
        if record is None:
            return False
        self.world.record = record.text()
        self.queue.succession.told(record)
        return True

    def hand_over(self) -> None:
        """Leave the last record, and let go."""
        record = self.queue.succession.last()
        assert record is not None
        self.world.record = record.text()
        self.queue.let_go(save=True)

    def learn_position(self) -> None:
        self.queue.learn_position(self.world.fence.latest)

    def deliver(self, batches: int = 1_000, *, stores: bool = True, answers: bool = True) -> None:
        """Send some batches as the deliverer does; raises LostAnswer."""
        if not self.queue.has_waiting:
            return
        if not self.queue.position_is_known:
            self.learn_position()
        sent = self.queue.peek(ENOUGH_BYTES)[:batches]
        if not sent:
            return
        self.queue.before_sending(sent[-1])
        self.carry()
        refused = self.world.fence.post(sent) if stores else []
        if not answers:
            self.queue.answer_lost(sent[-1])
            raise LostAnswer
        assert stores
        if not refused:
            self.queue.settle(sent)
            return
        latest = self.world.fence.latest
        assert latest is not None
        assert self.queue.owns(latest), "somebody else's time"
        self.queue.learn_position(latest)

    def deliver_all(self) -> None:
        """Send until nothing waits."""
        for _ in range(20):
            self.deliver()
        assert not self.queue.peek(ENOUGH_BYTES)


class World:
    """One setting. Its events have ids that the source counts."""

    def __init__(self, directory: Path, *, batch_events: int = 2) -> None:
        self.clock = Clock()
        self.telemetry = Witness()
        self.fence = Fence()
        self.source: list[tuple[int, str]] = []
        self.record: str | None = None
        self._directory = directory
        self._batch_events = batch_events
        self._epoch = 0
        self._ids = itertools.count(1)

    def write(self, count: int = 1) -> list[str]:
        """Let the source have more events, a second later."""
        self.clock.now += 1
        ids = [f"event {next(self._ids)}" for _ in range(count)]
        self.source.extend((int(self.clock.now), event_id) for event_id in ids)
        return ids

    def take(self, volume: str) -> Owner:
        """Let the replica on a volume claim the setting; whoever had it before has it no more."""
        self._epoch += 1
        self.clock.now += 1
        queue = open_queue(
            self._directory / volume, self.clock, telemetry=self.telemetry, batch_events=self._batch_events
        )
        inherited = queue.succession.inherit(SETTING, self._epoch, self.record)
        owner = Owner(self, volume, queue, inherited)
        if inherited.must_be_told:
            owner.carry()
        return owner

    @property
    def doubled(self) -> list[str]:
        """The events that arrived more than once."""
        return sorted({event_id for event_id in self.fence.stored if self.fence.stored.count(event_id) > 1})

    @property
    def lost(self) -> list[str]:
        """The events that did not arrive."""
        return sorted({event_id for _, event_id in self.source} - set(self.fence.stored))


def begun(directory: Path) -> tuple[World, Owner]:
    """Return a world in which volume `a` has delivered two events."""
    world = World(directory)
    owner = world.take("a")
    world.write(2)
    owner.collect()
    owner.deliver()
    assert world.clock.now > START
    return world, owner
