"""Sources that misbehave, over real sockets: each becomes one reason and one sentence (promises C1, C4, S3)."""

import asyncio
import gzip
import socket
import struct
import traceback
from pathlib import Path

import pytest

from oase_agent.errors import Reason, SourceUnavailable, SpoolUnavailable
from oase_agent.sources.exchange import SourceLimits
from oase_agent.sources.http import HttpSource
from tests.unit.source_servers import (
    POST_SETTING,
    Request,
    Script,
    a_source,
    answering,
    fetch,
    fetch_bytes,
    http_answer,
    redirect_to,
    serving,
)

HIDDEN = "hidden" + "-secret"  # in two parts, because a traceback quotes lines of this file
SHORT = SourceLimits(timeout_s=0.2)
SMALL = SourceLimits(timeout_s=10, max_bytes=100_000, memory_bytes=1000)


async def failing(source: HttpSource, url: str) -> SourceUnavailable:
    """Fetch `url` with secrets everywhere, and return the error, which must show none of them."""
    request = {"headers": {"X-Api-Key": HIDDEN}, "parameter": HIDDEN}
    with pytest.raises(SourceUnavailable) as caught:
        await fetch(source, f"{url}?token={HIDDEN}", POST_SETTING, **request)
    # A log prints the whole chain of causes.
    assert HIDDEN not in "".join(traceback.format_exception(caught.value))
    return caught.value


async def failure_of(directory: Path, script: Script, limits: SourceLimits = SMALL) -> SourceUnavailable:
    async with serving(script) as server, a_source(directory, limits=limits) as source:
        error = await failing(source, server.url())
    assert f"127.0.0.1:{server.port}" in str(error)
    return error


HTML = http_answer(HIDDEN.encode(), 500, Content_Type="text/html")
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("raw", "reason", "words"),
    [
        (HTML, Reason.HTTP_STATUS, "answered with status 500"),
        (http_answer(b"", 304), Reason.HTTP_STATUS, "status 304"),
        (http_answer(b"", 302), Reason.HTTP_STATUS, "status 302"),
        (http_answer(b"", 401), Reason.HTTP_STATUS, "credentials"),
        (http_answer(b"", 429, Retry_After="30"), Reason.RATE_LIMITED, "status 429"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", Reason.NOT_JSON, "answered 204 without a body"),
        (http_answer(b""), Reason.NOT_JSON, "answered 200 without a body"),
        (http_answer(b"", Content_Encoding="gzip"), Reason.NOT_JSON, "answered 200 without a body"),
        (http_answer(gzip.compress(b""), Content_Encoding="gzip"), Reason.NOT_JSON, "without a body"),
        (b"", Reason.UNREACHABLE, "without an answer"),
        (b"SSH-2.0-OpenSSH_9.9\r\n\r\n", Reason.MALFORMED, "is not HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: abc\r\n\r\n[]", Reason.MALFORMED, "is not HTTP"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n[]", Reason.MALFORMED, "is not HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n[]", Reason.UNREACHABLE, "broke off"),
        (CHUNKED + b"2\r\n[]\r\n", Reason.UNREACHABLE, "broke off"),
        (http_answer(b"[]", Content_Encoding="br"), Reason.MALFORMED, "neither gzip nor deflate"),
        (http_answer(b"[]", Content_Encoding="gzip"), Reason.MALFORMED, "damaged"),
        (http_answer(gzip.compress(b"[]")[:-1], Content_Encoding="gzip"), Reason.MALFORMED, "cut off"),
        (http_answer(b"x" * 100_001), Reason.TOO_LARGE, "100000 bytes (SOURCE_MAX_BYTES)"),
        (redirect_to(f"ftp://{HIDDEN}/"), Reason.REDIRECT, "redirects to something"),
    ],
)
async def test_a_bad_answer_has_a_reason_and_a_sentence(
    tmp_path: Path, raw: bytes, reason: Reason, words: str
) -> None:
    error = await failure_of(tmp_path, answering(raw))
    assert error.reason is reason
    assert words in str(error)


async def test_retry_after_is_handed_on(tmp_path: Path) -> None:
    raw = http_answer(b"", 503, Retry_After="Tue, 14 Nov 2023 22:14:20 GMT")
    assert (await failure_of(tmp_path, answering(raw))).retry_after_s == 60.0


async def test_a_broken_chunk_is_an_error(tmp_path: Path) -> None:
    error = await failure_of(tmp_path, answering(CHUNKED + b"zz\r\n[]\r\n0\r\n\r\n"))
    assert error.reason in {Reason.UNREACHABLE, Reason.MALFORMED}


async def test_a_closed_port_is_unreachable(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    async with a_source(tmp_path) as source:
        error = await failing(source, f"http://127.0.0.1:{port}/")
    assert error.reason is Reason.UNREACHABLE
    assert "cannot be reached" in str(error)


async def endless(request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        writer.write(b"x" * 65536)
        await writer.drain()


async def test_c4_an_endless_answer_is_stopped_at_the_limit(tmp_path: Path) -> None:
    error = await failure_of(tmp_path, endless)
    assert error.reason is Reason.TOO_LARGE
    assert list(tmp_path.iterdir()) == []


async def test_c4_a_size_that_is_announced_is_believed_at_once(tmp_path: Path) -> None:
    raw = b"HTTP/1.1 200 OK\r\nContent-Length: 100001\r\n\r\n"

    async def announce(request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(raw)
        await reader.read()

    assert (await failure_of(tmp_path, announce)).reason is Reason.TOO_LARGE


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
async def test_c4_a_decompression_bomb_is_stopped_at_the_limit(tmp_path: Path, coding: str) -> None:
    bomb = gzip.compress(bytes(50_000_000))
    body = bomb if coding == "gzip" else bomb[10:-8]
    error = await failure_of(tmp_path, answering(http_answer(body, Content_Encoding=coding)))
    assert len(body) < SMALL.max_bytes
    assert error.reason is Reason.TOO_LARGE


async def silent(request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def trickle(request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    while True:
        writer.write(b"x")
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("script", [silent, trickle])
async def test_a_slow_source_meets_its_deadline(tmp_path: Path, script: Script) -> None:
    error = await failure_of(tmp_path, script, SHORT)
    assert error.reason is Reason.TIMEOUT
    assert "within 0.2 s (SOURCE_TIMEOUT_S)" in str(error)


async def test_redirects_do_not_start_the_time_anew(tmp_path: Path) -> None:
    async def slow_circle(
        request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await asyncio.sleep(0.15)
        writer.write(redirect_to("/"))

    error = await failure_of(tmp_path, slow_circle, SHORT)
    assert error.reason is Reason.TIMEOUT


async def test_a_peer_that_accepts_no_connection_meets_the_limit_for_connecting(tmp_path: Path) -> None:
    # A listener with a full backlog leaves further connections without an answer.
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        with socket.socket() as first, socket.socket() as second:
            first.connect(address)
            second.setblocking(False)
            second.connect_ex(address)
            limits = SourceLimits(timeout_s=10, connect_timeout_s=0.1)
            async with a_source(tmp_path, limits=limits) as source:
                error = await failing(source, f"http://127.0.0.1:{address[1]}/")
    assert error.reason is Reason.TIMEOUT
    assert "within 0.1 s" in str(error)


async def test_c2_a_silent_source_does_not_keep_others_waiting(tmp_path: Path) -> None:
    async with (
        serving(silent) as mute,
        serving(answering(http_answer(b"[1]"))) as lively,
        a_source(tmp_path) as source,
    ):
        waiting = asyncio.create_task(fetch(source, mute.url()))
        assert await fetch_bytes(source, lively.url()) == b"[1]"
        assert not waiting.done()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting


@pytest.mark.parametrize("sent", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n[1, 2"])
async def test_a_reset_connection_is_an_error(tmp_path: Path, sent: bytes) -> None:
    async def reset(request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(sent)
        await writer.drain()
        raw: socket.socket = writer.get_extra_info("socket")
        # Lingering for zero seconds makes closing send a reset (socket(7)).
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    error = await failure_of(tmp_path, reset)
    assert error.reason is Reason.UNREACHABLE


async def test_a_spill_directory_that_cannot_be_written_is_trouble_of_the_volume(tmp_path: Path) -> None:
    answer = answering(http_answer(b"x" * 5000))
    async with serving(answer) as server, a_source(tmp_path / "missing", limits=SMALL) as source:
        with pytest.raises(SpoolUnavailable) as caught:
            await fetch(source, server.url())
    assert caught.value.reason is Reason.DISK
