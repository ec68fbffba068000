"""Settings rows: one by one, what runs, what is disabled and why (contract 4, promise C5)."""

from typing import Any

import pytest

from oase_agent.errors import Reason, SettingRejected
from oase_agent.model import NO_SECRET, ConnectionMethod, DisabledSetting, RequestMethod, Secret, Setting
from oase_agent.workspace.secrets import SecretBox
from oase_agent.workspace.settings import Respelled, SettingsAnswer, parse_settings

BOX = SecretBox("org001", "ws01")
EMPTY = "AAAAAAAAAAAAAAAAAAAAAMsXlsOtHqzA5NsfCITO0vc="
SECRET_TOKEN = "AAECAwQFBgcICQoLDA0OD0k7TmhbF6SH1aFXTJV4KYo="
JAPANESE_PASSWORD = "EBESExQVFhcYGRobHB0eHwfkDyilhztxPg49xa2aFpI="
FOREIGN = "/////////////////////3NIRkD83owglaSUdpneqFeK5kKJ1xfjKBX8YUGhv2Hb"


def row(name: str = "web", **columns: Any) -> dict[str, Any]:
    """A row as the workspace delivers it: every column, null where unset, secrets never null."""
    return {
        "EVENT_COLLECTION_SETTINGS_ID": f"id-{name}",
        "EVENT_COLLECTION_SETTINGS_NAME": name,
        "CONNECTION_METHOD_ID": "5",
        "REQUEST_METHOD_ID": "1",
        "URL": "https://source.example/api",
        "PORT": None,
        "REQUEST_HEADER": None,
        "PROXY": None,
        "AUTH_TOKEN": EMPTY,
        "USERNAME": None,
        "PASSWORD": EMPTY,
        "MAILBOXNAME": None,
        "ACCESS_KEY_ID": None,
        "SECRET_ACCESS_KEY": EMPTY,
        "PARAMETER": None,
        "RESPONSE_LIST_FLAG": "0",
        "RESPONSE_KEY": None,
        "EVENT_ID_KEY": None,
        "TTL": 3600,
        "NOTE": None,
        "DISUSE_FLAG": "0",
        "LAST_UPDATE_TIMESTAMP": "2026-11-20T07:56:53.664123Z",
        "LAST_UPDATE_USER": "admin",
    } | columns


def answer_for(*rows: object, requested: tuple[str, ...] = ("web",)) -> SettingsAnswer:
    return parse_settings(list(rows), BOX, requested)


def only_setting(**columns: Any) -> Setting:
    answer = answer_for(row(**columns))
    assert answer.disabled == ()
    return answer.settings[0]


def only_reason(**columns: Any) -> str:
    answer = answer_for(row(**columns))
    assert answer.settings == ()
    (disabled,) = answer.disabled
    assert disabled.name == "web"
    return disabled.reason


def test_every_column_finds_its_field() -> None:
    setting = only_setting(
        CONNECTION_METHOD_ID="2",
        REQUEST_METHOD_ID="2",
        PORT=65535,
        REQUEST_HEADER='{"a": "{{ EXASTRO_CURRENT_TIME }}"}',
        PROXY="http://proxy.example:3128",
        AUTH_TOKEN=SECRET_TOKEN,
        USERNAME="user",
        PASSWORD=JAPANESE_PASSWORD,
        MAILBOXNAME="INBOX",
        ACCESS_KEY_ID="key",
        PARAMETER='{"since": 1}',
        RESPONSE_LIST_FLAG="1",
        RESPONSE_KEY="result.items",
        EVENT_ID_KEY="eventid",
        TTL=10,
    )
    assert setting == Setting(
        id="id-web",
        name="web",
        connection_method=ConnectionMethod.BASIC,
        request_method=RequestMethod.POST,
        url="https://source.example/api",
        ttl_s=10,
        port=65535,
        request_header='{"a": "{{ EXASTRO_CURRENT_TIME }}"}',
        proxy="http://proxy.example:3128",
        auth_token=Secret("secret-token"),
        username="user",
        password=Secret("パスワード"),
        mailbox_name="INBOX",
        access_key_id="key",
        secret_access_key=NO_SECRET,
        parameter='{"since": 1}',
        response_is_list=True,
        response_key="result.items",
        event_id_key="eventid",
        row=setting.row,  # has its own test
    )


def test_the_row_of_a_setting_is_read_only_and_holds_no_secret() -> None:
    setting = only_setting(CONNECTION_METHOD_ID="1", AUTH_TOKEN=SECRET_TOKEN, NOTE="kept")
    assert setting.row["NOTE"] == "kept"
    assert set(row()) - set(setting.row) == {"AUTH_TOKEN", "PASSWORD", "SECRET_ACCESS_KEY"}
    with pytest.raises(TypeError):
        setting.row["NOTE"] = "changed"  # type: ignore[index]


@pytest.mark.parametrize(
    ("request_method", "port", "meant"),
    [
        ("3", None, 993),
        ("4", None, 143),
        ("5", None, 143),
        ("5", 0, 143),
        ("3", 10993, 10993),
        ("5", 993, 993),
    ],
)
def test_a_mailbox_is_a_list_at_the_port_of_its_protocol(
    request_method: str, port: int | None, meant: int
) -> None:
    setting = only_setting(
        CONNECTION_METHOD_ID="4",
        REQUEST_METHOD_ID=request_method,
        URL="mail.example.com",
        PORT=port,
        USERNAME="ops",
        PASSWORD=SECRET_TOKEN,
        RESPONSE_LIST_FLAG=None,
    )
    assert (setting.connection_method, setting.request_method) == ("4", request_method)
    assert (setting.port, setting.response_is_list) == (meant, True)


def test_an_empty_text_counts_as_unset() -> None:
    setting = only_setting(PARAMETER="", RESPONSE_KEY="", PROXY="", RESPONSE_LIST_FLAG=None)
    assert (setting.parameter, setting.response_key, setting.proxy) == (None, None, None)
    assert setting.response_is_list is False


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        (
            {
                "CONNECTION_METHOD_ID": "4",
                "REQUEST_METHOD_ID": "1",
                "USERNAME": "ops",
                "PASSWORD": SECRET_TOKEN,
            },
            "REQUEST_METHOD_ID '1' does not fit CONNECTION_METHOD_ID 4: use 3 (TLS), 4 (STARTTLS) or 5",
        ),
        (
            {"CONNECTION_METHOD_ID": "4", "REQUEST_METHOD_ID": "5", "PASSWORD": SECRET_TOKEN},
            "USERNAME is empty, but CONNECTION_METHOD_ID 4 needs it",
        ),
        (
            {"CONNECTION_METHOD_ID": "4", "REQUEST_METHOD_ID": "5", "USERNAME": "ops"},
            "PASSWORD is empty, but CONNECTION_METHOD_ID 4 needs it",
        ),
        ({"CONNECTION_METHOD_ID": "6"}, "CONNECTION_METHOD_ID '6' is not known to this agent"),
        ({"CONNECTION_METHOD_ID": None}, "CONNECTION_METHOD_ID NoneType is not known to this agent"),
        ({"CONNECTION_METHOD_ID": ["1"]}, "CONNECTION_METHOD_ID list is not known to this agent"),
        (
            {"REQUEST_METHOD_ID": "3"},
            "REQUEST_METHOD_ID '3' does not fit CONNECTION_METHOD_ID 5: use 1 (GET) or 2 (POST)",
        ),
        (
            {"REQUEST_METHOD_ID": None},
            "REQUEST_METHOD_ID NoneType does not fit CONNECTION_METHOD_ID 5: use 1 (GET) or 2 (POST)",
        ),
        (
            {"EVENT_COLLECTION_SETTINGS_ID": "x" * 41},
            "EVENT_COLLECTION_SETTINGS_ID is longer than 40 characters",
        ),
        ({"URL": None}, "URL is empty, but CONNECTION_METHOD_ID 5 needs it"),
        ({"URL": "x" * 4097}, "URL is longer than 4096 characters"),
        ({"URL": {"a": 1}}, "URL is not a text"),
        ({"PORT": "993"}, "PORT is not an integer"),
        ({"PORT": True}, "PORT is not an integer"),
        ({"PORT": 65536}, "PORT is not between 0 and 65535"),
        ({"PORT": -1}, "PORT is not between 0 and 65535"),
        ({"TTL": None}, "TTL is empty"),
        ({"TTL": "3600"}, "TTL is not an integer"),
        ({"TTL": 3600.0}, "TTL is not an integer"),
        ({"TTL": 9}, "TTL is not between 10 and 2147483647"),
        ({"TTL": 2147483648}, "TTL is not between 10 and 2147483647"),
        ({"REQUEST_HEADER": {"a": "b"}}, "REQUEST_HEADER is not a text"),
        ({"PARAMETER": 7}, "PARAMETER is not a text"),
        ({"RESPONSE_LIST_FLAG": 1}, "RESPONSE_LIST_FLAG is not a text"),
        ({"RESPONSE_KEY": "k" * 256}, "RESPONSE_KEY is longer than 255 characters"),
        ({"EVENT_ID_KEY": "k" * 256}, "EVENT_ID_KEY is longer than 255 characters"),
        ({"MAILBOXNAME": "m" * 256}, "MAILBOXNAME is longer than 255 characters"),
        ({"USERNAME": "u" * 256}, "USERNAME is longer than 255 characters"),
        ({"ACCESS_KEY_ID": "a" * 1025}, "ACCESS_KEY_ID is longer than 1024 characters"),
        ({"PROXY": "p" * 4097}, "PROXY is longer than 4096 characters"),
        ({"PROXY": "http://proxy:port"}, "PROXY is not a URI with a port between 0 and 65535"),
        ({"PROXY": "http://proxy:65536"}, "PROXY is not a URI with a port between 0 and 65535"),
        ({"CONNECTION_METHOD_ID": "1"}, "AUTH_TOKEN is empty, but CONNECTION_METHOD_ID 1 needs it"),
        (
            {"CONNECTION_METHOD_ID": "2", "PASSWORD": SECRET_TOKEN},
            "USERNAME is empty, but CONNECTION_METHOD_ID 2 needs it",
        ),
        (
            {"CONNECTION_METHOD_ID": "2", "USERNAME": "user"},
            "PASSWORD is empty, but CONNECTION_METHOD_ID 2 needs it",
        ),
        (
            {"CONNECTION_METHOD_ID": "3", "SECRET_ACCESS_KEY": SECRET_TOKEN},
            "ACCESS_KEY_ID is empty, but CONNECTION_METHOD_ID 3 needs it",
        ),
        (
            {"CONNECTION_METHOD_ID": "1", "AUTH_TOKEN": None},
            "AUTH_TOKEN: the encrypted secret is missing or not a text",
        ),
        (
            {"CONNECTION_METHOD_ID": "1", "AUTH_TOKEN": FOREIGN},
            "AUTH_TOKEN: the secret was encrypted for another organization or workspace: "
            "check EXASTRO_ORGANIZATION_ID and EXASTRO_WORKSPACE_ID",
        ),
    ],
)
def test_a_faulty_setting_is_disabled_with_a_reason(columns: dict[str, Any], reason: str) -> None:
    assert only_reason(**columns) == reason


@pytest.mark.parametrize("port", [0, 65535])
@pytest.mark.parametrize("ttl_s", [10, 2147483647])
def test_values_on_the_bounds_are_good(port: int, ttl_s: int) -> None:
    setting = only_setting(PORT=port, TTL=ttl_s, URL="x" * 4096, RESPONSE_KEY="k" * 255)
    assert (setting.port, setting.ttl_s) == (port, ttl_s)


@pytest.mark.parametrize(("name", "is_good"), [("n" * 255, True), ("n" * 256, False), ("名" * 86, False)])
def test_the_name_is_bounded_in_bytes(name: str, is_good: bool) -> None:
    answer = answer_for(row(name, EVENT_COLLECTION_SETTINGS_ID="i"), requested=(name,))
    assert bool(answer.settings) is is_good
    assert bool(answer.disabled) is not is_good


@pytest.mark.parametrize("text", [FOREIGN, "%%%", None, ""])
def test_a_secret_that_the_method_does_not_need_may_be_unreadable(text: object) -> None:
    setting = only_setting(CONNECTION_METHOD_ID="1", AUTH_TOKEN=SECRET_TOKEN, PASSWORD=text)
    assert setting.auth_token == Secret("secret-token")
    assert setting.password == NO_SECRET


def test_an_optional_setting_keeps_its_secrets_for_templates() -> None:
    assert only_setting(AUTH_TOKEN=SECRET_TOKEN).auth_token == Secret("secret-token")


def test_a_reason_never_shows_a_value() -> None:
    reasons = [
        only_reason(PROXY="http://user:canary@proxy:port"),
        only_reason(URL={"canary": "canary"}),
        only_reason(CONNECTION_METHOD_ID={"canary": "canary"}),
    ]
    assert not any("canary" in reason for reason in reasons)


def test_one_bad_setting_never_stops_the_others_and_the_requested_order_is_kept() -> None:
    answer = answer_for(
        row("a"),
        row("b", TTL=None),
        row("c"),
        row("d", CONNECTION_METHOD_ID="99"),
        requested=("d", "c", "b", "a", "e"),
    )
    assert [setting.name for setting in answer.settings] == ["c", "a"]
    assert answer.disabled == (DisabledSetting("b", "TTL is empty"),)
    assert answer.skipped == ("d",)
    assert answer.unknown == ("e",)
    assert answer.respelled == ()


def test_a_setting_without_an_agent_is_skipped_whatever_its_other_columns_hold() -> None:
    answer = answer_for(
        row(CONNECTION_METHOD_ID="99", REQUEST_METHOD_ID=None, URL=None, TTL=None, AUTH_TOKEN=None)
    )
    assert answer == SettingsAnswer(skipped=("web",))


def test_rows_without_a_name_are_named_by_their_place() -> None:
    answer = answer_for(
        None, row("web"), row("  "), {"TTL": 1}, row(EVENT_COLLECTION_SETTINGS_NAME=7), "text"
    )
    assert [setting.name for setting in answer.settings] == ["web"]
    assert answer.disabled == (
        DisabledSetting("setting 1 of the answer", "it is not an object"),
        DisabledSetting("setting 3 of the answer", "it has no EVENT_COLLECTION_SETTINGS_NAME"),
        DisabledSetting("setting 4 of the answer", "it has no EVENT_COLLECTION_SETTINGS_NAME"),
        DisabledSetting("setting 5 of the answer", "it has no EVENT_COLLECTION_SETTINGS_NAME"),
        DisabledSetting("setting 6 of the answer", "it is not an object"),
    )


def test_a_second_row_of_the_same_name_does_not_replace_the_first() -> None:
    answer = answer_for(row(TTL=10), row(TTL=20))
    assert [setting.ttl_s for setting in answer.settings] == [10]
    assert answer.disabled == (
        DisabledSetting("setting 2 of the answer", "another setting before it has the same name 'web'"),
    )


def test_a_name_that_differs_as_the_database_ignores_it_is_found_and_reported() -> None:
    answer = answer_for(row("Web "), requested=("web",))
    assert [setting.name for setting in answer.settings] == ["Web "]
    assert answer.respelled == (Respelled(requested="web", name="Web "),)
    assert (answer.unknown, answer.disabled) == ((), ())


def test_an_exact_name_wins_over_one_that_differs_by_case() -> None:
    answer = answer_for(row("WEB", TTL=10), row("web", TTL=20), requested=("web",))
    assert [setting.ttl_s for setting in answer.settings] == [20]
    assert [disabled.name for disabled in answer.disabled] == ["WEB"]


def test_two_spellings_of_one_name_run_it_once() -> None:
    answer = answer_for(row("web"), requested=("web", "WEB", "web"))
    assert [setting.name for setting in answer.settings] == ["web"]
    assert answer.respelled == (Respelled(requested="WEB", name="web"),)
    assert answer.unknown == ()


def test_a_setting_that_nobody_asked_for_is_not_collected() -> None:
    answer = answer_for(row("web"), row("stranger"))
    assert [setting.name for setting in answer.settings] == ["web"]
    assert answer.disabled == (
        DisabledSetting(
            "stranger", "the workspace sent it, but EVENT_COLLECTION_SETTINGS_NAMES does not name it"
        ),
    )


def test_an_empty_answer_makes_every_name_unknown() -> None:
    assert parse_settings([], BOX, ["a", "b"]) == SettingsAnswer(unknown=("a", "b"))


def test_a_further_check_disables_only_what_it_rejects() -> None:
    def no_odd_ttl(setting: Setting) -> None:
        if setting.ttl_s % 2:
            raise SettingRejected("TTL is odd", Reason.INVALID_SETTING)

    answer = parse_settings([row("a", TTL=11), row("b", TTL=12)], BOX, ["a", "b"], checks=[no_odd_ttl])
    assert [setting.name for setting in answer.settings] == ["b"]
    assert answer.disabled == (DisabledSetting("a", "TTL is odd"),)


def test_a_setting_may_be_without_an_id() -> None:
    assert only_setting(EVENT_COLLECTION_SETTINGS_ID=None).id == ""


def test_a_discarded_row_is_skipped() -> None:
    assert answer_for(row(DISUSE_FLAG="1")).skipped == ("web",)
