"""The ids a setting has already collected: kept while the source reports them, and for a while after.

An event whose id is still known is not collected again (promise C3). The hour in which an id was last reported
stands beside it; an id expires only at a complete answer that does not hold it, so that a long stop of the agent
forgets nothing. Ids that are no longer reported are bounded in time and number; those still reported are not.

A collection may come in several answers, such as pages: what one of them does not hold, another one may. Each notes
the hour of every id in it, so that the last one tells which ids none of them held, if all were seen in this life.
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

    __slots__ = ("_began_hour", "_main", "_recent", "_swept_hour")

    def __init__(self) -> None:
        self._main = IdRun()
        self._recent = IdRun()
        self._swept_hour = 0
        # When the collection began whose first answer was the last first one here; None = not in this life.
        self._began_hour: int | None = None

    def __len__(self) -> int:
        return len(self._main) + len(self._recent)

    @property
    def runs(self) -> tuple[IdRun, IdRun]:
        """The two runs, for a sighting to look in."""
        return self._main, self._recent

    def add(self, groups: Iterable[PackedIds]) -> None:
        """Add packed keys; raises ValueError for a text that is not packed keys."""
        self._main = self._main.merged(IdRun.unpacked(groups))

    def forget(self, gone: IdRun) -> None:
        """Let ids be new again."""
        self._main, self._recent = self._main.without(gone), self._recent.without(gone)

    def newest(self, wanted: int) -> IdRun:
        """Return about `wanted` ids, those that were reported last; all if there are no more."""
        surplus = len(self) - wanted
        if surplus <= 0:
            return self._main.merged(self._recent)
        hours = Counter(chain(self._main.hours, self._recent.hours))
        for oldest in sorted(hours):
            if surplus < hours[oldest]:
                break
            surplus -= hours[oldest]
        main, recent = (
            run.kept(bytes(len(run)), oldest, few) for run, few in zip(self.runs, (surplus, 0), strict=True)
        )
        return main.merged(recent)

    def packed(self) -> Iterator[PackedIds]:
        """Yield all keys by hour."""
        return chain(self._main.packed(), self._recent.packed())

    def exact_ids(self) -> Iterator[str]:
        """Yield the ids that are kept exactly, as text: the decimal ones."""
        for run in self.runs:
            for high, low in zip(run.high, run.low, strict=True):
                if low == 0:
                    yield str(high)

    def sighting(self, hour: int, *, begins: bool = True, ends: bool = True) -> "Sighting":
        """Begin to note which ids one answer reports, in the epoch hour `hour`.

        A collection in several answers `begins` with the first and `ends` with the last of them. An answer that does
        neither may be one of no collection: it tells nothing about the ids that it does not hold.
        """
        return Sighting(self, hour, begins=begins, ends=ends)

    def absorb(self, sighting: "Sighting", policy: IdPolicy) -> bool:
        """Take in one complete answer; return True when noted hours or removals should reach the disk.

        The sighting looks no further after this. Its new ids become known ids without a copy where they can.
        """
        if not (sighting.begins and sighting.ends):
            swept = self._absorb_part(sighting, policy)
            self._take_new(sighting)
            return swept
        swept = False
        # Once an hour is enough for hours, and sweeping looks at every id.
        if sighting.hour > self._swept_hour or sighting.unreported() > policy.max_unreported * 1.1:
            self._swept_hour = sighting.hour
            refreshed = self._refresh(sighting, policy)
            swept = self._expire(sighting, policy) or refreshed
        self._take_new(sighting)
        return swept

    def _absorb_part(self, sighting: "Sighting", policy: IdPolicy) -> bool:
        if sighting.begins:
            self._began_hour = sighting.hour
        changed = self._note_reported(sighting, policy)
        # More often would find nothing: what was noted in the hour in which the collection began counts as reported.
        if not sighting.ends or self._began_hour is None or sighting.hour <= self._swept_hour:
            return changed
        self._swept_hour = sighting.hour
        sighting.include_since(min(self._began_hour, sighting.hour))
        return self._expire(sighting, policy) or changed

    def _note_reported(self, sighting: "Sighting", policy: IdPolicy) -> bool:
        """Note the hour of every id in the answer; return whether one had not been noted for long."""
        stale = sighting.hour - policy.refresh_h
        changed = False
        for run, reported in zip(self.runs, sighting.reported, strict=True):
            place = reported.find(1)
            while place >= 0:
                changed = changed or run.hours[place] <= stale
                run.hours[place] = sighting.hour
                place = reported.find(1, place + 1)
        return changed

    def _take_new(self, sighting: "Sighting") -> None:
        # Lets go of the runs before: a merge holds only what it reads and what it makes.
        sighting.end()
        self._recent = self._recent.merged(sighting.new)
        if len(self._recent) > max(_RECENT_AT_LEAST, len(self._main) // _RECENT_SHARE):
            self._main, self._recent = self._main.merged(self._recent), IdRun()

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

    __slots__ = ("_runs", "begins", "ends", "hour", "new", "reported")

    def __init__(self, known: KnownIds, hour: int, *, begins: bool = True, ends: bool = True) -> None:
        self._runs: tuple[IdRun, ...] = known.runs
        self.hour = hour
        self.begins = begins
        self.ends = ends
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

    def tells_nothing(self) -> None:
        """Take the answer for one of no collection: an id that it does not hold may still be reported."""
        self.begins = self.ends = False

    def include_since(self, hour: int) -> None:
        """Count as reported, too, what was noted in `hour` or later: earlier answers of the collection had it."""
        for run, reported in zip(self._runs, self.reported, strict=True):
            reported[:] = bytes(map(operator.or_, reported, map(hour.__le__, run.hours)))

    def unreported(self) -> int:
        """Return how many known ids the answer did not hold."""
        return sum(len(reported) - reported.count(1) for reported in self.reported)
