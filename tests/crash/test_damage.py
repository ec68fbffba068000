"""One file of a spool is changed behind the agent's back, in more than ten thousand ways; then a new life begins.

What must hold, whatever was damaged (promise P6, durability study section 3):

* Nothing is raised. Only where a file says that a newer version wrote it, the setting is not worked on, its files
  stay as they are, and the other settings go on.
* Every batch that is whole is delivered, exactly once and in order, and what happens next is collected and delivered.
* No event is delivered that was not made, exactly as it was made.
* What cannot be read is kept, byte by byte, in `bad/` or where it was.
* The operator is told, unless the damage is harmless: it is in what has left the queue already, in what the newest
  checkpoint does not need, in a file that is not the queue's, or it took away what nobody knows of (the newest
  checkpoint, or a file that no checkpoint names).
* collected = delivered + waiting + dead, at every moment (promise O3), and nothing waits for ever.

What may happen, is counted, and is allowed only there:

* *Lost*: an event whose own batch is not whole any more. If its id was lost as well, the source is asked again and
  goes on reporting it; if not, it is known and not collected again.
* *Twice*: an event whose id is not known any more, because its own batch and the footer with its id were damaged, or
  the bulk of the known ids was: the source goes on reporting it, so it is collected once more.
"""

import asyncio
import base64
import json
import random
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from oase_agent.errors import SpoolUnavailable
from oase_agent.spool.claim import OWNER_DIRECTORY
from oase_agent.spool.queue import QueueFigures
from tests.crash.damage import Case, draw_cases
from tests.crash.images import BYSTANDER, HOME, VICTIM, Image, draw_image
from tests.crash.simulated_disk import SimulatedDisk
from tests.crash.world import Life, World

IMAGES = 67
CASES_PER_IMAGE = 150
# A life that has not delivered everything after so many rounds is stuck.
_MAX_ROUNDS = 12
_FRESH = "fresh"


@dataclass(slots=True)
class Ending:
    """How a life ended: what arrived in order, what is on the disk, what was told, and what was never true."""

    arrived: list[str]
    files: dict[Path, bytes]
    told: int
    faults: list[str]
    is_refused: bool = False


@dataclass(frozen=True, slots=True)
class Original:
    """What an image holds, read without the agent's code, and what becomes of it undamaged."""

    image: Image
    ending: Ending
    settled: int
    replayed: int
    ids_file: str

    @classmethod
    def of(cls, image: Image, loop: asyncio.AbstractEventLoop) -> "Original":
        states = sorted(
            path for path in image.files if path.parent == HOME and path.name.startswith("state.")
        )
        checkpoints = [json.loads(image.files[path].splitlines()[0])["checkpoint"]["1"] for path in states]
        return cls(
            image,
            live_on(image.new_world(), image.disk(), loop, VICTIM, BYSTANDER),
            checkpoints[-1]["settled"],
            checkpoints[-1]["replayed"],
            checkpoints[-1]["ids_file"],
        )


def live_on(world: World, disk: SimulatedDisk, loop: asyncio.AbstractEventLoop, *names: str) -> Ending:
    """Let a new life go on until everything of these settings is delivered, with one more event for each source."""
    life = Life(world, disk, loop)
    faults: list[str] = []
    is_refused = False
    for name in names:
        world.make(name, f"{_FRESH}-{name}")
        try:
            _drain(life, name, faults)
        except SpoolUnavailable as error:
            faults.append(f"{name}: {error}")
            is_refused = is_refused or (name == VICTIM and "newer" in str(error))
        if _count(life, "oase_agent_collections_total", setting=name, outcome="internal"):
            faults.append(f"{name}: a defect while it was collected")
    faults += _wrong_events(world)
    return Ending(
        [event_id for event_id in _ids(world, VICTIM) if event_id != "foreign"],
        {Path(path): content for path, content in life.disk.content().items()},
        int(_count(life, "oase_agent_spool_damaged_total", setting=VICTIM)),
        faults,
        is_refused,
    )


def _drain(life: Life, name: str, faults: list[str]) -> None:
    figures: QueueFigures | None = None
    for _ in range(_MAX_ROUNDS):
        life.world.now_s += 3
        life.collect(name)
        _account(life.figures(name), name, faults)
        while life.deliver(name) and len(faults) < 5:
            figures = life.figures(name)
            _account(figures, name, faults)
            if not figures.waiting:
                break
        if not life.figures(name).waiting and f"{_FRESH}-{name}" in _ids(life.world, name):
            return
    faults.append(f"{name}: stuck {figures}")


def _account(figures: QueueFigures, name: str, faults: list[str]) -> None:
    if figures.collected != figures.delivered + figures.waiting + figures.dead or figures.dead < 0:
        faults.append(f"{name}: accounting {figures}")


def _ids(world: World, name: str) -> list[str]:
    return [str(event["id"]) for event in world.acceptance.events_of(name)]


def _wrong_events(world: World) -> list[str]:
    """Return a fault for every delivered event that is not exactly one that was made."""
    made = {(name, event["id"]): event for name, events in world.sources.items() for event in events}
    return [
        f"{name}: delivered {event}"
        for name in (VICTIM, BYSTANDER)
        for event in world.acceptance.events_of(name)
        if event["id"] != "foreign"
        and {key: value for key, value in event.items() if not key.startswith("_exastro_")}
        != made.get((name, event["id"]))
    ]


def _count(life: Life, metric: str, **labels: str) -> float:
    return life.telemetry.registry.get_sample_value(metric, labels) or 0


# -- what a case allows -------------------------------------------------------------------------------------


def _batch(line: bytes) -> dict[str, object]:
    try:
        document = json.loads(line)
    except ValueError:
        return {}
    if not isinstance(document, dict) or "seq" not in document:
        return {}
    if "z" in document:
        document["ev"] = json.loads(zlib.decompress(base64.b64decode(document.pop("z"))))
    return document


def hurt_ids(case: Case) -> set[str]:
    """Return the ids of the events whose own batch is not whole any more."""
    if case.file_kind != "out":
        return set()
    return {
        str(event["id"])
        for line in case.hurt_lines
        for event in _batch(line).get("ev", ())  # type: ignore[attr-defined]
    }


def has_left(original: Original, case: Case) -> bool:
    """Tell whether all that was hurt is of batches that have left the queue."""
    if case.file_kind != "out":
        return False
    last = int(case.path.name.split(".")[1].split("-")[1])
    return last <= original.settled


def is_harmless(original: Original, case: Case) -> bool:
    """Tell whether nobody needs to be told."""
    if case.file_kind in {"dead", "tmp", "other"} or has_left(original, case):
        return True
    if case.file_kind == "seen":
        return case.path.name != original.ids_file
    if case.before is None:
        return case.kind == "copy to another name"
    if case.after is None:
        first = int(case.path.name.split(".")[1].split("-")[0])
        return first > original.replayed
    return has_left_in_part(original, case)


def has_left_in_part(original: Original, case: Case) -> bool:
    """Tell whether the lines that were hurt are of batches that have left, while others of the file wait."""
    batches = [_batch(line) for line in case.hurt_lines]
    return bool(batches) and all(int(str(batch.get("seq", 2**62))) <= original.settled for batch in batches)


def faults_of(original: Original, case: Case, ending: Ending) -> Iterator[str]:
    """Yield what a case must not lead to."""
    if case.kind == "newer":
        yield from _faults_of_newer(original, case, ending)
        return
    yield from ending.faults
    expected, hurt = original.ending.arrived, hurt_ids(case)
    times = Counter(ending.arrived)
    may_come_twice = hurt | (set(expected) if case.file_kind == "seen" else set())
    if lost := [event_id for event_id in expected if not times[event_id] and event_id not in hurt]:
        yield f"lost {lost}"
    if twice := [event_id for event_id in times if times[event_id] > 1 and event_id not in may_come_twice]:
        yield f"twice {twice}"
    if strange := set(times) - set(expected):
        yield f"strange {strange}"
    touched = hurt | {event_id for event_id in times if times[event_id] > 1}
    if [event_id for event_id in ending.arrived if event_id not in touched] != [
        event_id for event_id in expected if event_id not in touched
    ]:
        yield f"order {ending.arrived}"
    if not ending.told and not is_harmless(original, case):
        yield "not told"
    if missing := _not_kept(original, case, ending):
        yield f"not kept {missing[:3]}"


def _faults_of_newer(original: Original, case: Case, ending: Ending) -> Iterator[str]:
    if has_left(original, case):
        return
    if not ending.is_refused:
        yield "a newer version was not noticed"
    before = {**original.image.files, case.path: case.after}
    if _but_for_claims(ending.files) != _but_for_claims(before):
        yield "files of a newer version were touched"
    yield from (fault for fault in ending.faults if fault.startswith(BYSTANDER))


def _but_for_claims(files: Mapping[Path, bytes | None]) -> dict[Path, bytes | None]:
    """Return the files of the setting without the empty ones by which an owner claims it."""
    return {
        path: content
        for path, content in files.items()
        if path.is_relative_to(HOME) and path.parent.name != OWNER_DIRECTORY
    }


def _not_kept(original: Original, case: Case, ending: Ending) -> list[bytes]:
    """Return the damaged lines that are nowhere any more, although nobody knows that they are not needed."""
    is_needless = case.file_kind == "tmp" or has_left(original, case)
    is_needless = is_needless or case.path.parent.name == OWNER_DIRECTORY
    if case.file_kind == "seen":
        is_needless = case.path.name != original.ids_file
    is_needless = is_needless or has_left_in_part(original, case) or case.kind == "copy to another name"
    if case.after is None or is_needless:
        return []
    kept = [
        content for path, content in ending.files.items() if path.parent.name == "bad" or path == case.path
    ]
    return [line for line in case.strange_lines if not any(line in content for content in kept)]


# -- the tests ----------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Tally:
    """What the cases came to."""

    kinds: Counter[str] = field(default_factory=Counter)
    lost: int = 0
    twice: int = 0
    told: int = 0
    compressed: int = 0


def test_p6_damage_of_any_kind_loses_only_what_is_damaged_and_stops_nothing(
    loop: asyncio.AbstractEventLoop, count: Callable[[str, object], None]
) -> None:
    tally = Tally()
    found: dict[str, list[str]] = {}
    for seed in range(IMAGES):
        original = Original.of(draw_image(seed, loop), loop)
        assert original.ending.faults == []
        tally.compressed += sum(content.count(b'"z":"') for content in original.image.files.values())
        for number, case in enumerate(draw_cases(original.image, random.Random(seed), CASES_PER_IMAGE)):
            disk = original.image.disk()
            case.apply(disk)
            # The other setting costs as much again: it is looked at where it matters, and now and then.
            others = [BYSTANDER] if case.kind == "newer" or number % 8 == 0 else []
            ending = live_on(original.image.new_world(), disk, loop, VICTIM, *others)
            if faults := list(faults_of(original, case, ending)):
                found[f"{seed}/{number}: {case.kind}, {case.path.name}"] = faults
            tally.kinds[f"{case.file_kind}: {case.kind}"] += 1
            tally.told += bool(ending.told)
            times = Counter(ending.arrived)
            tally.lost += sum(not times[event_id] for event_id in set(original.ending.arrived))
            tally.twice += sum(count > 1 for count in times.values())

    assert found == {}
    cases = tally.kinds.total()
    assert cases >= 10_000
    assert tally.compressed >= 100
    count(
        "damaged files",
        f"{cases} of {len(tally.kinds)} kinds, {tally.told} told, "
        f"{tally.lost} events lost with their batch, {tally.twice} twice with their id lost",
    )


@pytest.mark.parametrize("is_directory", [False, True])
def test_p6_what_is_damaged_is_kept_although_something_else_has_the_name_of_its_place(
    loop: asyncio.AbstractEventLoop, *, is_directory: bool
) -> None:
    image = draw_image(3, loop)
    disk = image.disk()
    damaged = max(path for path in image.files if path.name.startswith("state.") and path.parent == HOME)
    disk.put(damaged, b"damaged")
    disk.put(HOME / "bad" / damaged.name if is_directory else HOME / "bad", b"not ours")

    ending = live_on(image.new_world(), disk, loop, VICTIM)

    assert ending.faults == []
    assert [path for path, content in ending.files.items() if content == b"damaged"] == [
        HOME / "bad" / f"{damaged.name}.2" if is_directory else HOME / "bad.2" / damaged.name
    ]
    assert b"not ours" in ending.files.values()
