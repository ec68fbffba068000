"""Sorted id keys in arrays: 20 bytes an id, against about 200 for a Python dict of the same (durability section 4).

A key is two 64-bit numbers: (number, 0) for a decimal id of up to 18 digits, which is exact, and the halves of a
128-bit hash, the second one odd, for any other text. Beside each key stands the epoch hour of its last report.

Sets of hundreds of thousands pass through here within one commit, so the work on many keys is left to functions
in C over slices of the arrays; what needs an object a key is done some thousand keys at a time.
"""

import base64
import hashlib
import operator
import re
import struct
import sys
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import compress, islice, repeat

_PAIR = struct.Struct("<QQ")
# Without leading zeros, so that number and text are one; 18 digits always fit 64 bits.
_PLAIN_DECIMAL = re.compile(r"0|[1-9][0-9]{0,17}")
_DECIMAL_END = 10**18

# Ids in one packed text: 64 KiB of keys.
_PACKED_AT_ONCE = 4096
# Ids sorted at once: about 2 MiB of transient objects.
_SORTED_AT_ONCE = 16_384
_MERGED_AT_ONCE = 8192
# Later than every epoch hour.
_NEVER = 2**32
# Merging: with fewer new keys than one in so many, a search for each costs less than sorting them all again.
_SPARSE = 8
# Looking up: with more known keys than so many between the lowest and the highest one, each is searched for.
_DENSE = 8

PackedIds = tuple[int, str]
"""An epoch hour, and the keys reported in it as base64 of 16-byte pairs: how footers and checkpoints hold ids."""


class IdRun:
    """A sorted run of keys; never changed, but replaced by `merged` and `kept`, except for its hours."""

    __slots__ = ("high", "hours", "low")

    def __init__(
        self,
        high: "array[int] | None" = None,
        low: "array[int] | None" = None,
        hours: "array[int] | None" = None,
    ) -> None:
        self.high = array("Q") if high is None else high
        self.low = array("Q") if low is None else low
        self.hours = array("I") if hours is None else hours

    def __len__(self) -> int:
        return len(self.high)

    def find(self, high: int, low: int) -> int:
        """Return the place of a key, or -1."""
        keys = self.high
        place = bisect_left(keys, high)
        while place < len(keys) and keys[place] == high:
            if self.low[place] == low:
                return place
            place += 1
        return -1

    def places(self, highs: Sequence[int], lows: Sequence[int]) -> Sequence[int]:
        """Return for each of many keys its place, or -1; an empty sequence when there is none of them."""
        keys, low_keys = self.high, self.low
        first = bisect_left(keys, min(highs, default=0))
        end = bisect_right(keys, max(highs, default=0), first)
        if first == end:
            return ()
        if end - first > _DENSE * len(highs):
            return list(map(self.find, highs, lows))
        place_of = dict(zip(keys[first:end], range(first, end), strict=True))
        guesses = map(place_of.get, highs, repeat(-1))
        # A key that shares its first number with another one is looked for.
        return [
            guess if guess < 0 or low_keys[guess] == low else self.find(high, low)
            for guess, high, low in zip(guesses, highs, lows, strict=True)
        ]

    def merged(self, other: "IdRun") -> "IdRun":
        """Return a sorted run of both; of equal keys the hour of `other` counts. `other` need not be sorted.

        Where one run has no keys between those of the other, slices are copied. The result may be one of the two.
        """
        fresh = other.in_order()
        if not len(self) or not len(fresh):
            return fresh if len(fresh) else self
        merged = IdRun()
        mine = theirs = 0
        while mine < len(self) and theirs < len(fresh):
            # All keys up to this one are among the next ones of both.
            last = min(_last_of_next(self.high, mine), _last_of_next(fresh.high, theirs))
            mine_end = bisect_right(self.high, last, mine)
            theirs_end = bisect_right(fresh.high, last, theirs)
            merged._extend_with_both(self.part(mine, mine_end), fresh.part(theirs, theirs_end))
            mine, theirs = mine_end, theirs_end
        merged.extend(self.part(mine, len(self)))
        merged.extend(fresh.part(theirs, len(fresh)))
        return merged

    def _extend_with_both(self, mine: "IdRun", fresh: "IdRun") -> None:
        if not len(mine) or not len(fresh):
            self.extend(mine if len(mine) else fresh)
        elif len(fresh) * _SPARSE < len(mine) and not _has_equals(fresh.high):
            self._extend_with_few(mine, fresh)
        else:
            mine.extend(fresh)
            self.extend(mine._sorted_at(sorted(range(len(mine)), key=mine.high.__getitem__)))

    def _extend_with_few(self, mine: "IdRun", fresh: "IdRun") -> None:
        copied = 0
        for high, low, hour in zip(fresh.high, fresh.low, fresh.hours, strict=True):
            known = mine.find(high, low)
            place = bisect_left(mine.high, high) if known < 0 else known
            self.extend(mine.part(copied, place))
            self._append(high, low, hour)
            copied = place if known < 0 else place + 1
        self.extend(mine.part(copied, len(mine)))

    def in_order(self) -> "IdRun":
        """Return an unsorted run sorted by the first number, each key once, with the hour that was added last.

        A run that is so already is returned itself.
        """
        if all(map(operator.lt, self.high, islice(self.high, 1, None))):
            return self
        run = IdRun()
        for places in _places_in_order(self.high):
            run.extend(self._sorted_at(places))
        return run

    def _at(self, places: Sequence[int]) -> "IdRun":
        """Return what stands at these places."""
        return IdRun(
            array("Q", map(self.high.__getitem__, places)),
            array("Q", map(self.low.__getitem__, places)),
            array("I", map(self.hours.__getitem__, places)),
        )

    def _sorted_at(self, places: Sequence[int]) -> "IdRun":
        """Return what stands at these places, which are in the order of the first number; each key once."""
        run = self._at(places)
        return run._without_repeats() if _has_equals(run.high) else run

    def _without_repeats(self) -> "IdRun":
        run = IdRun()
        for high, low, hour in zip(self.high, self.low, self.hours, strict=True):
            place = len(run) - 1
            while place >= 0 and run.high[place] == high and run.low[place] != low:
                place -= 1
            # Sorting is stable, so the later one of two equal keys was added later.
            if place >= 0 and run.high[place] == high:
                run.hours[place] = hour
            else:
                run._append(high, low, hour)
        return run

    def kept(self, reported: Sequence[int], oldest_hour: int, surplus: int = 0) -> "IdRun":
        """Return the run without the unreported keys older than `oldest_hour`, and without `surplus` ones of it.

        A run that loses nothing is returned itself.
        """
        stays = bytearray(map(operator.or_, reported, map(oldest_hour.__le__, self.hours)))
        if surplus > 0:
            of_oldest = map(operator.gt, map(oldest_hour.__eq__, self.hours), reported)
            for place in islice(compress(range(len(self)), of_oldest), surplus):
                stays[place] = 0
        if 0 not in stays:
            return self
        return IdRun(
            array("Q", compress(self.high, stays)),
            array("Q", compress(self.low, stays)),
            array("I", compress(self.hours, stays)),
        )

    def without(self, gone: "IdRun") -> "IdRun":
        """Return the run without the keys of another; one that loses nothing is returned itself."""
        stays = bytearray(b"\1") * len(self)
        for high, low in zip(gone.high, gone.low, strict=True):
            place = self.find(high, low)
            if place >= 0:
                stays[place] = 0
        return self.kept(stays, _NEVER)

    def part(self, start: int, end: int) -> "IdRun":
        """Return a copy of what stands between two places."""
        return IdRun(self.high[start:end], self.low[start:end], self.hours[start:end])

    def extend(self, other: "IdRun") -> None:
        """Append what another run holds. For a run that is being built."""
        self.high.extend(other.high)
        self.low.extend(other.low)
        self.hours.extend(other.hours)

    def _append(self, high: int, low: int, hour: int) -> None:
        self.high.append(high)
        self.low.append(low)
        self.hours.append(hour)

    def packed(self) -> Iterator[PackedIds]:
        """Yield all keys with their hour, some thousand at a time, so that large sets make no large blocks."""
        for start in range(0, len(self), _PACKED_AT_ONCE):
            part = self.part(start, start + _PACKED_AT_ONCE)
            if part.hours.count(part.hours[0]) < len(part):
                part = part._at(sorted(range(len(part)), key=part.hours.__getitem__))
            begin = 0
            while begin < len(part):
                hour = part.hours[begin]
                end = bisect_right(part.hours, hour, begin)
                yield hour, _base64(part.high[begin:end], part.low[begin:end])
                begin = end

    @classmethod
    def unpacked(cls, groups: Iterable[PackedIds]) -> "IdRun":
        """Return an unsorted run of packed keys; raises ValueError for a text that is not packed keys."""
        run = cls()
        for hour, packed in groups:
            pairs = _pairs(packed)
            run.high.extend(pairs[0::2])
            run.low.extend(pairs[1::2])
            run.hours.extend(repeat(hour, len(run.high) - len(run.hours)))
        return run


def key_of(event_id: str) -> tuple[int, int]:
    """Return the key of an id."""
    if _PLAIN_DECIMAL.fullmatch(event_id):
        return int(event_id), 0
    digest = hashlib.blake2b(event_id.encode("utf-8", "surrogatepass"), digest_size=16).digest()
    high, low = _PAIR.unpack(digest)
    return high, low | 1


def keys_of(event_ids: Sequence[str]) -> tuple[Sequence[int], Sequence[int]]:
    """Return the keys of many ids: their first and their second numbers."""
    try:
        numbers = list(map(int, event_ids))
    except ValueError:
        numbers = []
    # What Python writes as it was read has neither zeros nor blanks around it, nor digits of other scripts.
    if numbers and min(numbers) >= 0 and max(numbers) < _DECIMAL_END and [*map(str, numbers)] == [*event_ids]:
        return numbers, bytes(len(numbers))
    keys = list(map(key_of, event_ids))
    return [high for high, _ in keys], [low for _, low in keys]


def packed_count(groups: Iterable[PackedIds]) -> int:
    """Return about how many keys packed groups hold (padding may add one a group)."""
    return sum(len(packed) * 3 // 4 // _PAIR.size for _, packed in groups)


def _has_equals(keys: "array[int]") -> bool:
    """Tell whether two of sorted keys are equal."""
    return any(map(operator.eq, keys, islice(keys, 1, None)))


def _base64(high: "array[int]", low: "array[int]") -> str:
    pairs = array("Q", bytes(_PAIR.size * len(high)))
    pairs[0::2], pairs[1::2] = high, low
    if sys.byteorder == "big":
        pairs.byteswap()
    return base64.b64encode(pairs).decode("ascii")


def _pairs(packed: str) -> "array[int]":
    pairs = array("Q", base64.b64decode(packed, validate=True))
    if len(pairs) % 2:
        raise ValueError("half a key")
    if sys.byteorder == "big":
        pairs.byteswap()
    return pairs


def _places_in_order(keys: "array[int]") -> Iterator[list[int]]:
    """Yield the places of unsorted keys by key, in parts: sorting makes an object of every key it sorts."""
    if len(keys) <= _SORTED_AT_ONCE:
        yield sorted(range(len(keys)), key=keys.__getitem__)
        return
    # Every n-th key as a boundary: about equal parts, whatever the order.
    boundaries = sorted(keys[::_SORTED_AT_ONCE])
    parts = [array("I") for _ in range(len(boundaries) + 1)]
    for place, part in enumerate(map(bisect_right, repeat(boundaries), keys)):
        parts[part].append(place)
    for places in parts:
        yield sorted(places, key=keys.__getitem__)


def _last_of_next(keys: "array[int]", start: int) -> int:
    return keys[min(start + _MERGED_AT_ONCE, len(keys)) - 1]
