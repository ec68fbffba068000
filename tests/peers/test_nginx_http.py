"""HTTP as a real nginx speaks it: validators, compression, limits, redirects, and answers that are too much."""

import os
import time
from pathlib import Path

import pytest

from tests.acceptance.stage import Stage
from tests.acceptance.steps import polls
from tests.peers.authority import PeerAuthority
from tests.peers.nginx import RunningNginx, needs_nginx, running_nginx
from tests.peers.options_file import OptionsFile
from tests.peers.steps import trouble_of

pytestmark = needs_nginx

LIMIT = "limit_req_zone $server_port zone=polls:1m rate=1r/m;"
LIMITED = """
limit_req_status {status};
location = /limited.json {{ limit_req zone=polls burst=5 nodelay; error_page {status} @later; }}
location @later {{ add_header Retry-After 3600 always; return {status}; }}
"""


def write_earlier(server: RunningNginx, *ids: str, seconds: int) -> None:
    """Write events so many seconds ago: a file that was just written may change again within its second."""
    earlier = time.time() - seconds
    os.utime(server.say([{"id": event} for event in ids]), (earlier, earlier))


async def answered(stage: Stage, server: RunningNginx, status: int, times: int) -> None:
    """Wait until the server answered with a status so many times."""
    await stage.until(lambda: server.statuses().count(status) >= times)


@pytest.mark.parametrize(
    ("lines", "asked_with"),
    [
        ("", "if_none_match"),
        ("etag off;", "if_modified_since"),
        ("gzip on; gzip_types application/json; gzip_min_length 1;", "if_none_match"),
    ],
    ids=["ETag", "Last-Modified", "weak ETag of a compressed answer"],
)
async def test_what_did_not_change_is_not_sent_again_and_what_changed_is_collected(
    stage: Stage, tmp_path: Path, lines: str, asked_with: str
) -> None:
    with running_nginx(tmp_path, lines) as server:
        write_earlier(server, "1", seconds=3600)
        stage.add("web", server.url("/alerts.json"), EVENT_ID_KEY="id")
        await stage.start()
        assert await stage.arrived("web", 1) == ["1"]
        await answered(stage, server, 304, 3)

        write_earlier(server, "1", "2", seconds=60)
        assert await stage.arrived("web", 2) == ["1", "2"]
        unchanged = server.statuses().count(304)
        await answered(stage, server, 304, unchanged + 2)
        assert stage.setting("web").trouble is None
        await stage.stop()

        assert server.statuses().count(200) == 2
        requests = server.requests()
        assert all(request[asked_with] for request in requests if request["status"] == 304)
        assert {request["coding"] for request in requests if request["status"] == 200} == {
            "gzip" if "gzip" in lines else ""
        }


async def test_without_conditional_requests_every_answer_is_whole(
    stage: Stage, options: OptionsFile, tmp_path: Path
) -> None:
    with running_nginx(tmp_path) as server:
        write_earlier(server, "1", seconds=3600)
        stage.add("web", server.url("/alerts.json"), EVENT_ID_KEY="id")
        await stage.start(**options.say(web={"conditional": False}))
        await answered(stage, server, 200, 4)
        await stage.stop()
        assert set(server.statuses()) == {200}
    assert stage.workspace.acceptance.ids_of("web") == ["1"]


@pytest.mark.parametrize("status", [429, 503])
async def test_a_server_that_limits_requests_is_left_alone_as_long_as_it_says(
    stage: Stage, tmp_path: Path, status: int
) -> None:
    other = await stage.alerts("elsewhere")
    with running_nginx(tmp_path, LIMITED.format(status=status), http=LIMIT) as server:
        server.say([{"id": "1"}], "limited.json")
        server.say([{"id": "2"}], "free.json")
        stage.add("limited", server.url("/limited.json"), EVENT_ID_KEY="id")
        stage.add("same host", server.url("/free.json"), EVENT_ID_KEY="id")
        agent = await stage.start()
        names = ("limited", "same host")
        # Only the seventh request to the one is refused; the other never is, and is put off with it.
        await stage.until(lambda: all(stage.setting(name).next_attempt_at_s for name in names))
        asked = len(server.requests())
        await polls(other, 6)

        assert len(server.requests()) == asked
        assert server.statuses().count(status) == 1
        now_s = agent.status().now_s
        assert all((stage.setting(name).next_attempt_at_s or 0) > now_s + 3000 for name in names)
        assert f"status {status}" in (stage.setting("limited").trouble or "")
        assert stage.setting("same host").trouble is None
        assert await stage.arrived("limited", 1) == ["1"]
        assert await stage.arrived("same host", 1) == ["2"]
        await stage.stop()


async def test_a_chain_of_redirects_is_followed_and_credentials_stay_with_their_host(
    stage: Stage, authority: PeerAuthority, tmp_path: Path
) -> None:
    with running_nginx(tmp_path / "final", certificate=authority.server_file("localhost")) as final:
        final.say([{"id": "1"}])
        chain = (
            "absolute_redirect off; location = /a { return 301 /b?x=1; } location = /b { return 307 c; } "
            f"location = /c {{ return 302 {final.url('/alerts.json', 'localhost')}; }}"
        )
        with running_nginx(tmp_path / "first", chain) as first:
            columns = {"CONNECTION_METHOD_ID": "1", "AUTH_TOKEN": "hunter2", "EVENT_ID_KEY": "id"}
            stage.add("web", first.url("/a"), **columns)
            await stage.start(SOURCE_CA_FILE=str(authority.file))
            assert await stage.arrived("web", 1) == ["1"]
            await stage.stop()
            asked = [request["asked"] for request in first.requests()]
            assert asked[:3] == ["GET /a", "GET /b?x=1", "GET /c"]
            assert {request["authorization"] for request in first.requests()} == {"Bearer hunter2"}
        assert {request["authorization"] for request in final.requests()} == {""}


async def test_redirects_in_a_circle_end(stage: Stage, tmp_path: Path) -> None:
    circle = "location = /a { return 302 /b; } location = /b { return 302 /a; }"
    with running_nginx(tmp_path, circle) as server:
        stage.add("web", server.url("/a"), EVENT_ID_KEY="id")
        await stage.start()
        assert "still redirects after" in await trouble_of(stage, "web")
        await stage.stop()


@pytest.mark.parametrize("lines", ["", "gzip on; gzip_types application/json;"], ids=["plain", "compressed"])
async def test_an_answer_beyond_the_limit_is_not_read_to_its_end(
    stage: Stage, tmp_path: Path, lines: str
) -> None:
    with running_nginx(tmp_path, lines) as server:
        server.say([{"id": str(number), "text": "x" * 100} for number in range(1000)])
        stage.add("web", server.url("/alerts.json"), EVENT_ID_KEY="id")
        await stage.start(SOURCE_MAX_BYTES="64KiB")
        trouble = await trouble_of(stage, "web")
        assert "too large" in trouble
        assert "SOURCE_MAX_BYTES" in trouble

        write_earlier(server, "small", seconds=60)
        assert await stage.arrived("web", 1) == ["small"]
        await stage.stop()


async def test_a_slow_answer_ends_at_the_limit_and_holds_up_nobody(stage: Stage, tmp_path: Path) -> None:
    other = await stage.alerts("elsewhere")
    with running_nginx(tmp_path, "location = /slow.json { limit_rate 100; }") as server:
        server.say([{"id": "1", "text": "x" * 100_000}], "slow.json")
        stage.add("slow", server.url("/slow.json"), EVENT_ID_KEY="id")
        await stage.start(SOURCE_TIMEOUT_S="1")
        fired = other.fire({"alertname": "beside it"})
        assert await stage.arrived("elsewhere", 1) == [fired]
        assert stage.setting("slow").trouble is None, "it still goes on"

        trouble = await trouble_of(stage, "slow")
        assert "within 1 s (SOURCE_TIMEOUT_S)" in trouble
        await stage.stop()


async def test_a_server_that_closes_its_connections_often_costs_no_collection(
    stage: Stage, options: OptionsFile, tmp_path: Path
) -> None:
    with running_nginx(tmp_path, "keepalive_requests 2;") as server:
        server.say([{"id": "1"}])
        stage.add("web", server.url("/alerts.json"), EVENT_ID_KEY="id")
        await stage.start(**options.say(web={"conditional": False}))
        await answered(stage, server, 200, 7)
        await stage.stop()
        [metric] = [
            metric for metric in stage.telemetry.registry.collect() if metric.name == "oase_agent_collections"
        ]
        counted = {sample.labels["outcome"] for sample in metric.samples if sample.name.endswith("_total")}
        assert counted == {"success"}


async def test_basic_credentials_open_what_nginx_protects_and_wrong_ones_are_told(
    stage: Stage, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "users").write_text("ops:{PLAIN}pässwörd\n")
    with running_nginx(tmp_path, f"auth_basic ops; auth_basic_user_file {tmp_path / 'users'};") as server:
        server.say([{"id": "1"}])
        columns = {"CONNECTION_METHOD_ID": "2", "USERNAME": "ops", "EVENT_ID_KEY": "id"}
        stage.add("right", server.url("/alerts.json"), PASSWORD="pässwörd", **columns)
        stage.add("wrong", server.url("/alerts.json"), PASSWORD="hunter2", **columns)
        await stage.start()
        assert await stage.arrived("right", 1) == ["1"]
        trouble = await trouble_of(stage, "wrong")
        await stage.stop()
    assert "status 401: check the credentials of the setting" in trouble
    assert "hunter2" not in caplog.text
