"""What headers say about asking again, in every form in which sources are known to say it."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oase_agent.sources.rate_limits import host_pause_s, is_exhausted, retry_after_s, wanted_pause_s

NOW_S = 1_700_000_000.0  # Tue, 14 Nov 2023 22:13:20 GMT


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("120", 120.0),
        (" 0 ", 0.0),
        ("1.5", 1.5),
        ("Tue, 14 Nov 2023 22:14:20 GMT", 60.0),
        ("Tue, 14 Nov 2023 22:14:20 -0000", 60.0),
        ("2023-11-14T22:14:20Z", 60.0),
        ("Tue, 14 Nov 2023 22:00:00 GMT", 0.0),
        (None, None),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("9" * 5000, None),
        ("Tue, 99 Nov 2023 22:14:20 GMT", None),
        ("0001-01-01T00:00:00+23:00", 0.0),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str | None, expected: float | None) -> None:
    assert retry_after_s(value, NOW_S) == expected


@pytest.mark.parametrize(
    "headers",
    [
        {"RateLimit-Remaining": "0", "RateLimit-Reset": "30"},
        {"RateLimit": "limit=10, remaining=0, reset=30"},
        {"RateLimit": '"default";r=0;t=30'},
        {"RateLimit": '"a, b;r=9";r=0;t=30;pk=:cHsdsRa894==:, "day";r=500;t=9000'},
        {"RateLimit": '"burst";r=0;t=2, "day";r=0;t=30'},
        {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "30"},
        {"X-RateLimit-Remaining": "0, 0;w=60", "X-RateLimit-Reset": "30"},
        {"X-RateLimit-Remaining": "-1", "X-RateLimit-Reset": "30"},
        {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1700000030"},
        {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "Tue, 14 Nov 2023 22:13:50 GMT"},
        {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "2023-11-14T22:13:50+00:00"},
        {"X-Rate-Limit-Remaining": "0", "X-Rate-Limit-Reset": "30"},
    ],
)
def test_a_limit_that_is_used_up_wants_a_pause_until_its_reset(headers: Mapping[str, str]) -> None:
    assert wanted_pause_s(200, headers, NOW_S) == 30.0
    assert host_pause_s(200, headers, NOW_S) == 30.0
    assert is_exhausted(headers)


def test_an_epoch_time_may_be_in_milliseconds() -> None:
    headers = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1700000001500"}
    assert wanted_pause_s(200, headers, NOW_S) == 1.5


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"RateLimit-Reset": "30"},
        {"RateLimit-Remaining": "0"},
        {"RateLimit-Remaining": "1", "RateLimit-Reset": "30"},
        {"RateLimit": '"default";r=1;t=30'},
        {"RateLimit": "limit=10, remaining=1, reset=30"},
        {"RateLimit": "t=30"},
        {"X-RateLimit-Remaining": "none", "X-RateLimit-Reset": "30"},
        {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "tomorrow"},
        {"RateLimit-Policy": '"default";q=0;w=60'},
    ],
)
def test_a_limit_that_is_not_used_up_wants_nothing(headers: Mapping[str, str]) -> None:
    assert wanted_pause_s(200, headers, NOW_S) is None
    assert host_pause_s(200, headers, NOW_S) == 0.0


def test_429_wants_a_pause_until_the_reset_even_if_it_does_not_say_what_remains() -> None:
    assert host_pause_s(429, {"X-RateLimit-Reset": "30"}, NOW_S) == 30.0
    # Something remains, so it is another limit that was hit, of which nothing is known.
    assert wanted_pause_s(429, {"X-RateLimit-Remaining": "7", "X-RateLimit-Reset": "3000"}, NOW_S) is None


def test_retry_after_is_believed_before_any_limit() -> None:
    headers = {"Retry-After": "5", "RateLimit": '"default";r=0;t=3600'}
    assert wanted_pause_s(429, headers, NOW_S) == 5.0


@pytest.mark.parametrize(
    ("status", "pause_s"),
    [(200, 7.0), (304, 7.0), (429, 7.0), (503, 7.0), (404, 0.0), (500, 0.0), (302, 0.0)],
)
def test_retry_after_is_for_the_whole_host_with_some_statuses_only(status: int, pause_s: float) -> None:
    assert wanted_pause_s(status, {"Retry-After": "7"}, NOW_S) == 7.0
    assert host_pause_s(status, {"Retry-After": "7"}, NOW_S) == pause_s


def test_403_with_a_limit_that_is_used_up_is_for_the_whole_host() -> None:
    assert host_pause_s(403, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "30"}, NOW_S) == 30.0


def test_times_are_read_by_the_clock_of_who_sent_them() -> None:
    headers = {"Date": "Tue, 14 Nov 2023 22:13:20 GMT", "Retry-After": "Tue, 14 Nov 2023 22:14:20 GMT"}
    our_clock_is_a_day_late_s = NOW_S - 86_400
    assert wanted_pause_s(503, headers, our_clock_is_a_day_late_s) == 60.0


@given(
    st.dictionaries(
        st.sampled_from(["Retry-After", "Date", "RateLimit", "X-RateLimit-Reset", "X-RateLimit-Remaining"]),
        st.text(st.characters(codec="latin-1"), max_size=60)
        | st.from_regex(r'"?[a-z]{0,3}"?;?r=[0-9]{0,20};t=[0-9]{0,20}', fullmatch=True)
        | st.integers().map(str),
    ),
    st.sampled_from([200, 403, 429, 503]),
)
def test_whatever_a_source_sends_is_no_error_and_no_negative_pause(
    headers: dict[str, str], status: int
) -> None:
    assert host_pause_s(status, headers, NOW_S) >= 0
    assert (wanted_pause_s(status, headers, NOW_S) or 0.0) >= 0
