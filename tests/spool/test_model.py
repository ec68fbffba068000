"""A queue compared with a plain list over random stories; the workspace's own fence is the judge of what arrived."""

import errno
import json
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, event, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from oase_agent.deliver.course import Course
from oase_agent.deliver.verdicts import Sent, judge, position_in
from oase_agent.errors import SpoolUnavailable
from oase_agent.model import AgentIdentity, Cursor
from oase_agent.simulators.acceptance import Acceptance
from oase_agent.simulators.settings_table import SettingsTable, setting_row
from oase_agent.spool.packing import PackLimits
from oase_agent.spool.queue import SettingQueue
from oase_agent.workspace.answers import accepted_data, read_answer
from oase_agent.workspace.refusals import Refusal, parse_refusals
from oase_agent.workspace.wire import EMPTY_EVENTS, EventGroup, events_pieces
from tests.spool.queue_stage import (
    ENOUGH_BYTES,
    SETTING,
    SETTING_ID,
    START,
    Clock,
    FailingDisk,
    Witness,
    account_of,
    collect_answer,
    dead_ids,
    event_text,
    figures_of,
    files_in,
    ids_in,
    open_queue,
)

_BATCH_EVENTS = 4
AGENT = AgentIdentity("agent-1", "0")


def _full_batches(names: list[str]) -> int:
    return len(names) - len(names) % _BATCH_EVENTS


class Fence:
    """The workspace: judges the bytes that would go over the wire."""

    def __init__(self, clock: Clock) -> None:
        table = SettingsTable()
        table.add(setting_row(SETTING, "http://127.0.0.1/", EVENT_COLLECTION_SETTINGS_ID=SETTING_ID))
        self._acceptance = Acceptance(table, clock=clock, progress_ttl_s=None)

    @property
    def latest(self) -> int | None:
        """The position, or None."""
        return self._acceptance.progress.get((SETTING_ID, AGENT.name))

    def ids(self) -> list[str]:
        """Return the ids of our own events in the order of arrival."""
        return [name for name in self._acceptance.ids_of(SETTING) if not name.startswith("foreign")]

    def post(self, groups: list[EventGroup]) -> tuple[Refusal, ...]:
        """Store groups and return the refusals."""
        status, envelope = self._acceptance.handle(b"".join(events_pieces(groups, AGENT)))
        return parse_refusals(accepted_data(read_answer(status, json.dumps(envelope).encode())))

    def post_foreign(self, group_time: int) -> None:
        """Let somebody else write under our name."""
        foreign = b"[%b]" % event_text(f"foreign-{group_time}")
        assert self.post([EventGroup(SETTING, group_time, foreign)]) == ()


class QueueStory(RuleBasedStateMachine):
    """`order` is the model: the ids that wait, oldest first, refused ones included."""

    def __init__(self) -> None:
        super().__init__()
        # In memory where there is such a place: a story is about what is called, not about the device.
        memory = Path("/dev/shm")
        self._directory = Path(
            tempfile.mkdtemp(prefix="queue-story-", dir=memory if os.access(memory, os.W_OK) else None)
        )
        self.clock = Clock()
        self.disk = FailingDisk()
        self.witness = Witness()
        self.fence = Fence(self.clock)
        self.order: list[str] = []
        self.known: list[str] = []
        self.collected = 0
        self.cursors = [START]
        self.next_number = 1
        # Something was sent and its answer is not known.
        self.is_uncertain = False
        # A foreign writer's time is the latest. A second fault at the same time cannot be told apart from its
        # writing, so that there is none then; test_recovery looks at what fails while batches are requeued.
        self.is_foreign = False
        self.foreign_times: set[int] = set()
        self.was_requeued = False
        self._restart()

    def teardown(self) -> None:
        try:
            self._drain()
        finally:
            shutil.rmtree(self._directory)

    # -- collecting -----------------------------------------------------------------------------------------

    @rule(
        fresh=st.integers(0, 9),
        refused=st.integers(0, 5),
        again=st.integers(0, 3),
        is_text=st.booleans(),
        pad=st.sampled_from([0, 10, 300]),
        step=st.integers(0, 5),
    )
    def collect(self, fresh: int, refused: int, again: int, *, is_text: bool, pad: int, step: int) -> None:
        """Collect new events, some known ones, and some that are refused."""
        self.clock.now += step
        numbers = range(self.next_number, self.next_number + fresh + refused)
        self.next_number = numbers.stop
        names = [f"id-{number}" if is_text else str(number) for number in numbers]
        good, bad = names[:fresh], names[fresh:]
        time = int(self.clock.now)
        before = self.collected
        self._faulty(
            lambda: self._collect_and_check(self.known[:again] + good, good, bad, time, "x" * pad),
        )
        self.collected = figures_of(self.queue).collected
        assert self.collected - before in {0, len(names)}
        if self.collected > before:
            self._note_commit(good, bad)
            self.cursors = [time]
        elif not names:
            # In memory only, until the next checkpoint: either is right.
            self.cursors.append(time)

    def _collect_and_check(
        self, reported: list[str], good: list[str], bad: list[str], time: int, pad: str
    ) -> None:
        kept = collect_answer(self.queue, reported, refused=bad, time=time, extra={"pad": pad})
        assert (kept.events, kept.refused) == (len(good), len(bad))

    def _note_commit(self, good: list[str], bad: list[str]) -> None:
        # Full batches are written at once, what is left over at the end: first of the good, then of the refused.
        whole, rest = _full_batches(good), _full_batches(bad)
        self.order += good[:whole] + bad[:rest] + good[whole:] + bad[rest:]
        self.known += good + bad

    @rule(seconds=st.sampled_from([-4000, -60, 1, 600, 4000]))
    def jump(self, seconds: int) -> None:
        """Set the clock."""
        self.clock.now += seconds

    # -- delivering -----------------------------------------------------------------------------------------

    @rule(
        max_bytes=st.sampled_from([1, 400, 2000, ENOUGH_BYTES]),
        outcome=st.sampled_from(["answered", "answered", "request lost", "answer lost", "died half way"]),
        arrived=st.integers(0, 3),
        meanwhile=st.sampled_from(["nothing", "nothing", "collect", "checkpoint"]),
    )
    def send(self, max_bytes: int, outcome: str, arrived: int, meanwhile: str) -> None:
        """Send the oldest batches, with every way in which that can end."""
        if self.is_foreign:
            outcome, meanwhile = "answered", "nothing"
            self.disk.disarm()
        self._faulty(lambda: self._send(max_bytes, outcome, arrived, meanwhile))

    def _send(self, max_bytes: int, outcome: str, arrived: int, meanwhile: str) -> None:
        sent = self.course.load(max_bytes, 0)
        if not sent.batches:
            return
        if not self.queue.position_is_known:
            self._learn_position(sent)
            return
        self.queue.before_sending(sent.batches[-1])
        self._in_the_meantime(meanwhile)
        groups = [EventGroup(SETTING, batch.group_time, batch.events) for batch in sent.batches]
        if outcome == "answered":
            refusals = self.fence.post(groups)
            self.is_uncertain = True
            self._apply(sent, refusals)
            self.is_uncertain = self.is_foreign = False
            return
        part = {"request lost": 0, "died half way": arrived, "answer lost": len(groups)}[outcome]
        if groups[:part]:
            self.fence.post(groups[:part])
        self.is_uncertain = True
        self.queue.answer_lost(sent.batches[-1])

    def _apply(self, sent: Sent, refusals: tuple[Refusal, ...]) -> None:
        [verdict] = judge([sent], refusals)
        event(f"verdict {type(verdict).__name__}")
        stored = set(self.fence.ids())
        moved = [name for name in ids_in(sent.batches) if name not in stored]
        self.course.apply(sent, verdict)
        if moved and len(moved) < sum(batch.count for batch in sent.batches):
            event("requeued")
            self.was_requeued = True
            self.order = [name for name in self.order if name not in moved] + moved

    def _in_the_meantime(self, what: str) -> None:
        event(f"meanwhile {what}")
        if what == "collect":
            self.collect(fresh=2, refused=0, again=1, is_text=False, pad=0, step=1)
        elif what == "checkpoint":
            self.queue.checkpoint()

    def _learn_position(self, sent: Sent) -> None:
        refusals = self.fence.post([EventGroup(SETTING, 1, EMPTY_EVENTS)])
        position = position_in(sent, refusals)
        assert position is None or isinstance(position, int)
        is_ours = self.queue.learn_position(position)
        assert is_ours or self.is_foreign or self.witness.foreign_writers == 0
        self.is_uncertain = False

    @precondition(lambda self: not self.is_uncertain and not self.is_foreign)
    @rule(count=st.integers(1, 3))
    def narrow(self, count: int) -> None:
        """Send the oldest batch in parts from now on."""
        self._faulty(lambda: self._narrow(count))

    def _narrow(self, count: int) -> None:
        batches = self.queue.peek(0)
        if batches and not batches[0].is_refused and batches[0].count > count:
            self.queue.narrow(batches[0], count)
            [part] = self.queue.peek(ENOUGH_BYTES)
            assert ids_in([part]) == ids_in(batches)[:count]

    @precondition(lambda self: not self.is_uncertain and not self.is_foreign)
    @rule()
    def bury(self) -> None:
        """Give the oldest batch, or part, up."""
        self._faulty(self._bury)

    def _bury(self) -> None:
        if batches := self.queue.peek(0):
            self.queue.bury(batches[0], "content_refused", answer="no", attempts=1)

    @precondition(lambda self: not self.is_uncertain)
    @rule(distance=st.integers(0, 2), is_far=st.booleans())
    def write_as_foreigner(self, distance: int, *, is_far: bool) -> None:
        """Somebody writes under our name, between our times or above all of them; never exactly on one."""
        self.disk.disarm()
        own = self._own_times()
        free = [time + 1 + distance for time in own] or [int(self.clock.now)]
        wanted = max(free) + 5000 if is_far else free[0]
        while wanted in own or wanted <= (self.fence.latest or 0):
            wanted += 1
        self.fence.post_foreign(wanted)
        self.foreign_times.add(wanted)
        self.is_foreign = True

    def _own_times(self) -> list[int]:
        """Return the group times of everything that waits, beyond what one look of the queue shows."""
        newest = files_in(self._directory, "state")[-1].read_bytes().splitlines()[0]
        checkpoint = json.loads(newest)["checkpoint"]["1"]
        return sorted(
            batch["ft"] + checkpoint["shift"]
            for path in files_in(self._directory, "out")
            for batch in map(json.loads, path.read_bytes().splitlines()[:-1])
            if "ev" in batch and batch["seq"] > checkpoint["settled"]
        )

    # -- the volume and the process -------------------------------------------------------------------------

    @rule()
    def restart(self) -> None:
        """The process is killed and started again; the cursors of empty collections may be lost."""
        self.disk.disarm()
        if not self._is_ambiguous():
            self._restart()

    def _is_ambiguous(self) -> bool:
        """Tell whether a foreign time is one of ours: once we may have sent it, nobody can tell whose it is."""
        return bool(self.foreign_times) and not self.foreign_times.isdisjoint(self._own_times())

    def _restart(self) -> None:
        self.queue: SettingQueue = open_queue(
            self._directory,
            self.clock,
            self.disk,
            telemetry=self.witness,
            batch_events=_BATCH_EVENTS,
            packing=PackLimits(start_files=4, run_files=2),
        )
        self.course = Course(self.queue, self.witness, now=self.clock, random=lambda: 0.0)

    @rule()
    def pack(self) -> None:
        """Merge small files."""
        self._faulty(lambda: event(f"packed {self.queue.pack()}"))

    @rule()
    def checkpoint(self) -> None:
        """Make the cursor durable."""
        self._faulty(self.queue.checkpoint)

    @precondition(lambda self: not self.is_foreign)
    @rule(
        nth=st.integers(1, 14), error=st.sampled_from([errno.ENOSPC, errno.EIO]), takes_effect=st.booleans()
    )
    def arm(self, nth: int, error: int, *, takes_effect: bool) -> None:
        """Let one of the next changes of the disk fail."""
        self.disk.arm(nth, error, takes_effect=takes_effect)

    def _faulty(self, act: Callable[[], Any]) -> None:
        if self._is_ambiguous():
            self.disk.disarm()
        failures = len(self.disk.failed)
        trouble = ""
        try:
            act()
        except SpoolUnavailable as error:
            trouble = str(error)
            event(f"failed at {self.disk.failed[-1].split('.')[0]}" if self.disk.failed else "failed")
        assert not trouble or len(self.disk.failed) > failures, trouble

    # -- what must always be true ---------------------------------------------------------------------------

    @invariant()
    def accounts_add_up_and_nothing_is_lost_or_doubled(self) -> None:
        """Promises O3, P2, P3, D1."""
        self.disk.disarm()
        collected, delivered, waiting, dead = account_of(self.queue)
        assert collected == delivered + waiting + dead
        assert collected == self.collected
        assert waiting <= len(self.order)
        left, self.order = self.order[: len(self.order) - waiting], self.order[len(self.order) - waiting :]
        stored, buried = self.fence.ids(), dead_ids(self._directory)
        assert set(left) <= {*stored, *buried}
        assert [name for name, count in Counter(stored).items() if count > 1] == []
        assert not set(stored) & set(buried)
        if not self.was_requeued:
            numbers = [int(name.removeprefix("id-")) for name in stored]
            assert numbers == sorted(numbers)
        assert self.witness.damages == []

    @invariant()
    def the_head_is_the_oldest_and_times_rise(self) -> None:
        """Promises P2, P4, and strictly rising group times."""
        batches = self.queue.peek(ENOUGH_BYTES)
        if not batches:
            assert self.order == []
            return
        if batches[0].is_refused:
            ids = [json.loads(item["event"])["id"] for item in json.loads(batches[0].events)]
        else:
            ids = ids_in(batches)
            times = [batch.group_time for batch in batches]
            assert times == sorted(set(times))
        assert ids == self.order[: len(ids)]

    @invariant()
    def the_cursor_is_never_ahead(self) -> None:
        """Promise P5: it is the one of the last collection that was kept, or of an empty one after it."""
        cursor: Cursor = self.queue.read_cursor()
        assert cursor.last_fetched_time in self.cursors

    def _drain(self) -> None:
        self.disk.disarm()
        for _ in range(10 + 3 * len(self.order)):
            if not self.queue.has_waiting:
                break
            self.send(ENOUGH_BYTES, "answered", 0, "nothing")
            self.accounts_add_up_and_nothing_is_lost_or_doubled()
        assert self.order == []
        arrived = Counter([*self.fence.ids(), *dead_ids(self._directory)])
        assert arrived == Counter(self.known)


_QUICK = settings(
    max_examples=200,
    stateful_step_count=30,
    derandomize=True,
    database=None,
    deadline=None,
    print_blob=False,
    suppress_health_check=list(HealthCheck),
)


def test_a_queue_is_a_list_whatever_happens() -> None:
    """The quick run: the same stories every time."""
    run_state_machine_as_test(QueueStory, settings=_QUICK)


@pytest.mark.long
def test_a_queue_is_a_list_in_thousands_of_other_stories() -> None:
    """Other stories every time, and longer ones."""
    long = settings(_QUICK, max_examples=5000, stateful_step_count=60, derandomize=False)
    run_state_machine_as_test(QueueStory, settings=long)
