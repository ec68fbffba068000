"""Defects D1 to D4 and D13 of the reference (contract section 11): what was lost, and what blocked others."""

import json
import shutil
from typing import Any

import pytest

from oase_agent.simulators.loopback import Reply
from oase_agent.simulators.secrets import encrypt_secret
from oase_agent.simulators.settings_table import Row
from tests.acceptance.sources import DocumentSource
from tests.acceptance.stage import Stage
from tests.acceptance.steps import collecting, polls, waits


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(Reply(204, b""), id="no content"),
        pytest.param(Reply(200, b""), id="empty"),
        pytest.param(Reply(200, b"<html>Log in</html>", "text/html"), id="login page"),
        pytest.param(Reply(200, b'[{"id":"7"},'), id="cut"),
    ],
)
async def test_reference_defect_01_a_source_without_json_stops_only_itself(
    stage: Stage, reply: Reply
) -> None:
    """The reference takes the length of nothing, and stops collecting and sending for all settings."""
    await stage.open()
    async with DocumentSource([]) as bad:
        bad.reply = reply
        stage.add("bad", f"{bad.url}/alerts", EVENT_ID_KEY="id")
        logs = await stage.logs("logs")
        await stage.start()
        await polls(bad, 2)

        line = logs.write("of a good source")

        assert await stage.arrived("logs", 1) == [line]
        assert "answer" in (stage.setting("bad").trouble or "")
        bad.say([{"id": "7"}])
        assert await stage.arrived("bad", 1) == ["7"]
        await stage.until(lambda: stage.setting("bad").trouble is None)


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        pytest.param({"CONNECTION_METHOD_ID": "77"}, "CONNECTION_METHOD_ID", id="unknown method"),
        pytest.param({"PROXY": "http://127.0.0.1:many"}, "PROXY", id="proxy port is no number"),
        pytest.param({"PROXY": "http://127.0.0.1:65536"}, "PROXY", id="proxy port out of range"),
        pytest.param({"TTL": None}, "TTL", id="no TTL"),
        pytest.param(
            {"CONNECTION_METHOD_ID": "1", "AUTH_TOKEN": "t", "REQUEST_HEADER": "X-Key: 1"},
            "REQUEST_HEADER",
            id="header is no JSON",
        ),
        pytest.param({"RESPONSE_KEY": "lines["}, "RESPONSE_KEY", id="expression is none"),
    ],
)
async def test_reference_defect_02_a_faulty_setting_disables_only_itself(
    stage: Stage, columns: dict[str, Any], told: str
) -> None:
    """The reference aborts the whole cycle, for all settings, on any of these."""
    await stage.open()
    await stage.logs("faulty", **columns)
    logs = await stage.logs("logs")
    await stage.start()
    await collecting(stage, "logs")

    line = logs.write("of a good setting")

    assert await stage.arrived("logs", 1) == [line]
    await stage.until(lambda: told in (stage.setting("faulty").trouble or ""))


async def test_reference_defect_02_a_secret_that_cannot_be_decrypted_disables_only_its_setting(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reference aborts the whole cycle, for all settings, on a padding error."""
    workspace = await stage.open()
    with_encrypted_secrets = workspace._with_encrypted_secrets

    def of_another_workspace(row: Row) -> Row:
        encrypted = with_encrypted_secrets(row)
        if row["EVENT_COLLECTION_SETTINGS_NAME"] == "faulty":
            encrypted["AUTH_TOKEN"] = encrypt_secret("token", "another", "workspace", bytes(16))
        return encrypted

    monkeypatch.setattr(workspace, "_with_encrypted_secrets", of_another_workspace)
    await stage.logs("faulty", CONNECTION_METHOD_ID="1", AUTH_TOKEN="token")
    logs = await stage.logs("logs")
    await stage.start()
    await collecting(stage, "logs")

    line = logs.write("of a good setting")

    assert await stage.arrived("logs", 1) == [line]
    assert stage.setting("faulty").state == "disabled"
    assert "AUTH_TOKEN" in (stage.setting("faulty").trouble or "")


@pytest.mark.parametrize(
    ("document", "columns", "raw"),
    [
        pytest.param([{"a": 1}], {"RESPONSE_KEY": "r", "RESPONSE_LIST_FLAG": "0"}, None, id="row 11"),
        pytest.param(["a"], {"RESPONSE_KEY": "r"}, "a", id="row 12"),
        pytest.param({"r": [{"n": "a"}]}, {"RESPONSE_KEY": "r[].n"}, "a", id="row 63"),
    ],
)
async def test_reference_defect_02_an_answer_of_an_unforeseen_shape_is_an_event(
    stage: Stage, document: Any, columns: dict[str, str], raw: str | None
) -> None:
    """The reference aborts the cycle, or the source fails for ever, on these rows of contract section 7."""
    await stage.open()
    async with DocumentSource(document) as odd:
        stage.add("odd", odd.url, **columns)
        logs = await stage.logs("logs")
        await stage.start()
        await collecting(stage, "logs")

        line = logs.write("of a good source")

        await stage.arrived("odd", 1)
        assert await stage.arrived("logs", 1) == [line]
    event = stage.workspace.acceptance.events_of("odd")[0]
    assert event.get("_exastro_raw_data") == raw
    assert event["_exastro_not_available"]


async def test_reference_defect_03_events_of_a_name_that_was_dropped_are_still_delivered(
    stage: Stage,
) -> None:
    """The reference deletes what is unsent of a dropped name as soon as another name is delivered."""
    workspace = await stage.open()
    dropped = await stage.logs("dropped")
    kept = await stage.logs("kept")
    await stage.start()
    await collecting(stage, "dropped", "kept")
    await workspace.refuse()
    line = dropped.write("unsent when the name went")
    await waits(stage, "dropped", 1)
    await stage.stop()

    await workspace.resume()
    stage.environment["EVENT_COLLECTION_SETTINGS_NAMES"] = "kept"
    await stage.start()
    other = kept.write("of a name that stayed")

    assert await stage.arrived("kept", 1) == [other]
    assert await stage.arrived("dropped", 1) == [line]


async def test_reference_defect_03_a_crash_after_deliveries_costs_nothing_that_is_collected_next(
    stage: Stage,
) -> None:
    """The reference, killed before its clean-up, deletes the next unsent events in the clean-up after restart."""
    workspace = await stage.open()
    logs = await stage.logs("logs")
    await stage.start()
    await collecting(stage, "logs")
    written = []
    for number in range(3):
        written.append(logs.write(f"delivered before {number}"))
        await stage.arrived("logs", number + 1)
    await waits(stage, "logs", 0)
    # What a power cut leaves: the volume as it is, without an orderly stop.
    crashed = stage.storage.with_name("crashed")
    shutil.copytree(stage.storage, crashed)
    await stage.stop()
    stage.storage = crashed
    stage.environment["STORAGE_PATH"] = str(crashed)

    await workspace.refuse()
    await stage.start()
    for number in range(2):
        written.append(logs.write(f"collected during an outage {number}"))
        await waits(stage, "logs", number + 1)
        await polls(logs, 2)
    await stage.stop()
    await workspace.resume()
    await stage.start()

    assert await stage.arrived("logs", 5) == written


POISON = {
    "integer beyond 64 bit": b'{"id":"2","n":18446744073709551616}',
    "NUL in a field name": b'{"id":"2","a\\u0000b":1}',
    "half of a surrogate pair": b'{"id":"2","text":"\\ud800"}',
    "not a number": b'{"id":"2","n":NaN}',
}


@pytest.mark.parametrize("poison", POISON.values(), ids=POISON)
async def test_reference_defect_04_an_event_that_cannot_be_stored_is_set_aside_alone(
    stage: Stage, poison: bytes
) -> None:
    """The reference sends everything in one request, which one such event blocks for ever, for all settings."""
    await stage.open()
    async with DocumentSource([]) as source:
        source.reply = Reply(200, b'[{"id":"1"},' + poison + b',{"id":"3"}]')
        stage.add("poisoned", source.url, EVENT_ID_KEY="id")
        logs = await stage.logs("logs")
        await stage.start()
        await collecting(stage, "logs")

        line = logs.write("of another setting")

        assert await stage.arrived("logs", 1) == [line]
        assert await stage.arrived("poisoned", 2) == ["1", "3"]
        await waits(stage, "poisoned", 0)
        figures = stage.setting("poisoned").figures
        assert figures is not None
        assert (figures.collected, figures.delivered, figures.dead) == (3, 2, 1)


async def test_reference_defect_04_a_name_that_the_workspace_forgot_holds_back_nobody_else(
    stage: Stage,
) -> None:
    """The reference sends all names in one request, which an unknown one blocks for ever (499-01802)."""
    workspace = await stage.open()
    forgotten = await stage.logs("forgotten")
    logs = await stage.logs("logs")
    await stage.start()
    await collecting(stage, "forgotten", "logs")
    await workspace.refuse()
    forgotten.write("for a setting that is removed meanwhile")
    lines = [logs.write("during the outage")]
    await waits(stage, "forgotten", 1)
    await waits(stage, "logs", 1)

    workspace.remove("forgotten")
    await workspace.resume()

    await stage.arrived("logs", 1)
    lines.append(logs.write("after it"))
    assert await stage.arrived("logs", 2) == lines
    await waits(stage, "forgotten", 0)


async def test_reference_defect_13_a_group_refused_inside_a_200_is_not_taken_for_delivered(
    stage: Stage,
) -> None:
    """The reference logs the refusal and marks the group as sent: its events are lost."""
    workspace = await stage.open()
    logs = await stage.logs("logs")
    other = await stage.logs("other")
    await stage.start()
    await collecting(stage, "logs", "other")
    first = logs.write("before another agent posts under our name")
    await stage.arrived("logs", 1)
    group = {
        "fetched_time": workspace.acceptance.stored("logs")[0].group_time + 1000,
        "event_collection_settings_name": "logs",
        "agent": {"name": "agent-1", "version": "2.7.0"},
        "event": [{"_exastro_oase_event_id": "foreign"}],
    }
    assert workspace.acceptance.handle(json.dumps({"events": [group]}).encode())[0] == 200

    lines = [logs.write("too old for the workspace now"), other.write("of another setting")]

    assert await stage.arrived("logs", 3) == [first, "foreign", lines[0]]
    assert await stage.arrived("other", 1) == [lines[1]]
