"""Spools in the middle of their life: what a volume, a workspace and the sources hold at a moment."""

import asyncio
import copy
import errno
import os
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from oase_agent.spool.spool import SETTINGS_DIRECTORY, setting_directory
from tests.crash.simulated_disk import SimulatedDisk
from tests.crash.world import COMPRESSED, DIRECTORY, Life, World

VICTIM, BYSTANDER = "a", "b"
HOME = DIRECTORY / SETTINGS_DIRECTORY / setting_directory(VICTIM)


class BlockDisk(SimulatedDisk):
    """A simulated disk on which a directory may stand where a file is expected, as the system would tell it."""

    def open(self, path: Path, offset: int = 0) -> BinaryIO:
        self._refuse_directory(path)
        return super().open(path, offset)

    def size(self, path: Path) -> int:
        self._refuse_directory(path)
        return super().size(path)

    def unlink(self, path: Path) -> None:
        self._refuse_directory(path)
        super().unlink(path)

    def make_directory(self, directory: Path) -> None:
        if (
            directory.name in self._directories[directory.parent].visible
            if self._has(directory.parent)
            else False
        ):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(directory))
        super().make_directory(directory)

    def rename(self, source: Path, target: Path) -> None:
        if not self._has(source):
            super().rename(source, target)
            return
        for path in [path for path in self._directories if path.is_relative_to(source)]:
            self._directories[target / path.relative_to(source)] = self._directories.pop(path)

    def put(self, path: Path, content: bytes | None) -> None:
        """Let a file have this content, or be gone; a directory above it is made."""
        super().make_directory(path.parent)
        self.overwrite(str(path), content)

    def _has(self, path: Path) -> bool:
        return path in self._directories

    def _refuse_directory(self, path: Path) -> None:
        if self._has(path):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))


@dataclass(frozen=True, slots=True)
class Image:
    """A moment: the files by path, and a world that is copied for each use."""

    files: dict[Path, bytes]
    world: World

    def disk(self) -> BlockDisk:
        """Return a disk with these files, all of them durable."""
        disk = BlockDisk()
        for path, content in self.files.items():
            disk.put(path, content)
        return disk

    def new_world(self) -> World:
        """Return a world that stands where this one stood."""
        old, new = self.world, World()
        for name, events in old.sources.items():
            new.add_setting(name)
            new.sources[name] = list(events)
        new.batches = old.batches
        new.now_s, new.lost_requests, new.lost_answers = old.now_s, old.lost_requests, old.lost_answers
        new.acceptance.progress = dict(old.acceptance.progress)
        new.acceptance._stored = copy.copy(old.acceptance._stored)
        for name, stored in old.acceptance._stored.items():
            new.acceptance._stored[name] = list(stored)
        new.acceptance._counts = old.acceptance._counts.copy()
        return new


def draw_image(seed: int, loop: asyncio.AbstractEventLoop) -> Image:
    """Return what an agent leaves that was stopped somewhere in a story of collections, deliveries and trouble.

    Every other one compresses its batches.
    """
    chance = random.Random(seed)
    world = World()
    world.batches = COMPRESSED if seed % 2 else world.batches
    for name in (VICTIM, BYSTANDER):
        world.add_setting(name)
    if chance.random() < 0.3:
        # A former agent of the same name was ahead of our clock: all group times are moved.
        world.foreign_writer(VICTIM, int(world.now_s) + 500_000)
    life = Life(world, BlockDisk(), loop)
    life.collect(VICTIM)
    made = 0
    for _ in range(chance.randint(3, 14)):
        step = chance.choice(_STEPS)
        made = step(world, life, made, chance)
        if chance.random() < 0.06:
            life = Life(world, _as_it_is(life.disk), loop)
    _make(world, life, made, chance)
    world.lost_answers = world.lost_requests = 0
    while life.deliver(BYSTANDER):
        pass
    files = {Path(path): content for path, content in life.disk.content().items()}
    files[DIRECTORY / ".lock"] = b""
    files[DIRECTORY / "reserve.bin"] = bytes(range(256)) * 4
    files[DIRECTORY / "reference-state.json"] = b'{"v":1}\n'
    return Image(files, world)


def _as_it_is(disk: SimulatedDisk) -> BlockDisk:
    same = BlockDisk()
    for path, content in disk.content().items():
        same.put(Path(path), content)
    return same


_Step = Callable[[World, Life, int, random.Random], int]


def _make(world: World, life: Life, made: int, chance: random.Random) -> int:
    world.now_s += 3
    count = chance.choice((1, 1, 2, 3, 5, 9))
    world.make(
        VICTIM, *(f"a{number}" for number in range(made, made + count)), text="x" * chance.randint(0, 40)
    )
    world.make(BYSTANDER, f"b{made}")
    life.collect(VICTIM)
    life.collect(BYSTANDER)
    return made + count


def _deliver(world: World, life: Life, made: int, chance: random.Random) -> int:
    for _ in range(chance.randint(1, 4)):
        life.deliver(VICTIM, *([BYSTANDER] if chance.random() < 0.3 else []))
    return made


def _lose_answer(world: World, life: Life, made: int, chance: random.Random) -> int:
    world.lost_answers = 1
    return _deliver(world, life, made, chance)


def _lose_request(world: World, life: Life, made: int, chance: random.Random) -> int:
    world.lost_requests = 1
    return _deliver(world, life, made, chance)


def _poison(world: World, life: Life, made: int, chance: random.Random) -> int:
    made = _make(world, life, made, chance)
    world.make(VICTIM, f"a{made}", **({"poison": True} if chance.random() < 0.7 else {"value": 2**70}))
    return _make(world, life, made + 1, chance)


def _let_a_day_pass(world: World, life: Life, made: int, chance: random.Random) -> int:
    # The hours of the known ids are noted anew: their bulk becomes a file of its own.
    world.now_s += 24 * 3600
    made = _deliver(world, life, made, chance)
    made = _make(world, life, made, chance)
    return _deliver(world, life, made, chance)


_STEPS: Sequence[_Step] = (
    *[_make] * 6,
    *[_deliver] * 5,
    _lose_answer,
    _lose_request,
    _poison,
    _let_a_day_pass,
)
