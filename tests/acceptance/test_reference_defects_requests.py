"""Defects D28, D29 and D35 of the reference (contract section 11): what is asked of sources, and names."""

import time

import pytest

from oase_agent.simulators.settings_table import Row, SettingsTable, setting_row
from tests.acceptance.sources import DocumentSource
from tests.acceptance.stage import Stage
from tests.acceptance.steps import collecting, polls

NEXT_ID = (
    "{% if EXASTRO_LAST_FETCHED_EVENT_IS_EXIST %}"
    '{"eventid_from": {{ EXASTRO_LAST_FETCHED_EVENT.id | int + 1 }}}{% else %}{"eventid_from": 0}{% endif %}'
)


@pytest.mark.parametrize(
    ("ids", "next_id"),
    [
        pytest.param(["998", "999", "1000"], 1001, id="rising"),
        pytest.param(["1000", "999"], 1001, id="falling"),
        # More than one slice of an answer: the newest of each is compared with the newest before it.
        pytest.param([*map(str, range(9001, 10_001)), "9000"], 10_001, id="in slices"),
    ],
)
async def test_reference_defect_28_the_newest_event_is_that_of_the_highest_number(
    stage: Stage, ids: list[str], next_id: int
) -> None:
    """The reference orders ids as text: 999 is newer than 1000, and everything after it is asked for again."""
    await stage.open()
    async with DocumentSource([{"id": event_id} for event_id in ids]) as source:
        stage.add("numbered", source.url, REQUEST_METHOD_ID="2", PARAMETER=NEXT_ID, EVENT_ID_KEY="id")
        await stage.start()
        await polls(source, 3)

        after = b'{"eventid_from": %d}' % next_id
        assert source.bodies[:3] == [b'{"eventid_from": 0}', after, after]


async def test_reference_defect_29_a_template_that_fails_sends_nothing_and_loses_no_time(
    stage: Stage,
) -> None:
    """The reference sends the template itself, braces and all, and goes on from there if the source bears it."""
    workspace = await stage.open()
    logs = await stage.logs("logs", PARAMETER='{"since": {{ EXASTRO_LAST_FETCHED_EVENT.id | int + 1 }}}')
    await stage.start(interval_s=0.05)
    await collecting(stage, "logs")
    line = logs.write("while the template is wrong")
    written_in = int(time.time())
    await stage.until(lambda: "PARAMETER" in (stage.setting("logs").trouble or ""))
    # A cursor counts in seconds: one that moved would be beyond the line by now.
    await stage.until(lambda: time.time() >= written_in + 1.1)
    assert not logs.requests

    row = workspace.settings.active_rows(["logs"])[0]
    workspace.add_setting({**row, "PARAMETER": '{"since": {{ EXASTRO_LAST_FETCHED_TIMESTAMP }}}'})

    assert await stage.arrived("logs", 1) == [line]


async def test_reference_defect_29_a_post_without_parameter_has_no_body(stage: Stage) -> None:
    """The reference sends the four letters `null`."""
    await stage.open()
    async with DocumentSource([{"id": "7"}]) as source:
        stage.add("bare", source.url, REQUEST_METHOD_ID="2", EVENT_ID_KEY="id")
        await stage.start()
        await stage.arrived("bare", 1)

        assert source.bodies[0] == b""


async def test_reference_defect_35_blanks_around_configured_names_do_not_matter(stage: Stage) -> None:
    """The reference looks for a setting with the blank in its name, and finds none, without a word."""
    await stage.open()
    logs = await stage.logs("logs")
    other = await stage.logs("other")
    stage.environment["EVENT_COLLECTION_SETTINGS_NAMES"] = " logs , other "
    await stage.start()
    await collecting(stage, "logs", "other")

    lines = [logs.write("of one"), other.write("of the other")]

    assert await stage.arrived("logs", 1) == lines[:1]
    assert await stage.arrived("other", 1) == lines[1:]


class DatabaseTable(SettingsTable):
    """Finds names as the workspace's database compares them: trailing blanks do not count."""

    def active_rows(self, names: list[str]) -> list[Row]:
        trimmed = {name.rstrip() for name in names}
        spelled = [name for name in self._rows if name.rstrip() in trimmed]
        return super().active_rows(spelled)


async def test_reference_defect_35_a_blank_in_the_workspaces_own_spelling_does_not_matter(
    stage: Stage,
) -> None:
    """The reference raises a key error in every cycle when the answer spells a name otherwise than the question."""
    workspace = await stage.open()
    workspace.settings = workspace.acceptance.settings = DatabaseTable()
    logs = await stage.logs("logs")
    async with DocumentSource([{"id": "7"}]) as source:
        workspace.add_setting(setting_row("blank ", source.url, EVENT_ID_KEY="id"))
        stage.environment["EVENT_COLLECTION_SETTINGS_NAMES"] = "logs,blank"
        await stage.start()
        await collecting(stage, "logs")

        line = logs.write("of a name without blank")

        assert await stage.arrived("logs", 1) == [line]
        assert await stage.arrived("blank ", 1) == ["7"]
