"""RESPONSE_KEY and EVENT_ID_KEY: plain paths agree with JMESPath, and errors name the column and no value."""

import subprocess
import sys
from typing import Any

import jmespath
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oase_agent.collect.expressions import compile_expression
from oase_agent.errors import Reason, SettingRejected

NAMES = st.sampled_from(["a", "b", "_c1"])
DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=2),
    lambda inner: st.dictionaries(NAMES, inner, max_size=3) | st.lists(inner, max_size=2),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("result", ("result",)),
        ("data.alerts._x9", ("data", "alerts", "_x9")),
        (" data .\talerts\n", ("data", "alerts")),
        ("true", ("true",)),
        ("result[]", None),
        ('"result"', None),
        ("a.*", None),
        ("@", None),
        ("a || b", None),
        ("length(a)", None),
        ("a.b-c", None),
        ("9a", None),
        ("é", None),
        ("a.", None),
        ("a\xa0", None),
    ],
)
def test_only_a_dotted_chain_of_identifiers_is_a_plain_path(text: str, path: tuple[str, ...] | None) -> None:
    try:
        assert compile_expression(text, column="RESPONSE_KEY").plain_path == path
    except SettingRejected:
        assert path is None


@settings(derandomize=True, database=None, max_examples=200, deadline=None)
@given(document=DOCUMENTS, path=st.lists(NAMES, min_size=1, max_size=3).map(".".join))
def test_a_plain_path_selects_what_jmespath_selects(document: Any, path: str) -> None:
    expression = compile_expression(path, column="RESPONSE_KEY")
    assert expression.plain_path is not None
    assert expression.search(document) == jmespath.search(path, document)


@pytest.mark.parametrize(
    ("text", "document", "selected"),
    [
        ("r[0].id", {"r": [{"id": 7}]}, 7),
        ("r[?n > `1`].n", {"r": [{"n": 1}, {"n": 2}]}, [2]),
        ("r[].{a: b}", {"r": [{"b": 1}]}, [{"a": 1}]),
        ("sort_by(r, &n)[-1].n", {"r": [{"n": 2}, {"n": 1}]}, 2),
        ("max_by(r, &to_number(n)).n", {"r": [{"n": "2"}, {"n": "10"}]}, "10"),
        ("r[5]", {"r": []}, None),
        ("join('-', [a, b])", {"a": "x", "b": "y"}, "x-y"),
    ],
)
def test_other_expressions_are_those_of_the_workspace(text: str, document: Any, selected: Any) -> None:
    assert compile_expression(text, column="EVENT_ID_KEY").search(document) == selected


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "a[",
        "a..b",
        "a.",
        "[?",
        "nosuch(a)",
        "&a",
        "[&a]",
        "not_null(&a)",
        "(" * 250,
        "a b",
        "'",
    ],
)
def test_text_that_is_no_expression_is_rejected_and_names_the_column(text: str) -> None:
    with pytest.raises(SettingRejected, match="EVENT_ID_KEY") as caught:
        compile_expression(text, column="EVENT_ID_KEY")
    assert caught.value.reason is Reason.EXPRESSION


@pytest.mark.parametrize(
    "text",
    [
        "length(secret)",
        "abs(a)",
        "join(',', b)",
        "b[::0]",
        "ceil(inf)",
        "length(a, b)",
        "sort_by(b, &@)",
        "keys(b)",
    ],
)
def test_an_expression_that_does_not_fit_the_answer_tells_no_value_of_it(text: str) -> None:
    document = {"secret": 12345, "a": "12345", "b": [12345, "x"], "inf": float("inf")}
    with pytest.raises(SettingRejected, match="RESPONSE_KEY") as caught:
        compile_expression(text, column="RESPONSE_KEY").search(document)
    assert caught.value.reason is Reason.EXPRESSION
    assert "12345" not in str(caught.value)


def test_plain_paths_do_not_load_jmespath() -> None:
    code = (
        "import sys; from oase_agent.collect.extract import ExtractionRules;"
        "from oase_agent.collect.expressions import compile_expression;"
        "compile_expression('a.b', column='RESPONSE_KEY'); sys.exit('jmespath' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
