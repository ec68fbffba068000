"""The ids a setting has already collected: kept while the source reports them, and for a while after.

An event whose id is still known is not collected again (promise C3). The hour in which an id was last reported
stands beside it; an id expires only at a complete answer that does not hold it, so that a long stop of the agent
forgets nothing. Ids that are no longer reported are bounded in time and number; those still reported are not.
"""

import operator
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, compress, repeat

from oase_agent.spool.id_run import IdRun, PackedIds, key_of, keys_of

# Bound of the ids that are remembered although the source no longer reports them (durability study section 4).
MAX_UNREPORTED_IDS = 100_000
# New ids wait in a small run, so that a collection of a few does not rewrite the arrays of many.
_RECENT_SHARE = 8
_RECENT_AT_LEAST = 256


@dataclass(frozen=True, slots=True)
class IdPolicy:
    """How long ids are remembered after the source stopped reporting them, in hours, and how many at most."""

    retention_h: int
    max_unreported: int = MAX_UNREPORTED_IDS

    @property
    def refresh_h(self) -> int:
        """Hours after which a report is noted again: coarse, because every note must reach the disk."""
        return max(1, self.retention_h // 16)


class KnownIds:
    """Two sorted runs of id keys: the many, and the recent ones."""

    __slots__ = ("_main", "_recent", "_swept_hour")

    def __init__(self) -> None:
        self._main = IdRun()
        self._recent = IdRun()
        self._swept_hour = 0

    def __len__(self) -> int:
        return len(self._main) + len(self._recent)

    @property
    def runs(self) -> tuple[IdRun, IdRun]:
        """The two runs, for a sighting to look in."""
        return self._main, self._recent

    def add(self, groups: Iterable[PackedIds]) -> None:
        """Add packed keys; raises ValueError for a text that is not packed keys."""
        self._main = self._main.merged(IdRun.unpacked(groups))

    def packed(self) -> Iterator[PackedIds]:
        """Yield all keys by hour."""
        return chain(self._main.packed(), self._recent.packed())

    def exact_ids(self) -> Iterator[str]:
        """Yield the ids that are kept exactly, as text: the decimal ones."""
        for run in self.runs:
            for high, low in zip(run.high, run.low, strict=True):
                if low == 0:
                    yield str(high)

    def sighting(self, hour: int) -> "Sighting":
        """Begin to note which ids one answer reports, in the epoch hour `hour`."""
        return Sighting(self, hour)

    def absorb(self, sighting: "Sighting", policy: IdPolicy) -> bool:
        """Take in one complete answer; return True when noted hours or removals should reach the disk.

        The sighting looks no further after this. Its new ids become known ids without a copy where they can.
        """
        swept = False
        # Once an hour is enough for hours, and sweeping looks at every id.
        if sighting.hour > self._swept_hour or sighting.unreported() > policy.max_unreported * 1.1:
            self._swept_hour = sighting.hour
            refreshed = self._refresh(sighting, policy)
            swept = self._expire(sighting, policy) or refreshed
        # Lets go of the runs before: a merge holds only what it reads and what it makes.
        sighting.end()
        self._recent = self._recent.merged(sighting.new)
        if len(self._recent) > max(_RECENT_AT_LEAST, len(self._main) // _RECENT_SHARE):
            self._main, self._recent = self._main.merged(self._recent), IdRun()
        return swept

    def _refresh(self, sighting: "Sighting", policy: IdPolicy) -> bool:
        stale = sighting.hour - policy.refresh_h
        changed = False
        for run, reported in zip(self.runs, sighting.reported, strict=True):
            is_stale = map(stale.__ge__, run.hours)
            for place in compress(range(len(run)), map(operator.and_, reported, is_stale)):
                run.hours[place] = sighting.hour
                changed = True
        return changed

    def _expire(self, sighting: "Sighting", policy: IdPolicy) -> bool:
        before = len(self)
        oldest, surplus = self._oldest_kept(sighting, policy)
        main_reported, recent_reported = sighting.reported
        # The surplus of the oldest hour goes from the many; the recent ones are few.
        self._main = self._main.kept(main_reported, oldest, surplus)
        self._recent = self._recent.kept(recent_reported, oldest)
        return len(self) != before

    def _oldest_kept(self, sighting: "Sighting", policy: IdPolicy) -> tuple[int, int]:
        """Return the oldest hour that is kept, and how many unreported ids of that hour are still too many."""
        # What is noted coarsely may have been reported up to `refresh_h` later.
        oldest = sighting.hour - policy.retention_h - policy.refresh_h
        surplus = sighting.unreported() - policy.max_unreported
        if surplus <= 0:
            return oldest, 0
        unreported = Counter[int]()
        for run, reported in zip(self.runs, sighting.reported, strict=True):
            unreported.update(compress(run.hours, map(operator.not_, reported)))
        for hour in sorted(unreported):
            if surplus < unreported[hour]:
                return (hour, surplus) if hour >= oldest else (oldest, 0)
            surplus -= unreported[hour]
        raise AssertionError("unreachable: the surplus is less than all")


class Sighting:
    """The ids that one answer reports; each event's id is asked for once, alone or with others."""

    __slots__ = ("_runs", "hour", "new", "reported")

    def __init__(self, known: KnownIds, hour: int) -> None:
        self._runs: tuple[IdRun, ...] = known.runs
        self.hour = hour
        self.new = IdRun()
        self.reported = tuple(bytearray(len(run)) for run in self._runs)

    def is_new(self, event_id: str) -> bool:
        """Tell whether the id was unknown before this answer; an id twice in one answer is new twice."""
        high, low = key_of(event_id)
        for run, reported in zip(self._runs, self.reported, strict=True):
            place = run.find(high, low)
            if place >= 0:
                reported[place] = 1
                return False
        self.new.high.append(high)
        self.new.low.append(low)
        self.new.hours.append(self.hour)
        return True

    def are_new(self, event_ids: Sequence[str]) -> list[bool]:
        """Tell of each id what `is_new` tells of one: far quicker for many than asking for each."""
        highs, lows = keys_of(event_ids)
        answers = [True] * len(event_ids)
        for run, reported in zip(self._runs, self.reported, strict=True):
            for number, place in enumerate(run.places(highs, lows)):
                if place >= 0:
                    reported[place] = 1
                    answers[number] = False
        if not all(answers):
            highs, lows = list(compress(highs, answers)), list(compress(lows, answers))
        self.new.high.extend(highs)
        self.new.low.extend(lows)
        self.new.hours.extend(repeat(self.hour, len(highs)))
        return answers

    def is_of(self, known: KnownIds) -> bool:
        """Tell whether `known` are still the ids that this sighting looked in."""
        return self._runs == known.runs

    def end(self) -> None:
        """Let go of the known ids: what was found stays, nothing more can be asked."""
        self._runs = ()

    def unreported(self) -> int:
        """Return how many known ids the answer did not hold."""
        return sum(len(reported) - reported.count(1) for reported in self.reported)
