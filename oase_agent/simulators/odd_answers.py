"""Answers that no client should have to read: endless, exploding, dripping or leading elsewhere."""

import asyncio
import zlib
from dataclasses import dataclass
from typing import Protocol

from aiohttp import web

_MIB = 2**20
_GZIP_FORMAT = 31  # window bits of zlib for a gzip stream


class OddAnswer(Protocol):
    """Something that answers a request in place of a source."""

    async def send(self, request: web.Request) -> web.StreamResponse:
        """Send the answer; a client that leaves raises ConnectionError, which the source expects."""
        ...


@dataclass(frozen=True, slots=True)
class EndlessBody:
    """A JSON list that never ends, in chunks of `chunk_bytes`."""

    chunk_bytes: int = 65_536

    async def send(self, request: web.Request) -> web.StreamResponse:
        """Send until the client leaves."""
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        await response.write(b'{"lines":[0')
        chunk = b",0" * (self.chunk_bytes // 2)
        while True:
            await response.write(chunk)


@dataclass(frozen=True, slots=True)
class GzipBomb:
    """A valid JSON list that is small on the wire and `decompressed_bytes` large once unpacked."""

    decompressed_bytes: int = 1024 * _MIB

    async def send(self, request: web.Request) -> web.StreamResponse:
        """Send the bomb with its true content encoding."""
        # In a thread: packing a gibibyte takes seconds, and other requests must not wait.
        body = await asyncio.to_thread(self.packed)
        headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
        response = web.StreamResponse(headers=headers)
        response.content_length = len(body)
        await response.prepare(request)
        await response.write(body)
        await response.write_eof()
        return response

    def packed(self) -> bytes:
        """Return the gzip stream; needs little memory, whatever the size."""
        head, tail = b'{"lines":[', b"]}"
        blanks = max(0, self.decompressed_bytes - len(head) - len(tail))
        packer = zlib.compressobj(9, zlib.DEFLATED, _GZIP_FORMAT)
        parts = [packer.compress(head)]
        block = b" " * _MIB
        parts += [packer.compress(block) for _ in range(blanks // _MIB)]
        parts += [packer.compress(block[: blanks % _MIB]), packer.compress(tail), packer.flush()]
        return b"".join(parts)


@dataclass(frozen=True, slots=True)
class SlowBody:
    """A complete body, sent in chunks of `chunk_bytes` with a pause of `pause_s` seconds after each."""

    body: bytes = b'{"lines":[]}'
    chunk_bytes: int = 1
    pause_s: float = 1.0

    async def send(self, request: web.Request) -> web.StreamResponse:
        """Send drop by drop."""
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        response.enable_chunked_encoding()
        await response.prepare(request)
        for start in range(0, len(self.body), self.chunk_bytes):
            await response.write(self.body[start : start + self.chunk_bytes])
            await asyncio.sleep(self.pause_s)
        await response.write_eof()
        return response


@dataclass(frozen=True, slots=True)
class Redirect:
    """A redirect to any URL."""

    url: str
    status: int = 302

    async def send(self, _request: web.Request) -> web.StreamResponse:
        """Send the new place."""
        return web.Response(status=self.status, headers={"Location": self.url})
