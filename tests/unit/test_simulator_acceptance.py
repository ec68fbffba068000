"""Every row of the answer table of contract 3.2, and its nine consequences, without a network."""

import json
from typing import Any

import pytest

from oase_agent.simulators.acceptance import Acceptance
from oase_agent.simulators.settings_table import SettingsTable, setting_row
from oase_agent.simulators.storable import MAX_EVENT_BYTES

NOW = 1_700_000_000.0
TS = "2023-11-14T22:13:20.000Z"
ID_A = "00000000-0000-0000-0000-00000000000a"
UNKNOWN_TEXT = (
    "The events were not saved because received data is invalid.(event_collection_settings_name='zz')"
)
DISCARDED_TEXT = (
    "The events were not saved because the settings has been discarded.(event_collection_settings_name='old')"
)


class Clock:
    def __init__(self, now_s: float = NOW) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def table() -> SettingsTable:
    table = SettingsTable()
    url = "http://source.example/"
    table.add(setting_row("a", url, EVENT_COLLECTION_SETTINGS_ID=ID_A, TTL=60))
    table.add(setting_row("b", url))
    table.add(setting_row("old", url, DISUSE_FLAG="1"))
    return table


@pytest.fixture
def workspace(table: SettingsTable, clock: Clock) -> Acceptance:
    return Acceptance(table, clock=clock)


def event(event_id: str, **fields: Any) -> dict[str, Any]:
    return {"_exastro_oase_event_id": event_id} | fields


def group(name: str, time: int, *events: dict[str, Any], agent: str = "agent-1") -> dict[str, Any]:
    return {
        "fetched_time": time,
        "event_collection_settings_name": name,
        "agent": {"name": agent, "version": "1"},
        "event": list(events),
    }


def post(workspace: Acceptance, *groups: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    return workspace.handle(json.dumps({"events": groups}).encode())


def accepted(*texts: str) -> tuple[int, dict[str, Any]]:
    return 200, {"result": "000-00000", "message": "SUCCESS", "ts": TS, "data": list(texts)}


def too_old(received: int, latest: int, setting_id: str = ID_A) -> str:
    return (
        "The events were not saved because the fetched_time is not the latest. "
        f"(event_collection_settings_id:{setting_id}, received_fetched_time:{received}, "
        f"latest fetched_time:{latest})"
    )


T = int(NOW)


# --- the answer table ---------------------------------------------------------------------------------------


def test_all_stored_is_answered_with_no_texts(workspace: Acceptance) -> None:
    assert post(workspace, group("a", T, event("1"), event("2"))) == accepted()
    assert workspace.ids_of("a") == ["1", "2"]
    assert workspace.count("a") == workspace.count() == 2
    assert workspace.last_request_groups == 1


def test_refused_groups_are_named_and_the_others_are_stored(workspace: Acceptance) -> None:
    post(workspace, group("b", T + 5, event("0")))
    groups = (
        group("a", T, event("1")),
        group("zz", T + 1, event("2")),
        group("old", T + 2, event("3")),
        group("b", T + 3, event("4")),
    )
    id_b = setting_row("b", "")["EVENT_COLLECTION_SETTINGS_ID"]
    assert post(workspace, *groups) == accepted(UNKNOWN_TEXT, DISCARDED_TEXT, too_old(T + 3, T + 5, id_b))
    assert workspace.counts() == {"a": 1, "b": 1}


def test_only_discarded_or_too_old_groups_are_answered_200_and_not_stored(workspace: Acceptance) -> None:
    post(workspace, group("a", T, event("1")))
    answer = post(workspace, group("a", T, event("2")), group("old", T + 1, event("3")))
    assert answer == accepted(too_old(T, T), DISCARDED_TEXT)
    assert workspace.counts() == {"a": 1}


def test_no_events_at_all_are_answered_200(workspace: Acceptance) -> None:
    assert post(workspace, group("a", T)) == accepted()
    assert workspace.count() == 0


@pytest.mark.parametrize(
    ("addressee", "detail"),
    [
        ({"event_collection_settings_name": "it's"}, 'event_collection_settings_name="it\'s"'),
        ({"event_collection_settings_id": "no-id"}, "event_collection_settings_id='no-id'"),
        (
            {},
            "'event_collection_settings_name' or 'event_collection_settings_id' is a required property"
            " - 'events.0'",
        ),
    ],
)
def test_an_unknown_setting_with_nothing_stored_refuses_the_request(
    workspace: Acceptance, addressee: dict[str, str], detail: str
) -> None:
    status, answer = post(workspace, {"fetched_time": T, "event": [event("1")]} | addressee)
    assert (status, answer["result"]) == (499, "499-01802")
    assert f"The events were not saved because received data is invalid.({detail})" in answer["message"]
    assert "data" not in answer
    assert answer["ts"] == TS


def test_an_unknown_setting_next_to_a_discarded_one_names_both(workspace: Acceptance) -> None:
    status, answer = post(workspace, group("old", T, event("1")), group("zz", T + 1, event("2")))
    assert (status, answer["result"]) == (499, "499-01802")
    assert f"{DISCARDED_TEXT}, {UNKNOWN_TEXT}" in answer["message"]


UNSTORABLE = {
    "integer beyond 64 bits": '{"n":9223372036854775808}',
    "negative integer beyond 64 bits": '{"n":[-9223372036854775809]}',
    "NUL in a key": '{"a":{"x\\u0000y":1}}',
    "lone surrogate in a text": '{"t":["\\ud800"]}',
    "lone surrogate in a key": '{"\\udc00":1}',
}


@pytest.mark.parametrize("bad", UNSTORABLE.values(), ids=UNSTORABLE.keys())
def test_one_unstorable_value_refuses_the_whole_request(workspace: Acceptance, bad: str) -> None:
    groups = [json.dumps(group("b", T, event("1"))), json.dumps(group("a", T)).replace("[]", f"[{bad}]")]
    status, answer = workspace.handle(f'{{"events":[{",".join(groups)}]}}'.encode())
    assert (status, answer["result"]) == (499, "499-01803")
    assert workspace.count() == 0
    assert workspace.progress == {}


def test_unusual_values_that_the_storage_takes_are_stored(workspace: Acceptance) -> None:
    odd = {
        "$x": 2**63 - 1,
        "a.b": -(2**63),
        "": "NUL \0 in a value",
        "t": "\U0001f600",
        "f": 1.5,
        "b": True,
        "digits": "9" * 40,
    }
    assert post(workspace, group("a", T, event("1", **odd))) == accepted()
    assert workspace.events_of("a")[0].items() >= odd.items()


def test_an_event_above_16_mib_is_not_stored(workspace: Acceptance) -> None:
    status, answer = post(workspace, group("a", T, event("1", text="x" * MAX_EVENT_BYTES)))
    assert (status, answer["result"]) == (499, "499-01803")
    assert post(workspace, group("a", T, *(event(str(n), text="x" * 2**20) for n in range(17)))) == accepted()


def test_an_unstorable_value_in_a_refused_group_does_no_harm(workspace: Acceptance) -> None:
    answer = post(workspace, group("old", T, event("1", n=2**70)), group("a", T, event("2")))
    assert answer == accepted(DISCARDED_TEXT)


def test_a_poisoned_event_refuses_the_whole_request(workspace: Acceptance) -> None:
    workspace.poison = lambda one: one.get("poison") is True
    status, answer = post(workspace, group("b", T, event("1")), group("a", T, event("2", poison=True)))
    assert (status, answer["result"]) == (499, "499-01803")
    assert (workspace.count(), workspace.progress) == (0, {})
    assert post(workspace, group("a", T, event("3"))) == accepted()


@pytest.mark.parametrize(
    "body", [b"", b"{", b'{"events":[],}', b'{"x":NaN}', b'"\xff"', b"[" * 100_000], ids=repr
)
def test_what_is_not_json_is_refused(workspace: Acceptance, body: bytes) -> None:
    status, answer = workspace.handle(body)
    assert (status, answer["result"]) == (400, "400-00002")


@pytest.mark.parametrize("body", [b"{}", b'{"events":[]}', b"[]", b"null"])
def test_a_request_without_groups_is_a_system_error(workspace: Acceptance, body: bytes) -> None:
    status, answer = workspace.handle(body)
    assert (status, answer["result"]) == (500, "999-99999")


def test_a_time_in_only_some_groups_is_a_system_error(workspace: Acceptance) -> None:
    status, answer = post(
        workspace,
        group("a", T, event("1")),
        {"event_collection_settings_name": "b", "event": [event("2")]},
    )
    assert (status, answer["result"]) == (500, "999-99999")
    assert workspace.count() == 0


VIOLATIONS: dict[str, dict[str, Any]] = {
    "time as text": {"fetched_time": "1"},
    "time as float": {"fetched_time": 1.0},
    "time as null": {"fetched_time": None},
    "time as bool": {"fetched_time": True},
    "agent null": {"agent": None},
    "agent name null": {"agent": {"name": None, "version": "1"}},
    "agent version null": {"agent": {"name": "a", "version": None}},
    "agent a text": {"agent": "a"},
    "name null": {"event_collection_settings_name": None},
    "id a number": {"event_collection_settings_id": 1},
    "event null": {"event": None},
    "event an object": {"event": {}},
    "event with a text": {"event": [{}, "x"]},
    "event with a list": {"event": [[]]},
}


@pytest.mark.parametrize("fault", VIOLATIONS.values(), ids=VIOLATIONS.keys())
def test_a_schema_violation_refuses_the_whole_request_without_result(
    workspace: Acceptance, fault: dict[str, Any]
) -> None:
    status, answer = post(workspace, group("b", T, event("1")), group("a", T, event("2")) | fault)
    assert status == 400
    assert answer.keys() == {"detail", "status", "title", "type"}
    assert workspace.count() == 0


@pytest.mark.parametrize(
    "body", [b'{"events":{}}', b'{"events":null}', b'{"events":[1]}', b'{"events":[{"fetched_time":1}]}']
)
def test_a_malformed_list_of_groups_violates_the_schema(workspace: Acceptance, body: bytes) -> None:
    status, answer = workspace.handle(body)
    assert (status, "result" in answer) == (400, False)


# --- what is stored -----------------------------------------------------------------------------------------


def test_labels_are_added_only_where_they_are_absent(workspace: Acceptance) -> None:
    own = {
        "_exastro_event_collection_settings_name": "n",
        "_exastro_event_collection_settings_id": "i",
        "_exastro_fetched_time": 7,
        "_exastro_end_time": 8,
    }
    post(workspace, group("a", T, event("1"), event("2", **own)))
    agent = {"_exastro_agent_name": "agent-1", "_exastro_agent_version": "1"}
    assert workspace.events_of("a") == [
        {
            "_exastro_oase_event_id": "1",
            "_exastro_event_collection_settings_name": "a",
            "_exastro_event_collection_settings_id": ID_A,
            "_exastro_fetched_time": T,
            "_exastro_end_time": T + 60,
        }
        | agent,
        event("2", **own) | agent,
    ]


@pytest.mark.parametrize("agent", [None, {}, {"name": "", "version": ""}, {"extra": 1}])
def test_an_agent_without_name_is_called_unknown(workspace: Acceptance, agent: dict[str, Any] | None) -> None:
    sent = group("a", T, event("1"))
    del sent["agent"]
    assert post(workspace, sent if agent is None else sent | {"agent": agent}) == accepted()
    stored = workspace.stored("a")[0]
    assert (stored.agent_name, stored.event["_exastro_agent_version"]) == ("Unknown", "Unknown")
    assert workspace.progress == {(ID_A, "Unknown"): T}


def test_the_name_wins_over_the_id_and_the_id_does_without_a_name(workspace: Acceptance) -> None:
    by_both = group("b", T, event("1")) | {"event_collection_settings_id": ID_A}
    by_id = group("", T, event("2")) | {"event_collection_settings_id": ID_A}
    del by_id["event_collection_settings_name"]
    assert post(workspace, by_both, by_id) == accepted()
    assert (workspace.ids_of("b"), workspace.ids_of("a")) == (["1"], ["2"])


def test_without_any_time_the_servers_time_is_used(workspace: Acceptance) -> None:
    sent = {"event_collection_settings_name": "a", "event": [event("1")]}
    assert post(workspace, sent) == accepted()
    assert workspace.stored("a")[0].group_time == T


def test_only_numbers_are_kept_on_request(table: SettingsTable, clock: Clock) -> None:
    workspace = Acceptance(table, clock=clock, keep_events=False)
    assert post(workspace, group("a", T, event("1"), event("2"))) == accepted()
    assert post(workspace, group("a", T, event("1"))) == accepted(too_old(T, T))
    assert (workspace.counts(), workspace.progress) == ({"a": 2}, {(ID_A, "agent-1"): T})
    with pytest.raises(RuntimeError, match="keep_events=True"):
        workspace.events_of("a")


# --- the fence and its consequences -------------------------------------------------------------------------


def test_consequence_1_a_repeat_after_a_lost_answer_is_refused_and_not_stored_twice(
    workspace: Acceptance,
) -> None:
    request = group("a", T, event("1"))
    assert post(workspace, request) == accepted()
    assert post(workspace, request) == accepted(too_old(T, T))
    assert workspace.ids_of("a") == ["1"]


def test_consequence_2_a_request_that_fails_while_storing_moves_no_progress(workspace: Acceptance) -> None:
    workspace.poison = lambda _one: True
    post(workspace, group("a", T, event("1")))
    workspace.poison = None
    assert post(workspace, group("a", T, event("1"))) == accepted()


def test_consequence_3_older_after_newer_is_refused(workspace: Acceptance) -> None:
    post(workspace, group("a", T, event("2")))
    assert post(workspace, group("a", T - 1, event("1"))) == accepted(too_old(T - 1, T))
    assert workspace.ids_of("a") == ["2"]


def test_consequence_4_parts_with_increasing_times_in_several_requests_are_stored(
    workspace: Acceptance,
) -> None:
    for part in range(3):
        assert post(workspace, group("a", T + part, event(str(part)))) == accepted()
    assert workspace.ids_of("a") == ["0", "1", "2"]


def test_consequence_5_a_clock_that_went_back_is_refused_with_status_200(workspace: Acceptance) -> None:
    post(workspace, group("a", T, event("1")))
    status, answer = post(workspace, group("a", T - 3600, event("2")))
    assert (status, answer["data"]) == (200, [too_old(T - 3600, T)])


def test_consequences_6_and_7_every_agent_name_has_its_own_fence(workspace: Acceptance) -> None:
    post(workspace, group("a", T, event("1")))
    assert post(workspace, group("a", T, event("1"), agent="agent-2")) == accepted()
    assert workspace.ids_of("a") == ["1", "1"]


def test_consequence_8_an_empty_group_reads_the_position_and_stores_nothing(workspace: Acceptance) -> None:
    assert post(workspace, group("a", 1)) == accepted()
    assert workspace.progress == {}
    post(workspace, group("a", T, event("1")))
    probes = [group("a", 1), group("b", 1), group("old", 1)]
    assert post(workspace, *probes) == accepted(too_old(1, T), DISCARDED_TEXT)
    assert workspace.progress == {(ID_A, "agent-1"): T}


def test_consequence_8_an_unknown_name_turns_the_whole_probe_into_a_refusal(workspace: Acceptance) -> None:
    post(workspace, group("a", T, event("1")))
    status, answer = post(workspace, group("a", 1), group("zz", 1))
    assert (status, answer["result"]) == (499, "499-01802")
    assert too_old(1, T) in answer["message"]
    assert UNKNOWN_TEXT in answer["message"]


def test_consequence_9_ascending_groups_of_one_setting_in_one_request_are_all_stored(
    workspace: Acceptance,
) -> None:
    groups = [group("a", T + step, event(str(step))) for step in range(3)]
    assert post(workspace, *groups) == accepted()
    assert workspace.ids_of("a") == ["0", "1", "2"]
    assert post(workspace, group("a", T + 2, event("x"))) == accepted(too_old(T + 2, T + 2))


def test_within_a_request_equal_times_pass_and_the_order_is_that_of_time(workspace: Acceptance) -> None:
    groups = [group("a", T + 1, event("3")), group("a", T, event("1")), group("a", T, event("2"))]
    assert post(workspace, *groups) == accepted()
    assert workspace.ids_of("a") == ["1", "2", "3"]


def test_an_empty_group_alone_may_be_sent_again_at_the_same_time(workspace: Acceptance) -> None:
    assert post(workspace, group("a", T)) == accepted()
    assert post(workspace, group("a", T)) == accepted()


def test_an_empty_group_next_to_a_full_one_uses_up_its_time(workspace: Acceptance) -> None:
    assert post(workspace, group("a", T), group("b", T, event("1"))) == accepted()
    assert post(workspace, group("a", T, event("2"))) == accepted(too_old(T, T))


def test_a_renamed_setting_keeps_its_fence(workspace: Acceptance, table: SettingsTable) -> None:
    post(workspace, group("a", T, event("1")))
    table.rename("a", "new")
    assert post(workspace, group("new", T, event("2"))) == accepted(too_old(T, T))


def test_the_fence_forgets_after_72_hours_when_the_same_setting_stores_again(
    workspace: Acceptance, clock: Clock
) -> None:
    old = T - 72 * 3600 - 1
    post(workspace, group("a", old, event("1")))
    assert workspace.progress == {}
    assert post(workspace, group("a", old, event("1"))) == accepted()
    post(workspace, group("a", old + 1, event("2")))
    assert post(workspace, group("a", old + 1, event("2"))) == accepted(too_old(old + 1, old + 1))


def test_the_fence_can_be_told_never_to_forget(table: SettingsTable, clock: Clock) -> None:
    workspace = Acceptance(table, clock=clock, progress_ttl_s=None)
    post(workspace, group("a", 5, event("1")))
    assert post(workspace, group("a", 5, event("1"))) == accepted(too_old(5, 5))
