"""Undo the content coding of an answer in small steps, so that a decompression bomb never stands in memory.

aiohttp does this too, but how much one step may yield differs between its releases; here it is 64 KiB.
"""

import zlib
from collections.abc import Iterator
from typing import Protocol

_PIECE_BYTES = 64 * 1024
# A compressor with many empty members makes zlib copy the rest of its input for each of them: keep it short.
_SLICE_BYTES = 16 * 1024

_GZIP_MAGIC = b"\x1f\x8b"
_GZIP = 16 + zlib.MAX_WBITS
_ZLIB = zlib.MAX_WBITS
_RAW_DEFLATE = -zlib.MAX_WBITS


class ContentCodingError(Exception):
    """The body is not what its Content-Encoding says, or the coding is unknown."""


class Decoder(Protocol):
    """Turns a coded body into the plain one."""

    def decode(self, data: bytes) -> Iterator[bytes]:
        """Yield the plain pieces that `data` completes. Raises ContentCodingError for damaged data."""

    def finish(self) -> None:
        """Say that no more data comes. Raises ContentCodingError if the coded body is not complete."""


def decoder_for(content_encoding: str) -> Decoder:
    """Return the decoder for a Content-Encoding header, which may be empty (RFC 9110 section 8.4)."""
    coding = content_encoding.strip().lower()
    if coding in {"", "identity"}:
        return _Identity()
    if coding in {"gzip", "x-gzip", "deflate"}:
        return _Inflate(is_gzip=coding != "deflate")
    raise ContentCodingError("the content coding is neither gzip nor deflate")


class _Identity:
    def decode(self, data: bytes) -> Iterator[bytes]:
        yield data

    def finish(self) -> None:
        return


class _Inflate:
    """Gzip with any number of members, or deflate with and without the zlib header.

    Whatever follows the last member is ignored, as browsers do.
    """

    def __init__(self, *, is_gzip: bool) -> None:
        self._is_gzip = is_gzip
        self._stream: zlib._Decompress | None = None
        self._members = 0
        self._held = b""
        self._is_over = False

    def decode(self, data: bytes) -> Iterator[bytes]:
        for start in range(0, len(data), _SLICE_BYTES):
            try:
                yield from self._inflate(self._held + data[start : start + _SLICE_BYTES])
            except zlib.error as error:
                raise ContentCodingError("the compressed body is damaged") from error

    def finish(self) -> None:
        if self._stream is not None:
            raise ContentCodingError("the compressed body is cut off")

    def _inflate(self, data: bytes) -> Iterator[bytes]:
        self._held = b""
        is_more_inside = False
        while (data or is_more_inside) and not self._is_over:
            stream = self._stream or self._next_member(data)
            if stream is None:
                return
            piece = stream.decompress(data, _PIECE_BYTES)
            if piece:
                yield piece
            # zlib may have taken all input and still hold output when a piece is full.
            is_more_inside = len(piece) == _PIECE_BYTES and not stream.eof
            data = stream.unused_data if stream.eof else stream.unconsumed_tail
            if stream.eof:
                self._members += 1
                self._stream = None

    def _next_member(self, data: bytes) -> "zlib._Decompress | None":
        """Start the decompressor for the member that begins with `data`; None if it does not or cannot yet."""
        if self._members and self._is_gzip and len(data) < len(_GZIP_MAGIC):
            self._held = data
            return None
        if self._members and not (self._is_gzip and data.startswith(_GZIP_MAGIC)):
            self._is_over = True
            return None
        self._stream = zlib.decompressobj(self._window_bits(data))
        return self._stream

    def _window_bits(self, data: bytes) -> int:
        if self._is_gzip:
            return _GZIP
        # RFC 1950: the low bits of the first byte are 8. Servers that send raw deflate are as common.
        return _ZLIB if data[0] & 0x0F == 8 else _RAW_DEFLATE
