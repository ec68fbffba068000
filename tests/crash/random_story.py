"""Stories that nobody wrote: any order of what may happen to an agent, its volume, its workspace and its clock.

A story is a list of steps, drawn by Hypothesis, which tells a failing one again in its shortest form. After the last
step the world calms down and the agent gets time; then every event must have arrived once, or lie in a dead letter.

What no agent can decide is not held against it (durability study 2.3), per setting and counted:
- Somebody else posted under the agent's name with the very group time of a batch of ours that may have been sent,
  or with one between those of several batches in one request whose answer was lost. The latest time is then one of
  ours, which proves to the agent that everything up to it was stored.
- Somebody else did so after the workspace stored a batch of ours and before that was noted durably. The workspace
  then names the other's time only, and whether ours was stored before it cannot be known.
- A request arrives only after a later one was refused for its content and taken apart. What is left of the parts
  has other group times than before, and the late request may be stored beside them.
"""

import asyncio
import json
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import pytest

from oase_agent.errors import (
    Reason,
    RequestTooLarge,
    SpoolUnavailable,
    WorkspaceRejected,
    WorkspaceUnavailable,
)
from oase_agent.spool import fence, id_bulks, known_ids
from oase_agent.spool.batch_file import Damage
from oase_agent.spool.dead import letter_names, marked_letters
from oase_agent.spool.fence import OnTheWire, Position, position_of
from oase_agent.spool.journal import Journal
from oase_agent.spool.outgoing import Outgoing
from oase_agent.spool.packing import PackLimits
from oase_agent.spool.queue import SettingQueue
from oase_agent.spool.spool import SETTINGS_DIRECTORY, setting_directory
from oase_agent.spool.state import StateName, read_checkpoint
from oase_agent.workspace.answers import Refusal
from oase_agent.workspace.wire import EventGroup, events_pieces
from tests.crash.simulated_disk import Loss, SimulatedDisk, Stop
from tests.crash.world import AGENT, DIRECTORY, Life, World

NAMES = ("a", "b")
PLAIN, POISON, UNSTORABLE = "plain", "poison", "unstorable"
# A life that cannot finish in this many rounds is stuck; each narrows down a few events at fault.
_MAX_ROUNDS = 60
_POSTS_PER_ROUND = 8
FIELDS: dict[str, dict[str, Any]] = {PLAIN: {}, POISON: {"poison": True}, UNSTORABLE: {"value": 2**70}}


class BusyWorld(World):
    """A world with more kinds of trouble: requests that arrive late, refusals for size, poison that can be healed."""

    def __init__(self) -> None:
        super().__init__()
        self.packing = PackLimits(start_files=2, run_files=2, size_bytes=8_000)
        self.is_poison_poisonous = True
        self.acceptance.poison = lambda event: self.is_poison_poisonous and "poison" in event
        self.max_post_bytes: int | None = None
        self.delayed_requests = 0
        # Settings with a request that was still under way when a later one was refused for its content.
        self.overtaken: set[str] = set()
        self._under_way: list[Sequence[EventGroup]] = []

    def handle(self, groups: Sequence[EventGroup]) -> tuple[Refusal, ...]:
        """Answer a POST, or be too slow for the client, or refuse its size."""
        size = sum(len(group.event) for group in groups)
        if self.max_post_bytes is not None and size > self.max_post_bytes:
            raise RequestTooLarge("413")
        if self.delayed_requests:
            self.delayed_requests -= 1
            self._under_way.append(groups)
            raise WorkspaceUnavailable("slow", Reason.TIMEOUT)
        try:
            return super().handle(groups)
        except WorkspaceRejected:
            self.overtaken |= {group.setting_name for late in self._under_way for group in late}
            raise

    def late_requests_arrive(self) -> None:
        """Process what the client has given up waiting for. The agent waits for this after a restart."""
        for groups in self._under_way:
            self.acceptance.handle(b"".join(events_pieces(groups, AGENT)))
        self._under_way.clear()

    def arrived(self, name: str) -> list[str]:
        """Return the ids of the agent's own events in the order of their arrival."""
        ids = (str(event["id"]) for event in self.acceptance.events_of(name))
        return [event_id for event_id in ids if event_id != "foreign"]

    def latest(self, name: str) -> int | None:
        """Return the group time that the fence of a setting compares with."""
        return self.acceptance.progress.get((f"id-{name}", AGENT.name))


class Step(Protocol):
    """Something that happens in a story."""

    def happen(self, telling: "Telling") -> None:
        """Let it happen; raises Stop if the life ends over it."""


class Telling:
    """A story while it is told: the world, the present life, and what will be needed to judge the ending."""

    def __init__(self, loop: asyncio.AbstractEventLoop, disk: SimulatedDisk, counts: Counter[str]) -> None:
        self.world = BusyWorld()
        for name in NAMES:
            self.world.add_setting(name)
        self.counts = counts
        self.kinds: dict[str, dict[str, str]] = {name: {} for name in NAMES}
        self.replayed: defaultdict[str, set[str]] = defaultdict(set)
        self.foreign_times: defaultdict[str, set[int]] = defaultdict(set)
        # Settings of which events may be missing, double, or in another order, through nobody's fault.
        self.may_miss: set[str] = set()
        self.may_double: set[str] = set()
        self.may_reorder: set[str] = set()
        self.loss = Loss.NOTHING
        self._is_finished = False
        self._chance = random.Random(0)
        self._loop = loop
        self.life = Life(self.world, disk, loop)

    def tell(self, story: Sequence[Step]) -> list[str]:
        """Tell the story and its quiet ending; return what is wrong then."""
        for step in story:
            self._do(step.happen)
        for _ in range(_MAX_ROUNDS):
            if self._do(Telling._finish) and self._is_finished:
                return self._judge()
        return ["stuck"]

    def _do(self, act: Callable[["Telling"], object]) -> bool:
        """Do something; return False if a life ended over it, or the volume failed. The next life begins at once."""
        try:
            act(self)
        except Stop:
            self.counts[f"ends ({self.loss.name.lower()})"] += 1
            self.world.late_requests_arrive()
            self.life = Life(self.world, self.life.disk.after(self.loss, self._chance), self._loop)
            return False
        except SpoolUnavailable:
            self.counts["volume errors met outside collecting and delivering"] += 1
            return False
        return True

    # -- what steps need ------------------------------------------------------------------------------------

    def directory(self, name: str) -> Any:
        """Return where a setting's queue lies on the disk."""
        return DIRECTORY / SETTINGS_DIRECTORY / setting_directory(name)

    def durably_delivered(self, name: str) -> int:
        """Return how many events a restart after a power cut would know to be delivered."""
        survivor = self.life.disk.after(Loss.UNSYNCED, self._chance)
        directory = self.directory(name)
        states = sorted(filter(None, map(StateName.parse, survivor.names(directory))))
        try:
            return read_checkpoint(survivor, directory / str(states[-1])).delivered if states else 0
        except Damage:
            return 0  # only with a mistake in the agent

    def taken_for_stored(self, name: str, oldest: int, latest: int) -> None:
        """Note that batches with these group times left the queue because the workspace named the latest one."""
        if any(oldest <= time <= latest for time in self.foreign_times[name]):
            self.may_miss.add(name)
            self.may_reorder.add(name)
            self.counts["undecidable: a foreign post at or between times of ours"] += 1

    # -- the ending -----------------------------------------------------------------------------------------

    def _finish(self) -> None:
        self.world.now_s += 3
        self.world.late_requests_arrive()
        for name in NAMES:
            self.life.queue(name).replay()
            self.life.collect(name)
            for _ in range(_POSTS_PER_ROUND):
                self.life.deliver(name)
        self._is_finished = all(map(self._has_come_to_rest, NAMES))

    def _has_come_to_rest(self, name: str) -> bool:
        figures = self.life.figures(name)
        is_all_collected = figures.collected >= len(self.kinds[name])
        is_replay_pending = bool(marked_letters(self.life.disk, self.directory(name)))
        return is_all_collected and not figures.waiting and not is_replay_pending

    def _judge(self) -> list[str]:
        self.may_double |= self.world.overtaken
        self.may_reorder |= self.world.overtaken
        self.counts["undecidable: overtaken by a request that was refused"] += len(self.world.overtaken)
        self.counts["stories"] += 1
        self.counts["events"] += sum(map(len, self.kinds.values()))
        return [f"{name}: {fault}" for name in NAMES for fault in self._faults_of(name)]

    def _faults_of(self, name: str) -> list[str]:
        kinds, arrived, dead = self.kinds[name], self.world.arrived(name), self._dead(name)
        self.counts["dead letters"] += len(dead)
        ends = Counter(arrived) + Counter(dead)
        faults = {
            "lost": [] if name in self.may_miss else [made for made in kinds if made not in ends],
            "twice": [] if name in self.may_double else [found for found in ends if ends[found] > 1],
            "dead without a reason": [found for found in dead if kinds[found] == PLAIN],
            "out of order": [] if name in self.may_reorder else self._out_of_order(name, arrived),
        }
        told = [f"{fault} {ids}" for fault, ids in faults.items() if ids]
        return told + self._accounting(name, arrived, dead)

    def _out_of_order(self, name: str, arrived: Sequence[str]) -> list[str]:
        """Return what arrived if its order is wrong.

        Not looked at is what an operator let enter the queue again: it stands behind what came meanwhile.
        """
        once = [event_id for event_id in dict.fromkeys(arrived) if event_id not in self.replayed[name]]
        return [] if once == [event_id for event_id in self.kinds[name] if event_id in set(once)] else once

    def _accounting(self, name: str, arrived: Sequence[str], dead: Sequence[str]) -> list[str]:
        figures = self.life.figures(name)
        wanted = {"collected": len(self.kinds[name])}
        if name not in self.may_miss | self.may_double:
            wanted |= {"delivered": len(arrived), "dead": len(dead)}
        told = {figure: getattr(figures, figure) for figure in wanted}
        is_balanced = figures.collected == figures.delivered + figures.waiting + figures.dead
        return [] if told == wanted and is_balanced else [f"accounting {figures}, not {wanted}"]

    def _dead(self, name: str) -> list[str]:
        folder = self.directory(name) / "dead"
        letters = (
            self.life.disk.read(folder / str(letter))
            for letter in letter_names(self.life.disk, folder.parent)
        )
        events = [event for letter in letters for event in json.loads(letter)["events"]]
        return [json.loads(event["event"])["id"] if "why" in event else event["id"] for event in events]


class Teller:
    """Tells stories with limits so small that a few events reach them, and counts what happened in them."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        patch: pytest.MonkeyPatch,
        new_disk: Callable[[], SimulatedDisk] = SimulatedDisk,
    ) -> None:
        self._loop = loop
        self._new_disk = new_disk
        self._telling: Telling | None = None
        self.counts: Counter[str] = Counter()
        patch.setattr(id_bulks, "_MAX_IDS_IN_CHECKPOINT", 4)
        patch.setattr(known_ids, "_RECENT_AT_LEAST", 3)
        self._watch_positions(patch)
        self._watch_requeues(patch)

    def tell(self, story: Sequence[Step]) -> list[str]:
        """Tell a story; return what is wrong at its end."""
        self._telling = Telling(self._loop, self._new_disk(), self.counts)
        return self._telling.tell(story)

    def told(self) -> str:
        """Return in one line what happened in all stories."""
        return ", ".join(f"{name} {count}" for name, count in sorted(self.counts.items()))

    def _watch_positions(self, patch: pytest.MonkeyPatch) -> None:
        """Note when batches are taken for stored although a foreign post stood in their way."""

        def watched(journal: Journal, latest: int, wire: OnTheWire) -> Position:
            position = position_of(journal, latest, wire)
            if position.stored is not None and self._telling is not None:
                oldest = min(item.group_time for item in journal.read() if isinstance(item, Outgoing))
                self._telling.taken_for_stored(journal.checkpoint.setting_name, oldest, latest)
            return position

        patch.setattr(fence, "position_of", watched)

    def _watch_requeues(self, patch: pytest.MonkeyPatch) -> None:
        """Note when the order cannot be kept, because a foreign time fell between ours."""
        requeue = SettingQueue.requeue

        def watched(self_: SettingQueue, refused: Any) -> None:
            assert self._telling is not None
            self._telling.may_reorder.add(self_.setting_name)
            self.counts["requeues"] += 1
            requeue(self_, refused)

        patch.setattr(SettingQueue, "requeue", watched)
