"""Mail from a real Dovecot to the workspace, through the whole agent."""

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.acceptance.stage import INTERVAL_S, PATIENCE_S, Stage
from tests.mail.dovecot import PASSWORD, Dovecot, Mailbox, needs_dovecot, running_dovecot
from tests.mail.mail_stage import a_mail
from tests.mail.scripted_imap import SILENCE, ScriptedImap


@pytest.fixture(scope="module")
def dovecot() -> Iterator[Dovecot]:
    """Run a server."""
    with running_dovecot() as server:
        yield server


def add_mailbox(stage: Stage, name: str, dovecot: Dovecot) -> Mailbox:
    """Add the setting of a new mailbox."""
    mailbox = dovecot.new_mailbox()
    add(stage, name, dovecot.port, USERNAME=mailbox.user, PASSWORD=PASSWORD)
    return mailbox


def add(stage: Stage, name: str, port: int, **columns: Any) -> None:
    method = {"CONNECTION_METHOD_ID": "4", "REQUEST_METHOD_ID": "5"}
    stage.add(name, "127.0.0.1", **method, PORT=port, **columns)


async def arrived(stage: Stage, name: str, count: int) -> None:
    """Wait until the workspace has so many events of a setting; mails have no id to be told by."""
    await stage.workspace.wait_for(lambda workspace: workspace.count(name) >= count, PATIENCE_S)


def subjects(stage: Stage, name: str) -> list[str]:
    return [str(event["subject"]) for event in stage.workspace.acceptance.events_of(name)]


@needs_dovecot
async def test_a_mail_arrives_as_the_event_that_the_contract_describes(
    stage: Stage, dovecot: Dovecot
) -> None:
    await stage.open()
    mailbox = add_mailbox(stage, "mail", dovecot)
    await stage.start_collecting("mail")
    source = a_mail(1, subject="=?utf-8?B?6Zqc5a6z?=", date="Tue, 14 Nov 2023 22:13:30 +0000")
    mailbox.deliver(source, arrived_s=time.time() + 1)
    await arrived(stage, "mail", 1)
    (event,) = stage.workspace.acceptance.events_of("mail")
    assert (event["date"], event["lastchange"], event["subject"]) == (1700000010, 1700000010.0, "障害")
    assert event["body"] == {"raw": "x\r\n", "plain": "x\r\n", "html": ""}
    assert event["_exastro_event_collection_settings_name"] == "mail"
    assert "_exastro_oase_event_id" not in event
    assert event["_exastro_end_time"] - event["_exastro_fetched_time"] == 3600


@needs_dovecot
async def test_mails_arrive_once_and_in_order_across_a_restart(stage: Stage, dovecot: Dovecot) -> None:
    await stage.open()
    mailbox = add_mailbox(stage, "mail", dovecot)
    await stage.start_collecting("mail")
    for number in range(3):
        mailbox.deliver(a_mail(number), arrived_s=time.time() + 1)
        await arrived(stage, "mail", number + 1)
    await stage.stop()
    for number in range(3, 6):
        mailbox.deliver(a_mail(number), arrived_s=time.time() - 3600)
    await stage.start_collecting("mail")
    await arrived(stage, "mail", 6)
    await asyncio.sleep(2 * INTERVAL_S)
    assert subjects(stage, "mail")[:3] == ["0", "1", "2"]
    assert sorted(subjects(stage, "mail")) == ["0", "1", "2", "3", "4", "5"]


@needs_dovecot
async def test_a_faulty_mail_setting_disables_only_itself(stage: Stage, dovecot: Dovecot) -> None:
    await stage.open()
    add(stage, "no password", dovecot.port, USERNAME="ops")
    add(stage, "bad proxy", dovecot.port, USERNAME="ops", PASSWORD="x", PROXY="http://host")
    mailbox = add_mailbox(stage, "good", dovecot)
    await stage.start_collecting("good")
    mailbox.deliver(a_mail("here"), arrived_s=time.time() + 1)
    await arrived(stage, "good", 1)
    assert stage.setting("no password").trouble == ("PASSWORD is empty, but CONNECTION_METHOD_ID 4 needs it")
    assert "PROXY of the setting cannot be read" in str(stage.setting("bad proxy").trouble)
    assert [stage.setting(name).state for name in ("no password", "bad proxy")] == ["disabled", "disabled"]


async def test_an_agent_stops_at_once_while_a_mail_server_is_silent(stage: Stage) -> None:
    await stage.open()
    async with ScriptedImap(greeting=SILENCE).serving() as server:
        add(stage, "silent", server.port, USERNAME="ops", PASSWORD="x")
        await stage.start_collecting("silent")
        await asyncio.sleep(2 * INTERVAL_S)
        async with asyncio.timeout(10):
            await stage.stop()
            await server.ended.wait()
