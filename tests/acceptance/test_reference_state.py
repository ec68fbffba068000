"""An agent starts on the volume of a reference agent, and goes on where that one stopped."""

import asyncio
import json
import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from oase_agent.simulators.settings_table import setting_row
from tests.acceptance.stage import Stage
from tests.acceptance.steps import collecting, polls
from tests.spool.test_reference_state import SCHEMA

# (setting, id, fetched time, sent)
OldEvent = tuple[str, str, int, int]


def write_old_state(stage: Stage, cursors: dict[str, int], events: Sequence[OldEvent]) -> Path:
    """Write what a reference agent of the stage's name left, and return its file."""
    names = (stage.workspace.organization_id, stage.workspace.workspace_id)
    path = stage.storage.joinpath(*names, "sqlite", f"ag_oase_{stage.environment['AGENT_NAME']}")
    path.parent.mkdir(parents=True)
    with closing(sqlite3.connect(path)) as database:
        database.executescript(SCHEMA)
        for name, event_id, fetched_time, sent in events:
            event = {
                "id": event_id,
                "_exastro_oase_event_id": event_id,
                "_exastro_event_collection_settings_name": name,
                "_exastro_fetched_time": fetched_time,
                "_exastro_end_time": fetched_time + 3600,
            }
            database.execute(
                "INSERT INTO events VALUES (?, ?, ?, ?, ?)",
                (name, event_id, json.dumps(event), fetched_time, sent),
            )
        database.executemany("INSERT INTO last_fetched_time VALUES (?, ?)", list(cursors.items()))
        database.commit()
    return path


async def test_an_agent_goes_on_where_the_reference_agent_stopped(stage: Stage) -> None:
    workspace = await stage.open()
    alerts = await stage.alerts("alerts")
    logs = await stage.logs("logs")
    workspace.add_setting(setting_row("left", f"{logs.url}/logs"))
    fired = alerts.fire({"alertname": "open since before"})
    then = int(time.time()) - 600
    old_file = write_old_state(
        stage,
        {"alerts": then + 20, "logs": then + 30, "left": then},
        [
            ("alerts", fired, then, 1),
            ("logs", "unsent-1", then + 10, 0),
            ("logs", "unsent-2", then + 10, 0),
            ("logs", "unsent-3", then + 20, 0),
            ("left", "not configured any more", then, 0),
        ],
    )
    before = old_file.read_bytes(), old_file.stat().st_mtime_ns
    # Happened while no agent was running, after the reference's cursor.
    line = logs.write("missed by nobody")

    await stage.start()
    await collecting(stage, "alerts", "logs")
    await stage.until(lambda: workspace.count("logs") >= 4)
    await stage.arrived("left", 1)
    news = alerts.fire({"alertname": "new"})
    assert await stage.arrived("alerts", 1) == [news]
    await polls(alerts, 2)
    await stage.stop()
    await stage.start()
    await collecting(stage, "alerts", "logs")
    await polls(alerts, 2)
    await polls(logs, 2)

    assert [event["id"] for event in workspace.acceptance.events_of("logs")[:3]] == [
        "unsent-1",
        "unsent-2",
        "unsent-3",
    ]
    assert workspace.ids_of("logs")[3:] == [line]
    assert workspace.acceptance.events_of("logs")[2]["_exastro_fetched_time"] == then + 20
    assert workspace.ids_of("alerts") == [news]
    assert workspace.ids_of("left") == ["not configured any more"]
    assert (old_file.read_bytes(), old_file.stat().st_mtime_ns) == before


async def test_nothing_is_collected_while_the_former_state_cannot_be_read(stage: Stage) -> None:
    await stage.open()
    logs = await stage.logs("logs")
    old_file = write_old_state(stage, {"logs": int(time.time()) - 600}, [])
    whole = old_file.read_bytes()
    old_file.write_bytes(whole[:5000])
    line = logs.write("waits for the cursor")
    starting = asyncio.create_task(stage.start())

    await stage.until(lambda: any("ag_oase_agent-1, cannot be read" in why for why in unready(stage)))
    assert not starting.done()
    assert list(logs.requests) == []
    old_file.write_bytes(whole)

    await starting
    assert await stage.arrived("logs", 1) == [line]
    await stage.until(lambda: not unready(stage))


def unready(stage: Stage) -> Sequence[str]:
    return stage.agent.status().unready if stage.agent else ()
