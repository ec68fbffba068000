"""Sorted id keys in arrays: 20 bytes an id, against about 200 for a Python dict of the same (durability section 4).

A key is two 64-bit numbers: (number, 0) for a decimal id of up to 18 digits, which is exact, and the halves of a
128-bit hash, the second one odd, for any other text. Beside each key stands the epoch hour of its last report.
"""

import base64
import hashlib
import itertools
import operator
import re
import struct
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence

_PAIR = struct.Struct("<QQ")
# Without leading zeros, so that number and text are one; 18 digits always fit 64 bits.
_PLAIN_DECIMAL = re.compile(r"0|[1-9][0-9]{0,17}")

# Ids in one packed text: 64 KiB of keys.
_PACKED_AT_ONCE = 4096
# Ids sorted at once: about 2 MiB of transient objects.
_SORTED_AT_ONCE = 16_384

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

    def merged(self, other: "IdRun") -> "IdRun":
        """Return a sorted run of both; of equal keys the hour of `other` counts. `other` need not be sorted.

        Costs memory and time for `other`; what stands between its keys is copied in slices.
        """
        fresh = other.in_order()
        if not self.high:
            return fresh
        merged = IdRun()
        copied = 0
        for high, low, hour in zip(fresh.high, fresh.low, fresh.hours, strict=True):
            known = self.find(high, low)
            place = bisect_left(self.high, high) if known < 0 else known
            merged._extend(self, copied, place)
            merged._append(high, low, hour)
            copied = place if known < 0 else place + 1
        merged._extend(self, copied, len(self.high))
        return merged

    def in_order(self) -> "IdRun":
        """Return an unsorted run sorted by the first number, each key once, with the hour that was added last."""
        run = IdRun()
        for places in _places_in_order(self.high):
            run.high.extend(map(self.high.__getitem__, places))
            run.low.extend(map(self.low.__getitem__, places))
            run.hours.extend(map(self.hours.__getitem__, places))
        has_repeats = any(map(operator.eq, run.high, itertools.islice(run.high, 1, None)))
        return run._without_repeats() if has_repeats else run

    def _without_repeats(self) -> "IdRun":
        run = IdRun()
        for high, low, hour in zip(self.high, self.low, self.hours, strict=True):
            # Sorting is stable, so the later one of two equal keys was added later.
            if run.high and (run.high[-1], run.low[-1]) == (high, low):
                run.hours[-1] = hour
            else:
                run._append(high, low, hour)
        return run

    def kept(self, reported: Sequence[int], oldest_hour: int, surplus: int = 0) -> "IdRun":
        """Return the run without the unreported keys older than `oldest_hour`, and without `surplus` ones of it."""
        run = IdRun()
        for place, (is_reported, hour) in enumerate(zip(reported, self.hours, strict=True)):
            if not is_reported and hour <= oldest_hour:
                if hour < oldest_hour:
                    continue
                if surplus > 0:
                    surplus -= 1
                    continue
            run._append(self.high[place], self.low[place], hour)
        return run

    def _append(self, high: int, low: int, hour: int) -> None:
        self.high.append(high)
        self.low.append(low)
        self.hours.append(hour)

    def _extend(self, other: "IdRun", start: int, end: int) -> None:
        if start < end:
            self.high.extend(other.high[start:end])
            self.low.extend(other.low[start:end])
            self.hours.extend(other.hours[start:end])

    def packed(self) -> Iterator[PackedIds]:
        """Yield all keys with their hour, some thousand at a time, so that large sets make no large blocks."""
        for start in range(0, len(self.high), _PACKED_AT_ONCE):
            end = start + _PACKED_AT_ONCE
            by_hour: dict[int, bytearray] = {}
            for high, low, hour in zip(
                self.high[start:end], self.low[start:end], self.hours[start:end], strict=True
            ):
                by_hour.setdefault(hour, bytearray()).extend(_PAIR.pack(high, low))
            for hour in sorted(by_hour):
                yield hour, base64.b64encode(by_hour[hour]).decode("ascii")

    @classmethod
    def unpacked(cls, groups: Iterable[PackedIds]) -> "IdRun":
        """Return an unsorted run of packed keys; raises ValueError for a text that is not packed keys."""
        run = cls()
        for hour, packed in groups:
            before = len(run)
            for high, low in _PAIR.iter_unpack(base64.b64decode(packed, validate=True)):
                run.high.append(high)
                run.low.append(low)
            run.hours.extend([hour] * (len(run) - before))
        return run


def key_of(event_id: str) -> tuple[int, int]:
    """Return the key of an id."""
    if _PLAIN_DECIMAL.fullmatch(event_id):
        return int(event_id), 0
    digest = hashlib.blake2b(event_id.encode("utf-8", "surrogatepass"), digest_size=16).digest()
    high, low = _PAIR.unpack(digest)
    return high, low | 1


def packed_count(groups: Iterable[PackedIds]) -> int:
    """Return about how many keys packed groups hold (padding may add one a group)."""
    return sum(len(packed) * 3 // 4 // _PAIR.size for _, packed in groups)


def _places_in_order(keys: "array[int]") -> Iterator[list[int]]:
    """Yield the places of unsorted keys by key, in parts: sorting makes an object of every key it sorts."""
    if len(keys) <= _SORTED_AT_ONCE:
        yield sorted(range(len(keys)), key=keys.__getitem__)
        return
    # Every n-th key as a boundary: about equal parts, whatever the order.
    boundaries = sorted(keys[::_SORTED_AT_ONCE])
    parts = [array("I") for _ in range(len(boundaries) + 1)]
    for place, key in enumerate(keys):
        parts[bisect_right(boundaries, key)].append(place)
    for part in parts:
        yield sorted(part, key=keys.__getitem__)
