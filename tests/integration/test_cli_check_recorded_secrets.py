"""What `oase-agent check --record` saves and prints holds no secret, although the source sends all back (S3)."""

import json
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, quote_plus

from aiohttp import web

from oase_agent.simulators.sources import LogPageSimulator
from tests.integration.cli_stage import Terminal, cli_stage


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


CANARIES = {
    "refresh token": "canary-refresh/+=1",
    "bearer": "canary-bearer/+=2 ö",
    "password": 'canary-password/+="3',
    "key": "canary-key/+=4",
    "literal header": "canary-header-5",
    "literal query": "canary-query-6",
    "literal field": "canary-field-7",
    "proxy of the agent": "canary-proxy-8",
    "proxy of the setting": "canary-proxy/+=9",
    "URL": "canary-url-10",
    "header of the options": "canary-option/+=11",
    "client secret": "canary-client/+=12",
    "access token": "canary-access-13",
    "proxy of the options": "canary-proxy-14",
    "note": "canary-note-15",
    "digits": "481516234248151623",
}


NEVER_SENT = {"note", "proxy of the setting", "proxy of the options"}
OF_THE_OPTIONS = {"header of the options", "client secret", "access token"}


def spellings(secret: str) -> set[str]:
    """Return how a request, an answer or a report may write a secret."""
    in_json = json.dumps(secret)[1:-1]
    plain = {secret, secret.upper(), quote(secret, safe=""), quote(secret), quote_plus(secret), secret[7:]}
    encoded = {
        b64encode(before + secret.encode()).decode().rstrip("=")[2:-2] for before in (b"", b"u:", b"user:")
    }
    return plain | encoded | {in_json, in_json.replace("/", "\\/"), json.dumps(in_json)[1:-1]}


@dataclass(slots=True)
class Echo:
    """A source that sends back what it was told and the secrets it `knows`, in several notations."""

    asked: list[str] = field(default_factory=list)
    knows: list[str] = field(default_factory=list)

    async def send(self, request: web.Request) -> web.StreamResponse:
        told = [f"{name}: {value}" for name, value in request.headers.items()]
        told += [str(request.url), request.path_qs, (await request.read()).decode()]
        self.asked.append("\n".join(told))
        said = [*told, *self.knows, *map(quote, self.knows)]
        said += [b64encode(f"user:{text}".encode()).decode() for text in self.knows]
        events = [{"id": f"{number} {text}", "again": json.dumps(text)} for number, text in enumerate(said)]
        body = (
            json.dumps(events)
            .replace("/", "\\/")
            .replace('"id": "0', '"digits": 481516234248151623, "id": "0')
        )
        return web.Response(text=body, content_type="application/json", headers={"X-Echo": self.knows[0]})


@asynccontextmanager
async def token_endpoint() -> AsyncIterator[str]:
    """Serve an OAuth 2.0 token endpoint."""

    async def answer(_request: web.Request) -> web.Response:
        return web.json_response({"access_token": CANARIES["access token"], "token_type": "Bearer"})

    application = web.Application()
    application.router.add_post("/token", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}/token"
    finally:
        await runner.cleanup()


def options_file(tmp_path: Path, token_url: str) -> Path:
    """Write SOURCE_OPTIONS_FILE with a secret in each place for one."""
    for name in ("header of the options", "client secret", "proxy of the options"):
        (tmp_path / name).write_text(CANARIES[name])
    oauth2 = {"token_url": token_url, "client_id": "me", "client_secret_file": "client secret"}
    headers = {"X-Api": {"file": "header of the options"}}
    proxy = {"url": "http://127.0.0.1:1", "username": "me", "password_file": "proxy of the options"}
    sources = {"oauth": {"oauth2": oauth2, "headers": headers}, "proxied": {"proxy": proxy}}
    file = tmp_path / "options.yaml"
    file.write_text(json.dumps({"version": 1, "sources": sources}))
    return file


COLUMNS = {
    "AUTH_TOKEN": CANARIES["bearer"],
    "PASSWORD": CANARIES["password"],
    "SECRET_ACCESS_KEY": CANARIES["key"],
    "USERNAME": "user",
    "ACCESS_KEY_ID": "id",
    "EVENT_ID_KEY": "id",
    "NOTE": f"the password is {CANARIES['note']}",
    "REQUEST_HEADER": f'{{"X-Own": "{CANARIES["literal header"]}", "Content-Type": "application/json"}}',
    "PARAMETER": '{"up": "{{ EXASTRO_EVENT_COLLECTION_SETTING.PASSWORD | upper | e }}",'
    f' "auth": "{CANARIES["literal field"]}", "pin_token": {CANARIES["digits"]}}}',
}
QUERY = (
    "?t={{ EXASTRO_EVENT_COLLECTION_SETTING.AUTH_TOKEN | urlencode }}&api_key=" + CANARIES["literal query"]
)


async def test_s3_no_secret_is_recorded_or_printed(tmp_path: Path, terminal: Terminal) -> None:
    async with (
        cli_stage(tmp_path / "storage", refresh_token=CANARIES["refresh token"]) as stage,
        LogPageSimulator() as source,
        token_endpoint() as token_url,
    ):
        source.odd_answer = echo = Echo()
        stage.environment["EXASTRO_REFRESH_TOKEN"] = CANARIES["refresh token"]
        stage.environment["HTTPS_PROXY"] = f"http://user:{CANARIES['proxy of the agent']}@127.0.0.1:1"
        stage.environment["SOURCE_OPTIONS_FILE"] = str(options_file(tmp_path, token_url))
        with_user = source.url.replace("//", f"//user:{CANARIES['URL']}@")
        for method in ("1", "2", "3", "5"):
            stage.add(f"method-{method}", f"{with_user}/logs{QUERY}", **COLUMNS, CONNECTION_METHOD_ID=method)
        stage.zabbix.odd_answer = echo
        with_user = stage.zabbix.url.replace("//", f"//user:{CANARIES['URL']}@")
        stage.add("post", f"{with_user}/api_jsonrpc.php{QUERY}", **COLUMNS, REQUEST_METHOD_ID="2")
        stage.add("oauth", f"{source.url}/logs{QUERY}", **COLUMNS)
        stage.add("proxied", f"{source.url}/logs", **COLUMNS)
        stage.add(
            "over",
            f"{source.url}/logs",
            **COLUMNS,
            PROXY=f"u:{quote(CANARIES['proxy of the setting'], safe='')}@127.0.0.1:1",
        )
        wrote = ""
        common = set(CANARIES) - OF_THE_OPTIONS - {"URL"} - NEVER_SENT
        for name in stage.environment["EVENT_COLLECTION_SETTINGS_NAMES"].split(","):
            directory = tmp_path / name
            more = OF_THE_OPTIONS if name == "oauth" else {"URL"}
            echo.knows = [CANARIES[secret] for secret in sorted(common | more)]
            for arguments in (
                ("check", name, "--record", str(directory), "--full", "--events", "1000"),
                ("check", "--offline", str(directory), "--full", "--events", "1000"),
            ):
                printed = await terminal.run(stage.environment, *arguments)
                wrote += printed.out + printed.err
            wrote += "".join(content.decode() for content in contents(directory).values())
    assert len(echo.asked) == 6
    assert any(CANARIES["access token"] in asked for asked in echo.asked)
    assert any(CANARIES["header of the options"] in asked for asked in echo.asked)
    assert wrote.count("can be extracted") == 6
    assert "canary" not in wrote.lower()
    for name, secret in CANARIES.items():
        found = {text for text in spellings(secret) if text in wrote}
        assert not found, name
    assert '"PARAMETER": "{\\"up\\": \\"{{ EXASTRO_EVENT_COLLECTION_SETTING.PASSWORD | upper' in wrote
