"""What stands in a values file arrives in the agent's environment, whatever it looks like in YAML."""

import base64
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.chart.chart_files import CHART
from tests.chart.engine import render, values_from_yaml
from tests.chart.sample_values import agent, env, values

# What the reference stored with quotes, or could not store: chart study, section 0, fact 2.
AWKWARD = [
    "123456", "@bc", "true", "0123", "1e5", "!x", "*x", "%x", "a: b", "a #b", "two\nlines", "'", '"', "{{ .Values }}",
    "~", "null", "-", "- a", "? b", "[a", "{b", "`c`", "&d", "|", ">", " leading", "trailing ", "tab\there", "日本語",
    "\U0001f600", "\\n", "$HOME", "$(ENV)", "<&>", "end\n", "\n", "é\u2028x", "=",
    "2026-01-01", "0x1F", "1_000", ".inf",
]  # fmt: skip

# Everything that a variable of a process may hold; what YAML gives a meaning comes often.
TEXTS = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0")
    | st.sampled_from("\n\t'\"{}%&*!|>@`#:-?[],\\"),
    min_size=1,
    max_size=60,
)


def texts_by_name(start: str) -> st.SearchStrategy[dict[str, str]]:
    return st.dictionaries(st.from_regex(rf"\A{start}_[A-Z][A-Z0-9_]{{0,20}}\Z"), TEXTS, max_size=4)


def arrived(**changes: Any) -> tuple[dict[str, str], dict[str, str]]:
    """Return the options and the secrets as the pod gets them, for one agent changed so."""
    manifests = render(CHART, values(agent(**changes))).manifests
    encoded = manifests["Secret", "secret-ita-ag-oase-oase-agent"]["data"]
    secret = {key: base64.b64decode(value, validate=True).decode() for key, value in encoded.items()}
    return manifests["ConfigMap", "params-ita-ag-oase-oase-agent"]["data"], secret


@pytest.mark.parametrize("text", AWKWARD)
def test_an_awkward_text_arrives_exact(text: str) -> None:
    options, secret = arrived(extraEnv=env(X_OPTION=text), secret={"EXASTRO_REFRESH_TOKEN": text})
    assert (options["X_OPTION"], secret["EXASTRO_REFRESH_TOKEN"]) == (text, text)


@settings(max_examples=50, deadline=None)
@given(options=texts_by_name("O"), secrets=texts_by_name("S"))
def test_any_text_arrives_exact(options: dict[str, str], secrets: dict[str, str]) -> None:
    token = {"EXASTRO_REFRESH_TOKEN": "token"}
    found_options, found_secrets = arrived(extraEnv=env(**options), secret=token | secrets)
    assert found_options == env(**options)
    assert found_secrets == token | secrets


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("500", "500"),
        ("true", "true"),
        ("false", "false"),
        ("12345678", "12345678"),
        ("1000000000", "1000000000"),
        ("0.5", "0.5"),
    ],
)
def test_numbers_and_booleans_without_quotes_arrive_as_written(written: str, text: str) -> None:
    bare = values_from_yaml(f"value: {written}")["value"]
    options, secret = arrived(
        extraEnv=env(X_OPTION=bare), secret={"EXASTRO_REFRESH_TOKEN": "t", "X_SECRET": bare}
    )
    assert (options["X_OPTION"], secret["X_SECRET"]) == (text, text)


def test_a_key_set_to_null_is_left_out() -> None:
    options, _ = arrived(extraEnv=env(TZ=None))
    assert "TZ" not in options
