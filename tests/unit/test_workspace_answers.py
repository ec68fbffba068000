"""Every row of the answers table (contract 3.2, design section 6), and the refusals inside an answer 200."""

import json

import pytest

from oase_agent.errors import Reason, RequestTooLarge, WorkspaceRejected, WorkspaceUnavailable
from oase_agent.workspace.answers import (
    DiscardedSetting,
    EventsRefused,
    InvalidSetting,
    NotLatest,
    Refusal,
    UnknownText,
    accepted_data,
    parse_refusals,
    parse_retry_after,
    read_answer,
    refusals_in,
    sort_answer,
)

LEAD = "The events were not saved because"


def invalid(name: str) -> str:
    return f"{LEAD} received data is invalid.(event_collection_settings_name={name!r})"


def discarded(name: str) -> str:
    return f"{LEAD} the settings has been discarded.(event_collection_settings_name={name!r})"


def not_latest(setting_id: str, received: int, latest: int) -> str:
    return (
        f"{LEAD} the fetched_time is not the latest. (event_collection_settings_id:{setting_id}, "
        f"received_fetched_time:{received}, latest fetched_time:{latest})"
    )


@pytest.mark.parametrize(
    ("status", "result", "reason", "certainly_not_stored", "request_only"),
    [
        (401, "401-00001", Reason.ROLE_MISSING, True, False),
        (401, "401-00002", Reason.TOKEN_REFUSED, True, False),
        (401, None, Reason.TOKEN_REFUSED, True, False),
        (403, "403-00001", Reason.ROLE_MISSING, True, False),
        (404, "404-00001", Reason.UNKNOWN_ORGANIZATION, True, False),
        (405, None, Reason.HTTP_STATUS, False, True),
        (407, None, Reason.PROXY, False, False),
        (408, None, Reason.TIMEOUT, False, False),
        (415, None, Reason.HTTP_STATUS, False, True),
        (418, None, Reason.HTTP_STATUS, False, True),
        (429, None, Reason.RATE_LIMITED, False, False),
        (498, "498-00004", Reason.MAINTENANCE, True, False),
        (499, "499-00002", Reason.UNSUPPORTED, True, False),
        (499, "499-09999", Reason.HTTP_STATUS, False, True),
        (500, "500-99999", Reason.SERVER_ERROR, False, True),
        (500, "500-11001", Reason.SERVER_ERROR, False, True),
        (500, "999-99999", Reason.SERVER_ERROR, False, True),
        (502, None, Reason.SERVER_ERROR, False, False),
        (503, None, Reason.SERVER_ERROR, False, False),
        (504, None, Reason.SERVER_ERROR, False, False),
        (200, None, Reason.MALFORMED, False, False),
        (200, "499-01802", Reason.MALFORMED, False, False),
        (204, None, Reason.MALFORMED, False, False),
        (302, None, Reason.REDIRECT, False, False),
        (700, None, Reason.UNKNOWN_ANSWER, False, False),
    ],
)
def test_an_answer_that_says_nothing_about_the_content_waits(
    status: int, result: str | None, reason: Reason, certainly_not_stored: bool, request_only: bool
) -> None:
    error = sort_answer(status, result, "canary", 7.0)
    assert isinstance(error, WorkspaceUnavailable)
    assert error.reason is reason
    assert error.certainly_not_stored is certainly_not_stored
    assert error.request_only is request_only
    assert error.retry_after_s == 7.0
    assert f"HTTP {status}" in str(error)
    assert "canary" not in str(error)


@pytest.mark.parametrize(
    ("status", "result", "reason"),
    [
        (499, "499-01802", Reason.UNKNOWN_SETTING),
        (499, "499-01803", Reason.CONTENT_REFUSED),
        (400, "400-00002", Reason.CONTENT_REFUSED),
        (400, None, Reason.CONTENT_REFUSED),
    ],
)
def test_content_that_is_refused_is_never_repeated_as_it_is(
    status: int, result: str | None, reason: Reason
) -> None:
    error = sort_answer(status, result, "x" * 600)
    assert isinstance(error, WorkspaceRejected)
    assert error.reason is reason
    assert error.answer == "x" * 500
    assert "xxx" not in str(error)


def test_a_400_that_the_receiver_did_not_write_says_nothing_about_the_content() -> None:
    page = b"<html>The plain HTTP request was sent to HTTPS port</html>"
    with pytest.raises(WorkspaceUnavailable) as caught:
        accepted_data(read_answer(400, page))
    assert caught.value.reason is Reason.HTTP_STATUS


def test_a_request_that_is_too_large_names_the_option() -> None:
    error = sort_answer(413, None)
    assert isinstance(error, RequestTooLarge)
    assert "MAX_POST_BYTES" in str(error)


@pytest.mark.parametrize(
    ("status", "result", "remedy"),
    [
        (401, "401-00001", "role"),
        (401, "401-00002", "EXASTRO_REFRESH_TOKEN"),
        (403, None, "role"),
        (404, None, "EXASTRO_ORGANIZATION_ID"),
        (302, None, "EXASTRO_URL"),
        (200, None, "EXASTRO_URL"),
    ],
)
def test_a_message_names_the_remedy(status: int, result: str | None, remedy: str) -> None:
    assert remedy in str(sort_answer(status, result))


def test_a_result_that_is_no_code_is_not_repeated_in_a_message() -> None:
    assert "canary" not in str(sort_answer(500, "canary"))


def test_an_unknown_setting_carries_the_refusals_of_its_message() -> None:
    message = f"保存可能なeventsデータがありません。（{invalid('zz')}, {not_latest('id-a', 1, 1700000010)}）"
    error = sort_answer(499, "499-01802", message)
    assert isinstance(error, EventsRefused)
    assert error.refusals == (InvalidSetting("zz"), NotLatest("id-a", 1, 1700000010))


def test_the_data_of_a_success_is_given_back() -> None:
    body = json.dumps({"result": "000-00000", "message": "SUCCESS", "ts": "x", "data": ["a", 1]}).encode()
    assert accepted_data(read_answer(200, body)) == ["a", 1]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>login</html>",
        b'{"result":"000-00000","data":[',
        b"[]",
        b'"text"',
        b'{"data":[]}',
        b'{"result":"000-00000"}',
        b'{"result":"000-00000","data":null}',
        b'{"result":"000-00000","data":{}}',
        b'{"result":"499-01803","message":"x"}',
        b"\xff\xfe",
    ],
)
def test_a_200_that_cannot_be_read_may_have_been_stored(body: bytes) -> None:
    with pytest.raises(WorkspaceUnavailable) as caught:
        accepted_data(read_answer(200, body))
    assert caught.value.reason is Reason.MALFORMED
    assert caught.value.certainly_not_stored is False


def test_problem_json_gives_its_detail_as_answer() -> None:
    body = b'{"detail":"None is not of type \'integer\'","status":400,"title":"Bad Request","type":"about:blank"}'
    with pytest.raises(EventsRefused) as caught:
        accepted_data(read_answer(400, body))
    assert caught.value.answer == "None is not of type 'integer'"


@pytest.mark.parametrize(
    ("text", "refusal"),
    [
        # As the contract prints them.
        (
            "The events were not saved because received data is invalid.(event_collection_settings_name='zz')",
            InvalidSetting("zz"),
        ),
        (
            "The events were not saved because the settings has been discarded."
            "(event_collection_settings_name='N')",
            DiscardedSetting("N"),
        ),
        (
            "The events were not saved because the fetched_time is not the latest. "
            "(event_collection_settings_id:4a78-1, received_fetched_time:5, latest fetched_time:1700000010)",
            NotLatest("4a78-1", 5, 1700000010),
        ),
        (invalid("it's (new)')"), InvalidSetting("it's (new)')")),
        (invalid("both ' and \" and \\"), InvalidSetting("both ' and \" and \\")),
        (invalid("全角\u3000空白"), InvalidSetting("全角\u3000空白")),
        (invalid(f"{LEAD} a name"), InvalidSetting(f"{LEAD} a name")),
        (discarded("'), (x"), DiscardedSetting("'), (x")),
        (discarded("line\nbreak"), DiscardedSetting("line\nbreak")),
        # Not escaped, as another version might write it.
        (
            f"{LEAD} received data is invalid.(event_collection_settings_name='it's (new)')",
            InvalidSetting("it's (new)"),
        ),
        (
            f"{LEAD} received data is invalid.(event_collection_settings_name='C:\\x')",
            InvalidSetting("C:\\x"),
        ),
        (not_latest("id", -1, 9_223_372_036_854_775_807), NotLatest("id", -1, 9_223_372_036_854_775_807)),
        (f"{invalid('a')} and more", UnknownText(f"{invalid('a')} and more")),
        (not_latest("id", 1, 10**30), UnknownText(not_latest("id", 1, 10**30))),
        ("something new", UnknownText("something new")),
        ("", UnknownText("")),
        ("y" * 600, UnknownText("y" * 500)),
        (f"{LEAD} {'y' * 600}", UnknownText(f"{LEAD} {'y' * 600}"[:500])),
    ],
)
def test_a_text_is_understood(text: str, refusal: Refusal) -> None:
    assert parse_refusals([text]) == (refusal,)


def test_each_element_gives_one_refusal_in_order() -> None:
    data = [invalid("a"), {"canary": 1}, None, discarded("b")]
    assert parse_refusals(data) == (
        InvalidSetting("a"),
        UnknownText("not a text but dict"),
        UnknownText("not a text but NoneType"),
        DiscardedSetting("b"),
    )
    assert parse_refusals([]) == ()


def test_texts_are_found_inside_a_message_whatever_the_names_hold() -> None:
    texts = [
        invalid("it's (new)"),
        discarded("', x'"),
        not_latest("id-a", 1, 2),
        f"{LEAD} of something new.",
        invalid(f"{LEAD} "),
    ]
    (unknown,) = (f"{LEAD} of something new., ",)
    assert refusals_in(f"No event data.({', '.join(texts)})") == (
        InvalidSetting("it's (new)"),
        DiscardedSetting("', x'"),
        NotLatest("id-a", 1, 2),
        UnknownText(unknown),
        InvalidSetting(f"{LEAD} "),
    )
    assert refusals_in("nothing of the kind") == ()


def test_unescaped_names_inside_a_message_end_at_their_own_text() -> None:
    plain = f"{LEAD} received data is invalid.(event_collection_settings_name='it's')"
    assert refusals_in(f"x({plain}, {plain})") == (InvalidSetting("it's"), InvalidSetting("it's"))


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("120", 120.0),
        (" 0 ", 0.0),
        ("Fri, 20 Nov 2026 08:00:30 GMT", 30.0),
        ("Fri, 20 Nov 2026 07:00:00 GMT", 0.0),
        ("-5", None),
        ("1e9", None),
        ("9" * 400, None),
        ("soon", None),
        ("", None),
    ],
)
def test_retry_after_holds_seconds_or_a_date(header: str | None, seconds: float | None) -> None:
    assert parse_retry_after(header, 1795161600.0) == seconds
