"""YAML of the operator: strict readings, faults with lines, and nothing that fills the memory."""

from pathlib import Path
from typing import Any

import pytest

from oase_agent.yaml_file import YamlFaults, parse_yaml, read_limited, read_yaml


def content_of(text: str) -> Any:
    return parse_yaml(text.encode()).content


def faults_of(data: str | bytes) -> tuple[str, ...]:
    with pytest.raises(YamlFaults) as caught:
        parse_yaml(data.encode() if isinstance(data, str) else data)
    return caught.value.faults


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        ("false", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("0", 0),
        ("-12", -12),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        ("no", "no"),
        ("on", "on"),
        ("Yes", "Yes"),
        ("True", "True"),
        ("0123", "0123"),
        ("0x10", "0x10"),
        ("1_000", "1_000"),
        ("12:30:45", "12:30:45"),
        ("2024-01-01", "2024-01-01"),
        (".inf", ".inf"),
        ("'12'", "12"),
        ("!!str 12", "12"),
        ("=", "="),
        ('"\\u3042"', "あ"),
    ],
)
def test_plain_text_is_read_as_json_would_and_everything_else_is_a_text(text: str, value: object) -> None:
    found = content_of(f"key: {text}")["key"]
    assert found == value
    assert type(found) is type(value)


def test_an_empty_file_says_nothing() -> None:
    assert content_of("# only a comment\n") is None


def test_a_byte_order_mark_does_not_matter() -> None:
    assert parse_yaml("\ufeffa: 1".encode()).content == {"a": 1}


def test_lines_are_told_of_keys_and_elements_and_of_what_is_around_a_missing_one() -> None:
    document = parse_yaml(b"settings:\n  - NAME: a\n    TTL: 5\n  - NAME: b\n")
    assert document.line_of(("settings", 0, "TTL")) == 3
    assert document.line_of(("settings", 1)) == 4
    assert document.line_of(("settings", 1, "TTL")) == 4
    assert document.line_of(("nothing",)) is None


def test_every_key_that_stands_twice_is_told_with_both_lines() -> None:
    assert faults_of("a: 1\nb: {c: 1, c: 2}\na: 2\n") == (
        "line 2: 'c' is there already, in line 2",
        "line 3: 'a' is there already, in line 1",
    )


def test_aliases_and_merges_work_and_own_keys_win() -> None:
    text = "base: &base {x: 1, y: 2}\nother: &other {y: 9, z: 9}\nmine:\n  <<: [*base, *other]\n  x: 3\nsame: *base\n"
    assert content_of(text)["mine"] == {"x": 3, "y": 2, "z": 9}
    assert content_of(text)["same"] == {"x": 1, "y": 2}


def test_a_merged_key_has_the_line_where_it_was_written() -> None:
    document = parse_yaml(b"base: &base {x: 1}\nmine:\n  <<: *base\n  y: 2\n")
    assert document.line_of(("mine", "x")) == 1
    assert document.line_of(("mine", "y")) == 4


def test_a_few_lines_of_aliases_do_not_fill_the_memory() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 30)]
    (fault,) = faults_of("\n".join(lines))
    assert fault == "it holds more than 100000 values, counted where aliases are used"


def test_a_few_lines_of_merges_do_not_fill_the_memory() -> None:
    lines = ["a0: &a0 {x: 1}"]
    lines += [f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}]}}" for n in range(1, 30)]
    (fault,) = faults_of("\n".join(lines))
    assert "values, counted where aliases are used" in fault


@pytest.mark.parametrize("text", ["[" * 5000, "a: " + "[" * 60 + "]" * 60, "x: &a [*a]", "x: &a {<<: *a}"])
def test_nesting_has_an_end(text: str) -> None:
    (fault,) = faults_of(text)
    assert "nested deeper than 50 levels" in fault


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("a: b: c", "line 1, column 5: mapping values are not allowed here"),
        ("a: 1\n---\nb: 2", "line 2, column 1: but found another document"),
        ("a: !!python/object/apply:os.system ['true']", "line 1: a tag is not allowed here"),
        ("a: !!binary aGVsbG8=", "line 1: a tag is not allowed here"),
        ("x:\n  1: a", "line 2: a key is not a text: put it in quotes"),
        ("? [a]\n: 1", "line 1: a key is not a text: put it in quotes"),
        ("a: 1\nb: 1e999", "line 2: it is no number that can be kept: put it in quotes if it is a text"),
        (f"a: {'9' * 5000}", "line 1: it is no number that can be kept: put it in quotes if it is a text"),
        ("a: !!int abc", "line 1: it is no number that can be kept: put it in quotes if it is a text"),
        ("a: {<<: 3}", "line 1: << does not stand for a mapping"),
        ("a: 1\nb: \x01", "line 2: a control character is not allowed in YAML"),
    ],
)
def test_what_is_no_plain_yaml_is_told_with_its_line(text: str, fault: str) -> None:
    assert faults_of(text) == (fault,)


def test_what_is_no_utf_8_is_told_with_its_line() -> None:
    assert faults_of(b"a: b\nc: \xff") == ("line 2: it is no UTF-8 text",)


@pytest.mark.parametrize(
    "value", ["*hunter2", "&hunter2 'x", "!hunter2!x y", "'hunter2", "@hunter2", "[hunter2: :"]
)
def test_a_fault_never_repeats_a_value(value: str) -> None:
    (fault,) = faults_of(f"PASSWORD: {value}\n")
    assert "hunter2" not in fault


def test_a_file_within_the_limit_is_read_and_a_larger_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "file.yaml"
    path.write_bytes(b"a: 123")
    assert read_yaml(path, 6) == {"a": 123}
    with pytest.raises(ValueError, match="larger than 5 bytes"):
        read_yaml(path, 5)
    with pytest.raises(ValueError, match="larger than 5 bytes"):
        read_limited(path, 5)
    with pytest.raises(FileNotFoundError):
        read_yaml(tmp_path / "missing", 5)
