"""A file with settings: what it may say, and every fault with its place."""

from pathlib import Path

import pytest

from oase_agent.model import ConnectionMethod, RequestMethod, Setting
from tests.unit.local_settings_stage import WHOLE, answer_of, faults_of, file_of, setting_of, write


def test_a_setting_of_a_file_is_like_one_of_the_workspace_but_without_an_id(tmp_path: Path) -> None:
    setting = setting_of(file_of(write(tmp_path, WHOLE)))
    assert setting == Setting(
        id="",
        name="web",
        connection_method=ConnectionMethod.OPTIONAL,
        request_method=RequestMethod.GET,
        url="https://source.example/api",
        ttl_s=3600,
        row=setting.row,
    )
    assert setting.row["URL"] == "https://source.example/api"
    assert setting.row["PROXY"] is None, "templates may read every column"
    assert "PASSWORD" not in setting.row


@pytest.mark.parametrize(
    ("line", "field", "value"),
    [
        ("RESPONSE_LIST_FLAG: true", "response_is_list", True),
        ("RESPONSE_LIST_FLAG: 1", "response_is_list", True),
        ("RESPONSE_LIST_FLAG: '1'", "response_is_list", True),
        ("RESPONSE_LIST_FLAG: false", "response_is_list", False),
        ("RESPONSE_LIST_FLAG: '0'", "response_is_list", False),
        ('PARAMETER: {"since": "{{ EXASTRO_LAST_FETCHED_TIMESTAMP }}"}', "parameter",
         '{"since": "{{ EXASTRO_LAST_FETCHED_TIMESTAMP }}"}'),
        ("PARAMETER: [{a: あ}, 1.5, null]", "parameter", '[{"a": "あ"}, 1.5, null]'),
        ("PARAMETER: '{\"a\": {{ x }}}'", "parameter", '{"a": {{ x }}}'),
        ("REQUEST_HEADER: {X-Key: '12'}", "request_header", '{"X-Key": "12"}'),
        ("EVENT_COLLECTION_SETTINGS_ID: 6f1f", "id", "6f1f"),
        ("PORT: 993", "port", 993),
        ("USERNAME: no", "username", "no"),
        ("USERNAME: null", "username", None),
        ("EVENT_ID_KEY: id", "event_id_key", "id"),
    ],
)  # fmt: skip
def test_values_are_written_as_one_would_write_them(
    tmp_path: Path, line: str, field: str, value: object
) -> None:
    assert getattr(setting_of(file_of(write(tmp_path, f"{WHOLE}    {line}\n"))), field) == value


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("TTLL: 60", "settings[0].TTLL: there is no such field: did you mean TTL?"),
        ("password: x", "settings[0].password: there is no such field: did you mean PASSWORD?"),
        ("colour: red", "settings[0].colour: there is no such field: see docs/local-settings.md."),
        ("PORT: 65536", "settings[0].PORT: PORT is not between 0 and 65535."),
        ("PORT: '993'", "settings[0].PORT: PORT is not an integer."),
        ("PORT: true", "settings[0].PORT: PORT is not an integer."),
        ("USERNAME: 12345", "settings[0].USERNAME: it is not a text: put it in quotes."),
        ("RESPONSE_LIST_FLAG: yes", "settings[0].RESPONSE_LIST_FLAG: it is not true or false."),
        ("PARAMETER: 5", "settings[0].PARAMETER: it is not a text, a mapping or a list."),
        ("REQUEST_HEADER: [a]", "settings[0].REQUEST_HEADER: it is not a text or a mapping."),
        ("PROXY: http://proxy:99999", "settings[0].PROXY: PROXY is not a URI with a port between 0 and 65535."),
        ("PASSWORD: 5", "settings[0].PASSWORD: it is not a text: put it in quotes."),
        ("PASSWORD_FILE: [a]", "settings[0].PASSWORD_FILE: it is not the path of a file."),
        ("RESPONSE_KEY: " + "x" * 256, "settings[0].RESPONSE_KEY: RESPONSE_KEY is longer than 255 characters."),
        ("PARAMETER: {a: '{{ x[\"y\"] }}'}",
         "settings[0].PARAMETER: a template in it holds a quote, a backslash or a line break, which JSON would "
         "alter: give the whole field as one text."),
    ],
)  # fmt: skip
def test_a_faulty_field_is_refused_with_its_place(tmp_path: Path, line: str, fault: str) -> None:
    assert faults_of(write(tmp_path, f"{WHOLE}    {line}\n")) == (
        f"SETTINGS_FILE settings.yaml: line 8, {fault}",
    )


def test_a_template_without_such_characters_may_stand_in_a_text_with_them(tmp_path: Path) -> None:
    setting = setting_of(file_of(write(tmp_path, WHOLE + "    PARAMETER: {a: 'say \"{{ x }}\"'}\n")))
    assert setting.parameter == '{"a": "say \\"{{ x }}\\""}'


def test_every_fault_of_the_file_is_told_at_once(tmp_path: Path) -> None:
    text = """
settings:
  - EVENT_COLLECTION_SETTINGS_NAME: web
    TTL: 5
    PORTT: 1
    CONNECTION_METHOD_ID: 7
  - TTL: 60
  - text
  - EVENT_COLLECTION_SETTINGS_NAME: 'WEB '
    PASSWORD: x
    PASSWORD_FILE: y
other: 1
"""
    start = "SETTINGS_FILE settings.yaml: "
    assert faults_of(write(tmp_path, text), is_complete=False) == (
        f"{start}line 12, other: there is nothing but 'settings' at the top.",
        f"{start}line 4, settings[0].TTL: TTL is not between 10 and 2147483647.",
        f"{start}line 5, settings[0].PORTT: there is no such field: did you mean PORT?",
        f"{start}line 6, settings[0].CONNECTION_METHOD_ID: CONNECTION_METHOD_ID '7' is not known to this agent.",
        f"{start}line 7, settings[1]: EVENT_COLLECTION_SETTINGS_NAME is missing.",
        f"{start}line 8, settings[2]: it is not a mapping of fields.",
        f"{start}line 11, settings[3].PASSWORD_FILE: PASSWORD is given too: remove one of them.",
        f"{start}line 9, settings[3].EVENT_COLLECTION_SETTINGS_NAME: settings[0] has this name already "
        "(case does not count).",
    )


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "the list 'settings' is missing at the top."),
        ("- a", "the list 'settings' is missing at the top."),
        ("setting: []", "the list 'settings' is missing at the top."),
        ("settings: {a: 1}", "line 1, settings: it is not a list."),
        ("settings: []", "line 1, settings: it holds no setting, and SETTINGS_FILE_MODE is only."),
        ("settings: []\nsettings: []", "line 2: 'settings' is there already, in line 1."),
        ("settings: [", "line 1, column 12: expected the node content, but found '<stream end>'."),
        ("x" * ((1 << 20) + 1), "it is larger than 1048576 bytes."),
    ],
)
def test_a_file_of_another_shape_is_refused(tmp_path: Path, text: str, fault: str) -> None:
    assert faults_of(write(tmp_path, text)) == (f"SETTINGS_FILE settings.yaml: {fault}",)


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        (("    TTL: 3600\n", ""), "TTL is empty"),
        (("    URL: https://source.example/api\n", ""), "URL is empty, but CONNECTION_METHOD_ID 5 needs it"),
        (("ID: 5", "ID: 1"), "AUTH_TOKEN is empty, but CONNECTION_METHOD_ID 1 needs it"),
    ],
)
def test_where_the_file_is_all_there_is_a_setting_must_be_whole(
    tmp_path: Path, changed: tuple[str, str], fault: str
) -> None:
    path = write(tmp_path, WHOLE.replace(*changed))
    assert faults_of(path) == (f"SETTINGS_FILE settings.yaml: line 3, settings[0]: {fault}.",)
    assert file_of(path, is_complete=False).settings.names == ("web",)


def test_an_expression_that_cannot_be_read_is_a_fault_of_the_file(tmp_path: Path) -> None:
    (fault,) = faults_of(write(tmp_path, WHOLE + "    RESPONSE_KEY: 'a['\n"))
    assert fault.startswith("SETTINGS_FILE settings.yaml: line 3, settings[0]: ")
    assert "RESPONSE_KEY" in fault


def test_a_discarded_setting_and_one_of_somebody_else_are_not_collected(tmp_path: Path) -> None:
    text = "settings:\n  - EVENT_COLLECTION_SETTINGS_NAME: {}\n    CONNECTION_METHOD_ID: {}\n    DISUSE_FLAG: {}\n"
    assert answer_of(file_of(write(tmp_path, text.format("web", 5, "true")))).skipped == ("web",)
    assert answer_of(file_of(write(tmp_path, text.format("web", 99, "false")))).skipped == ("web",)
