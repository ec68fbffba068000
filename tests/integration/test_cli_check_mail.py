"""`oase-agent check` of a mailbox: it shows mails, leaves no mark on them, and records no password."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from oase_agent.disk import Disk
from oase_agent.model import Cursor
from oase_agent.spool.known_ids import IdPolicy
from oase_agent.spool.queue import QueueTools, SettingQueue
from oase_agent.spool.spool import setting_directory
from oase_agent.telemetry import Telemetry
from tests.integration.cli_stage import CliStage, Terminal

PASSWORD = 'canary-"password'
MAIL = "Message-ID: <{uid}@test>\r\nSubject: alert {uid}\r\nFrom: monitor@test\r\n\r\ndisk {uid} is full\r\n"
MAILS = {uid: MAIL.format(uid=uid).encode() for uid in (11, 12)}


class Mailbox:
    """As much of an IMAP server as one collection needs; `said` are its commands without their tags."""

    def __init__(self) -> None:
        self.said: list[str] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"* OK [CAPABILITY IMAP4rev1] ready\r\n")
        while line := (await reader.readline()).decode().strip():
            tag, _, command = line.partition(" ")
            self.said.append(command)
            writer.write(self._untagged(command.upper()))
            code = "[READ-ONLY] " if command.startswith("EXAMINE") else ""
            writer.write(f"{tag} OK {code}done\r\n".encode())
            await writer.drain()
            if command == "LOGOUT":
                break
        writer.close()

    def _untagged(self, command: str) -> bytes:
        if command.startswith("EXAMINE"):
            return b"* 2 EXISTS\r\n* 0 RECENT\r\n* OK [UIDVALIDITY 7] ok\r\n* OK [UIDNEXT 13] ok\r\n"
        if command.startswith("UID SEARCH"):
            return b"* SEARCH 12\r\n" if "*" in command and ":" not in command else b"* SEARCH 11 12\r\n"
        if command.startswith("UID FETCH"):
            wanted = [uid for uid in MAILS if re.search(rf"\b{uid}\b", command.split()[2])]
            return b"".join(self._fetched(number, uid, command) for number, uid in enumerate(wanted, start=1))
        return b"* CAPABILITY IMAP4rev1\r\n" if command == "CAPABILITY" else b""

    def _fetched(self, number: int, uid: int, command: str) -> bytes:
        mail = MAILS[uid]
        if "BODY.PEEK" in command:
            return b"* %d FETCH (UID %d BODY[]<0> {%d}\r\n%b)\r\n" % (number, uid, len(mail), mail)
        date = b'"01-Jan-2026 10:00:00 +0000"'
        return b"* %d FETCH (UID %d RFC822.SIZE %d INTERNALDATE %b)\r\n" % (number, uid, len(mail), date)


@asynccontextmanager
async def mailbox(stage: CliStage) -> AsyncIterator[Mailbox]:
    """Serve a mailbox that a setting reads since November 2023."""
    box = Mailbox()
    server = await asyncio.start_server(box.serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        columns = {
            "CONNECTION_METHOD_ID": "4",
            "REQUEST_METHOD_ID": "5",
            "PORT": port,
            "MAILBOXNAME": "Alerts",
        }
        stage.add("mail", "127.0.0.1", **columns, USERNAME="me", PASSWORD=PASSWORD)
        directory = stage.storage / "org001" / "ws01" / "agent-1" / "s" / setting_directory("mail")
        tools = QueueTools(Disk(), IdPolicy(retention_h=168), lambda: 1_700_000_000.0, Telemetry())
        queue = SettingQueue(directory, "mail", tools)
        with queue.collecting(1_700_000_007) as file:
            file.add([b"{}"])
            queue.commit(file, Cursor(1_700_000_007), queue.sighting())
        yield box


async def test_check_of_a_mailbox_shows_new_mails_and_where_it_would_go_on(
    stage: CliStage, terminal: Terminal
) -> None:
    async with mailbox(stage) as box:
        before = stage.stored()
        printed = await terminal.run(stage.environment, "check", "mail")
        assert stage.stored() == before
    section = printed.section("setting 'mail'")
    assert printed.code == 0, printed.out
    assert "request       IMAP 127.0.0.1:" in section
    assert "mailbox       Alerts of user me\n" in section
    assert "events        2 new, 0 already known\n" in section
    assert '"alert 11"' in section
    assert re.search(r"bookmark      port \d+, uid_validity 7, uid 12", section)
    assert PASSWORD not in printed.out
    assert 'EXAMINE "Alerts"' in box.said
    assert not [command for command in box.said if re.search(r"STORE|SELECT|EXPUNGE|BODY\[", command)]
    assert box.said[-1] == "LOGOUT"


async def test_a_recorded_mailbox_is_extracted_again(
    stage: CliStage, terminal: Terminal, tmp_path: Path
) -> None:
    directory = tmp_path / "report"
    async with mailbox(stage):
        await terminal.run(stage.environment, "check", "mail", "--record", str(directory))
    printed = await terminal.run({}, "check", "--offline", str(directory))
    assert printed.code == 0, printed.out + printed.err
    assert "events        2 new, 0 already known\n" in printed.out
    assert "disk 12 is full" in printed.out
    wrote = "".join(path.read_text() for path in directory.iterdir())
    assert "canary" not in wrote
    assert json.loads((directory / "setting.json").read_text())["USERNAME"] == "me"
