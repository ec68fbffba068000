"""Sources that answer in pages: as GitLab does, behind an nginx that ends TLS, and with a token as REST desks do."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from oase_agent.simulators.loopback import Reply, json_reply
from tests.acceptance.sources import DocumentSource
from tests.acceptance.stage import Stage
from tests.peers.authority import PeerAuthority
from tests.peers.nginx import needs_nginx, running_nginx
from tests.peers.options_file import OptionsFile

# What a proxy that ends TLS usually says to what is behind it: the host as it was asked for, and not that it was TLS.
BEHIND = "location / {{ proxy_pass {url}; proxy_set_header Host $http_host; proxy_http_version 1.1; }}"
SIZE = 3


class IssueTracker(DocumentSource):
    """Lists `issues`, three on a page; names the next page in a Link header with http URLs, or by a token."""

    def __init__(self) -> None:
        super().__init__([])
        self.issues: list[dict[str, Any]] = []
        self.asked: list[str] = []

    def open(self, *numbers: int) -> list[str]:
        self.issues += [{"iid": number, "title": f"issue {number}"} for number in numbers]
        return [str(number) for number in numbers]

    def content(self, request: web.Request, body: bytes) -> Reply:
        self.asked.append(request.path_qs)
        if request.path == "/api/v4/issues":
            return self._with_links(request)
        return self._with_token(request)

    def _with_links(self, request: web.Request) -> Reply:
        number = int(request.query.get("page", "1"))
        pages = max(1, -(-len(self.issues) // SIZE))

        def link(page: int, relation: str) -> str:
            query = f"page={page}&per_page={SIZE}&state=opened"
            return f'<http://{request.host}/api/v4/issues?{query}>; rel="{relation}"'

        links = [link(1, "first"), link(pages, "last")]
        links += [link(number + 1, "next")] if number < pages else []
        document = self.issues[(number - 1) * SIZE : number * SIZE]
        return Reply(200, json.dumps(document).encode(), headers={"Link": ", ".join(links)})

    def _with_token(self, request: web.Request) -> Reply:
        start = int(request.query.get("page[after]", "t0").removeprefix("t"))
        end = start + SIZE
        following = f"t{end}" if end < len(self.issues) else None
        return json_reply((200, {"incidents": self.issues[start:end], "meta": {"next": following}}))


@pytest.fixture
async def tracker() -> AsyncIterator[IssueTracker]:
    """Give a tracker with seven issues."""
    async with IssueTracker() as tracker:
        tracker.open(*range(1, 8))
        yield tracker


async def until_asked(stage: Stage, tracker: IssueTracker, times: int) -> None:
    """Wait until so many more requests came."""
    enough = len(tracker.asked) + times
    await stage.until(lambda: len(tracker.asked) >= enough)


@needs_nginx
async def test_links_to_http_behind_a_proxy_that_ends_tls_lead_on_over_tls(
    stage: Stage, authority: PeerAuthority, options: OptionsFile, tracker: IssueTracker, tmp_path: Path
) -> None:
    certificate = authority.server_file("127.0.0.1")
    with running_nginx(tmp_path, BEHIND.format(url=tracker.url), certificate=certificate) as server:
        stage.add("issues", server.url("/api/v4/issues?state=opened"), EVENT_ID_KEY="iid")
        block = {"ca_file": str(authority.file), "pagination": {"style": "link_header"}}
        await stage.start(**options.say(issues=block))
        assert await stage.arrived("issues", 7) == [str(number) for number in range(1, 8)]
        new = tracker.open(8, 9, 10)
        await stage.arrived("issues", 10)
        await until_asked(stage, tracker, 8)
        assert stage.setting("issues").trouble is None
        await stage.stop()

        assert stage.workspace.acceptance.ids_of("issues")[7:] == new
        assert all(request["protocol"].startswith("TLS") for request in server.requests())
        assert {request["status"] for request in server.requests()} == {200}


async def test_pages_named_by_a_token_are_read_to_the_last_one(
    stage: Stage, options: OptionsFile, tracker: IssueTracker
) -> None:
    stage.add("desk", f"{tracker.url}/incidents", RESPONSE_KEY="incidents", EVENT_ID_KEY="iid")
    pagination = {"style": "token", "path": "meta.next", "parameter": "page[after]"}
    await stage.start(**options.say(desk={"pagination": pagination}))
    assert await stage.arrived("desk", 7) == [str(number) for number in range(1, 8)]
    await until_asked(stage, tracker, 4)
    await stage.stop()
    assert tracker.asked[:4] == [
        "/incidents",
        "/incidents?page%5Bafter%5D=t3",
        "/incidents?page%5Bafter%5D=t6",
        "/incidents",
    ]
    assert stage.workspace.count("desk") == 7
