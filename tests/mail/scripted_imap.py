"""An IMAP server that does what a test says: a few mails, and answers that may be replaced by anything."""

import asyncio
import re
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace

from oase_agent.model import Setting
from tests.mail.mail_stage import SETTING, a_mail

ARRIVED = '"14-Nov-2023 22:13:20 +0000"'

# Instead of an answer: nothing ever, or the end of the connection.
SILENCE = b"silence"
HANG_UP = b"hang up"

Answer = bytes | Callable[[str], bytes]


@dataclass
class ScriptedImap:
    """`answers` replaces those to commands that begin so; `%t` in them is the tag. `said` are all commands."""

    mails: dict[int, bytes] = field(default_factory=lambda: {1: a_mail(1), 2: a_mail(2)})
    answers: Mapping[str, Answer] = field(default_factory=dict)
    greeting: bytes = b"* OK ready\r\n"
    capabilities: str = "IMAP4rev1"
    examined: str = "* {mails} EXISTS\r\n* OK [UIDVALIDITY 7] ok\r\n* OK [UIDNEXT {next}] ok\r\n"
    tls: ssl.SSLContext | None = None
    said: list[str] = field(default_factory=list)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    port: int = 0

    def setting(self, **columns: object) -> Setting:
        """Return the setting of this server."""
        return replace(SETTING, port=self.port, **columns)  # type: ignore[arg-type]

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["ScriptedImap"]:
        """Serve on a free port."""
        tasks: set[asyncio.Task[None]] = set()

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.ensure_future(self._serve(reader, writer))
            tasks.add(task)
            with suppress(OSError, EOFError, asyncio.CancelledError):
                await task
            self.ended.set()

        listener = await asyncio.start_server(accept, "127.0.0.1", 0)
        self.port = listener.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            listener.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._send(reader, writer, self.greeting)
            while line := (await reader.readline()).decode().strip("\r\n"):
                tag, _, command = line.partition(" ")
                self.said.append(command)
                await self._send(reader, writer, self._answer(command).replace(b"%t", tag.encode()))
                if command == "STARTTLS" and self.tls is not None:
                    await writer.start_tls(self.tls)
        finally:
            writer.close()

    async def _send(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: bytes) -> None:
        if answer == SILENCE:
            await reader.read()
            raise EOFError
        if answer.endswith(HANG_UP):
            writer.write(answer.removesuffix(HANG_UP))
            await writer.drain()
            raise EOFError
        writer.write(answer)
        await writer.drain()

    def _answer(self, command: str) -> bytes:
        for beginning, answer in self.answers.items():
            if command.startswith(beginning):
                return answer if isinstance(answer, bytes) else answer(command)
        return self.usual(command) + b"%t OK done\r\n"

    def usual(self, command: str) -> bytes:
        """Return what an honest server tells before it says OK."""
        if command == "CAPABILITY":
            return f"* CAPABILITY {self.capabilities}\r\n".encode()
        if command.startswith("EXAMINE"):
            told = self.examined.format(mails=len(self.mails), next=max(self.mails, default=0) + 1)
            return told.encode()
        if command.startswith("UID SEARCH"):
            return f"* SEARCH {' '.join(map(str, self._found(command)))}\r\n".encode()
        if command.startswith("UID FETCH"):
            wanted = map(int, command.split()[2].split(","))
            return b"".join(self.fetched(uid, command) for uid in wanted if uid in self.mails)
        return b"* BYE\r\n" if command == "LOGOUT" else b""

    def _found(self, command: str) -> list[int]:
        highest = max(self.mails, default=0)
        bounds = re.search(r"UID (\d+|\*)(?::(\d+|\*))?", command)
        assert bounds is not None
        ends = sorted(highest if end in {"*", None} else int(end) for end in bounds.groups())
        return [uid for uid in sorted(self.mails) if ends[0] <= uid <= ends[1]]

    def fetched(self, uid: int, command: str) -> bytes:
        """Return the answer about one mail."""
        mail = self.mails[uid]
        part = re.search(r"BODY\.PEEK\[\]<0\.(\d+)>", command)
        if part is None:
            return f"* {uid} FETCH (UID {uid} RFC822.SIZE {len(mail)} INTERNALDATE {ARRIVED})\r\n".encode()
        mail = mail[: int(part[1])]
        return b"* %d FETCH (UID %d BODY[]<0> {%d}\r\n%b)\r\n" % (uid, uid, len(mail), mail)


def refused(code: str = "") -> bytes:
    """Return the answer NO."""
    return f"%t NO {code} no\r\n".encode()
