"""The simulated workspace over a real socket: tokens, gateway, settings, control doors."""

import io
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from oase_agent.simulators.secrets import encrypt_secret
from oase_agent.simulators.workspace import MenuPrivilege, WorkspaceSimulator, setting_row

T = 1_700_000_000
COLUMNS = [
    "EVENT_COLLECTION_SETTINGS_ID",
    "EVENT_COLLECTION_SETTINGS_NAME",
    "CONNECTION_METHOD_ID",
    "REQUEST_METHOD_ID",
    "URL",
    "PORT",
    "REQUEST_HEADER",
    "PROXY",
    "AUTH_TOKEN",
    "USERNAME",
    "PASSWORD",
    "MAILBOXNAME",
    "ACCESS_KEY_ID",
    "SECRET_ACCESS_KEY",
    "PARAMETER",
    "RESPONSE_LIST_FLAG",
    "RESPONSE_KEY",
    "EVENT_ID_KEY",
    "TTL",
    "NOTE",
    "DISUSE_FLAG",
    "LAST_UPDATE_TIMESTAMP",
    "LAST_UPDATE_USER",
]


class Clock:
    def __init__(self) -> None:
        self.now_s = float(T)

    def __call__(self) -> float:
        return self.now_s


class Caller:
    """A client that holds an access token, as an agent does."""

    def __init__(self, session: aiohttp.ClientSession, workspace: WorkspaceSimulator) -> None:
        self.session = session
        self.workspace = workspace
        self.headers: dict[str, str] = {}
        self.base = f"{workspace.url}/api/org001/workspaces/ws01/oase_agent"

    async def token(self, **form: str) -> tuple[int, dict[str, Any]]:
        url = f"{self.workspace.url}/auth/realms/org001/protocol/openid-connect/token"
        fields = {"client_id": "_org001-api", "grant_type": "refresh_token", "refresh_token": "refresh-token"}
        async with self.session.post(url, data=fields | form) as response:
            answer: dict[str, Any] = await response.json()
            return response.status, answer

    async def log_in(self) -> None:
        _, answer = await self.token()
        self.headers = {"Authorization": f"Bearer {answer['access_token']}"}

    async def call(self, endpoint: str, body: Any) -> tuple[int, dict[str, Any]]:
        async with self.session.post(f"{self.base}/{endpoint}", json=body, headers=self.headers) as response:
            answer: dict[str, Any] = await response.json()
            return response.status, answer

    async def names(self, *names: Any) -> tuple[int, dict[str, Any]]:
        return await self.call("event_collection/settings", {"event_collection_settings_names": names})

    async def result(self) -> tuple[int, str]:
        status, answer = await self.names("a")
        return status, answer["result"]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def workspace(clock: Clock) -> AsyncIterator[WorkspaceSimulator]:
    url = "http://source.example/"
    rows = [
        setting_row("a", url, CONNECTION_METHOD_ID="1", AUTH_TOKEN="s3cret"),
        setting_row("b", url),
        setting_row("old", url, DISUSE_FLAG="1"),
    ]
    simulator = WorkspaceSimulator(
        username="user",
        password="pass",
        access_token_lifetime_s=60,
        refresh_token_lifetime_s=600,
        settings=rows,
        clock=clock,
    )
    async with simulator:
        yield simulator


@pytest.fixture
async def caller(workspace: WorkspaceSimulator) -> AsyncIterator[Caller]:
    async with aiohttp.ClientSession() as session:
        caller = Caller(session, workspace)
        await caller.log_in()
        yield caller


def event_request(name: str = "a", *events: dict[str, Any]) -> dict[str, Any]:
    agent = {"name": "agent-1", "version": "1"}
    group = {
        "fetched_time": T,
        "event_collection_settings_name": name,
        "agent": agent,
        "event": list(events),
    }
    return {"events": [group]}


# --- tokens -------------------------------------------------------------------------------------------------


async def test_a_refresh_token_is_traded_for_an_access_token_that_opens_the_api(caller: Caller) -> None:
    status, answer = await caller.token()
    assert (status, answer["expires_in"], answer["refresh_expires_in"]) == (200, 60, 600)
    assert answer["refresh_token"] == "refresh-token"
    assert await caller.result() == (200, "000-00000")


async def test_an_access_token_ends_with_its_lifetime_and_can_be_renewed(
    caller: Caller, clock: Clock
) -> None:
    clock.now_s += 60
    assert await caller.result() == (401, "401-00002")
    await caller.log_in()
    assert await caller.result() == (200, "000-00000")


@pytest.mark.parametrize(
    ("form", "status", "error"),
    [
        ({"refresh_token": "other"}, 400, "invalid_grant"),
        ({"client_id": "_org002-api"}, 401, "invalid_client"),
        ({"grant_type": "authorization_code"}, 400, "unsupported_grant_type"),
        ({"grant_type": "password", "username": "user", "password": "no"}, 401, "invalid_grant"),
    ],
)
async def test_what_is_wrong_with_a_token_request_is_named(
    caller: Caller, form: dict[str, str], status: int, error: str
) -> None:
    answer = await caller.token(**form)
    assert (answer[0], answer[1]["error"]) == (status, error)


async def test_an_expired_refresh_token_is_an_invalid_grant(caller: Caller, clock: Clock) -> None:
    clock.now_s += 600
    status, answer = await caller.token()
    assert (status, answer["error"]) == (400, "invalid_grant")


async def test_revoking_ends_the_access_tokens_too(caller: Caller, workspace: WorkspaceSimulator) -> None:
    workspace.tokens.revoke_refresh_tokens()
    assert await caller.result() == (401, "401-00002")
    assert (await caller.token())[0] == 400
    workspace.tokens.allow_refresh_token("new")
    assert (await caller.token(refresh_token="new"))[0] == 200


async def test_rotation_makes_the_old_refresh_token_invalid(
    caller: Caller, workspace: WorkspaceSimulator
) -> None:
    workspace.tokens.rotate_refresh_token = True
    _, answer = await caller.token()
    assert (await caller.token())[0] == 400
    assert (await caller.token(refresh_token=answer["refresh_token"]))[0] == 200


async def test_every_exchange_is_on_record(caller: Caller, workspace: WorkspaceSimulator) -> None:
    await caller.token(refresh_token="other")
    await caller.token(grant_type="password", username="user", password="pass", scope="offline_access")
    assert [(one.grant_type, one.http_status, one.scope) for one in workspace.tokens.exchanges] == [
        ("refresh_token", 200, ""),
        ("refresh_token", 400, ""),
        ("password", 200, "offline_access"),
    ]


async def test_another_realm_and_another_content_type_are_not_served(caller: Caller) -> None:
    base = f"{caller.workspace.url}/auth/realms"
    async with caller.session.post(
        f"{base}/other/protocol/openid-connect/token", data={"a": "b"}
    ) as response:
        assert response.status == 404
    async with caller.session.post(f"{base}/org001/protocol/openid-connect/token", json={}) as response:
        assert response.status == 415


# --- the gateway and the receiver's checks ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("password_of_user", "password_sent", "status"),
    [("pass", "pass", 200), ("pass", "no", 401), ("pa:ss", "pa:ss", 401), ("pass", "pass:more", 200)],
)
async def test_basic_cuts_a_password_at_its_first_colon(
    password_of_user: str, password_sent: str, status: int
) -> None:
    simulator = WorkspaceSimulator(username="user", password=password_of_user)
    async with simulator, aiohttp.ClientSession() as session:
        caller = Caller(session, simulator)
        caller.headers = {"Authorization": aiohttp.encode_basic_auth("user", password_sent)}
        assert (await caller.names("a"))[0] == status


@pytest.mark.parametrize(
    "header", ["", "Bearer nonsense", "Basic !", "Basic dXNlcg==", "Basic Og==", "Digest x"]
)
async def test_bad_credentials_are_refused(caller: Caller, header: str) -> None:
    caller.headers = {"Authorization": header}
    assert await caller.result() == (401, "401-00002")


async def test_without_a_user_name_nobody_logs_in_with_an_empty_password() -> None:
    async with WorkspaceSimulator() as simulator, aiohttp.ClientSession() as session:
        caller = Caller(session, simulator)
        caller.headers = {"Authorization": "Basic Og=="}
        assert await caller.result() == (401, "401-00002")


async def test_an_unknown_organization_and_a_foreign_workspace_are_refused(caller: Caller) -> None:
    home = caller.base
    caller.base = home.replace("org001", "org002")
    assert await caller.result() == (404, "404-00001")
    caller.base = home.replace("ws01", "ws02")
    assert await caller.result() == (403, "403-00001")


@pytest.mark.parametrize("endpoint", ["events", "event_collection/settings"])
@pytest.mark.parametrize(
    ("switch", "value", "expected"),
    [
        ("role_missing", True, (403, "403-00001")),
        ("maintenance", True, (498, "498-00004")),
        ("menu_installed", False, (499, "499-00002")),
        ("menu_privilege", MenuPrivilege.NONE, (401, "401-00001")),
    ],
)
async def test_each_switch_refuses_both_endpoints(
    caller: Caller, endpoint: str, switch: str, value: object, expected: tuple[int, str]
) -> None:
    setattr(caller.workspace, switch, value)
    body = event_request("a", {"n": 1}) | {"event_collection_settings_names": ["a"]}
    status, answer = await caller.call(endpoint, body)
    assert (status, answer["result"]) == expected
    assert "data" not in answer
    assert caller.workspace.count() == 0


async def test_reading_is_enough_for_settings_but_not_for_events(caller: Caller) -> None:
    caller.workspace.menu_privilege = MenuPrivilege.READ
    assert await caller.result() == (200, "000-00000")
    status, answer = await caller.call("events", event_request("a", {"n": 1}))
    assert (status, answer["result"]) == (401, "401-00001")


async def test_other_methods_paths_and_content_types_are_refused(caller: Caller) -> None:
    session, headers = caller.session, caller.headers
    async with session.get(f"{caller.base}/events", headers=headers) as response:
        assert response.status == 405
    async with session.post(f"{caller.base}/nothing", headers=headers) as response:
        assert response.status == 404
    async with session.post(f"{caller.base}/events", data=b"{}", headers=headers) as response:
        assert response.status == 415


# --- settings -----------------------------------------------------------------------------------------------


async def test_a_row_has_every_column_of_the_contract_in_full(caller: Caller) -> None:
    _, answer = await caller.names("b")
    row = answer["data"][0]
    assert list(row) == COLUMNS
    assert (row["CONNECTION_METHOD_ID"], row["REQUEST_METHOD_ID"], row["RESPONSE_LIST_FLAG"]) == (
        "5",
        "1",
        "1",
    )
    assert (row["TTL"], row["PORT"], row["DISUSE_FLAG"]) == (3600, None, "0")


async def test_unknown_and_discarded_names_are_omitted_and_repeated_ones_collapse(caller: Caller) -> None:
    status, answer = await caller.names("b", "zz", "old", "a", "b", " a")
    assert (status, answer["message"], answer["ts"]) == (200, "SUCCESS", "2023-11-14T22:13:20.000Z")
    assert [row["EVENT_COLLECTION_SETTINGS_NAME"] for row in answer["data"]] == ["a", "b"]


async def test_secrets_are_encrypted_anew_on_every_call(caller: Caller) -> None:
    texts = []
    for _ in range(2):
        _, answer = await caller.names("a")
        row = answer["data"][0]
        texts.append(row["AUTH_TOKEN"])
        assert len(row["PASSWORD"]) == len(encrypt_secret("", "org001", "ws01"))
    assert texts[0] != texts[1]
    assert len(texts[0]) == len(encrypt_secret("s3cret", "org001", "ws01"))
    assert "s3cret" not in texts[0]


@pytest.mark.parametrize("body", [{}, {"event_collection_settings_names": []}, []])
async def test_no_names_are_a_system_error(caller: Caller, body: Any) -> None:
    status, answer = await caller.call("event_collection/settings", body)
    assert (status, answer["result"]) == (500, "999-99999")


@pytest.mark.parametrize("names", [[None], ["a", 1], "a", None])
async def test_names_that_are_no_texts_violate_the_schema(caller: Caller, names: Any) -> None:
    body = {"event_collection_settings_names": names}
    status, answer = await caller.call("event_collection/settings", body)
    assert (status, "result" in answer) == (400, False)


async def test_settings_can_be_added_renamed_discarded_and_removed(caller: Caller) -> None:
    workspace = caller.workspace

    async def present() -> list[str]:
        _, answer = await caller.names("a", "b", "c", "d")
        return [row["EVENT_COLLECTION_SETTINGS_NAME"] for row in answer["data"]]

    workspace.add_setting(setting_row("c", "http://source.example/"))
    assert await present() == ["a", "b", "c"]
    workspace.rename("c", "d")
    assert await present() == ["a", "b", "d"]
    workspace.discard("a")
    workspace.remove("b")
    assert await present() == ["d"]
    _, answer = await caller.call("events", event_request("a", {"n": 1}))
    assert "has been discarded" in answer["data"][0]
    status, _ = await caller.call("events", event_request("b", {"n": 1}))
    assert status == 499


def test_a_column_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="URI"):
        setting_row("a", "", URI="x")


# --- events, records, control doors -------------------------------------------------------------------------


async def test_events_are_stored_and_requests_are_on_record(caller: Caller) -> None:
    status, answer = await caller.call("events", event_request("a", {"_exastro_oase_event_id": "7"}))
    assert (status, answer["data"]) == (200, [])
    await caller.workspace.wait_for(lambda simulator: simulator.count("a") == 1)
    assert caller.workspace.ids_of("a") == ["7"]
    record = caller.workspace.requests[-1]
    assert (record.endpoint, record.http_status, record.groups, record.received_at) == ("events", 200, 1, T)
    assert record.body_bytes > 100


async def test_a_body_of_64_mib_is_taken(caller: Caller) -> None:
    events = [{"text": "x" * 2**20} for _ in range(64)]
    # As a file: aiohttp warns of a large body that is given as bytes.
    body = io.BytesIO(json.dumps(event_request("a", *events)).encode())
    headers = caller.headers | {"Content-Type": "application/json"}
    async with caller.session.post(f"{caller.base}/events", data=body, headers=headers) as response:
        assert (response.status, (await response.json())["data"]) == (200, [])
    assert caller.workspace.count("a") == 64


async def test_another_process_can_look_at_the_workspace_and_disturb_it(caller: Caller) -> None:
    session, door = caller.session, f"{caller.workspace.url}/simulator"
    await caller.call("events", event_request("a", {"n": 1}))
    async with session.get(f"{door}/counts") as response:
        assert await response.json() == {"events": {"a": 1}, "requests": {"token": 1, "events": 1}}
    async with session.get(f"{door}/events", params={"setting": "a"}) as response:
        assert [event["n"] for event in (await response.json())["events"]] == [1]
    fault = {"kind": "status", "http_status": 503, "result": "503-00001", "times": None}
    async with session.post(f"{door}/faults", json=fault) as response:
        assert await response.json() == {"pending": 1}
    assert await caller.result() == (503, "503-00001")
    async with session.delete(f"{door}/faults") as response:
        assert await response.json() == {"pending": 0}
    async with session.post(f"{door}/maintenance", json={"on": True}) as response:
        assert await response.json() == {"maintenance": True}
    assert await caller.result() == (498, "498-00004")


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'{"kind":"none"}', b'{"kind":"reset","x":1}', b'{"kind":"refuse"}']
)
async def test_a_fault_that_cannot_be_planned_is_refused(caller: Caller, body: bytes) -> None:
    async with caller.session.post(f"{caller.workspace.url}/simulator/faults", data=body) as response:
        assert response.status == 400
    assert caller.workspace.faults.pending == ()


async def test_another_process_can_close_the_workspace_for_a_while(caller: Caller) -> None:
    workspace = caller.workspace
    url = f"{workspace.url}/simulator/faults"
    async with caller.session.post(url, json={"kind": "refuse", "for_s": 0.3}) as response:
        assert await response.json() == {"refusing_for_s": 0.3}
    refused = 0
    while True:
        try:
            assert await caller.result() == (200, "000-00000")
            break
        except aiohttp.ClientConnectionError:
            refused += 1
    assert refused > 0


async def test_events_cannot_be_looked_at_when_only_numbers_are_kept() -> None:
    async with (
        WorkspaceSimulator(keep_events=False) as simulator,
        aiohttp.ClientSession() as session,
        session.get(f"{simulator.url}/simulator/events") as response,
    ):
        assert response.status == 409
