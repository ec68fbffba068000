"""Zabbix, asked with the settings that the documents of the product show, by a whole agent."""

import json
import time
from typing import Any

import pytest

from tests.acceptance.stage import Stage
from tests.acceptance.steps import collecting, polls
from tests.peers.monitoring_api import ZabbixApi, documented

TOKEN = "0424bd59b807674191e7d77572075f33"
REASON = "_exastro_not_available"

# The documented PARAMETER, and the one that goes on from the last event.
BY_TIME = """{
    "jsonrpc": "2.0", "method": "problem.get", "id": 1,
    "params": {"time_from": "{{ EXASTRO_LAST_FETCHED_TIMESTAMP }}"}%s
}"""
BY_ID = """{
    "jsonrpc": "2.0",
    "method": "problem.get",
    "params": {
        "output": "extend",
        {% if EXASTRO_LAST_FETCHED_EVENT_IS_EXIST %}
        "eventid_from": "{{ EXASTRO_LAST_FETCHED_EVENT.eventid|int + 1 }}"
        {% else %}
        "time_from": "{{ EXASTRO_LAST_FETCHED_TIMESTAMP }}"
        {% endif %}
    },
    "auth": "{{ EXASTRO_EVENT_COLLECTION_SETTING.AUTH_TOKEN }}",
    "id": 1
}"""
HISTORY = """{
    "jsonrpc": "2.0", "method": "event.get", "id": 1,
    "params": {"output": "extend", "value": [0, 1], "sortfield": "eventid",
               "time_from": "{{ EXASTRO_LAST_FETCHED_EVENT.clock or EXASTRO_LAST_FETCHED_TIMESTAMP }}"}
}"""
AUTH_IN_BODY = f', "auth": "{TOKEN}"'


def add(stage: Stage, api: ZabbixApi, parameter: str, **columns: Any) -> None:
    """Add the setting as it is documented; method 1 sends the token in a header, 5 leaves it to the parameter."""
    wanted = {
        "CONNECTION_METHOD_ID": "5",
        "REQUEST_METHOD_ID": "2",
        "REQUEST_HEADER": '{ "content-type" : "application/json-rpc" }',
        "PARAMETER": parameter,
        "RESPONSE_KEY": "result",
        "RESPONSE_LIST_FLAG": "1",
        "EVENT_ID_KEY": "eventid",
        **columns,
    }
    stage.add("zabbix", f"{api.url}/zabbix/api_jsonrpc.php", **wanted)


def without_labels(event: dict[str, Any]) -> dict[str, Any]:
    """Return what the source said of an event."""
    return {name: value for name, value in event.items() if not name.startswith("_exastro_")}


@pytest.mark.parametrize("version", [6, 7])
async def test_problems_arrive_once_as_zabbix_reports_them(stage: Stage, version: int) -> None:
    async with ZabbixApi(TOKEN, takes_auth_in_body=version == 6) as api:
        history, *problems = documented(f"zabbix_{version}_problems")
        api.happen(history, seconds_ago=3600)
        if version == 6:
            add(stage, api, BY_TIME % AUTH_IN_BODY)
        else:
            add(stage, api, BY_TIME % "", CONNECTION_METHOD_ID="1", AUTH_TOKEN=TOKEN)
        await stage.start_collecting("zabbix")
        first, second = (api.happen(problem) for problem in problems)
        assert set(await stage.arrived("zabbix", 2)) == {first, second}
        await polls(api, 2)
        await stage.stop()
        await stage.start_collecting("zabbix")
        await polls(api, 2)
        await stage.stop()

        events = stage.workspace.acceptance.events_of("zabbix")
        assert [without_labels(event) for event in events] == api.events[1:]
        asked_from = [int(params["time_from"]) for params in api.calls]
        assert asked_from == sorted(asked_from)


async def test_the_next_problem_is_asked_for_by_the_number_after_the_last(stage: Stage) -> None:
    async with ZabbixApi(TOKEN, takes_auth_in_body=True) as api:
        problems = documented("zabbix_6_problems")
        add(stage, api, BY_ID, AUTH_TOKEN=TOKEN)
        await stage.start_collecting("zabbix")
        api.happen(problems[0])
        await stage.arrived("zabbix", 1)
        for problem in problems[1:]:
            api.happen(problem)
        await stage.arrived("zabbix", 3)
        await stage.stop()
        await stage.start()
        await polls(api, 2)
        await stage.stop()

        assert stage.workspace.acceptance.ids_of("zabbix") == ["998", "999", "1000"]
        assert "time_from" in api.calls[0]
        numbers = [int(params["eventid_from"]) for params in api.calls if "eventid_from" in params]
        # Two came in one answer, and as a text 999 is beyond 1000.
        assert list(dict.fromkeys(numbers)) == [999, 1001]
        assert api.calls[-1] == {"output": "extend", "eventid_from": "1001"}


async def test_the_history_of_events_tells_of_problem_and_recovery(stage: Stage) -> None:
    async with ZabbixApi(TOKEN, takes_auth_in_body=False) as api:
        problem, recovery = documented("zabbix_events")
        add(stage, api, HISTORY, CONNECTION_METHOD_ID="1", AUTH_TOKEN=TOKEN)
        await stage.start_collecting("zabbix")
        api.happen(problem)
        await stage.arrived("zabbix", 1)
        api.happen(recovery)
        await stage.arrived("zabbix", 2)
        await polls(api, 2)
        await stage.stop()

        events = stage.workspace.acceptance.events_of("zabbix")
        assert [(event["eventid"], event["value"]) for event in events] == [("9695", "1"), ("9696", "0")]
        assert api.calls[-1]["time_from"] == events[1]["clock"]


async def test_a_refused_token_is_an_event_that_rules_leave_alone(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    async with ZabbixApi(TOKEN, takes_auth_in_body=True) as api:
        first, second, _ = documented("zabbix_6_problems")
        add(stage, api, BY_ID, AUTH_TOKEN=TOKEN)
        await stage.start_collecting("zabbix")
        api.happen(first)
        await stage.arrived("zabbix", 1)

        api.token = "another"
        await stage.arrived("zabbix", 2)
        # Zabbix says it with status 200.
        event = stage.workspace.acceptance.events_of("zabbix")[1]
        assert event[REASON] == "RESPONSE_KEY not found"
        assert event["error"]["data"] == "Session terminated, re-login, please."
        assert TOKEN not in json.dumps(event) + caplog.text

        api.happen(second, seconds_ago=5)
        api.token = TOKEN
        await stage.until(lambda: "999" in stage.workspace.acceptance.ids_of("zabbix"))
        await stage.stop()


async def test_what_is_raised_while_the_token_is_refused_arrives_once_although_a_time_is_asked_for(
    stage: Stage,
) -> None:
    async with ZabbixApi(TOKEN, takes_auth_in_body=False) as api:
        before, meanwhile, later = documented("zabbix_7_problems")
        add(stage, api, BY_TIME % "", CONNECTION_METHOD_ID="1", AUTH_TOKEN=TOKEN)
        await stage.start_collecting("zabbix")
        wanted = [api.happen(before)]
        await stage.arrived("zabbix", 1)

        api.token = "another"
        await polls(api, 2)
        last_from = int(api.calls[-1]["time_from"])
        wanted.append(api.happen(meanwhile))
        # Until the time of the cursor, if it moved, would be beyond that of the problem.
        await stage.until(lambda: int(time.time()) > int(api.events[-1]["clock"]))
        await polls(api, 2)
        await stage.stop()
        await stage.start()
        await polls(api, 2)
        api.token = TOKEN
        refused = len(api.calls)
        await stage.until(lambda: wanted[-1] in stage.workspace.acceptance.ids_of("zabbix"))
        wanted.append(api.happen(later))
        await stage.until(lambda: wanted[-1] in stage.workspace.acceptance.ids_of("zabbix"))
        await polls(api, 2)
        await stage.stop()

        events = stage.workspace.acceptance.events_of("zabbix")
        assert [event["eventid"] for event in events if REASON not in event] == wanted
        assert {event[REASON] for event in events if REASON in event} == {"RESPONSE_KEY not found"}
        assert int(api.calls[refused]["time_from"]) == last_from
        assert int(api.calls[-1]["time_from"]) > last_from


async def test_a_problem_that_zabbix_dates_before_the_last_poll_arrives_if_no_time_is_asked_for(
    stage: Stage,
) -> None:
    async with ZabbixApi(TOKEN, takes_auth_in_body=True) as api:
        older, late, _ = documented("zabbix_6_problems")
        unfiltered = '{"jsonrpc": "2.0", "method": "problem.get", "id": 1, "params": {}%s}'
        add(stage, api, unfiltered % AUTH_IN_BODY)
        api.happen(older, seconds_ago=3600)
        await stage.start()
        assert await stage.arrived("zabbix", 1) == ["998"]
        # A Zabbix proxy that was cut off hands in what it measured, with the times of then.
        api.happen(late, seconds_ago=1800)
        assert await stage.arrived("zabbix", 2) == ["998", "999"]
        await polls(api, 4)
        await stage.stop()
    assert stage.workspace.acceptance.ids_of("zabbix") == ["998", "999"]


async def test_auth_in_the_body_is_told_in_the_words_of_a_zabbix_that_no_longer_takes_it(
    stage: Stage,
) -> None:
    async with ZabbixApi(TOKEN, takes_auth_in_body=False) as api:
        add(stage, api, BY_TIME % AUTH_IN_BODY)
        await stage.start()
        await collecting(stage, "zabbix")
        await stage.arrived("zabbix", 1)
        await stage.stop()
    event = stage.workspace.acceptance.events_of("zabbix")[0]
    assert event[REASON] == "RESPONSE_KEY not found"
    assert 'unexpected parameter "auth"' in event["error"]["data"]
