"""What may happen in a story that nobody wrote, and how often it is drawn."""

import errno
import json
from dataclasses import dataclass

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from oase_agent.errors import Reason, SpoolUnavailable
from oase_agent.spool.dead import letter_names, mark_for_replay
from tests.crash.random_story import FIELDS, NAMES, PLAIN, POISON, UNSTORABLE, Step, Teller, Telling
from tests.crash.simulated_disk import Loss, Point, Stop

# Below about 4 KiB the agent takes a refusal for something else than a gateway's limit.
_SMALLEST_LIMIT_BYTES = 4_200
_POSTS_PER_INTERVAL = 5
_names = st.sampled_from(NAMES)


@dataclass(frozen=True, slots=True)
class Make:
    """Events happen at a source."""

    name: str
    kinds: tuple[str, ...]

    def happen(self, telling: Telling) -> None:
        known = telling.kinds[self.name]
        for kind in self.kinds:
            event_id = f"{self.name}{len(known) + 1}"
            known[event_id] = kind
            telling.world.make(self.name, event_id, **FIELDS[kind])


@dataclass(frozen=True, slots=True)
class Collect:
    """The agent asks a source."""

    name: str

    def happen(self, telling: Telling) -> None:
        telling.life.collect(self.name)


@dataclass(frozen=True, slots=True)
class Deliver:
    """The agent posts what waits of some settings in one request."""

    names: tuple[str, ...]

    def happen(self, telling: Telling) -> None:
        telling.life.deliver(*self.names)


@dataclass(frozen=True, slots=True)
class Interval:
    """The agent asks a source, and posts as often as it usually takes until nothing waits."""

    name: str

    def happen(self, telling: Telling) -> None:
        telling.world.now_s += 3
        telling.life.collect(self.name)
        for _ in range(_POSTS_PER_INTERVAL):
            telling.life.deliver(self.name)


@dataclass(frozen=True, slots=True)
class Lose:
    """The next requests do not arrive, and the answers to those after them get lost."""

    requests: int
    answers: int

    def happen(self, telling: Telling) -> None:
        telling.world.lost_requests, telling.world.lost_answers = self.requests, self.answers


@dataclass(frozen=True, slots=True)
class Delay:
    """The next requests arrive after the agent gave up waiting: at `Arrive`, or at the end of its life."""

    requests: int

    def happen(self, telling: Telling) -> None:
        telling.world.delayed_requests = self.requests


@dataclass(frozen=True, slots=True)
class Arrive:
    """Delayed requests arrive."""

    def happen(self, telling: Telling) -> None:
        telling.world.late_requests_arrive()


@dataclass(frozen=True, slots=True)
class Post:
    """Somebody else posts an event under the agent's name, this many seconds after now or after the latest post."""

    name: str
    ahead_s: int
    is_after_latest: bool

    def happen(self, telling: Telling) -> None:
        latest = telling.world.latest(self.name)
        now = int(telling.world.now_s)
        time = self.ahead_s + (latest if self.is_after_latest and latest is not None else now)
        if latest is not None and time <= latest:
            return  # refused, and nothing has happened
        telling.counts["foreign posts"] += 1
        telling.foreign_times[self.name].add(time)
        if len(telling.world.arrived(self.name)) != telling.durably_delivered(self.name):
            telling.may_double.add(self.name)
            telling.may_reorder.add(self.name)
            telling.counts["undecidable: stored before a foreign post, not noted"] += 1
        telling.world.foreign_writer(self.name, time)


@dataclass(frozen=True, slots=True)
class Limit:
    """A gateway before the workspace begins to refuse larger requests, or no longer does."""

    max_bytes: int | None

    def happen(self, telling: Telling) -> None:
        telling.world.max_post_bytes = self.max_bytes


@dataclass(frozen=True, slots=True)
class Heal:
    """The workspace becomes able to store poison, or unable again."""

    is_healed: bool

    def happen(self, telling: Telling) -> None:
        telling.world.is_poison_poisonous = not self.is_healed


@dataclass(frozen=True, slots=True)
class Pass:
    """Time passes, or the clock is set."""

    seconds: int

    def happen(self, telling: Telling) -> None:
        telling.world.now_s += self.seconds


@dataclass(frozen=True, slots=True)
class Replay:
    """An operator asks for all dead letters of a setting to enter the queue again."""

    name: str

    def happen(self, telling: Telling) -> None:
        disk, directory = telling.life.disk, telling.directory(self.name)
        for letter in letter_names(disk, directory):
            telling.counts["replayed letters"] += 1
            events = json.loads(disk.read(directory / "dead" / str(letter)))["events"]
            telling.replayed[self.name].update(event["id"] for event in events if "id" in event)
            try:
                mark_for_replay(disk, directory, letter)
            except OSError as error:
                raise SpoolUnavailable("the operator's command failed", Reason.DISK) from error
        telling.life.queue(self.name).replay()


@dataclass(frozen=True, slots=True)
class Pack:
    """The agent packs small files of a setting."""

    name: str

    def happen(self, telling: Telling) -> None:
        while telling.life.queue(self.name).pack():
            telling.counts["packs"] += 1


@dataclass(frozen=True, slots=True)
class Fail:
    """One of the next calls of the volume fails."""

    after_calls: int
    error: int

    def happen(self, telling: Telling) -> None:
        telling.counts["volume errors planned"] += 1
        telling.life.disk.fail_at = (len(telling.life.disk.calls) + self.after_calls, self.error)


@dataclass(frozen=True, slots=True)
class End:
    """The life ends at one of the next calls of the volume."""

    after_calls: int
    is_after: bool
    loss: Loss

    def happen(self, telling: Telling) -> None:
        telling.loss = self.loss
        telling.life.disk.stop_at = Point(len(telling.life.disk.calls) + self.after_calls, self.is_after)


@dataclass(frozen=True, slots=True)
class Restart:
    """The agent is stopped in order, and started."""

    def happen(self, telling: Telling) -> None:
        telling.life.spool.close()
        telling.loss = Loss.NOTHING
        raise Stop("in order")


def tell_drawn_stories(teller: Teller, count: int, *, is_repeatable: bool, shorten: bool = True) -> None:
    """Tell `count` stories, the same ones each time if `is_repeatable`; raises AssertionError for a bad ending.

    The error tells the story in its shortest form, which takes up to some minutes to find.
    """

    @settings(
        max_examples=count,
        derandomize=is_repeatable,
        database=None,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
        phases=[Phase.generate, *([Phase.shrink] if shorten else [])],
    )
    @given(stories())
    def tell(story: list[Step]) -> None:
        faults = teller.tell(story)
        assert not faults, faults

    tell()


def stories() -> st.SearchStrategy[list[Step]]:
    """Draw stories."""
    # Not `one_of`, which draws every kind of step alike, however often it is named. The first kind is what a
    # failing story is filled up with when it is shortened.
    kinds = [*[_daily()] * 6, _odd_events(), _trouble_on_the_way(), _trouble_at_home()]
    step: st.SearchStrategy[Step] = st.sampled_from(kinds).flatmap(lambda kind: kind)
    return st.lists(step, min_size=20, max_size=80)


def _daily() -> st.SearchStrategy[Step]:
    return st.one_of(
        st.builds(Pass, st.sampled_from([1, 3, 60])),
        st.builds(Make, _names, st.integers(1, 9).map(lambda count: (PLAIN,) * count)),
        st.builds(Collect, _names),
        st.builds(Deliver, st.sampled_from([("a",), ("b",), ("a", "b")])),
        st.builds(Interval, _names),
    )


def _odd_events() -> st.SearchStrategy[Step]:
    kinds = st.lists(st.sampled_from([PLAIN, POISON, UNSTORABLE]), min_size=1, max_size=5)
    return st.one_of(
        st.builds(Make, _names, kinds.map(tuple)),
        st.builds(Replay, _names),
        st.builds(Heal, st.booleans()),
    )


def _trouble_on_the_way() -> st.SearchStrategy[Step]:
    return st.one_of(
        st.builds(Lose, st.sampled_from([0, 1, 2, 30]), st.integers(0, 2)),
        st.builds(Delay, st.integers(1, 2)),
        st.just(Arrive()),
        st.builds(Post, _names, st.sampled_from([-5, 1, 2, 17, 500]), st.booleans()),
        st.builds(Limit, st.sampled_from([None, _SMALLEST_LIMIT_BYTES])),
        # Hours, so that known ids are looked through, and more than they are kept; forwards and backwards.
        st.builds(Pass, st.sampled_from([-50, 4_000, -4_000, 700_000, -700_000])),
    )


def _trouble_at_home() -> st.SearchStrategy[Step]:
    return st.one_of(
        st.builds(Pack, _names),
        st.builds(Fail, st.integers(0, 20), st.sampled_from([errno.EIO, errno.ENOSPC])),
        st.builds(End, st.integers(0, 25), st.booleans(), st.sampled_from(Loss)),
        st.just(Restart()),
    )
