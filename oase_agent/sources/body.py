"""The body of an answer: in memory while it is small, in a file without a name beyond that (promise C4).

A file that is mapped costs page cache, which the kernel can take back, instead of memory of the process.
"""

import mmap
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryFile
from types import TracebackType
from typing import IO, Self

from oase_agent.errors import Reason, SpoolUnavailable

# Times SOURCE_CONCURRENCY this must fit the memory budget; files of this size live in the page cache anyway.
MEMORY_BYTES = 128 * 1024


class BodyTooLarge(Exception):
    """The body passed `limit_bytes`, counted after decompression."""

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(f"the body is larger than {limit_bytes} bytes")
        self.limit_bytes = limit_bytes


class Body:
    """A complete body. Use it as a context manager, or call `close`: a mapped file lives until then."""

    __slots__ = ("_content", "size_bytes")

    def __init__(self, content: bytes | mmap.mmap) -> None:
        self._content = content
        self.size_bytes = len(content)

    def view(self) -> bytes | mmap.mmap:
        """Return the whole body; a `mmap` is to be read in place, never copied as a whole."""
        return self._content

    def close(self) -> None:
        """Give the mapping back; views that are still held keep it until they go. May be called twice."""
        content, self._content = self._content, b""
        if isinstance(content, mmap.mmap):
            with suppress(BufferError):
                content.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class BodyWriter:
    """Takes a body piece by piece. Use it as a context manager: what was not finished is thrown away.

    Pieces of up to some 256 KiB go into the page cache directly: that is quicker than a thread would be.
    """

    __slots__ = ("_directory", "_file", "_max_bytes", "_memory", "_memory_bytes", "size_bytes")

    def __init__(self, directory: Path, *, max_bytes: int, memory_bytes: int = MEMORY_BYTES) -> None:
        self._directory = directory
        self._max_bytes = max_bytes
        self._memory_bytes = memory_bytes
        self._memory = BytesIO()
        self._file: IO[bytes] | None = None
        self.size_bytes = 0

    def write(self, piece: bytes) -> None:
        """Append `piece`. Raises BodyTooLarge beyond the limit, SpoolUnavailable when the volume fails."""
        self.size_bytes += len(piece)
        if self.size_bytes > self._max_bytes:
            raise BodyTooLarge(self._max_bytes)
        if self._file is None and self.size_bytes <= self._memory_bytes:
            self._memory.write(piece)
            return
        with self._volume():
            if self._file is None:
                self._file = self._moved_to_file()
            self._file.write(piece)

    def finish(self) -> Body:
        """Return the body that was written. Raises SpoolUnavailable when the volume fails."""
        if self._file is None:
            return Body(self._memory.getvalue())
        with self._volume():
            self._file.flush()
            return Body(mmap.mmap(self._file.fileno(), self.size_bytes, access=mmap.ACCESS_READ))

    def close(self) -> None:
        """Let go of memory and file; a finished body has its own hold on the file."""
        self._memory = BytesIO()
        if self._file is not None:
            # Closing writes what is buffered once more, and on a full volume it fails once more.
            with suppress(OSError):
                self._file.close()
            self._file = None

    def _moved_to_file(self) -> IO[bytes]:
        file = TemporaryFile(dir=self._directory)  # noqa: SIM115 - `close` closes it
        file.write(self._memory.getbuffer())
        self._memory = BytesIO()
        return file

    @contextmanager
    def _volume(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise SpoolUnavailable(
                f"the answer of a source cannot be written to {self._directory} ({error.strerror}): "
                "free space on the volume, or lower SOURCE_MAX_BYTES",
                Reason.DISK,
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@dataclass(frozen=True, slots=True)
class AnswerHead:
    """What the head of an answer over HTTP says about going on from it.

    `url` is where it came from, after redirects. `links` are the Link headers (RFC 8288), one text each; the others
    are the headers of their names, or empty.
    """

    url: str = field(repr=False)
    links: tuple[str, ...] = field(default=(), repr=False)
    etag: str = field(default="", repr=False)
    last_modified: str = ""
    date: str = ""


@dataclass(frozen=True, slots=True)
class Fetched:
    """An answer of a source; whoever gets it closes `body`.

    `received_us` is the time when it was complete, in epoch microseconds; `content_type` is the media type
    without parameters, or empty. `bookmark` is what the source wants to be given with the next question, once what
    is in this answer is kept. Of a collection in several answers only the last one `is_last`: the time of the
    cursor moves with it and not before. `is_unchanged` is an answer that stands for the same events as the one
    before, such as status 304, or for none at all, such as the empty end of several pages: its body tells nothing.
    `head` is there if the answer came over HTTP.
    """

    body: Body
    received_us: int
    status: int
    content_type: str = ""
    bookmark: str | None = None
    is_last: bool = True
    is_unchanged: bool = False
    head: AnswerHead | None = None

    def describe(self) -> str:
        """Return what a message may say of the answer, such as `status 200, text/html, 512 bytes`."""
        return f"status {self.status}, {self.content_type or 'no content type'}, {self.body.size_bytes} bytes"
