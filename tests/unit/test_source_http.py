"""Fetching over real sockets: what is sent, what comes back, and what it costs."""

import asyncio
import gzip
import mmap
import zlib
from dataclasses import replace
from pathlib import Path

import pytest

from oase_agent import __version__
from oase_agent.errors import Reason, SettingRejected, SourceUnavailable
from oase_agent.model import ConnectionMethod, Secret
from oase_agent.sources.exchange import SourceLimits
from tests.unit.source_servers import (
    GET_SETTING,
    NOW_US,
    POST_SETTING,
    Request,
    a_source,
    answering,
    fetch,
    fetch_bytes,
    http_answer,
    redirect_to,
    serving,
)

BEARER_SETTING = replace(GET_SETTING, connection_method=ConnectionMethod.BEARER, auth_token=Secret("token-1"))
DEFAULTS = f"User-Agent: oase-agent/{__version__}\r\nAccept: */*\r\nAccept-Encoding: gzip, deflate\r\n"


async def test_a_get_sends_exactly_this(tmp_path: Path) -> None:
    async with serving(answering(http_answer())) as server, a_source(tmp_path) as source:
        await fetch(source, server.url("/a b?x=%20"), parameter={"q": "あ", "n": [1, 2]})
    head = f"GET /a%20b?x=%20&q=%E3%81%82&n=1&n=2 HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n{DEFAULTS}\r\n"
    assert server.only_request.head == head.encode()
    assert server.only_request.body == b""


async def test_a_post_sends_exactly_this(tmp_path: Path) -> None:
    async with serving(answering(http_answer())) as server, a_source(tmp_path) as source:
        await fetch(source, server.url("/p?x=1"), POST_SETTING, parameter={"q": "あ", "n": [1, 2]})
    body = rb'{"q": "\u3042", "n": [1, 2]}'
    head = f"POST /p?x=1 HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n{DEFAULTS}Content-Length: {len(body)}\r\n\r\n"
    assert server.only_request.head == head.encode()
    assert server.only_request.body == body


async def test_a_post_without_parameter_sends_an_empty_body(tmp_path: Path) -> None:
    async with serving(answering(http_answer())) as server, a_source(tmp_path) as source:
        await fetch(source, server.url(), POST_SETTING)
    assert server.only_request.headers["content-length"] == "0"
    assert "content-type" not in server.only_request.headers


async def test_headers_of_the_setting_and_its_method_are_sent(tmp_path: Path) -> None:
    headers = {
        "content-type": "application/json-rpc",
        "ACCEPT": "text/plain",
        "User-Agent": "mine",
        "Host": "virtual",
    }
    setting = replace(BEARER_SETTING, request_method=POST_SETTING.request_method)
    async with serving(answering(http_answer())) as server, a_source(tmp_path) as source:
        await fetch(source, server.url(), setting, headers=headers, parameter=[])
    assert server.only_request.headers == {
        "host": "virtual",
        "user-agent": "mine",
        "accept": "text/plain",
        "accept-encoding": "gzip, deflate",
        "content-type": "application/json-rpc",
        "authorization": "Bearer token-1",
        "content-length": "2",
    }


async def test_user_and_password_of_the_url_are_sent_as_basic_only(tmp_path: Path) -> None:
    async with serving(answering(http_answer())) as server, a_source(tmp_path) as source:
        await fetch(source, f"http://user:pass@127.0.0.1:{server.port}/p")
    assert server.only_request.line == "GET /p HTTP/1.1"
    assert server.only_request.headers["authorization"] == "Basic dXNlcjpwYXNz"


async def test_an_answer_comes_with_its_facts(tmp_path: Path) -> None:
    raw = http_answer(b'{"a": 1}', 201, Content_Type="application/json; charset=utf-8")
    async with serving(answering(raw)) as server, a_source(tmp_path) as source:
        fetched = await fetch(source, server.url())
    with fetched.body as body:
        assert body.view() == b'{"a": 1}'
    assert (fetched.status, fetched.content_type, fetched.received_us) == (201, "application/json", NOW_US)


async def test_a_large_answer_is_in_a_file_without_a_name(tmp_path: Path) -> None:
    content = bytes(range(256)) * 3000
    async with serving(answering(http_answer(content))) as server, a_source(tmp_path) as source:
        fetched = await fetch(source, server.url())
    with fetched.body as body:
        view = body.view()
        assert isinstance(view, mmap.mmap)
        assert view[:] == content
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", gzip.compress(b"[1, 2]")),
        ("gzip", gzip.compress(b"[1,") + gzip.compress(b" 2]")),
        ("deflate", zlib.compress(b"[1, 2]")),
        ("deflate", zlib.compress(b"[1, 2]")[2:-4]),
        ("identity", b"[1, 2]"),
    ],
    # Not the bytes: those of gzip hold the time, and processes that share a run must agree about its tests' names.
    ids=["gzip", "gzip-in-two-members", "deflate", "deflate-without-its-header", "identity"],
)
async def test_compressed_answers_are_read(tmp_path: Path, coding: str, body: bytes) -> None:
    raw = http_answer(body, Content_Encoding=coding)
    async with serving(answering(raw)) as server, a_source(tmp_path) as source:
        assert await fetch_bytes(source, server.url()) == b"[1, 2]"


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.0 200 OK\r\n\r\n[1, 2]",
        b"HTTP/1.0 200 OK\r\nContent-Length: 6\r\n\r\n[1, 2]",
        b"HTTP/1.1 200\r\n\r\n[1, 2]",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n[1,\r\n3\r\n 2]\r\n0\r\n\r\n",
    ],
)
async def test_answers_of_old_and_new_servers_are_read(tmp_path: Path, raw: bytes) -> None:
    async with serving(answering(raw)) as server, a_source(tmp_path) as source:
        assert await fetch_bytes(source, server.url()) == b"[1, 2]"


async def test_cookies_are_not_kept(tmp_path: Path) -> None:
    raw = http_answer(Set_Cookie="session=1")
    async with serving(answering(raw)) as server, a_source(tmp_path) as source:
        await fetch(source, server.url(host="localhost"))
        await fetch(source, server.url(host="localhost"))
    assert ["cookie" in request.headers for request in server.requests] == [False, False]


async def redirect_to_final(
    request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Redirect /<status>/<anything> to /final on the host that the header X-To names."""
    path = request.line.split(" ")[1]
    if path == "/final":
        writer.write(http_answer(b"[1]"))
    else:
        writer.write(redirect_to(f"{request.headers['x-to']}/final", int(path.split("/")[1])))


@pytest.mark.parametrize(
    ("status", "line", "body"),
    [
        (302, "GET /final HTTP/1.1", b""),
        (303, "GET /final HTTP/1.1", b""),
        (307, "POST /final HTTP/1.1", b"[1]"),
    ],
)
async def test_redirects_are_followed(tmp_path: Path, status: int, line: str, body: bytes) -> None:
    async with serving(redirect_to_final) as server, a_source(tmp_path) as source:
        headers = {"X-To": ""}
        url = server.url(f"/{status}")
        assert await fetch_bytes(source, url, POST_SETTING, headers=headers, parameter=[1]) == b"[1]"
    assert (server.requests[-1].line, server.requests[-1].body) == (line, body)


async def test_a_redirect_to_another_host_does_not_get_the_credentials(tmp_path: Path) -> None:
    async with serving(redirect_to_final) as server, a_source(tmp_path) as source:
        for host in ("127.0.0.1", "localhost"):
            await fetch(source, server.url("/302"), BEARER_SETTING, headers={"X-To": server.url("", host)})
    seen = [request.headers.get("authorization") for request in server.requests]
    assert seen == ["Bearer token-1", "Bearer token-1", "Bearer token-1", None]
    assert server.requests[3].headers["host"] == f"localhost:{server.port}"


async def test_ten_redirects_are_followed_and_no_more(tmp_path: Path) -> None:
    async def count_down(
        request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        left = int(request.line.split(" ")[1].removeprefix("/"))
        writer.write(redirect_to(f"/{left - 1}") if left else http_answer(b"[0]"))

    async with serving(count_down) as server, a_source(tmp_path) as source:
        assert await fetch_bytes(source, server.url("/10")) == b"[0]"
        with pytest.raises(SourceUnavailable, match="still redirects after 10 redirects") as caught:
            await fetch(source, server.url("/11"))
    assert caught.value.reason is Reason.REDIRECT
    assert len(server.requests) == 22


async def test_a_setting_of_another_protocol_is_rejected_before_anything_is_sent(tmp_path: Path) -> None:
    async with serving(answering(http_answer())) as server, a_source(tmp_path) as source:
        with pytest.raises(SettingRejected):
            await fetch(source, server.url(), replace(GET_SETTING, connection_method=ConnectionMethod.IMAP))
        with pytest.raises(SettingRejected):
            await fetch(source, server.url(), headers={"X": "a\r\nb"})
        with pytest.raises(SettingRejected, match="PROXY"):
            await fetch(source, server.url(), replace(GET_SETTING, proxy="socks5://127.0.0.1:1"))
    assert server.requests == []


class Crowd:
    """A script that answers when `open_doors` is called, and counts who is inside."""

    def __init__(self, expected: int) -> None:
        self._expected = expected
        self._inside = 0
        self._doors = asyncio.Event()
        self.is_full = asyncio.Event()
        self.most = 0

    async def __call__(
        self, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._inside += 1
        self.most = max(self.most, self._inside)
        if self._inside == self._expected:
            self.is_full.set()
        await self._doors.wait()
        self._inside -= 1
        writer.write(http_answer())

    def open_doors(self) -> None:
        self._doors.set()


async def test_c4_no_more_collections_run_at_once_than_allowed(tmp_path: Path) -> None:
    crowd = Crowd(expected=2)
    limits = SourceLimits(timeout_s=10, concurrency=2)
    async with serving(crowd) as server, a_source(tmp_path, limits=limits) as source:
        fetches = [asyncio.create_task(fetch(source, server.url())) for _ in range(6)]
        await crowd.is_full.wait()
        crowd.open_doors()
        await asyncio.gather(*fetches)
    assert crowd.most == 2
    assert len(server.requests) == 6


async def test_c2_others_get_their_turn_while_a_small_answer_inflates(tmp_path: Path) -> None:
    raw = http_answer(gzip.compress(bytes(20_000_000)), Content_Encoding="gzip")
    limits = SourceLimits(timeout_s=30, max_bytes=20_000_000)
    async with serving(answering(raw)) as server, a_source(tmp_path, limits=limits) as source:
        fetching = asyncio.create_task(fetch(source, server.url()))
        turns = 0
        while not fetching.done():
            turns += 1
            await asyncio.sleep(0)
        with (await fetching).body as body:
            assert body.size_bytes == 20_000_000
    # One for each piece of 64 KiB; waiting for the network is far less than that.
    assert turns > 20_000_000 / 65536


async def test_waiting_for_a_slot_does_not_use_up_the_time_of_a_source(tmp_path: Path) -> None:
    limits = SourceLimits(timeout_s=0.5, concurrency=1)
    silence = Crowd(expected=1)
    async with (
        serving(silence) as mute,
        serving(answering(http_answer(b"[1]"))) as lively,
        a_source(tmp_path, limits=limits) as source,
    ):
        first = asyncio.create_task(fetch(source, mute.url()))
        await silence.is_full.wait()
        # The slot is free only when the time of the first is over; the second has all of its own left then.
        assert await fetch_bytes(source, lively.url()) == b"[1]"
        with pytest.raises(SourceUnavailable):
            await first
