"""Request bytes and addresses (contract 2, 3.1, 3.2)."""

import json

import pytest

from oase_agent.errors import ConfigError
from oase_agent.model import AgentIdentity
from oase_agent.workspace.wire import (
    EMPTY_EVENTS,
    ENVELOPE_BYTES,
    EventGroup,
    WorkspaceAddress,
    events_pieces,
    group_head,
    group_overhead_bytes,
    settings_request,
    size_of,
    token_request,
)

AGENT = AgentIdentity("host-1", "2.7.0")
EVENT = (
    b'[{"id":"1","_exastro_oase_event_id":"1","_exastro_event_collection_settings_name":"a",'
    b'"_exastro_event_collection_settings_id":"id-a","_exastro_fetched_time":1700000010,'
    b'"_exastro_end_time":1700000070}]'
)
# The request as captured from the reference (contract 3.2), without its line breaks.
CAPTURED = (
    b'{"events":[{"fetched_time":1700000010,"event_collection_settings_name":"a",'
    b'"agent":{"name":"host-1","version":"2.7.0"},"event":' + EVENT + b"}]}"
)


def test_a_request_has_the_bytes_that_the_reference_sends() -> None:
    assert b"".join(events_pieces([EventGroup("a", 1700000010, EVENT)], AGENT)) == CAPTURED


def test_the_kept_events_pass_through_as_the_same_object() -> None:
    kept = memoryview(EVENT)
    assert any(piece is kept for piece in events_pieces([EventGroup("a", 1, kept)], AGENT))


def test_several_groups_stand_in_the_given_order() -> None:
    groups = [
        EventGroup("a", 5, b'[{"n":1}]'),
        EventGroup('日本 "x"', 3, EMPTY_EVENTS),
        EventGroup("a", 6, b"[{}]"),
    ]
    agent = {"name": "host-1", "version": "2.7.0"}
    assert json.loads(b"".join(events_pieces(groups, AGENT))) == {
        "events": [
            {"fetched_time": 5, "event_collection_settings_name": "a", "agent": agent, "event": [{"n": 1}]},
            {"fetched_time": 3, "event_collection_settings_name": '日本 "x"', "agent": agent, "event": []},
            {"fetched_time": 6, "event_collection_settings_name": "a", "agent": agent, "event": [{}]},
        ]
    }


def test_the_size_counts_bytes_of_bytes_and_memory_views() -> None:
    groups = [EventGroup("名前", 1, memoryview(EVENT)), EventGroup("b", 2, EVENT)]
    pieces = events_pieces(groups, AGENT)
    assert size_of(pieces) == len(b"".join(pieces))


@pytest.mark.parametrize("time", [1, 1700000010, 2**63 - 1])
@pytest.mark.parametrize("count", [1, 2, 5])
def test_the_planned_size_is_an_upper_bound_and_a_close_one(time: int, count: int) -> None:
    groups = [EventGroup("名前", time, EVENT)] * count
    planned = ENVELOPE_BYTES + count * (group_overhead_bytes("名前", AGENT) + len(EVENT))
    actual = size_of(events_pieces(groups, AGENT))
    assert actual <= planned <= actual + 20 * count


def test_the_head_ends_where_the_events_begin() -> None:
    assert group_head("a", 7, AGENT) == (
        b'{"fetched_time":7,"event_collection_settings_name":"a","agent":{"name":"host-1","version":"2.7.0"},"event":'
    )


def test_settings_are_asked_for_by_name() -> None:
    assert settings_request(["n1", "名前"]) == '{"event_collection_settings_names":["n1","名前"]}'.encode()


def test_the_token_form_is_the_refresh_grant_without_a_scope() -> None:
    assert token_request("org001", "a+b/c=&x") == (
        b"client_id=_org001-api&grant_type=refresh_token&refresh_token=a%2Bb%2Fc%3D%26x"
    )


@pytest.mark.parametrize("base", ["https://exastro.example:8443/x", "https://exastro.example:8443/x/"])
def test_addresses_are_built_with_and_without_a_slash_at_the_end(base: str) -> None:
    address = WorkspaceAddress(base, "org001", "ws01")
    api = "https://exastro.example:8443/x/api/org001/workspaces/ws01/oase_agent"
    assert address.settings_url == f"{api}/event_collection/settings"
    assert address.events_url == f"{api}/events"
    assert (
        address.token_url == "https://exastro.example:8443/x/auth/realms/org001/protocol/openid-connect/token"
    )


@pytest.mark.parametrize(
    "base",
    [
        "exastro.example",
        "ftp://exastro.example",
        "https://",
        "https://host:port",
        "https://user:canary@host",
        "https://host/?canary=1",
        "https://host/#canary",
        "https://[canary",
    ],
)
def test_a_base_url_that_is_none_is_refused_without_showing_it(base: str) -> None:
    with pytest.raises(ConfigError, match="EXASTRO_URL") as caught:
        WorkspaceAddress(base, "org001", "ws01")
    assert "canary" not in str(caught.value)


def test_a_group_does_not_print_its_events() -> None:
    assert "id-a" not in repr(EventGroup("a", 1, EVENT))
