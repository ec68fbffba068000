"""The deliverer over a real client and a simulated workspace: order, pace, and what every answer leads to."""

import asyncio
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from oase_agent.deliver.deliverer import LANES
from oase_agent.errors import Reason
from oase_agent.simulators.faults import Fault
from oase_agent.simulators.workspace import MenuPrivilege
from oase_agent.workspace.wire import EventGroup, events_pieces
from tests.unit.delivery_stage import AGENT, START, Stage, staged

KIB = 1024


def ids(prefix: str, count: int) -> list[str]:
    return [f"{prefix}{number}" for number in range(count)]


def plan(stage: Stage, fault: Fault) -> None:
    """Let the first request, which asks for the position, pass, and what follows meet a fault."""
    stage.workspace.faults.add(Fault.slow(endpoint="events"))
    stage.workspace.faults.add(fault)


def group_times(stage: Stage, name: str) -> list[int]:
    return [time for post in stage.workspace.data_posts for setting, time, _ in post if setting == name]


# -- the usual way ------------------------------------------------------------------------------------------


async def test_what_waits_arrives_once_and_in_order(tmp_path: Path) -> None:
    async with staged(tmp_path, "web") as stage:
        for number in range(5):
            stage.collect("web", *ids(f"{number}-", 3))
        async with stage.running():
            await stage.settled("web")

        assert stage.workspace.ids_of("web") == [f"{a}-{b}" for a in range(5) for b in range(3)]
        assert stage.account("web") == (15, 15, 0, 0)
        times = group_times(stage, "web")
        assert times == sorted(set(times))


async def test_what_is_collected_meanwhile_is_delivered_at_once(tmp_path: Path) -> None:
    async with staged(tmp_path, "web") as stage, stage.running():
        for number in range(3):
            stage.collect("web", str(number))
            await stage.settled("web")

        assert stage.workspace.ids_of("web") == ["0", "1", "2"]


async def test_several_settings_go_in_one_request(tmp_path: Path) -> None:
    async with staged(tmp_path, "a", "b", "c") as stage:
        for name in "abc":
            stage.collect(name, f"{name}1", f"{name}2")
            stage.collect(name, f"{name}3")
        async with stage.running():
            await stage.settled("a", "b", "c")

        assert stage.workspace.probes == [["a", "b", "c"]]
        [post] = stage.workspace.data_posts
        assert [(name, events) for name, _, events in post] == [
            (name, events) for name in "abc" for events in (2, 1)
        ]


async def test_a_request_is_never_larger_than_allowed_unless_one_batch_is(tmp_path: Path) -> None:
    async with staged(tmp_path, "a", "b", max_post_bytes=8 * KIB) as stage:
        for name in "ab":
            for number in range(12):
                stage.collect(name, f"{name}{number}", pad=1500 + 300 * (number % 3))
        stage.collect("a", "large", pad=20 * KIB)
        async with stage.running():
            await stage.settled("a", "b")

        sizes = sorted(stage.workspace.sizes)
        assert sizes[-2] <= 8 * KIB
        assert 20 * KIB < sizes[-1] < 21 * KIB
        assert stage.workspace.count() == 25


async def test_the_position_is_asked_for_before_the_first_data_and_once_in_a_life(tmp_path: Path) -> None:
    async with staged(tmp_path, "web") as stage:
        stage.collect("web", "1")
        async with stage.running():
            await stage.settled("web")
            stage.collect("web", "2")
            await stage.settled("web")
        assert stage.workspace.probes == [["web"]]
        assert stage.workspace.posts[0] == [("web", 1, 0)]

        stage.restart()
        stage.collect("web", "3")
        async with stage.running():
            await stage.settled("web")

        assert stage.workspace.probes == [["web"], ["web"]]
        assert stage.workspace.ids_of("web") == ["1", "2", "3"]


async def test_a_setting_is_never_in_two_requests_at_once_and_four_run_side_by_side(tmp_path: Path) -> None:
    names = [f"s{number}" for number in range(8)]
    async with staged(tmp_path, *names, max_post_bytes=4 * KIB) as stage:
        stage.workspace.latency_s = 0.01
        for name in names:
            for number in range(8):
                stage.collect(name, f"{name}-{number}", pad=2 * KIB)
        async with stage.running():
            await stage.settled(*names)

        assert max(stage.workspace.most_at_once.values()) == 1
        assert stage.workspace.most_requests == LANES
        for name in names:
            assert stage.workspace.ids_of(name) == ids(f"{name}-", 8)


async def test_a_slow_answer_for_one_setting_does_not_hold_up_the_others(tmp_path: Path) -> None:
    async with staged(tmp_path, "slow", "quick") as stage:
        stage.workspace.held["slow"] = asyncio.Event()
        stage.collect("slow", "s1")
        async with stage.running():
            await stage.until(lambda: stage.workspace.under_way["slow"] and stage.workspace.data_posts)
            for number in range(5):
                stage.collect("quick", str(number))
                await stage.settled("quick")
            assert stage.account("slow")[2] == 1
            stage.workspace.held["slow"].set()
            await stage.settled("slow")

        assert stage.workspace.ids_of("slow") == ["s1"]


async def test_a_stop_waits_for_what_is_under_way_and_begins_nothing_new(tmp_path: Path) -> None:
    async with staged(tmp_path, "web") as stage:
        stage.workspace.held["web"] = asyncio.Event()
        stage.collect("web", "1")
        async with stage.running() as deliverer:
            await stage.until(lambda: stage.workspace.data_posts)
            stage.collect("web", "2")
            drained = asyncio.create_task(deliverer.drain(10.0))
            await asyncio.sleep(0)
            stage.workspace.held["web"].set()
            await drained
            assert stage.account("web") == (2, 1, 1, 0)

        assert stage.workspace.ids_of("web") == ["1"]


async def test_a_request_that_is_cut_by_a_stop_is_settled_by_the_next_life(tmp_path: Path) -> None:
    async with staged(tmp_path, "web") as stage:
        stage.collect("web", "1", "2")
        plan(stage, Fault.slow(after_s=30.0, endpoint="events"))
        async with stage.running():
            await stage.until(lambda: stage.workspace.count("web") == 2)
        assert stage.account("web") == (2, 0, 2, 0)

        stage.restart()
        async with stage.running():
            await stage.settled("web")
            # Told when it is durable, a moment after memory knows.
            await stage.until(lambda: stage.witness.resolved_events == 2)

        assert stage.workspace.ids_of("web") == ["1", "2"]
        assert stage.account("web") == (2, 2, 0, 0)


# -- size ---------------------------------------------------------------------------------------------------


async def test_413_halves_the_requests_and_is_remembered(tmp_path: Path) -> None:
    async with staged(tmp_path, "web", max_post_bytes=64 * KIB) as stage:
        stage.workspace.faults.add(Fault.too_large(10 * KIB))
        for number in range(60):
            stage.collect("web", str(number), pad=2 * KIB)
        async with stage.running():
            await stage.settled("web")

        assert stage.workspace.ids_of("web") == [str(number) for number in range(60)]
        refused = [size for size in stage.workspace.sizes if size > 10 * KIB]
        assert 1 <= len(refused) <= 3
        assert stage.workspace.sizes[: 1 + len(refused)][1:] == refused


async def test_413_splits_a_single_batch_down_to_what_passes(tmp_path: Path) -> None:
    async with staged(tmp_path, "web") as stage:
        stage.workspace.faults.add(Fault.too_large(20 * KIB))
        stage.collect("web", *ids("e", 100), pad=KIB)
        async with stage.running():
            await stage.settled("web")

        assert stage.workspace.ids_of("web") == ids("e", 100)
        assert stage.account("web") == (100, 100, 0, 0)


async def test_one_event_that_is_too_large_for_any_request_is_buried_and_delays_nothing_else(
    tmp_path: Path,
) -> None:
    async with staged(tmp_path, "web", "other") as stage:
        stage.workspace.faults.add(Fault.too_large(20 * KIB))
        stage.collect("web", "before")
        stage.collect("web", "huge", pad=40 * KIB)
        stage.collect("web", "after")
        stage.collect("other", "1")
        async with stage.running():
            await stage.settled("web", "other")

        assert stage.workspace.ids_of("web") == ["before", "after"]
        assert stage.dead("web") == ["huge"]
        assert stage.workspace.ids_of("other") == ["1"]


async def test_413_to_small_requests_is_not_answered_with_a_storm(tmp_path: Path) -> None:
    # Below the floor of the limit two small batches still go together, and would be refused again and again.
    async with staged(tmp_path, "web") as stage:
        stage.workspace.faults.add(Fault.too_large(1500))
        for number in range(4):
            stage.collect("web", str(number), pad=700)
        async with stage.running():
            await stage.until(lambda: stage.account("web")[2] == 0 or len(stage.workspace.posts) > 60)

        assert len(stage.workspace.posts) < 60
        assert stage.workspace.ids_of("web") == ["0", "1", "2", "3"]


async def test_cut_connections_make_requests_smaller_for_a_while(tmp_path: Path) -> None:
    async with staged(tmp_path, "web", max_post_bytes=32 * KIB) as stage:
        for number in range(40):
            stage.collect("web", str(number), pad=2 * KIB)
        plan(stage, Fault.reset(endpoint="events", times=2))
        async with stage.running():
            await stage.settled("web")

        assert stage.workspace.ids_of("web") == [str(number) for number in range(40)]
        sizes = stage.workspace.sizes[1:]
        assert min(sizes[1:4]) <= 16 * KIB + 100
        assert max(sizes[4:]) > 16 * KIB
        assert stage.account("web") == (40, 40, 0, 0)


# -- trouble ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [Fault.lost_answer, Fault.cut_answer, Fault.reset, Fault.garbage])
async def test_a_lost_answer_doubles_and_loses_nothing(tmp_path: Path, fault: Callable[..., Fault]) -> None:
    async with staged(tmp_path, "web") as stage:
        stage.collect("web", "1", "2")
        stage.collect("web", "3")
        plan(stage, fault(endpoint="events", times=2))
        async with stage.running():
            await stage.until(lambda: len(stage.workspace.data_posts) >= 2)
            stage.collect("web", "4")
            await stage.settled("web")

        assert stage.workspace.faults.pending == ()
        assert stage.workspace.ids_of("web") == ["1", "2", "3", "4"]
        assert stage.account("web") == (4, 4, 0, 0)
        assert stage.witness.foreign_writers == 0


async def test_500_for_the_content_of_one_setting_delays_only_itself(tmp_path: Path) -> None:
    async with staged(tmp_path, "bad", "good", "fine") as stage:
        stage.workspace.breaks_at = lambda event: event["id"] == "bad"
        stage.collect("bad", "bad")
        stage.collect("good", "1")
        stage.collect("fine", "1")
        async with stage.running() as deliverer:
            for number in range(2, 6):
                await stage.settled("good", "fine")
                stage.collect("good", str(number))
            await stage.settled("good")
            assert stage.account("bad") == (1, 0, 1, 0)
            assert deliverer.away is None
            stage.workspace.breaks_at = lambda _event: False
            await stage.settled("bad")

        assert stage.workspace.ids_of("good") == ["1", "2", "3", "4", "5"]
        assert stage.workspace.ids_of("bad") == ["bad"]


async def test_maintenance_closes_the_gate_and_opens_it_again(tmp_path: Path) -> None:
    async with staged(tmp_path, "a", "b") as stage:
        stage.workspace.maintenance = True
        stage.collect("a", "1")
        stage.collect("b", "1")
        async with stage.running() as deliverer:
            await stage.until(lambda: len(stage.workspace.posts) >= 4)
            reasons = [deliverer.away and deliverer.away.reason]
            assert stage.workspace.most_requests == 1
            stage.workspace.maintenance = False
            await stage.settled("a", "b")
            reasons.append(deliverer.away and deliverer.away.reason)
            assert reasons == [Reason.MAINTENANCE, None]

        assert stage.workspace.count() == 2


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        ("menu", Reason.ROLE_MISSING),
        ("role", Reason.ROLE_MISSING),
        ("organization", Reason.UNKNOWN_ORGANIZATION),
        ("429", Reason.RATE_LIMITED),
        ("503", Reason.SERVER_ERROR),
        ("refused", Reason.UNREACHABLE),
    ],
)
async def test_trouble_of_the_whole_workspace_is_waited_for_and_told(
    tmp_path: Path, trouble: str, reason: Reason
) -> None:
    async with staged(tmp_path, "web") as stage:
        workspace = stage.workspace
        stage.collect("web", "1")
        match trouble:
            case "menu":
                workspace.menu_privilege = MenuPrivilege.READ
            case "role":
                workspace.role_missing = True
            case "organization":
                workspace.organization_id = "another"
            case "refused":
                await workspace.refuse()
            case status:
                workspace.faults.add(Fault.status(int(status), times=None, endpoint="events"))
        async with stage.running() as deliverer:
            await stage.until(lambda: deliverer.away)
            assert deliverer.away is not None
            assert deliverer.away.reason is reason
            assert stage.account("web") == (1, 0, 1, 0)
            workspace.menu_privilege, workspace.role_missing = MenuPrivilege.MAINTAIN, False
            workspace.organization_id = "org001"
            workspace.faults.clear()
            await workspace.resume()
            await stage.settled("web")

        assert workspace.ids_of("web") == ["1"]
        assert stage.account("web") == (1, 1, 0, 0)


async def test_retry_after_is_honoured(tmp_path: Path) -> None:
    async with staged(tmp_path, "web") as stage:
        stage.workspace.faults.add(Fault.status(429, retry_after="1", endpoint="events"))
        stage.collect("web", "1")
        async with stage.running():
            await stage.settled("web")

        first, second = [record.received_at for record in stage.workspace.requests][:2]
        assert second - first >= 1.0


async def test_an_outage_is_met_with_one_request_at_a_time_and_a_wait_after_each(tmp_path: Path) -> None:
    names = [f"s{number}" for number in range(10)]
    async with staged(tmp_path, *names) as stage:
        stage.workspace.faults.add(Fault.status(503, times=None, endpoint="events"))
        for name in names:
            stage.collect(name, "1")
        async with stage.running():
            await stage.until(lambda: len(stage.workspace.posts) >= 8)
            stage.workspace.faults.clear()
            await stage.settled(*names)

        failed = [record.received_at for record in stage.workspace.requests if record.http_status == 503]
        # Waits are at least half of 80 ms once they have grown.
        assert all(later - earlier >= 0.02 for earlier, later in pairwise(failed))
        assert stage.workspace.count() == 10


# -- content ------------------------------------------------------------------------------------------------


async def test_one_poisoned_event_among_settings_is_found_and_the_others_arrive(tmp_path: Path) -> None:
    async with staged(tmp_path, "a", "b", "c") as stage:
        stage.workspace.acceptance.poison = lambda event: event["id"] == "b-13"
        for name in "abc":
            stage.collect(name, *ids(f"{name}-", 20))
        async with stage.running():
            await stage.settled("a", "b", "c")

        assert stage.workspace.ids_of("a") == ids("a-", 20)
        assert stage.workspace.ids_of("c") == ids("c-", 20)
        assert stage.workspace.ids_of("b") == [name for name in ids("b-", 20) if name != "b-13"]
        assert stage.dead("b") == ["b-13"]


async def test_an_unknown_setting_is_asked_for_once_and_then_buried_and_the_others_arrive(
    tmp_path: Path,
) -> None:
    async with staged(tmp_path, "known") as stage:
        stage.collect("known", "1")
        stage.collect("unknown", "1", "2")
        async with stage.running():
            await stage.settled("known", "unknown")

        assert stage.reloads == 1
        assert stage.workspace.ids_of("known") == ["1"]
        assert stage.dead("unknown") == ["1", "2"]
        assert stage.account("unknown") == (2, 0, 0, 2)


async def test_a_setting_that_is_discarded_while_its_events_wait_is_buried(tmp_path: Path) -> None:
    async with staged(tmp_path, "web") as stage:
        stage.collect("web", "1")
        async with stage.running():
            await stage.settled("web")
            stage.workspace.discard("web")
            stage.collect("web", "2")
            await stage.settled("web")

        assert stage.workspace.ids_of("web") == ["1"]
        assert stage.dead("web") == ["2"]
        assert stage.reloads == 1


async def test_a_name_that_the_workspace_learns_meanwhile_loses_nothing(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        stage.collect("late", "1")

        async def reload() -> None:
            stage.add("late")

        stage._reload = reload  # type: ignore[method-assign]
        async with stage.running():
            await stage.settled("late")

        assert stage.workspace.ids_of("late") == ["1"]
        assert stage.account("late") == (1, 1, 0, 0)


# -- who else writes ----------------------------------------------------------------------------------------


def write_as_foreigner(stage: Stage, name: str, group_time: int) -> None:
    body = b"".join(events_pieces([EventGroup(name, group_time, b'[{"id":"foreign"}]')], AGENT))
    body = body.replace(b'"id":"foreign"', b'"id":"foreign","_exastro_oase_event_id":"foreign"')
    status, _ = stage.workspace.acceptance.handle(body)
    assert status == 200


async def test_a_predecessor_with_later_times_is_overtaken(tmp_path: Path) -> None:
    async with staged(tmp_path, "web") as stage:
        write_as_foreigner(stage, "web", START + 900)
        stage.collect("web", "1")
        stage.collect("web", "2")
        async with stage.running():
            await stage.settled("web")

        assert stage.workspace.ids_of("web") == ["foreign", "1", "2"]
        times = group_times(stage, "web")
        assert times[0] > START + 900
        assert stage.witness.foreign_writers == 1


async def test_a_foreign_time_between_our_batches_loses_and_doubles_nothing(tmp_path: Path) -> None:
    async with staged(tmp_path, "web") as stage:
        stage.collect("web", "0")
        async with stage.running():
            await stage.settled("web")
            write_as_foreigner(stage, "web", START + 105)
            stage.workspace.held["web"] = asyncio.Event()
            stage.collect("web", "blocks", fetched_time=START + 101)
            await stage.until(lambda: len(stage.workspace.data_posts) == 2)
            for number, at in enumerate((102, 104, 107, 109)):
                stage.collect("web", str(number + 1), fetched_time=START + at)
            stage.workspace.held["web"].set()
            await stage.settled("web")

        stored = [name for name in stage.workspace.ids_of("web") if name != "foreign"]
        assert sorted(stored) == ["0", "1", "2", "3", "4", "blocks"]
        assert stage.account("web") == (6, 6, 0, 0)
        assert stage.witness.foreign_writers >= 1
        times = group_times(stage, "web")
        accepted = [time for time in times if time > START + 105]
        assert all(earlier <= later for earlier, later in pairwise(accepted))


async def test_a_setting_whose_id_was_never_learned_settles_by_its_position(tmp_path: Path) -> None:
    async with staged(tmp_path, "web", "other") as stage:
        queue = stage.queue("web")
        sighting = queue.sighting()
        assert sighting.is_new("1")
        with queue.collecting(START) as file:
            file.add([b'{"id":"1","_exastro_oase_event_id":"1"}'])
            queue.commit(file, queue.read_cursor(), sighting)
        stage.collect("other", "1", fetched_time=START)
        plan(stage, Fault.lost_answer(endpoint="events", times=3))
        async with stage.running():
            await stage.settled("web", "other")

        assert stage.workspace.ids_of("web") == ["1"]
        assert stage.workspace.ids_of("other") == ["1"]
        assert stage.witness.foreign_writers == 0
