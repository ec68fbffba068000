"""A SOCKS5 proxy on loopback (RFC 1928, 1929): it notes what it is asked for, and passes on to where a test says."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field


@dataclass
class SocksProxy:
    """`asked` are hosts and ports as they were asked for. Whatever was asked, port `leads_to` of loopback is given.

    With `credentials`, `user:password`, others are refused; `status` other than 0 is the answer to every request.
    """

    leads_to: int
    credentials: str = ""
    status: int = 0
    asked: list[tuple[str, int]] = field(default_factory=list)
    port: int = 0

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["SocksProxy"]:
        """Serve on a free port."""
        tasks: set[asyncio.Task[None]] = set()

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.ensure_future(self._serve(reader, writer))
            tasks.add(task)
            with suppress(OSError, EOFError, asyncio.CancelledError):
                await task

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
            if not await self._let_in(reader, writer):
                return
            self.asked.append(await self._target(reader))
            writer.write(bytes((5, self.status, 0, 3, 4)) + b"here" + bytes(2))
            if self.status == 0:
                await self._pass_on(reader, writer)
        finally:
            writer.close()

    async def _let_in(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        version, count = await reader.readexactly(2)
        methods = await reader.readexactly(count)
        method = 2 if self.credentials else 0
        writer.write(bytes((5, method if method in methods else 255)))
        if version != 5 or method not in methods:
            return False
        if not self.credentials:
            return True
        await reader.readexactly(1)
        user, password = [await reader.readexactly((await reader.readexactly(1))[0]) for _ in range(2)]
        is_right = f"{user.decode()}:{password.decode()}" == self.credentials
        writer.write(bytes((1, not is_right)))
        return is_right

    async def _target(self, reader: asyncio.StreamReader) -> tuple[str, int]:
        _, _, _, kind = await reader.readexactly(4)
        size = 4 if kind == 1 else 16 if kind == 4 else (await reader.readexactly(1))[0]
        address = await reader.readexactly(size)
        host = address.decode() if kind == 3 else ".".join(map(str, address))
        return host, int.from_bytes(await reader.readexactly(2), "big")

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.leads_to)
        try:
            await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer))
        finally:
            far_writer.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()
