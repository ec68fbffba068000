"""Sorted id keys in arrays: 20 bytes an id, against about 200 for a Python dict of the same (durability section 4).

A key is two 64-bit numbers: (number, 0) for a decimal id of up to 18 digits, which is exact, and the halves of a
128-bit hash, the second one odd, for any other text. Beside each key stands the epoch hour of its last report.
"""

import base64
import hashlib
import re
import struct
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Sequence

_PAIR = struct.Struct("<QQ")
# Without leading zeros, so that number and text are one; 18 digits always fit 64 bits.
_PLAIN_DECIMAL = re.compile(r"0|[1-9][0-9]{0,17}")

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
        """Return a sorted run of both; of equal keys the hour of `other` counts. `other` need not be sorted."""
        high, low, hours = self.high + other.high, self.low + other.low, self.hours + other.hours
        # Stable: of equal keys those of `other` stand last.
        order = _without_repeats(sorted(range(len(high)), key=high.__getitem__), high, low)
        return IdRun(high, low, hours)._taken(order)

    def kept(self, reported: Sequence[int], oldest_hour: int) -> "IdRun":
        """Return the run of the keys that were reported, or that are not older than `oldest_hour`."""
        return self._taken(
            [
                place
                for place, (is_reported, hour) in enumerate(zip(reported, self.hours, strict=True))
                if is_reported or hour >= oldest_hour
            ]
        )

    def _taken(self, places: Sequence[int]) -> "IdRun":
        return IdRun(
            array("Q", map(self.high.__getitem__, places)),
            array("Q", map(self.low.__getitem__, places)),
            array("I", map(self.hours.__getitem__, places)),
        )

    def packed(self) -> list[PackedIds]:
        """Return all keys by hour."""
        by_hour: dict[int, bytearray] = {}
        for high, low, hour in zip(self.high, self.low, self.hours, strict=True):
            by_hour.setdefault(hour, bytearray()).extend(_PAIR.pack(high, low))
        return [(hour, base64.b64encode(by_hour[hour]).decode("ascii")) for hour in sorted(by_hour)]

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


def _without_repeats(order: list[int], high: Sequence[int], low: Sequence[int]) -> list[int]:
    kept: list[int] = []
    same: dict[int, int] = {}  # the places that share one high half, by low half: almost always a single one
    previous = -1
    for place in order:
        if high[place] != previous:
            kept.extend(same.values())
            same = {}
            previous = high[place]
        same[low[place]] = place
    kept.extend(same.values())
    return kept
