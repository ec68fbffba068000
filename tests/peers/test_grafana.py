"""Grafana and Prometheus, asked with the settings that the documents of the product show, and with better ones."""

from collections import Counter
from typing import Any

import pytest

from tests.acceptance.sources import DocumentSource
from tests.acceptance.stage import Stage
from tests.acceptance.steps import polls
from tests.peers.monitoring_api import TokenApi, documented
from tests.peers.steps import trouble_of

TOKEN = "glsa_hunter2"
ALERTS = "/api/prometheus/grafana/api/v1/alerts"
RULES = "/api/prometheus/grafana/api/v1/rules"
ALERTMANAGER = "/api/alertmanager/grafana/api/v2/alerts"

FIRING = "data.groups[].rules[].alerts[] | [?state=='Alerting']"
BY_INSTANCE = "join('@', [labels.alertname, labels.instance || '', activeAt])"


def add(stage: Stage, url: str, **columns: Any) -> None:
    """Add a setting as it is documented for Grafana."""
    wanted = {
        "CONNECTION_METHOD_ID": "1",
        "REQUEST_METHOD_ID": "1",
        "REQUEST_HEADER": '{ "Content-Type": "application/json" }',
        "AUTH_TOKEN": TOKEN,
        "RESPONSE_KEY": "data.alerts",
        "RESPONSE_LIST_FLAG": "1",
        "EVENT_ID_KEY": "activeAt",
        **columns,
    }
    stage.add("grafana", url, **wanted)


def names(stage: Stage) -> Counter[tuple[str, str]]:
    """Return how often each alert arrived, by alert and instance."""
    events = stage.workspace.acceptance.events_of("grafana")
    return Counter((event["labels"]["alertname"], event["labels"].get("instance", "")) for event in events)


async def test_the_documented_setting_collects_each_alert_once_over_many_polls_and_a_restart(
    stage: Stage,
) -> None:
    document = documented("grafana_prometheus_alerts")
    async with TokenApi(document, TOKEN) as api:
        add(stage, f"{api.url}{ALERTS}")
        await stage.start()
        await stage.arrived("grafana", 3)
        await polls(api, 4)
        await stage.stop()
        await stage.start_collecting("grafana")
        await polls(api, 3)
        await stage.stop()

        assert set(api.asked) == {ALERTS}
    events = stage.workspace.acceptance.events_of("grafana")
    assert [
        {name: event[name] for name in ("labels", "annotations", "state", "activeAt", "value")}
        for event in events
    ] == (document["data"]["alerts"])


async def test_an_alert_of_the_same_moment_that_comes_later_needs_a_better_id(stage: Stage) -> None:
    document = documented("grafana_prometheus_alerts")
    later = document["data"]["alerts"].pop(1)
    async with TokenApi(document, TOKEN) as api:
        add(stage, f"{api.url}{ALERTS}", EVENT_ID_KEY=BY_INSTANCE)
        await stage.start()
        await stage.arrived("grafana", 2)
        document["data"]["alerts"].append(later)
        api.say(document)
        await stage.arrived("grafana", 3)
        await polls(api, 2)
        await stage.stop()
    assert names(stage)["High CPU", "web02:9100"] == 1


async def test_the_firing_instances_of_all_rules(stage: Stage) -> None:
    document = documented("grafana_prometheus_rules")
    async with TokenApi(document, TOKEN) as api:
        add(stage, f"{api.url}{RULES}", RESPONSE_KEY=FIRING, EVENT_ID_KEY=BY_INSTANCE)
        await stage.start()
        await stage.arrived("grafana", 2)
        instance = document["data"]["groups"][0]["rules"][0]["alerts"][1]
        instance |= {"state": "Alerting", "activeAt": "2026-07-04T18:33:10Z", "value": "9.1e+01"}
        api.say(document)
        await stage.arrived("grafana", 3)
        await polls(api, 3)
        await stage.stop()
    wanted = [("High CPU", "web01:9100"), ("Disk full", "db01:9100"), ("High CPU", "web02:9100")]
    assert names(stage) == Counter(wanted)


async def test_rules_asked_with_the_key_of_alerts_are_flagged(stage: Stage) -> None:
    async with TokenApi(documented("grafana_prometheus_rules"), TOKEN) as api:
        add(stage, f"{api.url}{RULES}")  # the table of the documents says so; their command line is right
        await stage.start()
        await stage.arrived("grafana", 1)
        await stage.stop()
    event = stage.workspace.acceptance.events_of("grafana")[0]
    assert event["_exastro_not_available"] == "RESPONSE_KEY not found"


async def test_alerts_of_the_alertmanager_in_grafana(stage: Stage) -> None:
    document = documented("grafana_alertmanager_alerts")
    async with TokenApi(document, TOKEN) as api:
        by_episode = {"RESPONSE_KEY": None, "EVENT_ID_KEY": "join('@', [fingerprint, startsAt])"}
        add(stage, f"{api.url}{ALERTMANAGER}", PARAMETER='{"silenced": "false"}', **by_episode)
        await stage.start()
        fired = f"{document[0]['fingerprint']}@{document[0]['startsAt']}"
        silenced = f"{document[1]['fingerprint']}@{document[1]['startsAt']}"
        assert await stage.arrived("grafana", 2) == [fired, silenced]

        document[0] |= {"startsAt": "2026-07-04T19:00:10.000Z", "endsAt": "2026-07-04T19:04:10.000Z"}
        api.say(document)
        again = f"{document[0]['fingerprint']}@2026-07-04T19:00:10.000Z"
        assert await stage.arrived("grafana", 3) == [fired, silenced, again]
        await stage.stop()
        assert set(api.asked) == {f"{ALERTMANAGER}?silenced=false"}


async def test_a_refused_token_is_told_without_it(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    async with TokenApi(documented("grafana_prometheus_alerts"), "another") as api:
        add(stage, f"{api.url}{ALERTS}")
        await stage.start()
        trouble = await trouble_of(stage, "grafana")
        await stage.stop()
    assert "status 401: check the credentials of the setting" in trouble
    assert TOKEN not in trouble + caplog.text
    assert stage.workspace.count("grafana") == 0


async def test_a_prometheus_alert_that_goes_from_pending_to_firing_stays_the_same(stage: Stage) -> None:
    document = documented("prometheus_alerts")
    async with DocumentSource(document) as api:
        add(stage, f"{api.url}/api/v1/alerts", CONNECTION_METHOD_ID="5", EVENT_ID_KEY=BY_INSTANCE)
        await stage.start()
        await stage.arrived("grafana", 2)
        document["data"]["alerts"][0]["state"] = "firing"
        api.say(document)
        await polls(api, 3)
        await stage.stop()
    assert names(stage) == Counter([("HighRequestLatency", "api01:8080"), ("Watchdog", "")])


async def test_a_prometheus_alert_may_be_left_alone_until_it_fires(stage: Stage) -> None:
    document = documented("prometheus_alerts")
    async with DocumentSource(document) as api:
        columns = {"RESPONSE_KEY": "data.alerts[?state=='firing']", "EVENT_ID_KEY": BY_INSTANCE}
        add(stage, f"{api.url}/api/v1/alerts", CONNECTION_METHOD_ID="5", **columns)
        await stage.start()
        await stage.arrived("grafana", 1)
        await polls(api, 2)
        assert names(stage) == Counter([("Watchdog", "")])
        document["data"]["alerts"][0]["state"] = "firing"
        api.say(document)
        await stage.arrived("grafana", 2)
        await stage.stop()
    assert names(stage) == Counter([("Watchdog", ""), ("HighRequestLatency", "api01:8080")])


@pytest.mark.parametrize(
    ("nothing", "response_key"),
    [
        ({"status": "success", "data": {"alerts": []}}, "data.alerts"),
        ({"status": "success", "data": {"groups": []}}, FIRING),
        ([], None),
    ],
    ids=["alerts", "rules", "Alertmanager"],
)
async def test_nothing_that_fires_is_no_event(stage: Stage, nothing: Any, response_key: str | None) -> None:
    async with TokenApi(nothing, TOKEN) as api:
        add(stage, f"{api.url}{ALERTS}", RESPONSE_KEY=response_key)
        await stage.start_collecting("grafana")
        await polls(api, 3)
        assert stage.setting("grafana").trouble is None
        await stage.stop()
    assert stage.workspace.count("grafana") == 0
