"""Replicas without a shared volume: the cursor travels in the claim, and what was left behind arrives later."""

from pathlib import Path

from tests.replicas.own_volumes import OwnVolumesStage, own_volumes_stage
from tests.replicas.replica_stage import Replica

LEASE_S = 5.0


def write_everywhere(stage: OwnVolumesStage, lines: int) -> None:
    for name in stage.sources:
        stage.write(name, lines)


async def delivering(stage: OwnVolumesStage, volume: str) -> Replica:
    """Return a first replica that owns everything and has delivered something of it."""
    replica = await stage.start_on(volume)
    await stage.shared_by(replica)
    write_everywhere(stage, 5)
    await stage.everything_arrives(30)
    return replica


async def test_a_killed_owner_delivers_what_it_left_when_it_returns(tmp_path: Path) -> None:
    async with own_volumes_stage(tmp_path, settings=3, lease_s=LEASE_S) as stage:
        first = await delivering(stage, "a")
        stage.workspace_is_away()
        before = stage.counted()
        write_everywhere(stage, 10)
        await stage.carried_beyond(before)
        await stage.kill(first)

        second = await stage.start_on("b")
        await stage.shared_by(second)
        stage.workspace_is_back()
        write_everywhere(stage, 10)
        await stage.arrived(15)
        assert stage.lost_and_doubled() == (3 * 10, 0)

        first = await stage.start_on("a")
        await stage.everything_arrives(30)
        await stage.shared_by(first, second)
        write_everywhere(stage, 10)
        await stage.everything_arrives(30)
        assert stage.lost_and_doubled() == (0, 0)


async def test_what_was_stored_before_the_owner_died_is_not_delivered_again(tmp_path: Path) -> None:
    async with own_volumes_stage(tmp_path, settings=3, lease_s=LEASE_S) as stage:
        first = await delivering(stage, "a")
        stage.workspace_loses_answers()
        write_everywhere(stage, 10)
        await stage.arrived(15)
        await stage.kill(first)
        stage.workspace_is_back()

        second = await stage.start_on("b")
        await stage.shared_by(second)
        write_everywhere(stage, 10)
        await stage.everything_arrives(30)

        first = await stage.start_on("a")
        await stage.shared_by(first, second)
        write_everywhere(stage, 10)
        await stage.everything_arrives(30)
        await stage.nothing_is_left(first)
        assert stage.lost_and_doubled() == (0, 0)


async def test_a_setting_with_leftovers_goes_back_until_they_are_delivered(tmp_path: Path) -> None:
    async with own_volumes_stage(tmp_path, settings=3, lease_s=LEASE_S) as stage:
        first = await delivering(stage, "a")
        stage.workspace_is_away()
        before = stage.counted()
        write_everywhere(stage, 10)
        await stage.carried_beyond(before)
        await stage.stop(first)

        second = await stage.start_on("b")
        await stage.shared_by(second)
        write_everywhere(stage, 10)
        # Both have something of every setting, and nothing of it can go.
        await stage.collected(second, 10)
        first = await stage.start_on("a")
        stage.workspace_is_back()
        await stage.everything_arrives(60)
        await stage.shared_by(first, second)
        assert stage.lost_and_doubled() == (0, 0)
