"""How much and how often: the size of a POST, the gate of the whole workspace, and waits between attempts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oase_agent.deliver.gate import Gate
from oase_agent.deliver.post_limit import PostLimit
from oase_agent.errors import Reason, WorkspaceUnavailable
from oase_agent.retry import MIN_DELAY_S, RetryPolicy

KIB = 1024


def away(retry_after_s: float | None = None) -> WorkspaceUnavailable:
    return WorkspaceUnavailable("away", Reason.SERVER_ERROR, retry_after_s=retry_after_s)


# -- the size of a POST -------------------------------------------------------------------------------------


def test_a_refused_size_is_halved_for_good() -> None:
    limit = PostLimit(512 * KIB)

    limit.refused(400 * KIB)
    for _ in range(20):
        limit.accepted(limit.bytes)

    assert limit.bytes == 200 * KIB


def test_a_cut_connection_lowers_the_size_for_a_while() -> None:
    limit = PostLimit(512 * KIB)

    limit.cut(512 * KIB)
    limit.cut(256 * KIB)
    assert limit.bytes == 128 * KIB

    limit.accepted(128 * KIB)
    limit.accepted(250 * KIB)
    limit.accepted(500 * KIB)
    assert limit.bytes == 512 * KIB


def test_small_requests_that_are_taken_prove_nothing_about_large_ones() -> None:
    limit = PostLimit(512 * KIB)
    limit.cut(200 * KIB)

    for _ in range(10):
        limit.accepted(10 * KIB)

    assert limit.bytes == 100 * KIB


@given(
    st.lists(st.tuples(st.sampled_from(["refused", "cut", "accepted"]), st.integers(1, 2**21)), max_size=40)
)
def test_the_size_stays_between_a_floor_and_what_the_operator_allows(story: list[tuple[str, int]]) -> None:
    limit = PostLimit(512 * KIB)
    for act, size in story:
        getattr(limit, act)(size)
        assert 4 * KIB <= limit.bytes <= 512 * KIB


# -- the gate -----------------------------------------------------------------------------------------------


def test_the_gate_closes_for_longer_each_time_and_one_success_opens_it() -> None:
    gate = Gate(RetryPolicy(), lambda: 0.999999)
    now, waits = 100.0, []
    for _ in range(8):
        gate.close(away(), now)
        waits.append(round(gate.seconds_closed(now)))
        now += waits[-1]

    assert waits == [2, 4, 8, 16, 32, 60, 60, 60]
    assert isinstance(gate.closed_by, WorkspaceUnavailable)
    gate.open()
    assert gate.seconds_closed(now) == 0
    assert str(gate.closed_by) == "None"
    gate.close(away(), now)
    assert round(gate.seconds_closed(now)) == 2


def test_requests_that_fail_together_count_as_one_failure() -> None:
    # Four lanes learn of one outage at once.
    gate = Gate(RetryPolicy(), lambda: 0.999999)

    for _ in range(4):
        gate.close(away(), 100.0)

    assert round(gate.seconds_closed(100.0)) == 2


def test_the_gate_never_opens_before_the_workspace_wishes() -> None:
    gate = Gate(RetryPolicy(), lambda: 0.0)

    gate.close(away(retry_after_s=40.0), 100.0)

    assert 40 <= gate.seconds_closed(100.0) <= 43


# -- waits --------------------------------------------------------------------------------------------------


@given(
    attempt=st.integers(1, 10_000),
    chance=st.floats(0, 1, exclude_max=True),
    first=st.floats(0.1, 10),
    cap=st.floats(10, 100),
)
def test_a_wait_is_drawn_between_the_least_and_a_bound_that_doubles(
    attempt: int, chance: float, first: float, cap: float
) -> None:
    policy = RetryPolicy(first_s=first, cap_s=cap)

    delay = policy.delay_s(attempt, None, lambda: chance)

    bound = min(cap, first * 2.0 ** min(attempt - 1, 1000))
    assert MIN_DELAY_S <= delay <= max(bound, MIN_DELAY_S)


@pytest.mark.parametrize(("chance", "expected"), [(0.0, 1.0), (0.5, 4.5), (0.75, 6.25)])
def test_the_jitter_is_full(chance: float, expected: float) -> None:
    assert RetryPolicy().delay_s(3, None, lambda: chance) == expected


@given(attempt=st.integers(1, 100), chance=st.floats(0, 1, exclude_max=True), wish=st.floats(0, 3600))
def test_a_wish_of_the_other_side_is_never_cut_short_and_little_exceeded(
    attempt: int, chance: float, wish: float
) -> None:
    delay = RetryPolicy().delay_s(attempt, wish, lambda: chance)

    assert wish <= delay <= wish + RetryPolicy().first_s


def test_a_wish_beyond_reason_does_not_stop_the_delivery_for_years() -> None:
    assert RetryPolicy().delay_s(1, 999_999_999.0, lambda: 0.5) <= 24 * 3600
