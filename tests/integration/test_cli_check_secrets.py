"""`oase-agent check` prints no secret, and nothing that steers a terminal (S3)."""

import json
from base64 import b64encode
from pathlib import Path
from urllib.parse import quote

from aiohttp import web

from oase_agent.simulators.sources import LogPageSimulator
from tests.integration.cli_stage import CliStage, Terminal, cli_stage


class Body:
    """A source's answer with any body."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    async def send(self, request: web.Request) -> web.StreamResponse:
        return web.Response(body=self._body, content_type="application/json")


CANARIES = {
    "refresh token": "canary-refresh/+=1",
    "bearer": "canary-bearer/+=2 ö",
    "password": "canary-password/+=3",
    "key": "canary-key/+=4",
    "literal header": "canary-header-5",
    "literal query": "canary-query-6",
    "literal field": "canary-field-7",
    "proxy": "canary-proxy-8",
}


def spellings(secret: str) -> set[str]:
    """Return how a request may write a secret."""
    plain = {secret, secret.upper(), quote(secret, safe=""), quote(secret), secret[7:]}
    return plain | {
        b64encode(before + secret.encode()).decode().rstrip("=")[2:-2] for before in (b"", b"u:", b"user:")
    }


SECRET_COLUMNS = {
    "AUTH_TOKEN": CANARIES["bearer"],
    "PASSWORD": CANARIES["password"],
    "SECRET_ACCESS_KEY": CANARIES["key"],
    "USERNAME": "user",
    "ACCESS_KEY_ID": "id",
    "EVENT_ID_KEY": "id",
    "REQUEST_HEADER": f'{{"X-Own": "{CANARIES["literal header"]}", "Content-Type": "application/json"}}',
    "PARAMETER": '{"up": "{{ EXASTRO_EVENT_COLLECTION_SETTING.PASSWORD | upper }}",'
    ' "cut": "{{ EXASTRO_EVENT_COLLECTION_SETTING.PASSWORD[7:] }}",'
    f' "auth": "{CANARIES["literal field"]}"}}',
}
SECRET_QUERY = (
    "?t={{ EXASTRO_EVENT_COLLECTION_SETTING.AUTH_TOKEN | urlencode }}&api_key=" + CANARIES["literal query"]
)


async def test_s3_no_secret_is_ever_printed(tmp_path: Path, terminal: Terminal) -> None:
    async with (
        cli_stage(tmp_path / "storage", refresh_token=CANARIES["refresh token"]) as stage,
        LogPageSimulator() as logs,
    ):
        stage.environment["EXASTRO_REFRESH_TOKEN"] = CANARIES["refresh token"]
        stage.environment["HTTPS_PROXY"] = f"http://user:{CANARIES['proxy']}@127.0.0.1:1"
        # A source that says what it was told once more, in the three ids that are shown.
        # The first is base64, of which only `user:` may remain.
        told = [{"id": b64encode(f"user:{CANARIES['password']}".encode()).decode()}]
        told += [{"id": f"Bearer {CANARIES['bearer']}"}, {"id": f"{CANARIES['proxy']}"}]
        logs.odd_answer = stage.zabbix.odd_answer = Body(json.dumps(told).encode())
        for method in ("1", "2", "3", "5"):
            columns = {**SECRET_COLUMNS, "CONNECTION_METHOD_ID": method}
            stage.add(f"get-{method}", f"{logs.url}/logs{SECRET_QUERY}", **columns)
            url = f"{stage.zabbix.url}/api_jsonrpc.php{SECRET_QUERY}"
            stage.add(f"post-{method}", url, **columns, REQUEST_METHOD_ID="2")
        printed = await terminal.run(stage.environment, "check")
        assert (len(logs.requests), len(stage.zabbix.requests)) == (4, 4)
        assert all(quote(CANARIES["bearer"]) in record.path for record in logs.requests)
    assert printed.code == 0
    for shown in (
        "?t=********&api_key=********",
        "X-Own: ********",
        "Authorization: ********",
        '"up": "********"',
        '"auth": "********"',
        'new           dXNlcjp********: {"id": "dXNlcjp********"}',
        "new           Bearer ********: ",
        "new           ********: ",
    ):
        assert shown in printed.out
    for secret in CANARIES.values():
        assert not {text for text in spellings(secret) if text in printed.out + printed.err}


async def test_s3_a_request_that_takes_a_secret_apart_is_not_shown(
    stage: CliStage, terminal: Terminal
) -> None:
    stage.add_zabbix(
        "web-01",
        AUTH_TOKEN="user:canary-half",
        URL=f"{stage.zabbix.url}/api_jsonrpc.php"
        "?x={{ EXASTRO_EVENT_COLLECTION_SETTING.AUTH_TOKEN.split(':')[1].strip() }}",
    )
    printed = await terminal.run(stage.environment, "check")
    assert printed.code == 0
    assert "request       not shown" in printed.out
    assert "canary-half" not in printed.out


async def test_what_a_source_sends_cannot_steer_the_terminal(stage: CliStage, terminal: Terminal) -> None:
    async with LogPageSimulator() as source:
        source.odd_answer = Body(json.dumps([{"id": "\x1b[2J\nFAIL"}]).encode())
        stage.add("logs", f"{source.url}/logs", EVENT_ID_KEY="id")
        printed = await terminal.run(stage.environment, "check")
    assert 'new           \\x1b[2J\\nFAIL: {"id": "\\u001b[2J\\nFAIL"}\n' in printed.out
