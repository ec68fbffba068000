"""A disk in memory that knows what a power cut would leave, and can stop or fail at every single call.

A file has what was written and what was synced; a directory has the names that are visible, those that are durable,
and the operations in between, of which a power cut keeps any selection that respects the order for one name.
Reading is not counted: only calls that change something are points at which the world can end.
"""

import errno
import io
import os
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto
from pathlib import Path
from typing import BinaryIO, TypeVar

from oase_agent.disk import Disk

_T = TypeVar("_T")


class Stop(BaseException):
    """The process was killed, or the power was cut, at this call."""


class Loss(Enum):
    """What the end of the world takes."""

    NOTHING = auto()  # kill -9: the kernel still has everything
    UNSYNCED = auto()  # power cut: exactly what was synced survives
    FILE_DATA = auto()  # power cut: names survive, unsynced data does not
    SOME = auto()  # power cut: a random selection of pending names, and prefixes of unsynced data


@dataclass(slots=True)
class _File:
    written: bytearray = field(default_factory=bytearray)
    synced: bytes = b""


# An operation on names that is not yet durable: (removed name or None, added name or None, its file).
_Change = tuple[str | None, str | None, _File | None]


@dataclass(slots=True)
class _Directory:
    visible: dict[str, _File] = field(default_factory=dict)
    durable: dict[str, _File] = field(default_factory=dict)
    pending: list[_Change] = field(default_factory=list)

    def change(self, change: _Change) -> None:
        _apply(self.visible, change)
        self.pending.append(change)

    def sync(self) -> None:
        self.durable = dict(self.visible)
        self.pending.clear()


def _apply(names: dict[str, _File], change: _Change) -> None:
    removed, added, file = change
    if removed is not None:
        names.pop(removed, None)
    if added is not None and file is not None:
        names[added] = file


@dataclass(frozen=True, slots=True)
class Point:
    """Where something happens: call number `call` (from 0), before or after it took effect."""

    call: int
    is_after: bool


class SimulatedDisk(Disk):
    """See the module's text. `calls` names the calls made so far."""

    def __init__(self) -> None:
        self._directories: dict[Path, _Directory] = {Path("/"): _Directory()}
        self._open: dict[int, _File] = {}
        self._next_descriptor = 1000
        self.calls: list[str] = []
        self.stop_at: Point | None = None
        self.fail_at: tuple[int, int] | None = None
        self.observe: Callable[[int], None] = lambda _call: None
        self.pause_at: Point | None = None
        self.pause: Callable[[], None] = lambda: None

    # -- what Disk promises ---------------------------------------------------------------------------------

    def create(self, path: Path, mode: int = 0o600) -> int:
        return self._step("create", lambda: self._create(path))

    def _create(self, path: Path) -> int:
        directory = self._directory(path.parent)
        if path.name in directory.visible:
            raise FileExistsError(errno.EEXIST, "exists", str(path))
        file = _File()
        directory.change((None, path.name, file))
        self._next_descriptor += 1
        self._open[self._next_descriptor] = file
        return self._next_descriptor

    def write(self, descriptor: int, data: bytes | memoryview) -> None:
        self._step("write", lambda: self._open[descriptor].written.extend(data))

    def sync(self, descriptor: int) -> None:
        def sync() -> None:
            file = self._open[descriptor]
            file.synced = bytes(file.written)

        self._step("sync", sync)

    def close(self, descriptor: int) -> None:
        self._step("close", lambda: self._open.pop(descriptor))

    def rename(self, source: Path, target: Path) -> None:
        def rename() -> None:
            old, new = self._directory(source.parent), self._directory(target.parent)
            if target.name in new.visible:
                raise FileExistsError(errno.EEXIST, "exists", str(target))
            if source.name not in old.visible:
                raise FileNotFoundError(errno.ENOENT, "missing", str(source))
            file = old.visible[source.name]
            if old is new:
                old.change((source.name, target.name, file))
            else:
                new.change((None, target.name, file))
                old.change((source.name, None, None))

        self._step(f"rename to {target.name.split('.')[0]}", rename)

    def unlink(self, path: Path) -> None:
        def unlink() -> None:
            directory = self._directory(path.parent)
            if path.name in directory.visible:
                directory.change((path.name, None, None))

        self._step(f"unlink {path.name.split('.')[0]}", unlink)

    def sync_directory(self, directory: Path) -> None:
        self._step("sync directory", lambda: self._directory(directory).sync())

    def make_directory(self, directory: Path) -> None:
        # Durable at once: the crash of a mkdir is the crash of a first start, which has nothing to lose.
        if directory in self._directories:
            return
        for path in (directory, *directory.parents):
            self._directories.setdefault(path, _Directory())

    def names(self, directory: Path) -> list[str]:
        here = self._directories.get(directory)
        found = set(here.visible) if here is not None else set()
        # By text, not by `Path.parent`: this is asked for every file that an agent looks for.
        above = str(directory).rstrip("/") + "/"
        below = (str(path).removeprefix(above) for path in self._directories if str(path).startswith(above))
        return sorted(found.union(name for name in below if name and "/" not in name))

    def open(self, path: Path, offset: int = 0) -> BinaryIO:
        directory = self._directory(path.parent)
        if path.name not in directory.visible:
            raise FileNotFoundError(errno.ENOENT, "missing", str(path))
        return io.BytesIO(bytes(directory.visible[path.name].written[offset:]))

    def size(self, path: Path) -> int:
        return len(self._directory(path.parent).visible[path.name].written)

    def read(self, path: Path, offset: int = 0) -> bytes:
        return self.open(path, offset).read()

    # -- what tests do with it ------------------------------------------------------------------------------

    def after(self, loss: Loss, chance: random.Random) -> "SimulatedDisk":
        """Return the disk that a restart finds."""
        survivor = SimulatedDisk()
        copies: dict[int, _File] = {}

        def copy(file: _File) -> _File:
            if id(file) not in copies:
                copies[id(file)] = _File(*self._surviving_data(file, loss, chance))
            return copies[id(file)]

        for path, directory in self._directories.items():
            visible = {
                name: copy(file) for name, file in self._surviving_names(directory, loss, chance).items()
            }
            if loss is Loss.NOTHING:
                # The kernel still has names that are not durable: a power cut may yet follow.
                durable = {name: copy(file) for name, file in directory.durable.items()}
                pending = [(old, new, file and copy(file)) for old, new, file in directory.pending]
            else:
                durable, pending = dict(visible), []
            survivor._directories[path] = _Directory(visible, durable, pending)
        return survivor

    def shared(self) -> "SimulatedDisk":
        """Return the same volume as another process has it: its own calls and open files, the same names."""
        other = SimulatedDisk()
        other._directories = self._directories
        return other

    def content(self) -> dict[str, bytes]:
        """Return every file by its path, as it is visible."""
        return {
            str(path / name): bytes(file.written)
            for path, directory in self._directories.items()
            for name, file in directory.visible.items()
        }

    def overwrite(self, path: str, content: bytes | None) -> None:
        """Damage a file behind the agent's back, or remove it."""
        place = Path(path)
        directory = self._directories[place.parent]
        if content is None:
            directory.visible.pop(place.name, None)
        else:
            directory.visible[place.name] = _File(bytearray(content), content)
        directory.sync()

    def _surviving_names(self, directory: _Directory, loss: Loss, chance: random.Random) -> dict[str, _File]:
        if loss in {Loss.NOTHING, Loss.FILE_DATA}:
            return dict(directory.visible)
        names = dict(directory.durable)
        if loss is Loss.SOME:
            # Changes of one name stay in order; of different names any may be missing.
            lost: set[str] = set()
            for change in directory.pending:
                touched = {name for name in change[:2] if name is not None}
                if touched & lost or chance.random() < 0.5:
                    lost |= touched
                else:
                    _apply(names, change)
        return names

    def _surviving_data(self, file: _File, loss: Loss, chance: random.Random) -> tuple[bytearray, bytes]:
        if loss is Loss.NOTHING:
            return bytearray(file.written), file.synced
        data = bytearray(file.synced)
        if loss is Loss.SOME and len(file.written) > len(data):
            data += file.written[len(data) : chance.randint(len(data), len(file.written))]
        return data, bytes(data)

    def _directory(self, path: Path) -> _Directory:
        try:
            return self._directories[path]
        except KeyError as error:
            raise FileNotFoundError(errno.ENOENT, "missing", str(path)) from error

    def _step(self, name: str, effect: Callable[[], _T]) -> _T:
        call = len(self.calls)
        self.calls.append(name)
        self._reach(call, name, is_after=False)
        if self.fail_at is not None and self.fail_at[0] == call:
            raise OSError(self.fail_at[1], os.strerror(self.fail_at[1]))
        result = effect()
        self.observe(call)
        self._reach(call, name, is_after=True)
        return result

    def _reach(self, call: int, name: str, *, is_after: bool) -> None:
        # Compared by parts: a point for every call costs more than what most calls do.
        if self.pause_at is not None and (self.pause_at.call, self.pause_at.is_after) == (call, is_after):
            self.pause()
        if self.stop_at is not None and (self.stop_at.call, self.stop_at.is_after) == (call, is_after):
            raise Stop(name)
