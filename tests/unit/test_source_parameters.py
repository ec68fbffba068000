"""PARAMETER and URL on the wire: contract section 6, byte by byte."""

from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oase_agent.errors import SettingRejected
from oase_agent.sources.parameters import json_body, query_url

HOST = "http://host.example"


def test_the_example_of_the_contract_is_encoded_byte_by_byte() -> None:
    parameter = {"a": 1, "b": [1, 2], "c": {"x": 1, "y": 2}, "d": None, "e": True, "f": "あ &", "g": 1.5}
    assert query_url(f"{HOST}/p", parameter) == f"{HOST}/p?a=1&b=1&b=2&c=x&c=y&e=True&f=%E3%81%82+%26&g=1.5"


@pytest.mark.parametrize(
    ("url", "parameter", "expected"),
    [
        (f"{HOST}/p?x=1", {"a": 1}, "/p?x=1&a=1"),
        (f"{HOST}/p?", {"a": 1}, "/p?a=1"),
        (f"{HOST}/p#part", {"a": 1}, "/p?a=1"),
        (HOST, {"a": 1}, "/?a=1"),
        (f"{HOST}/p", None, "/p"),
        (f"{HOST}/p?x=1", None, "/p?x=1"),
        (f"{HOST}/p", {}, "/p"),
        (f"{HOST}/p", [], "/p"),
        (f"{HOST}/p", "", "/p"),
        (f"{HOST}/p", {"a": None}, "/p"),
        (f"{HOST}/p", {"a": []}, "/p"),
        (f"{HOST}/p", {"a": [None, 1]}, "/p?a=1"),
        (f"{HOST}/p", {"a": False}, "/p?a=False"),
        (f"{HOST}/p", {"a": ""}, "/p?a="),
        (f"{HOST}/p", [["a", 1], ["b", [2, 3]]], "/p?a=1&b=2&b=3"),
        (f"{HOST}/p", "filter[status]=open&limit=5", "/p?filter[status]=open&limit=5"),
        (f"{HOST}/p", "q=a b&c=あ", "/p?q=a%20b&c=%E3%81%82"),
        (f"{HOST}/p", "q=a#b", "/p?q=a%23b"),
        (f"{HOST}/p", 5, "/p?5"),
        (f"{HOST}/p?x", 1.5, "/p?x&1.5"),
        (f"{HOST}/p", True, "/p?True"),
        (f"{HOST}/p", 0, "/p"),
    ],
)
def test_a_parameter_becomes_the_query(url: str, parameter: Any, expected: str) -> None:
    assert query_url(url, parameter) == HOST + expected


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://h/a b", "http://h/a%20b"),
        ("http://h/あ?k=あ", "http://h/%E3%81%82?k=%E3%81%82"),
        ("http://h/a%20b?k=%E3%81%82", "http://h/a%20b?k=%E3%81%82"),
        ("http://h/100%?q=5%", "http://h/100%25?q=5%25"),
        ("http://h/a+b;c=1,d:e@f!$&'()*", "http://h/a+b;c=1,d:e@f!$&'()*"),
        ('http://h/{a}|"<>', "http://h/%7Ba%7D%7C%22%3C%3E"),
        ("http://h/p?t=a/b?c&d=[1]", "http://h/p?t=a/b?c&d=%5B1%5D"),
        ("  http://h/p", "http://h/p"),
        ("HTTP://HOST.example:8080/P", "http://host.example:8080/P"),
        ("http://user:secret@h/p", "http://h/p"),
        ("http://[::1]:8080/p", "http://[::1]:8080/p"),
        ("http://127.1:8080/", "http://127.0.0.1:8080/"),
        ("http://0x7f000001/", "http://127.0.0.1/"),
        ("http://2130706433/", "http://127.0.0.1/"),
        ("http://例え.jp/", "http://xn--r8jz45g.jp/"),
    ],
)
def test_a_url_is_quoted_once(url: str, expected: str) -> None:
    assert query_url(url, None) == expected


@pytest.mark.parametrize(
    "url",
    [
        "",
        "host.example/path",
        "ftp://host/",
        "file:///etc/passwd",
        "http:///path",
        "http://host:port/",
        "http://host:70000/",
        "http://host:0/",
        "http://[::1/",
        "http://[v1.x]/",
        "http://a b/",
        f"http://{'a' * 64}.example/",
        "http://a..b/",
        "http://h/\ud800",
    ],
)
def test_a_url_that_cannot_be_requested_is_rejected_without_being_shown(url: str) -> None:
    with pytest.raises(SettingRejected) as caught:
        query_url(url, None)
    assert "URL of the setting" in str(caught.value)
    assert "etc" not in str(caught.value)


@pytest.mark.parametrize("parameter", [[1, 2], ["ab"], [{"a": 1}], [["a", 1, 2]]])
def test_a_list_that_is_not_of_pairs_is_rejected(parameter: Any) -> None:
    with pytest.raises(SettingRejected, match="pairs"):
        query_url(HOST, parameter)


@pytest.mark.parametrize("parameter", [{"a": "\ud800"}, "\ud800"])
def test_half_a_surrogate_pair_is_rejected(parameter: Any) -> None:
    with pytest.raises(SettingRejected, match="surrogate"):
        query_url(HOST, parameter)


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters(codec="utf-8"))
)
VALUES = SCALARS | st.lists(SCALARS) | st.dictionaries(st.text(st.characters(codec="utf-8")), SCALARS)


@given(st.dictionaries(st.text(st.characters(codec="utf-8")), VALUES))
def test_objects_are_encoded_like_the_library_requests(parameter: dict[str, Any]) -> None:
    pairs: list[tuple[str, Any]] = []
    for name, value in parameter.items():
        if isinstance(value, str) or not hasattr(value, "__iter__"):
            pairs += [(name, value)] if value is not None else []
        else:
            pairs += [(name, one) for one in value if one is not None]
    query = urlencode(pairs, doseq=True)
    assert query_url(HOST, parameter) == f"{HOST}/?{query}".removesuffix("?")


@pytest.mark.parametrize(
    ("parameter", "expected"),
    [
        ({"a": [1, None, True], "b": "あ"}, rb'{"a": [1, null, true], "b": "\u3042"}'),
        ("no json", b'"no json"'),
        ([], b"[]"),
        ({}, b"{}"),
        (0, b"0"),
        (None, b""),
    ],
)
def test_a_parameter_becomes_a_json_body(parameter: Any, expected: bytes) -> None:
    assert json_body(parameter) == expected
