"""Coordination by locks on the shared directory: for replicas on one host, or wherever flock passes between hosts.

    replicas/members/<member>    locked by that member as long as it lives
    replicas/claims/<setting>    locked by the owner of that setting; holds `<epoch> <member>` for people

The kernel frees a lock when its holder ends, however it ends: nobody waits for a lease. A holder that is only
stopped keeps its locks, and its settings wait for it. That these locks may fail on a network volume is what the
claims in each queue's own directory are for (see spool/claim.py): they hold without locks.

A lock is worth something only on the file that others find: where somebody removed it, or the whole directory, the
lock is lost, however long the descriptor is kept.
"""

import asyncio
import contextlib
import fcntl
import os
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from oase_agent.coordination.coordinator import Claim, View
from oase_agent.errors import CoordinationUnavailable, OwnershipLost, Reason

_FOLDER = "replicas"
# Looks are cheap here, some listings a second; planned moves are as quick as they are.
_LOOK_S = 0.25
_MODE = 0o600


class VolumeCoordinator:
    """A member among the replicas that share `directory`; `file_name` gives the name of a setting on the volume."""

    def __init__(self, directory: Path, file_name: Callable[[str], str]) -> None:
        self._members = directory / _FOLDER / "members"
        self._claims = directory / _FOLDER / "claims"
        self._file_name = file_name
        # Its own with every life: who comes back is somebody else.
        self._name = secrets.token_hex(8)
        self._member: int | None = None
        self._is_retired = False
        # The locked descriptor of each claim, and the number of its file.
        self._owned: dict[str, _Locked] = {}

    @property
    def name(self) -> str:
        """The name of this member."""
        return self._name

    @property
    def is_sure(self) -> bool:
        """Whether this replica is a member: the kernel keeps its lock as long as it lives."""
        return self._member is not None

    async def join(self) -> None:
        """Become a member. Raises CoordinationUnavailable."""
        await asyncio.to_thread(self._join)

    async def view(self) -> View:
        """Return the members that live, and our own settings: who owns the others shows when they are claimed.

        Raises CoordinationUnavailable, also when our place among the members is gone: we are none any more then.
        """
        members, lost = await asyncio.to_thread(self._look)
        # Settings that were claimed meanwhile are ours, too.
        owned = [name for name, locked in self._owned.items() if locked not in lost]
        return View(members, dict.fromkeys(owned, self._name))

    async def changed(self, timeout_s: float) -> None:
        """Wait a moment: locks do not tell when they are let go."""
        await asyncio.sleep(min(timeout_s, _LOOK_S))

    async def claim(self, setting_name: str) -> Claim | None:
        """Lock a setting; None while another member has it. Raises CoordinationUnavailable."""
        return await asyncio.to_thread(self._claim, setting_name)

    async def release(self, setting_name: str) -> None:
        """Unlock a setting."""
        locked = self._owned.pop(setting_name, None)
        if locked is not None:
            os.close(locked.descriptor)

    async def confirm(self, since_s: float) -> None:
        """Return if our place among the members is still ours; raises OwnershipLost."""
        del since_s  # a lock is either held or not, at every moment
        is_there = await asyncio.to_thread(self._is_in_place)
        if not is_there:
            self._leave()
            raise OwnershipLost(
                "The volume lost this replica's place among the members, and with it the lock."
            )

    async def retire(self) -> None:
        """Be given no more settings."""
        self._is_retired = True
        await asyncio.to_thread(self._unlist)

    async def leave(self) -> None:
        """Let everything go."""
        self._release_all()
        await asyncio.to_thread(self._unlist)
        self._leave()

    def _release_all(self) -> None:
        while self._owned:
            _, locked = self._owned.popitem()
            os.close(locked.descriptor)

    # -- members ------------------------------------------------------------------------------------------

    def _join(self) -> None:
        # What was owned in an earlier membership was dropped; whether those locks are lost, too, is not asked.
        self._release_all()
        path = self._members / self._name
        with _engine():
            for folder in (self._members, self._claims):
                folder.mkdir(parents=True, exist_ok=True)
            while self._member is None:
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _MODE)
                is_locked = _lock(descriptor, fcntl.LOCK_EX)
                # Before it was locked, another member may have taken it for one that died.
                if is_locked and _is_at(descriptor, path):
                    self._member = descriptor
                else:
                    os.close(descriptor)

    def _look(self) -> tuple[frozenset[str], "set[_Locked]"]:
        """Return who lives, and which of our locks are lost."""
        if not self._is_in_place():
            self._leave()
            raise CoordinationUnavailable(
                "The volume lost this replica's place among the members: it takes a new one.",
                Reason.NOT_OWNER,
            )
        held = list(self._owned.items())
        with _engine(), os.scandir(self._claims) as entries:
            files = {entry.name: entry.inode() for entry in entries}
        lost = {locked for name, locked in held if files.get(self._file_name(name)) != locked.inode}
        return frozenset(self._living()), lost

    def _living(self) -> Iterator[str]:
        with _engine():
            names = [name for name in os.listdir(self._members) if name != self._name]
        if not self._is_retired:
            yield self._name
        for name in names:
            if self._lives(self._members / name):
                yield name

    def _lives(self, path: Path) -> bool:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            if not _lock(descriptor, fcntl.LOCK_SH):
                return True
            # With the lock in our hands: who is just starting with this name looks again after it has the lock.
            with contextlib.suppress(OSError):
                path.unlink()
            return False
        finally:
            os.close(descriptor)

    def _is_in_place(self) -> bool:
        return self._is_retired or (
            self._member is not None and _is_at(self._member, self._members / self._name)
        )

    def _unlist(self) -> None:
        with contextlib.suppress(OSError):
            (self._members / self._name).unlink()

    def _leave(self) -> None:
        if self._member is not None:
            os.close(self._member)
            self._member = None

    # -- claims -------------------------------------------------------------------------------------------

    def _claim(self, setting_name: str) -> Claim | None:
        path = self._claims / self._file_name(setting_name)
        with _engine():
            held = self._owned.get(setting_name)
            if held is not None and not _is_at(held.descriptor, path):
                del self._owned[setting_name]
                os.close(held.descriptor)
                held = None
            held = held or _locked(path)
            if held is None:
                return None
            self._owned[setting_name] = held
            epoch = _epoch_in(os.pread(held.descriptor, 64, 0)) + 1
            text = f"{epoch:010} {self._name}\n".encode()
            os.pwrite(held.descriptor, text, 0)
            os.ftruncate(held.descriptor, len(text))
        return Claim(setting_name, epoch)


@dataclass(frozen=True, slots=True)
class _Locked:
    descriptor: int
    inode: int


def _locked(path: Path) -> _Locked | None:
    """Lock a file, made if need be; None while another process has it. Raises OSError."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _MODE)
        try:
            is_locked = _lock(descriptor, fcntl.LOCK_EX)
        except OSError:
            os.close(descriptor)
            raise
        if is_locked and _is_at(descriptor, path):
            return _Locked(descriptor, os.fstat(descriptor).st_ino)
        os.close(descriptor)
        # Somebody removed it between our opening and locking it: then there may be another file.
        if not is_locked:
            return None


def _lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except OSError:
        return False


def _epoch_in(text: bytes) -> int:
    """Return the epoch in a claim; 0 for one that is new, or was cut off. The queue's own claim is above both."""
    number = text.partition(b" ")[0]
    return int(number) if number.isdigit() else 0


@contextlib.contextmanager
def _engine() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CoordinationUnavailable(
            f"The replicas' locks on the volume cannot be used ({error.strerror}): check the volume behind "
            "STORAGE_PATH.",
            Reason.DISK,
        ) from error
