"""Rendering requests: contract section 5, promises S2, S3, C2 and C4, reference defects D18 and D29."""

import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, timedelta, timezone
from types import MappingProxyType
from typing import Any

import orjson
import pytest

from oase_agent.collect.templates import RequestTemplates, TemplateFacts
from oase_agent.errors import Reason, SettingRejected, SourceUnavailable
from oase_agent.model import ConnectionMethod, Cursor, RequestMethod, Secret, Setting, SourceRequest

TOKYO = timezone(timedelta(hours=9))
CURSOR_S = 1700000000
NOW_S = 1795162475.479224
EVENT = {"eventid": "17", "_exastro_fetched_time": 1699999990, "tags": ["a", "b"], "name": 'say "é"'}
ROW = MappingProxyType(
    {"EVENT_COLLECTION_SETTINGS_NAME": "zabbix", "USERNAME": "Admin", "TTL": 3600, "NOTE": None}
)


def setting_with(
    url: str = "https://h/api", header: str | None = None, parameter: str | None = None
) -> Setting:
    return Setting(
        id="s-1",
        name="zabbix",
        connection_method=ConnectionMethod.OPTIONAL,
        request_method=RequestMethod.POST,
        url=url,
        ttl_s=3600,
        request_header=header,
        parameter=parameter,
        auth_token=Secret("token-hunter2"),
        password=Secret("password-hunter2"),
        row=ROW,
    )


def facts_with(event: dict[str, Any] | None = None, saved_ids: tuple[str, ...] = ()) -> TemplateFacts:
    last = None if event is None else orjson.dumps(event)
    return TemplateFacts(Cursor(CURSOR_S, last), NOW_S, saved_ids, TOKYO)


def request_of(setting: Setting, facts: TemplateFacts | None = None) -> SourceRequest:
    return RequestTemplates().render_request(setting, facts or facts_with())


def text_of(template: str, facts: TemplateFacts | None = None) -> str:
    """Render a text as the URL, which stays a text; the brackets keep it from being empty."""
    return request_of(setting_with(url=f"[{template}]"), facts).url[1:-1]


def parameter_of(text: str | None, facts: TemplateFacts | None = None) -> Any:
    return request_of(setting_with(parameter=text), facts).parameter


@pytest.mark.parametrize(
    ("template", "rendered"),
    [
        # The examples of contract section 5.
        ("{{ EXASTRO_LAST_FETCHED_TIMESTAMP }}", "1700000000"),
        ("{{ EXASTRO_LAST_FETCHED_YY_MM_DD }}", "2023/11/15 07:13:20"),
        ("{{ EXASTRO_LAST_FETCHED_DD_MM_YY }}", "15/11/23 07:13:20"),
        ("{{ EXASTRO_LAST_FETCHED_TIME }}", "2023-11-15 07:13:20"),
        ("{{ EXASTRO_CURRENT_TIME }}", "2026-11-20 17:14:35.479224"),
        ("{{ EXASTRO_LAST_FETCHED_EVENT_IS_EXIST }}", "False"),
        ("{{ EXASTRO_LAST_FETCHED_EVENT }}", "None"),
        # They are objects, not texts.
        ("{{ EXASTRO_LAST_FETCHED_TIMESTAMP + 1 }}", "1700000001"),
        ("{{ EXASTRO_LAST_FETCHED_TIMESTAMP|tojson }}", "1700000000"),
        ("{{ EXASTRO_LAST_FETCHED_TIME.isoformat() }}", "2023-11-15T07:13:20"),
        ("{{ EXASTRO_LAST_FETCHED_TIME.strftime('%Y-%m-%dT%H:%M:%SZ') }}", "2023-11-15T07:13:20Z"),
        ("{{ EXASTRO_CURRENT_TIME.year }}", "2026"),
        ("{{ EXASTRO_CURRENT_TIME > EXASTRO_LAST_FETCHED_TIME }}", "True"),
        ("{{ EXASTRO_LAST_FETCHED_TIME.tzinfo }}", "None"),
    ],
)
def test_a_variable_has_the_type_and_the_form_of_the_reference(template: str, rendered: str) -> None:
    assert text_of(template) == rendered


@pytest.mark.parametrize(
    ("template", "rendered"),
    [
        ("{{ EXASTRO_LAST_FETCHED_EVENT_IS_EXIST }}", "True"),
        ("{{ EXASTRO_LAST_FETCHED_EVENT.eventid|int + 1 }}", "18"),
        ("{{ EXASTRO_LAST_FETCHED_EVENT['_exastro_fetched_time'] }}", "1699999990"),
        ("{{ EXASTRO_LAST_FETCHED_EVENT._exastro_fetched_time }}", "1699999990"),
        ("{{ EXASTRO_LAST_FETCHED_EVENT.tags }}", "['a', 'b']"),
        ("{% for tag in EXASTRO_LAST_FETCHED_EVENT.tags %}{{ loop.index }}{{ tag }}{% endfor %}", "1a2b"),
        ("{{ EXASTRO_LAST_FETCHED_EVENT.missing }}", ""),
        ("{{ EXASTRO_LAST_FETCHED_EVENT }}", str(EVENT)),
    ],
)
def test_the_last_event_is_a_mapping_that_prints_as_in_python(template: str, rendered: str) -> None:
    assert text_of(template, facts_with(EVENT)) == rendered


@pytest.mark.parametrize(
    ("template", "rendered"),
    [
        ("{{ EXASTRO_EVENT_COLLECTION_SETTING.AUTH_TOKEN }}", "token-hunter2"),
        ("{{ EXASTRO_EVENT_COLLECTION_SETTING['PASSWORD'] }}", "password-hunter2"),
        ("{{ EXASTRO_EVENT_COLLECTION_SETTING.SECRET_ACCESS_KEY }}", ""),
        ("{{ EXASTRO_EVENT_COLLECTION_SETTING.USERNAME }}", "Admin"),
        ("{{ EXASTRO_EVENT_COLLECTION_SETTING.TTL + 1 }}", "3601"),
        ("{{ EXASTRO_EVENT_COLLECTION_SETTING.NOTE }}", "None"),
        ("{{ EXASTRO_EVENT_COLLECTION_SETTING.LAST_FETCHED_TIMESTAMP }}", "1700000000"),
        ("{{ EXASTRO_EVENT_COLLECTION_SETTING.SAVED_IDS }}", "['7', '8']"),
        (
            "{% for key, value in EXASTRO_EVENT_COLLECTION_SETTING.items() %}{{ key[0] }}{% endfor %}",
            "EUTNAPSLS",
        ),
    ],
)
def test_the_setting_is_the_whole_row_with_clear_secrets(template: str, rendered: str) -> None:
    assert text_of(template, facts_with(saved_ids=("7", "8"))) == rendered


@pytest.fixture
def in_new_york(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    # Written out, so that the test needs no database of time zones.
    monkeypatch.setenv("TZ", "EST5EDT,M3.2.0,M11.1.0")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("in_new_york")
def test_without_a_zone_the_one_of_the_process_holds_also_across_its_change_of_time() -> None:
    # 2023-11-05: 05:30 UTC is the first 01:30 in New York, 06:30 UTC the second (D25).
    template = "{{ EXASTRO_LAST_FETCHED_YY_MM_DD }}|{{ EXASTRO_LAST_FETCHED_TIME.timestamp()|int }}"
    for cursor_s in (1699162200, 1699165800):
        facts = TemplateFacts(Cursor(cursor_s), NOW_S)
        assert text_of(template, facts) == f"2023/11/05 01:30:00|{cursor_s}"


def test_the_epoch_does_not_depend_on_the_zone() -> None:
    utc = TemplateFacts(Cursor(CURSOR_S), NOW_S, zone=UTC)
    template = "{{ EXASTRO_LAST_FETCHED_TIMESTAMP }} {{ EXASTRO_LAST_FETCHED_TIME }}"
    assert text_of(template, utc) == "1700000000 2023-11-14 22:13:20"


@pytest.mark.parametrize(
    ("template", "rendered"),
    [
        ("{{ '41'|int + 1 }}", "42"),
        ("{{ nothing|default('x') }}", "x"),
        ("{{ 'a b&あ'|urlencode }}", "a%20b%26%E3%81%82"),
        ("{{ {'a': ['é']}|tojson }}", '{"a": ["\\u00e9"]}'),
        ("{{ 'a-b'|replace('-', '+') }}", "a+b"),
        ("{% for key, value in {'a': 1}|items %}{{ key }}={{ value }}{% endfor %}", "a=1"),
        ("{% if 1 > 2 %}x{% else %}y{% endif %}", "y"),
        ("{{ '%05.1f|%s'|format(3, 1700000000) }}", "003.0|1700000000"),
        ("{{ '{:02d}-{}'.format(4, 1700000000) }}", "04-1700000000"),
        ("{{ 'a'|center(5) }}{{ 'b'.rjust(3) }}", "  a    b"),
        (
            "{% set ns = namespace(n=0) %}{% for i in range(4) if i %}{% set ns.n = ns.n + i %}{% endfor %}"
            "{{ ns.n }}",
            "6",
        ),
        ("{{ 2 ** 10 }} {{ 'ab' * 2 }} {{ 7 * 6 }} {{ 7 % 4 }}", "1024 abab 42 3"),
        ("{{ unknown }}", ""),
        ("{{ EXASTRO_LAST_FETCHED_EVENT.eventid }}", ""),
    ],
)
def test_what_settings_use_works_as_in_jinja(template: str, rendered: str) -> None:
    assert text_of(template) == rendered


def test_the_documented_pattern_for_the_next_id_works_with_and_without_an_event() -> None:
    text = (
        '{"from": {% if EXASTRO_LAST_FETCHED_EVENT_IS_EXIST %}'
        "{{ EXASTRO_LAST_FETCHED_EVENT.eventid|int + 1 }}{% else %}0{% endif %}}\n"
    )
    assert parameter_of(text) == {"from": 0}
    assert parameter_of(text, facts_with(EVENT)) == {"from": 18}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": [1, 2.5, null, true]}', {"a": [1, 2.5, None, True]}),
        ("[1]", [1]),
        ("17", 17),
        ("null", None),
        ('"text"', "text"),
        ("a=1&b=2", "a=1&b=2"),
        ('{"broken": ', '{"broken": '),
        ("[" * 100_000, "[" * 100_000),
        ("a\r\nb\rc\n", "a\nb\nc"),
        ("a\n\n", "a\n"),
        ("\n", ""),
        ("", None),
        (None, None),
        ('{"t": {{ EXASTRO_LAST_FETCHED_TIMESTAMP }}}', {"t": 1700000000}),
        ("from={{ EXASTRO_LAST_FETCHED_TIMESTAMP }}\n", "from=1700000000"),
        # A quote in a value breaks the JSON: the text goes out as a text.
        ('{"n": "{{ EXASTRO_LAST_FETCHED_EVENT.name }}"}', '{"n": "say "é""}'),
        ('{"n": {{ EXASTRO_LAST_FETCHED_EVENT.name|tojson }}}', {"n": 'say "é"'}),
    ],
)
def test_a_parameter_is_the_json_value_of_its_text_or_the_text(text: str | None, value: Any) -> None:
    assert parameter_of(text, facts_with(EVENT)) == value


@pytest.mark.parametrize(
    ("text", "headers"),
    [
        (None, {}),
        ("", {}),
        (" \n", {}),
        ("{% if EXASTRO_LAST_FETCHED_EVENT_IS_EXIST %}{}{% endif %}", {}),
        ('{"Accept": "text/json"}', {"Accept": "text/json"}),
        ('{"X-Token": "{{ EXASTRO_EVENT_COLLECTION_SETTING.AUTH_TOKEN }}"}', {"X-Token": "token-hunter2"}),
    ],
)
def test_headers_are_an_object_of_texts(text: str | None, headers: dict[str, str]) -> None:
    assert request_of(setting_with(header=text)).headers == headers


@pytest.mark.parametrize(
    "text",
    [
        "Accept: hunter2",
        '["hunter2"]',
        '"hunter2"',
        "null",
        '{"X-N": 2, "X": "hunter2"}',
        '{"X": null}',
        '{"X": "hunter2\\r\\nY: 1"}',
        '{"X\\n": "hunter2"}',
        '{"X": "hunter2"',
    ],
)
def test_other_headers_reject_the_setting_and_are_not_repeated(text: str) -> None:
    with pytest.raises(
        SettingRejected, match=r"^REQUEST_HEADER of setting 'zabbix' is not what it must be"
    ) as caught:
        request_of(setting_with(header=text))
    assert caught.value.reason is Reason.INVALID_SETTING
    assert "hunter2" not in str(caught.value)


def test_an_empty_url_rejects_the_setting_unless_a_template_may_fill_it_next_time() -> None:
    for url in ("", " ", "\n"):
        with pytest.raises(SettingRejected, match="URL of setting 'zabbix' is empty"):
            request_of(setting_with(url=url))
    with pytest.raises(SourceUnavailable, match="URL of setting 'zabbix' is empty"):
        request_of(setting_with(url="{{ EXASTRO_LAST_FETCHED_EVENT.next }}"))


@pytest.mark.parametrize(
    ("template", "line", "kind"),
    [
        ("{{ nothing.at_all }}", 1, "it uses a part of something that is not there"),
        ("\n{{ EXASTRO_LAST_FETCHED_EVENT.a.b }}", 2, "it uses a part of something that is not there"),
        (
            "\n\n{{ EXASTRO_LAST_FETCHED_EVENT.eventid|int + 1 }}",
            3,
            "it uses a part of something that is not there",
        ),
        ("{{ 1 / 0 }}", 1, "it divides by zero"),
        ("{{ EXASTRO_LAST_FETCHED_TIME.replace(year='hunter2') }}", 1, "it ends with TypeError"),
        ("{% include 'hunter2' %}", 1, "it ends with TypeError"),
    ],
)
@pytest.mark.parametrize("column", ["URL", "REQUEST_HEADER", "PARAMETER"])
def test_reference_defect_29_a_template_that_fails_sends_nothing_and_may_work_next_time(
    template: str, line: int, kind: str, column: str
) -> None:
    field = {"URL": "url", "REQUEST_HEADER": "header", "PARAMETER": "parameter"}[column]
    with pytest.raises(SourceUnavailable) as caught:
        request_of(setting_with(**{field: template}))
    assert caught.value.reason is Reason.TEMPLATE
    assert str(caught.value).startswith(
        f"{column} of setting 'zabbix' cannot be rendered in line {line}: {kind}"
    )


@pytest.mark.parametrize(
    ("template", "where", "kind"),
    [
        ("{% if hunter2 %}", " in line 1", "its syntax is wrong"),
        ("\n{{ hunter2 hunter2 }}", " in line 2", "its syntax is wrong"),
        ("{{ 1|hunter2 }}", " in line 1", "it uses a filter or test that does not exist"),
        ("{{" + "(" * 2000, "", "parts of it are nested too deeply, or it calls itself too often"),
    ],
)
def test_wrong_syntax_rejects_the_setting(template: str, where: str, kind: str) -> None:
    with pytest.raises(SettingRejected) as caught:
        request_of(setting_with(parameter=template))
    assert caught.value.reason is Reason.TEMPLATE
    assert str(caught.value) == f"PARAMETER of setting 'zabbix' cannot be rendered{where}: {kind}."


@pytest.mark.parametrize(
    "template",
    [
        "{% if 'hunter2' %}",
        "{{ {'a': EXASTRO_EVENT_COLLECTION_SETTING.PASSWORD}.b.c }}",
        "{{ EXASTRO_LAST_FETCHED_TIME.strftime(EXASTRO_EVENT_COLLECTION_SETTING) }}",
        "{{ [][EXASTRO_EVENT_COLLECTION_SETTING.PASSWORD].x }}",
    ],
)
def test_promise_s3_a_failed_template_shows_neither_its_text_nor_a_value_nor_a_cause(template: str) -> None:
    with pytest.raises((SettingRejected, SourceUnavailable)) as caught:
        request_of(setting_with(parameter=template))
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_templates_that_fell_out_of_the_cache_still_render() -> None:
    templates = RequestTemplates(kept_templates=1)
    for number in (1, 2, 1):
        request = templates.render_request(setting_with(parameter=f"{{{{ {number} }}}}"), facts_with())
        assert request.parameter == number


def test_the_setting_is_left_as_it_was() -> None:
    setting = setting_with(parameter="{{ EXASTRO_EVENT_COLLECTION_SETTING.PASSWORD }}")
    request = request_of(setting)
    assert request.parameter == "password-hunter2"
    assert "PASSWORD" not in setting.row
    assert "hunter2" not in repr(request)


def test_jinja_is_imported_with_the_first_template_only() -> None:
    script = f"""
import sys
from oase_agent.collect.templates import RequestTemplates, TemplateFacts
from oase_agent.model import ConnectionMethod, Cursor, Setting
def setting(text):
    return Setting("i", "n", ConnectionMethod.OPTIONAL, None, "http://h", 10, parameter=text)
templates, facts = RequestTemplates(), TemplateFacts(Cursor({CURSOR_S}), {NOW_S})
templates.render_request(setting('{{"a": 1}}'), facts)
print("jinja2" in sys.modules)
templates.render_request(setting("{{{{ 1 }}}}"), facts)
print("jinja2" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True)
    assert done.stdout.split() == ["False", "True"]
