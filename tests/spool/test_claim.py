"""A queue that another process took over: it writes nothing that counts, sends nothing and removes nothing."""

import contextlib
import json
import shutil
import zlib
from pathlib import Path

import pytest

from oase_agent.disk import Disk
from oase_agent.errors import OwnershipLost, Reason, SpoolUnavailable
from oase_agent.spool.claim import claim, confirm
from oase_agent.spool.packing import PackLimits
from tests.spool.queue_stage import (
    ENOUGH_BYTES,
    SETTING,
    Clock,
    FailingDisk,
    Witness,
    account_of,
    collect,
    files_in,
    open_queue,
    waiting_ids,
)


def claims_in(directory: Path) -> list[str]:
    return sorted(path.name for path in (directory / SETTING / "owner").iterdir())


def test_every_opening_claims_a_higher_epoch_and_the_older_claims_go(tmp_path: Path) -> None:
    for expected in ["000001", "000002", "000003"]:
        open_queue(tmp_path, Clock()).open()
        assert claims_in(tmp_path) == [expected]


def test_a_claim_is_above_the_files_whose_claim_a_power_cut_took(tmp_path: Path) -> None:
    assert claim(Disk(), tmp_path, above=41) == 42


def test_two_processes_that_claim_at_once_get_different_epochs(tmp_path: Path) -> None:
    class Late(Disk):
        """Lists what was there before the other process claimed."""

        def names(self, directory: Path) -> list[str]:
            return []

    first, second = claim(Disk(), tmp_path, above=0), claim(Late(), tmp_path, above=0)

    assert (first, second) == (1, 2)
    confirm(Disk(), tmp_path, "web", second)
    with pytest.raises(OwnershipLost):
        confirm(Disk(), tmp_path, "web", first)


def test_a_queue_that_was_taken_over_says_so_once_and_is_of_no_use_any_more(tmp_path: Path) -> None:
    told: list[OwnershipLost] = []
    queue = open_queue(tmp_path, Clock(), on_taken_over=lambda _name, error: told.append(error))
    collect(queue, "a")
    [batch] = queue.peek(0)
    open_queue(tmp_path, Clock()).open()

    for _ in range(2):
        with pytest.raises(OwnershipLost, match="nolock"):
            queue.before_sending(batch)
    with pytest.raises(SpoolUnavailable) as caught:
        collect(queue, "b")

    assert caught.value.reason is Reason.NOT_OWNER
    assert len(told) == 1


def test_an_error_does_not_let_a_former_owner_take_the_setting_back(tmp_path: Path) -> None:
    disk = FailingDisk()
    queue = open_queue(tmp_path, Clock(), disk)
    collect(queue, "a")
    owner = open_queue(tmp_path, Clock())
    owner.open()
    disk.arm(1)

    with pytest.raises(SpoolUnavailable):
        queue.former_agent_may_have_sent()
    with pytest.raises(OwnershipLost):
        queue.open()

    assert waiting_ids(owner) == ["a"]


@pytest.mark.parametrize("nth", range(1, 12))
def test_an_error_while_opening_does_not_make_our_own_claim_look_like_another(
    tmp_path: Path, nth: int
) -> None:
    disk = FailingDisk()
    queue = open_queue(tmp_path, Clock(), disk)
    collect(queue, "a")
    disk.arm(1)
    with pytest.raises(SpoolUnavailable):
        queue.former_agent_may_have_sent()
    disk.arm(nth)

    with contextlib.suppress(SpoolUnavailable):
        queue.open()
    disk.disarm()

    assert waiting_ids(queue) == ["a"]


def test_a_former_owner_removes_nothing_that_the_new_one_still_has_in_its_queue(tmp_path: Path) -> None:
    former = open_queue(tmp_path, Clock())
    for letter in "abc":
        collect(former, letter)
    sent = former.peek(ENOUGH_BYTES)
    owner = open_queue(tmp_path, Clock())
    owner.open()

    with pytest.raises(OwnershipLost):
        former.settle(sent)

    assert waiting_ids(owner) == ["a", "b", "c"]
    owner.settle(owner.peek(ENOUGH_BYTES))
    assert account_of(owner) == (3, 3, 0, 0)


def test_what_a_former_owner_commits_late_is_set_aside_and_told(tmp_path: Path) -> None:
    former = open_queue(tmp_path, Clock(), batch_events=1)
    collect(former, "a")
    collect(former, "b", "c")
    [_, late] = files_in(tmp_path, "out")
    kept = late.read_bytes()
    late.unlink()
    owner = open_queue(tmp_path, Clock(), batch_events=1)
    collect(owner, "d")
    late.write_bytes(kept)
    witness = Witness()

    again = open_queue(tmp_path, Clock(), telemetry=witness)

    assert waiting_ids(again) == ["a", "d"]
    assert [path.name for path in (tmp_path / SETTING / "bad").iterdir()] == [late.name]
    assert ["former owner" in trouble for trouble in witness.damages] == [True]


FEW = PackLimits(start_files=8, run_files=4)


def test_a_former_owner_packs_nothing(tmp_path: Path) -> None:
    former = open_queue(tmp_path, Clock(), packing=FEW)
    for number in range(20):
        collect(former, f"{number}")
    owner = open_queue(tmp_path, Clock(), packing=FEW)
    owner.open()
    before = files_in(tmp_path, "out")

    with pytest.raises(OwnershipLost):
        former.pack()

    assert files_in(tmp_path, "out") == before


def test_packs_of_two_owners_that_overlap_count_every_batch_once(tmp_path: Path) -> None:
    here, elsewhere = tmp_path / "here", tmp_path / "elsewhere"
    queue = open_queue(here, Clock())
    for number in range(20):
        collect(queue, f"{number}")
    shutil.copytree(here, elsewhere)
    former = open_queue(elsewhere, Clock(), packing=FEW)
    assert former.pack()
    late = files_in(elsewhere, "out")[-1]
    open_queue(here, Clock()).open()
    owner = open_queue(here, Clock(), packing=FEW)
    owner.settle(owner.peek(0))
    for number in range(20, 25):
        collect(owner, f"{number}")
    assert owner.pack()
    # The former owner froze as it was about to give its pack a name.
    shutil.copy(late, here / SETTING)

    again = open_queue(here, Clock(), telemetry=Witness())

    collected, delivered, waiting, dead = account_of(again)
    assert (collected, delivered + waiting, dead) == (25, 25, 0)
    assert waiting_ids(again) == [f"{number}" for number in range(25 - waiting, 25)]


def test_a_queue_whose_claim_is_gone_claims_again_before_it_sends(tmp_path: Path) -> None:
    queue = open_queue(tmp_path, Clock())
    collect(queue, "a")
    [batch] = queue.peek(0)
    shutil.rmtree(tmp_path / SETTING / "owner")

    with pytest.raises(SpoolUnavailable) as caught:
        queue.before_sending(batch)
    queue.before_sending(batch)

    assert caught.value.reason is Reason.DISK
    assert claims_in(tmp_path) == ["000002"]


def test_a_checkpoint_of_before_there_was_a_seal_is_read(tmp_path: Path) -> None:
    collect(open_queue(tmp_path, Clock()), "a", "b")
    for path in files_in(tmp_path, "state"):
        document = json.loads(path.read_bytes()[: -len("\n#crc32=00000000\n")])
        del document["checkpoint"]["1"]["seal"]
        text = json.dumps(document).encode()
        path.write_bytes(text + b"\n#crc32=%08x\n" % zlib.crc32(text))
    witness = Witness()

    queue = open_queue(tmp_path, Clock(), telemetry=witness)

    assert waiting_ids(queue) == ["a", "b"]
    assert account_of(queue) == (2, 0, 2, 0)
    assert witness.damages == []
