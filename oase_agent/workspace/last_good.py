"""What must survive a restart without the workspace: the last good settings, and a rotated refresh token.

Both are small documents in generations, `<stem>.<generation>.json`: a new one gets a new name and is never renamed
over an old one (design section 5), the newest two are kept, and the newest that is whole wins. Mode 0600, because
whoever knows the workspace can decrypt the settings' secrets (contract D19). Everything here blocks: call it in a
thread.
"""

import hashlib
import itertools
import re
import zlib
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import orjson

from oase_agent.model import Secret

_KEPT_GENERATIONS = 2
_MODE = 0o600
_OPENING = b'{"crc32":"%08x","content":'
_HEAD = re.compile(rb'\{"crc32":"([0-9a-f]{8})","content":')
_CLOSING = b"}\n"


class WriteOnceDisk(Protocol):
    """The part of the volume that is needed here; each method raises OSError."""

    def write_new(self, directory: Path, name: str, chunks: Iterable[bytes], *, mode: int = _MODE) -> None:
        """Write a file durably under a new name; raises FileExistsError when the name exists."""

    def names(self, directory: Path) -> list[str]:
        """List a directory."""

    def read(self, path: Path) -> bytes:
        """Return the content of a file."""

    def unlink(self, path: Path) -> None:
        """Remove a file."""


class LastGoodSettings:
    """The rows of the last good settings answer, raw, with their secrets still encrypted.

    The workspace encrypts anew for every answer, so rows never compare equal: save when the *parsed* settings
    changed, not after every reload.
    """

    def __init__(self, disk: WriteOnceDisk, directory: Path) -> None:
        self._generations = _Generations(disk, directory, "settings")

    def save(self, rows: Sequence[object]) -> None:
        """Keep `rows` durably; raises OSError, and then the former ones stay."""
        self._generations.write(list(rows))

    def load(self) -> list[object] | None:
        """Return the rows kept last, or None if there are none; raises OSError when the volume cannot be read."""
        for content in self._generations.newest_first():
            if isinstance(content, list):
                return content
        return None


class StoredRefreshToken:
    """The refresh token to use next: the rotated one, as long as it descends from the configured one.

    A newly configured token wins, because the stored one remembers the hash of the token that it came from.
    """

    def __init__(self, disk: WriteOnceDisk, directory: Path, configured: Secret) -> None:
        self._generations = _Generations(disk, directory, "token")
        self._configured = configured
        self._origin = hashlib.sha256(configured.reveal().encode()).hexdigest()

    def current(self) -> Secret:
        """Return the token for the next exchange; raises OSError when the volume cannot be read."""
        for content in self._generations.newest_first():
            if not isinstance(content, dict):
                continue
            token = content.get("refresh_token")
            if content.get("configured_sha256") == self._origin and isinstance(token, str) and token:
                return Secret(token)
            return self._configured
        return self._configured

    def save(self, token: Secret) -> None:
        """Keep a rotated token durably; raises OSError, and then the former one stays."""
        self._generations.write({"configured_sha256": self._origin, "refresh_token": token.reveal()})


class _Generations:
    """Numbered versions of one JSON document in a directory."""

    def __init__(self, disk: WriteOnceDisk, directory: Path, stem: str) -> None:
        self._disk = disk
        self._directory = directory
        self._stem = stem
        self._pattern = re.compile(rf"{re.escape(stem)}\.([0-9]{{10}})\.json")

    def write(self, content: object) -> None:
        """Write the next generation, then remove all but the newest two."""
        body = orjson.dumps(content)
        chunks = (_OPENING % zlib.crc32(body), body, _CLOSING)
        for number in itertools.count(max(self._numbers(), default=0) + 1):
            with suppress(FileExistsError):  # another replica took the number
                self._disk.write_new(self._directory, self._name(number), chunks, mode=_MODE)
                break
        self._remove_old()

    def newest_first(self) -> Iterable[object]:
        """Yield the content of every whole generation, the newest first; a damaged one is passed over."""
        for number in sorted(self._numbers(), reverse=True):
            with suppress(
                FileNotFoundError
            ):  # another replica has removed it since the look at the directory
                document = self._disk.read(self._directory / self._name(number))
                if (body := _whole_body(document)) is not None:
                    yield orjson.loads(body)

    def _remove_old(self) -> None:
        for number in sorted(self._numbers())[:-_KEPT_GENERATIONS]:
            # What counts is on disk already; an old generation that stays is removed by the next write.
            with suppress(OSError):
                self._disk.unlink(self._directory / self._name(number))

    def _numbers(self) -> list[int]:
        try:
            names = self._disk.names(self._directory)
        except FileNotFoundError:
            return []
        return [int(match[1]) for name in names if (match := self._pattern.fullmatch(name))]

    def _name(self, number: int) -> str:
        return f"{self._stem}.{number:010}.json"


def _whole_body(document: bytes) -> bytes | None:
    """Return the JSON text inside a document whose checksum is right, else None."""
    head = _HEAD.match(document)
    if head is None or not document.endswith(_CLOSING):
        return None
    body = document[head.end() : -len(_CLOSING)]
    return body if zlib.crc32(body) == int(head[1], 16) else None
