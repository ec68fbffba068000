"""The volume behind STORAGE_PATH, looked at without writing to it."""

import os
import stat
from collections.abc import Iterable
from pathlib import Path

from oase_agent.app.agent_directory import agent_directory
from oase_agent.cli.checks.section import Section
from oase_agent.cli.terminal import size
from oase_agent.config.groups import AgentConfig
from oase_agent.disk import PRIVATE_FILE_MODE, Disk
from oase_agent.errors import SpoolUnavailable
from oase_agent.spool.limits import Admission, SpoolLimits, space_of
from oase_agent.spool.volume import kind_of_volume


class TokenDisk(Disk):
    """The volume for the one thing that `check` must write: a refresh token that the exchange rotated.

    The agent's directory may not exist yet. What root makes belongs to the owner of the directory above, or the
    agent could not read the token that replaced its own.
    """

    def create(self, path: Path, mode: int = PRIVATE_FILE_MODE) -> int:
        """Create a file that must not exist and return its descriptor."""
        descriptor = super().create(path, mode)
        _give_to_owner_above(path)
        return descriptor

    def make_directory(self, directory: Path) -> None:
        """Create `directory` and what is missing above it."""
        missing = [path for path in (*reversed(directory.parents), directory) if not path.is_dir()]
        super().make_directory(directory)
        for path in missing:
            _give_to_owner_above(path)

    def write_new(
        self, directory: Path, name: str, chunks: Iterable[bytes], *, mode: int = PRIVATE_FILE_MODE
    ) -> None:
        """Write a whole file under a new name, in a directory that need not exist."""
        self.make_directory(directory)
        super().write_new(directory, name, chunks, mode=mode)


def check_storage(config: AgentConfig, section: Section) -> bool:
    """Write down how the volume is; return whether it could keep something, as far as one can see."""
    path = config.spool.path
    if _is_file(path):
        section.failure(f"STORAGE_PATH is {str(path)!r}, which is not a folder: give the path of a folder.")
        return False
    existing = _deepest_existing(agent_directory(config))
    if not existing.is_relative_to(path):
        section.warning(f"STORAGE_PATH {str(path)!r} does not exist yet: is its volume mounted?")
    if not _is_writable(existing):
        section.failure(
            f"{str(existing)!r} cannot be written to: check owner, rights and mount of STORAGE_PATH, and run "
            "this command as the user of the agent."
        )
        return False
    return _check_space(config, existing, section)


def _check_space(config: AgentConfig, existing: Path, section: Section) -> bool:
    spool = config.spool
    kind = kind_of_volume(existing)
    try:
        space = space_of(existing)
        section.fine(
            f"STORAGE_PATH {str(spool.path)!r}: file system {kind.file_system}, {size(space.free_bytes)} free of "
            f"{size(space.total_bytes)}"
        )
        Admission(
            SpoolLimits(spool.max_bytes, spool.min_free_bytes), used_bytes=lambda: 0, space=lambda: space
        ).check()
    except OSError as error:
        section.failure(f"STORAGE_PATH cannot be used ({error.strerror}): check the volume.")
        return False
    except SpoolUnavailable as error:
        section.failure(str(error))
    if kind.warning is not None:
        section.warning(kind.warning)
    return True


def _deepest_existing(directory: Path) -> Path:
    return next(path for path in (directory, *directory.parents) if _is_visible_directory(path))


def _is_visible_directory(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # below a directory that we may not enter
        return False


def _is_file(path: Path) -> bool:
    try:
        return not stat.S_ISDIR(path.stat().st_mode)
    except OSError:
        return False


def _is_writable(directory: Path) -> bool:
    effective = os.access in os.supports_effective_ids
    return os.access(directory, os.R_OK | os.W_OK | os.X_OK, effective_ids=effective)


def _give_to_owner_above(path: Path) -> None:
    above = path.parent.stat()
    if os.geteuid() == 0 and above.st_uid != 0:
        os.chown(path, above.st_uid, above.st_gid)
