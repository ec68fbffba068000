"""The client of the API server: what it sends, and what becomes of every kind of answer."""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry

from oase_agent.coordination.kubernetes.api import ApiServer, LeaseApi
from oase_agent.coordination.kubernetes.lease import CLAIM, MEMBER, Lease
from oase_agent.errors import CoordinationUnavailable, Reason
from oase_agent.telemetry.ownership import OwnershipFacts
from tests.coordination.conftest import BASE, Neighbourhood
from tests.unit.source_servers import Authority

LEASE = Lease(f"{BASE}-m-0", MEMBER, annotations=MappingProxyType({"who": "test"}))


@asynccontextmanager
async def answering(
    directory: Path, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> AsyncIterator[LeaseApi]:
    """Give a client of a server that answers everything by `handler`."""
    authority = Authority(directory)
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=authority.server_context("127.0.0.1")).start()
    token_file = directory / "token"
    token_file.write_text("token")
    address = f"https://127.0.0.1:{runner.addresses[0][1]}"
    server = ApiServer(address, "exastro", token_file, authority.file)
    try:
        async with LeaseApi(server, BASE, OwnershipFacts(CollectorRegistry(), logging.getLogger())) as api:
            yield api
    finally:
        await runner.cleanup()


async def test_a_token_that_was_replaced_is_used_for_the_next_request(neighbourhood: Neighbourhood) -> None:
    neighbourhood.server.tokens = {"first"}
    async with neighbourhood.api("first") as api:
        assert await api.get("nothing") is None
        neighbourhood.server.tokens = {"second"}
        with pytest.raises(CoordinationUnavailable) as refused:
            await api.get("nothing")
        assert refused.value.reason is Reason.TOKEN_REFUSED
        # The kubelet writes a file of another name and renames it; there may be a line end.
        fresh = neighbourhood.directory / "fresh"
        fresh.write_text("second\n")
        fresh.rename(neighbourhood.directory / "token-first")
        assert await api.get("nothing") is None


async def test_a_missing_token_is_told_with_its_file(neighbourhood: Neighbourhood) -> None:
    async with neighbourhood.api("first") as api:
        (neighbourhood.directory / "token-first").unlink()
        with pytest.raises(CoordinationUnavailable, match="token-first"):
            await api.get("nothing")


async def test_an_api_server_of_another_authority_gets_no_token(
    neighbourhood: Neighbourhood, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    neighbourhood.authority = Authority(elsewhere)
    async with neighbourhood.api("first") as api:
        with pytest.raises(CoordinationUnavailable) as refused:
            await api.get("nothing")
    assert refused.value.reason is Reason.TLS
    assert neighbourhood.server.requests == {}


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (401, Reason.TOKEN_REFUSED),
        (403, Reason.ROLE_MISSING),
        (429, Reason.RATE_LIMITED),
        (500, Reason.HTTP_STATUS),
        (503, Reason.HTTP_STATUS),
    ],
)
async def test_what_the_api_server_refuses_is_told_by_its_reason(
    neighbourhood: Neighbourhood, status: int, reason: Reason
) -> None:
    async with neighbourhood.api("pod-1") as api:
        found = await api.create(LEASE)
        assert found is not None
        asked: list[Callable[[], Awaitable[object]]] = [
            lambda: api.get(LEASE.name),
            lambda: api.list_page(),
            lambda: api.create(LEASE),
            lambda: api.replace(found),
            lambda: anext(api.watch(found.version)),
        ]
        for ask in asked:
            neighbourhood.server.weather().refusals.append(status)
            with pytest.raises(CoordinationUnavailable) as refused:
                await ask()
            assert refused.value.reason is reason


async def test_what_was_changed_meanwhile_is_not_replaced(neighbourhood: Neighbourhood) -> None:
    async with neighbourhood.api("pod-1") as api:
        found = await api.create(LEASE)
        assert found is not None
        assert await api.create(LEASE) is None
        taken = await api.replace(found.held_by("pod-1"))
        assert taken is not None
        assert (taken.holder, taken.transitions) == ("pod-1", 1)
        assert await api.replace(found.held_by("pod-2")) is None
        assert await api.get(LEASE.name) == taken
        await neighbourhood.server.delete(LEASE.name)
        assert await api.replace(taken) is None


async def test_a_list_in_parts_is_read_to_its_end(neighbourhood: Neighbourhood) -> None:
    async with neighbourhood.api("pod-1") as api:
        names = {f"{BASE}-c-{number:04}" for number in range(1_001)}
        for name in names:
            await neighbourhood.server.create(
                {
                    "metadata": {
                        "name": name,
                        "labels": {
                            "oase-agent.exastro.org/agent": BASE,
                            "oase-agent.exastro.org/kind": CLAIM,
                        },
                    },
                    "spec": {"holderIdentity": ""},
                }
            )
        found: set[str] = set()
        more, parts = "", 0
        while more or not parts:
            page = await api.list_page(more)
            found |= {lease.name for lease in page.leases}
            more, parts = page.more, parts + 1
        assert found == names
        assert parts == 3


async def test_a_watch_tells_every_change_and_ends_when_its_version_is_too_old(
    neighbourhood: Neighbourhood,
) -> None:
    async with neighbourhood.api("pod-1") as api:
        first = await api.create(LEASE)
        assert first is not None
        changes = api.watch(first.version)
        second = await api.replace(first.held_by("pod-1"))
        assert second is not None
        assert (await anext(changes)).lease == second
        await neighbourhood.server.delete(LEASE.name)
        assert (await anext(changes)).is_deleted
        await changes.aclose()
        neighbourhood.server.forget_changes()
        assert [change async for change in api.watch("1")] == []


async def test_a_watch_that_is_refused_for_its_old_version_just_ends(tmp_path: Path) -> None:
    async def gone(_request: web.Request) -> web.Response:
        return web.json_response({"kind": "Status", "code": 410}, status=410)

    async with answering(tmp_path, gone) as api:
        assert [change async for change in api.watch("1")] == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>a captive portal</html>",
        b"[]",
        b'{"metadata": {}}',
        b'{"metadata": {"name": 7}, "items": 5}',
        b'{"metadata": {"name": "x"}, "items": [{"spec": {}}]}',
        b"\xff\xfe",
    ],
)
async def test_an_answer_that_is_none_is_told(tmp_path: Path, body: bytes) -> None:
    async def garbage(_request: web.Request) -> web.Response:
        return web.Response(body=body + b"\n", content_type="application/json")

    async with answering(tmp_path, garbage) as api:
        with pytest.raises(CoordinationUnavailable) as refused:
            await api.list_page()
        assert refused.value.reason is Reason.MALFORMED
        if body:
            with pytest.raises(CoordinationUnavailable):
                [change async for change in api.watch("1")]


async def test_a_line_of_a_watch_that_never_ends_is_given_up(tmp_path: Path) -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(200):
            await response.write(b"x" * 65536)
        return response

    async with answering(tmp_path, endless) as api:
        with pytest.raises(CoordinationUnavailable):
            [change async for change in api.watch("1")]


async def test_a_redirect_is_not_followed_with_our_token(tmp_path: Path) -> None:
    async def elsewhere(request: web.Request) -> web.Response:
        assert request.path != "/elsewhere"
        return web.Response(status=302, headers={"Location": "/elsewhere"})

    async with answering(tmp_path, elsewhere) as api:
        with pytest.raises(CoordinationUnavailable, match="status 302"):
            await api.get("nothing")


async def test_a_lost_connection_is_told_and_the_next_request_makes_a_new_one(
    neighbourhood: Neighbourhood,
) -> None:
    async with neighbourhood.api("pod-1") as api:
        neighbourhood.server.weather("pod-1").loses_answers = 1
        with pytest.raises(CoordinationUnavailable) as lost:
            await api.create(LEASE)
        assert lost.value.reason is Reason.UNREACHABLE
        found = await api.get(LEASE.name)
        assert found is not None
        assert replace(found, version="") == LEASE


async def test_after_its_end_a_client_asks_nothing(neighbourhood: Neighbourhood) -> None:
    api = neighbourhood.api("pod-1")
    async with api:
        pass
    with pytest.raises(CoordinationUnavailable):
        await api.get("nothing")
