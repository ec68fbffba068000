"""The files that SOURCE_OPTIONS_FILE names: each is read within bounds, and remembered by its content.

The content is what tells a change, not times or inodes: Kubernetes swaps symbolic links under the same names.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from oase_agent.model import Secret

MAX_SECRET_BYTES = 64 * 1024
MAX_PEM_BYTES = 4 * 1024 * 1024  # the bundle of a whole system has a quarter of a MiB

Digest = bytes | None
"""What a file held, or None if it could not be read."""


@dataclass(frozen=True, slots=True)
class PemFile:
    """A file with certificates or a key that could be read; `digest` tells its content."""

    path: Path
    digest: bytes


class NamedFiles:
    """Reads files whose paths are relative to `base`; `digests` are all that were tried, readable or not."""

    def __init__(self, base: Path) -> None:
        self._base = base
        self.digests: dict[Path, Digest] = {}

    def secret(self, path: str) -> Secret:
        """Return the text of a file, without one newline at its end. Raises ValueError."""
        content = self._read(path, MAX_SECRET_BYTES)
        try:
            text = content.decode()
        except UnicodeDecodeError:
            raise ValueError("the file is no UTF-8 text") from None
        if text.endswith("\n"):
            text = text[:-1].removesuffix("\r")
        if not text:
            raise ValueError("the file is empty")
        return Secret(text)

    def pem(self, path: str) -> tuple[PemFile, bytes]:
        """Return a file and its content. Raises ValueError."""
        content = self._read(path, MAX_PEM_BYTES)
        return PemFile(self._base / path, digest_of(content)), content

    def _read(self, path: str, max_bytes: int) -> bytes:
        file = self._base / path
        try:
            content = read_regular(file, max_bytes)
        except OSError as error:
            self.digests[file] = None
            raise ValueError(f"the file cannot be read: {error.strerror or 'unknown trouble'}") from None
        except ValueError:
            self.digests[file] = None
            raise
        self.digests[file] = digest_of(content)
        return content


def read_regular(path: Path, max_bytes: int) -> bytes:
    """Return the content of a file. Raises OSError, and ValueError for one that is too large or no plain file."""
    # A pipe would be waited for without end.
    if path.exists() and not path.is_file():
        raise ValueError("it is no plain file")
    with path.open("rb") as file:
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise ValueError(f"the file is larger than {max_bytes} bytes")
    return content


def digest_of(content: bytes) -> bytes:
    """Return a fingerprint of a content."""
    return hashlib.blake2b(content, digest_size=16).digest()


def digests_now(paths: Mapping[Path, Digest]) -> dict[Path, Digest]:
    """Return the digests that the files have now."""
    return {path: _digest_now(path) for path in paths}


def _digest_now(path: Path) -> Digest:
    try:
        return digest_of(read_regular(path, MAX_PEM_BYTES))
    except (OSError, ValueError):
        return None
