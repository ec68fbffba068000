"""Headers of a request: contract section 6."""

from dataclasses import replace

import pytest

from oase_agent import __version__
from oase_agent.errors import Reason, SettingRejected
from oase_agent.model import ConnectionMethod, Secret
from oase_agent.sources.authentication import auth_headers, request_headers
from tests.unit.source_servers import GET_SETTING

NOW_S = 784111777
URL = "http://host.example/"

BEARER = replace(GET_SETTING, connection_method=ConnectionMethod.BEARER, auth_token=Secret("token-1"))
BASIC = replace(
    GET_SETTING, connection_method=ConnectionMethod.BASIC, username="ユーザ", password=Secret("パスワード")
)
SHARED_KEY = replace(
    GET_SETTING,
    connection_method=ConnectionMethod.SHARED_KEY_LITE,
    access_key_id="account",
    secret_access_key=Secret("key"),
)


def test_bearer_sends_the_token() -> None:
    assert auth_headers(BEARER, NOW_S) == {"Authorization": "Bearer token-1"}


def test_basic_sends_user_and_password_in_utf_8() -> None:
    assert auth_headers(BASIC, NOW_S) == {"Authorization": "Basic 44Om44O844K2OuODkeOCueODr+ODvOODiQ=="}


def test_basic_without_a_user_sends_an_empty_user() -> None:
    assert auth_headers(replace(BASIC, username=None, password=Secret("p")), NOW_S) == {
        "Authorization": "Basic OnA="
    }


def test_shared_key_lite_sends_the_key_and_a_date() -> None:
    assert auth_headers(SHARED_KEY, NOW_S) == {
        "Authorization": "SharedKeyLite account:key",
        "Date": "Sun, 06 Nov 1994 08:49:37 GMT",
    }


def test_optional_authentication_adds_nothing() -> None:
    assert auth_headers(GET_SETTING, NOW_S) == {}


@pytest.mark.parametrize("method", [ConnectionMethod.IMAP, ConnectionMethod.NO_AGENT])
def test_other_methods_are_not_http(method: ConnectionMethod) -> None:
    with pytest.raises(SettingRejected) as caught:
        auth_headers(replace(GET_SETTING, connection_method=method), NOW_S)
    assert caught.value.reason is Reason.UNSUPPORTED


def test_defaults_are_sent_when_nothing_is_configured() -> None:
    assert request_headers(GET_SETTING, URL, {}, NOW_S) == {
        "User-Agent": f"oase-agent/{__version__}",
        "Accept": "*/*",
        "Accept-Encoding": "gzip, deflate",
    }


def test_configured_headers_replace_defaults_in_any_case() -> None:
    headers = request_headers(GET_SETTING, URL, {"accept": "application/json", "X-Api-Key": "k"}, NOW_S)
    assert headers["accept"] == "application/json"
    assert headers["X-Api-Key"] == "k"
    assert "Accept" not in headers


def test_the_method_replaces_a_configured_authorization_in_any_case() -> None:
    headers = request_headers(BEARER, URL, {"authorization": "mine", "date": "never"}, NOW_S)
    assert headers["Authorization"] == "Bearer token-1"
    assert "authorization" not in headers
    assert headers["date"] == "never"


def test_user_and_password_of_the_url_become_basic_unless_the_method_has_credentials() -> None:
    url = "http://us%65r:p%40ss@host.example/"
    assert request_headers(GET_SETTING, url, {}, NOW_S)["Authorization"] == "Basic dXNlcjpwQHNz"
    assert request_headers(BEARER, url, {}, NOW_S)["Authorization"] == "Bearer token-1"
    assert "Authorization" not in request_headers(GET_SETTING, "http://user@host.example/", {}, NOW_S)


def test_headers_about_the_framing_are_left_to_the_client() -> None:
    headers = request_headers(
        GET_SETTING, URL, {"content-length": "5", "Transfer-Encoding": "chunked"}, NOW_S
    )
    assert not {"content-length", "transfer-encoding"} & {name.lower() for name in headers}


@pytest.mark.parametrize("name", ["", "a b", "a:b", "a\r\nb", "名前"])
def test_a_name_that_http_does_not_allow_is_rejected(name: str) -> None:
    with pytest.raises(SettingRejected, match="header name"):
        request_headers(GET_SETTING, URL, {name: "v"}, NOW_S)


@pytest.mark.parametrize("value", ["hidden\r\nX: 1", "hidden\n", "hidden\0", "hidden\ud800"])
def test_a_value_that_http_does_not_allow_is_rejected_without_being_shown(value: str) -> None:
    with pytest.raises(SettingRejected, match="X-Api-Key") as caught:
        request_headers(GET_SETTING, URL, {"X-Api-Key": value}, NOW_S)
    assert "hidden" not in str(caught.value)


def test_a_token_with_a_line_break_is_rejected_without_being_shown() -> None:
    with pytest.raises(SettingRejected, match="AUTH_TOKEN") as caught:
        request_headers(replace(BEARER, auth_token=Secret("hidden\n")), URL, {}, NOW_S)
    assert "hidden" not in str(caught.value)
