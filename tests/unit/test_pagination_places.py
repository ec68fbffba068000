"""Where the next page is: dotted paths, lists that are counted, Link headers, and how a page is asked for."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from oase_agent.config.source_options.read import read_source_options
from oase_agent.config.source_options.trust import TlsContexts
from oase_agent.errors import Reason, SettingRejected, SourceUnavailable
from oase_agent.sources.body import AnswerHead
from oase_agent.sources.options import PageStyle, Pagination
from oase_agent.sources.pagination import bookmark
from oase_agent.sources.pagination.bookmark import Place
from oase_agent.sources.pagination.dotted import count_elements, parse_path, text_at
from oase_agent.sources.pagination.link_header import next_link
from oase_agent.sources.pagination.next_request import with_member, with_query
from oase_agent.sources.pagination.page import read_page
from oase_agent.sources.pagination.plan import Plan, plan_for
from oase_agent.sources.redirects import Hop
from tests.unit.source_servers import GET_SETTING, POST_SETTING

LIST_SETTING = replace(GET_SETTING, response_is_list=True, response_key="items")
HOME = Hop("GET", URL("https://source.example/items?a=1"), {})
HEAD = AnswerHead(str(HOME.url))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text('[]{},"\\ab', max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text('[],"x', max_size=2), inner, max_size=3)
    ),
    max_leaves=30,
)


def text(content: bytes, path: str) -> bytes | None:
    with text_at(content, parse_path(path)) as found:
        return None if found is None else found.tobytes()


def next_of(
    body: object, style: PageStyle = PageStyle.NEXT_URL, head: AnswerHead = HEAD, **options: object
) -> object:
    """Return the position after the first page."""
    arguments: dict[str, object] = {"path": "next", "parameter": "p"}
    plan = plan_for(LIST_SETTING, Pagination(style, **(arguments | options)))  # type: ignore[arg-type]
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return read_page(content, head, plan, HOME, Place()).position


# -- dotted paths -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("next", ["next"]),
        (" links . next ", ["links", "next"]),
        ('"@odata.nextLink"', ["@odata.nextLink"]),
        ('meta."a \\" b".x-y', ["meta", 'a " b', "x-y"]),
    ],
)
def test_a_dotted_path_is_read(path: str, names: list[str]) -> None:
    assert list(parse_path(path)) == names


@pytest.mark.parametrize("path", ["", ".", "a.", ".a", "a..b", 'a"b"', '"a', "a b", '"\\x"'])
def test_what_is_no_dotted_path_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="dotted path"):
        parse_path(path)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b'{"a": {"b": "x"}, "c": [1, 2]}', b'"x"'),
        (b'\xef\xbb\xbf{"a": {"b": 1}}', b"1"),
        (b'{"a": {}}', None),
        (b'{"a": [1]}', None),
        (b"[1]", None),
        (b'{"a": {"b": null}}', b"null"),
        (b'{"x": NaN, "a": {"b": 7}}', b"7"),
        ('{"a": {"b": "あ"}}'.encode("utf-16"), rb'"\u3042"'),
    ],
)
def test_the_text_at_a_path_is_found_in_whatever_the_extraction_reads(
    content: bytes, found: bytes | None
) -> None:
    assert text(content, "a.b") == found


@pytest.mark.parametrize("content", [b"<html>", b'{"a": ', b'{"b":' + b"[" * 100_000])
def test_what_is_no_json_is_said_to_be_none(content: bytes) -> None:
    with pytest.raises(SourceUnavailable) as caught:
        text(content, "a")
    assert caught.value.reason is Reason.NOT_JSON


# -- counting -----------------------------------------------------------------------------------------------


@given(st.lists(JSON, max_size=5), st.sampled_from([None, 1]))
def test_elements_are_counted_whatever_is_in_them(elements: list[object], indent: int | None) -> None:
    assert count_elements(memoryview(json.dumps(elements, indent=indent).encode())) == len(elements)


def test_elements_that_are_nested_deep_are_counted() -> None:
    deep = b"[" * 500 + b'{"a": "]"}' + b"]" * 500

    assert count_elements(memoryview(b"[" + b",".join([deep, b"1", deep]) + b"]")) == 3


def test_what_is_no_list_is_not_counted() -> None:
    assert count_elements(memoryview(b'{"a": 1}')) is None


# -- the Link header ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "header",
    [
        '</p2>; rel="next"',
        "</p2>;rel=next",
        '</p1>; rel="prev", </p2>; rel="next", </p9>; rel="last"',
        '</p2>; title="a, <b>; rel=last"; REL="first NEXT"',
        '</p2>; rel="next"; rel="prev"',
        " , </p2> ; rel=next , ",
        '</p2>; hreflang; rel="ne\\xt"',
    ],
)
def test_the_next_link_is_found(header: str) -> None:
    assert next_link([header]) == "/p2"


def test_a_link_is_looked_for_in_every_header() -> None:
    assert next_link(["</a>; rel=prev", "broken", "</b>; rel=next"]) == "/b"


@pytest.mark.parametrize(
    "header",
    ["", "</p2>", '</p2>; rel="prev"; rel="next"', '</p2>; rel="nextish"', "/p2; rel=next", "<" * 50_000],
)
def test_other_links_are_not_the_next_one(header: str) -> None:
    assert next_link([header]) is None


# -- where it leads -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("link", "url"),
    [
        ("https://source.example/x?p=2", "https://source.example/x?p=2"),
        ("?p=2", "https://source.example/items?p=2"),
        ("/x?q=あ b", "https://source.example/x?q=%E3%81%82%20b"),
        # A server behind a proxy that ends TLS.
        ("http://source.example/x", "https://source.example/x"),
        ("http://source.example:80/x", "https://source.example/x"),
        ("//source.example/x#part", "https://source.example/x"),
    ],
)
def test_a_next_url_is_resolved_and_stays_with_tls(link: str, url: str) -> None:
    assert next_of({"next": link}) == url


@pytest.mark.parametrize(
    "link",
    [
        "https://other.example/x",
        "http://source.example:8080/x",
        "https://source.example:444/x",
        "ftp://source.example/",
    ],
)
def test_a_next_url_elsewhere_is_refused_with_the_remedy(link: str) -> None:
    with pytest.raises(SourceUnavailable) as caught:
        next_of({"next": link})
    assert caught.value.reason is Reason.PAGINATION
    assert "source.example" in str(caught.value)


def test_after_a_redirect_the_next_url_may_stay_where_the_redirect_led() -> None:
    there = AnswerHead("https://new.example/v2/items")

    assert next_of({"next": "?p=2"}, head=there) == "https://new.example/v2/items?p=2"


def test_a_next_link_stands_in_the_head() -> None:
    head = replace(HEAD, links=('<?p=2>; rel="next"',))

    assert next_of([1], PageStyle.LINK_HEADER, head) == "https://source.example/items?p=2"
    assert next_of([1], PageStyle.LINK_HEADER) is None


@pytest.mark.parametrize("end", [{}, {"next": None}, {"next": ""}, {"next": False}, {"next_": 1}])
def test_the_last_page_names_no_next_one(end: object) -> None:
    assert next_of(end, PageStyle.TOKEN) is None


@pytest.mark.parametrize("token", ["abc", "0", 0, 7, -1, 1.5, "あ" * 100])
def test_a_token_is_a_text_or_a_number(token: object) -> None:
    assert next_of({"next": token}, PageStyle.TOKEN) == token


def test_a_number_beyond_64_bits_goes_on_as_text() -> None:
    assert next_of({"next": 2**70}, PageStyle.TOKEN) == str(2**70)


@pytest.mark.parametrize(
    "body",
    [
        {"next": True},
        {"next": ["a"]},
        {"next": {}},
        b'{"next": "\\ud800"}',
        b'{"next": NaN}',
        b'{"next": %s}' % (b"9" * 5000),
    ],
)
def test_what_is_no_token_is_refused_with_the_option(body: object) -> None:
    with pytest.raises(SettingRejected, match=r"pagination\.path"):
        next_of(body, PageStyle.TOKEN)


def test_a_token_that_would_weigh_on_every_page_is_refused() -> None:
    with pytest.raises(SourceUnavailable, match="8192 bytes"):
        next_of({"next": "x" * 8200}, PageStyle.TOKEN)


@pytest.mark.parametrize(
    ("elements", "options", "position"),
    [
        (3, {}, 1),
        (0, {}, None),
        (3, {"size": 3, "first": 1}, 2),
        (2, {"size": 3}, None),
        (5, {"size": 3}, 1),
    ],
)
def test_page_numbers_count_up_until_a_page_is_not_full(
    elements: int, options: dict[str, object], position: int | None
) -> None:
    assert next_of({"items": [1] * elements}, PageStyle.PAGE, HEAD, path=None, **options) == position


def test_an_offset_counts_elements_wherever_the_list_is() -> None:
    assert next_of({"d": {"rows": [1, 2]}}, PageStyle.OFFSET, path="d.rows", first=10) == 12


def test_a_list_that_is_none_cannot_be_counted() -> None:
    with pytest.raises(SettingRejected, match=r"pagination\.path"):
        next_of({"items": "x"}, PageStyle.PAGE, path=None)


# -- how it is asked for ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", "?p=a+%26b"),
        ("?x=%20", "?x=%20&p=a+%26b"),
        ("?p=1&x=2&p=3", "?x=2&p=a+%26b"),
        ("?%70=1", "?p=a+%26b"),
        ("?pp=1", "?pp=1&p=a+%26b"),
    ],
)
def test_a_token_takes_its_place_in_a_query(query: str, expected: str) -> None:
    url = URL(f"http://source.example/x{query}", encoded=True)

    assert str(with_query(url, "p", "a &b")) == f"http://source.example/x{expected}"


def test_a_token_takes_its_place_in_a_body_and_nothing_else_changes() -> None:
    parameter = {"a": 1, "page": {"size": 5, "after": 0}}

    assert with_member(parameter, ("page", "after"), "t") == {"a": 1, "page": {"size": 5, "after": "t"}}
    assert with_member(None, ("page", "after"), 7) == {"page": {"after": 7}}
    assert parameter == {"a": 1, "page": {"size": 5, "after": 0}}


@pytest.mark.parametrize("parameter", ["text", [1], {"page": 1}])
def test_a_place_in_something_else_than_an_object_is_refused(parameter: object) -> None:
    with pytest.raises(SettingRejected, match=r"pagination\.parameter"):
        with_member(parameter, ("page", "after"), "t")


# -- options and bookmarks ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        (Pagination(PageStyle.NEXT_URL), r"pagination\.path.*missing"),
        (Pagination(PageStyle.TOKEN, path="a"), r"pagination\.parameter.*missing"),
        (Pagination(PageStyle.TOKEN, path="a[0]..", parameter="p"), r"pagination\.path.*dotted path"),
        (Pagination(PageStyle.PAGE), r"pagination\.parameter.*missing"),
    ],
)
def test_options_that_do_not_fit_together_are_refused(options: Pagination, fault: str) -> None:
    with pytest.raises(SettingRejected, match=fault):
        plan_for(LIST_SETTING, options)


def test_a_list_that_only_jmespath_finds_needs_a_path() -> None:
    setting = replace(LIST_SETTING, response_key="items[]")
    with pytest.raises(SettingRejected, match=r"pagination\.path.*RESPONSE_KEY"):
        plan_for(setting, Pagination(PageStyle.PAGE, parameter="p"))
    assert plan_for(setting, Pagination(PageStyle.PAGE, path="items", parameter="p")).list_path == ("items",)


def a_plan(style: PageStyle = PageStyle.TOKEN, **setting: object) -> Plan:
    return plan_for(replace(LIST_SETTING, **setting), Pagination(style, path="n", parameter="p"))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("style", "position"),
    [
        (PageStyle.NEXT_URL, "https://x/?a=1"),
        (PageStyle.TOKEN, "あ"),
        (PageStyle.TOKEN, 2**63 - 1),
        (PageStyle.TOKEN, 1.5),
        (PageStyle.OFFSET, 0),
    ],
)
def test_a_bookmark_leads_back_to_its_place(style: PageStyle, position: str | float) -> None:
    place = Place(position, 3, ("aa", "@bb"))

    assert bookmark.read(bookmark.written(place, a_plan(style)), a_plan(style)) == place


@pytest.mark.parametrize(
    "changed",
    [a_plan(url="{{ other }}"), a_plan(parameter="{}"), a_plan(request_method=POST_SETTING.request_method)],
    ids=["url", "parameter", "method"],
)
def test_a_bookmark_of_another_request_begins_at_the_first_page(changed: Plan) -> None:
    assert bookmark.read(bookmark.written(Place("t", 3), a_plan()), changed) == Place()


def test_a_new_key_in_the_headers_does_not_begin_a_collection_anew() -> None:
    place = Place("t", 3)

    assert (
        bookmark.read(bookmark.written(place, a_plan()), a_plan(request_header='{"X-Key": "new"}')) == place
    )


@pytest.mark.parametrize("text", [None, "", "{", "[]", '{"type":"pages"}', '{"type":"validators"}', "\ud800"])
def test_a_bookmark_that_cannot_be_read_begins_at_the_first_page(text: str | None) -> None:
    assert bookmark.read(text, a_plan()) == Place()


def test_the_documented_examples_are_read_and_fit_a_setting(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs" / "sources.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```yml\n(.*?)```", text, re.DOTALL)
    file = tmp_path / "options.yaml"
    file.write_text(example)

    reading = read_source_options(file, TlsContexts(None))

    assert reading.faults == ()
    assert reading.table is not None
    for name, style in (
        ("issues", PageStyle.LINK_HEADER),
        ("graph", PageStyle.NEXT_URL),
        ("tickets", PageStyle.TOKEN),
        ("old tracker", PageStyle.PAGE),
    ):
        pagination = reading.table.of(name).pagination
        assert pagination is not None
        assert plan_for(LIST_SETTING, pagination).style is style
