"""Compressing a batch on disk: when it is worth it, and how. What is posted is never compressed here.

Deflate at its fastest level, as base64, so that a line of a file stays JSON (decision 0011). Reading takes what it
finds, compressed or not, whatever is configured.
"""

import binascii
import zlib
from dataclasses import dataclass
from enum import StrEnum

_LEVEL = 1
# A gain of less than a tenth is not worth inflating for.
_WORTH_IT = 0.9
# More than any batch holds but one of a single huge event: the most that reading a line ever inflates to.
MAX_INFLATED_BYTES = 1024 * 1024


class CompressionMode(StrEnum):
    """When batches are compressed: with a backlog, whenever it gains, or never."""

    AUTO = "auto"
    ALWAYS = "always"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class Compression:
    """Which batches are compressed when they are written.

    AUTO begins when `above_waiting_bytes` wait for the setting on disk: a batch that leaves after some milliseconds
    needs no room, a backlog does. A batch of less than `min_batch_bytes` has too little in it that repeats.
    """

    mode: CompressionMode = CompressionMode.AUTO
    above_waiting_bytes: int = 4 * 1024 * 1024
    min_batch_bytes: int = 1024

    def is_due(self, waiting_bytes: int) -> bool:
        """Tell whether batches are compressed while so many bytes wait for their setting."""
        if self.mode is CompressionMode.AUTO:
            return waiting_bytes >= self.above_waiting_bytes
        return self.mode is CompressionMode.ALWAYS


def deflated(raw: bytes) -> bytes | None:
    """Return `raw` compressed, as base64; None when that gains too little, or `raw` is too large to be inflated."""
    if len(raw) > MAX_INFLATED_BYTES:
        return None
    text = binascii.b2a_base64(zlib.compress(raw, _LEVEL), newline=False)
    return text if len(text) <= len(raw) * _WORTH_IT else None


def inflated(text: bytes, size: int) -> bytes:
    """Return the `size` bytes that `deflated` was given; raises ValueError, without taking more memory than that."""
    if size > MAX_INFLATED_BYTES:
        raise ValueError("it is larger than anything that is compressed")
    stream = zlib.decompressobj()
    try:
        # One byte more than there may be: too much is noticed, and 0 would mean no limit.
        raw = stream.decompress(binascii.a2b_base64(text, strict_mode=True), size + 1)
    except zlib.error as error:
        raise ValueError("it cannot be inflated") from error
    if len(raw) != size or not stream.eof or stream.unused_data:
        raise ValueError("it has another length")
    return raw
