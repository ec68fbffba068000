"""What works in jinja works in the sandbox: settings in use were written for an agent without one (contract 5)."""

from typing import Any

import jinja2
import pytest

from tests.unit.test_templates import EVENT, facts_with, parameter_of, setting_with, text_of

IDS = ("7", "8", "9")

# One use at least of every filter and test of jinja but `random`, and of what statements there are.
TEXTS = [
    "{{ -3|abs }} {{ ('x'|attr('upper'))() }} {{ [1, 2, 3]|batch(2, 0)|list }} {{ 'ab c'|capitalize }}",
    "{{ 'a'|center(5) }}| {{ [1]|count }} {{ nothing|d('x') }} {{ ''|default('y', true) }}",
    "{{ {'b': 1, 'A': 2}|dictsort }} {{ {'b': 2, 'a': 3}|dictsort(by='value', reverse=true) }}",
    "{{ '<a&\"'|e }} {{ '<'|escape ~ '<' }} {{ '<'|forceescape }} {{ '<'|safe }} "
    "{{ 10000000|filesizeformat(true) }}",
    "{{ [1, 2]|first }} {{ '1.5'|float }} {{ 'x'|float(2) }} "
    "{{ '%s-%03d'|format('a', 7) }} {{ '%(a)s'|format(a=1) }}",
    "{% for g in [{'k': 1, 'v': 2}, {'k': 1, 'v': 3}, {'k': 0, 'v': 4}]|groupby('k') %}{{ g.grouper }}"
    "{{ g.list|length }}{{ g[1][0].v }}{% endfor %}",
    "{{ 'a\nb'|indent }} {{ 'a\nb'|indent(2, first=true) }} {{ '12'|int }} "
    "{{ '0x1f'|int(base=16) }} {{ 'x'|int(7) }}",
    "{{ {'a': 1}|items|list }} {{ [1, 'a']|join('-') }} {{ [{'a': 1}, {'a': 2}]|join(',', attribute='a') }}",
    "{{ [1, 2]|last }} {{ 'abc'|length }} {{ 'ab'|list }} {{ 'AB'|lower }} "
    "{{ ['a', 'b']|map('upper')|list }}",
    "{{ [{'a': {'b': 1}}, {}]|map(attribute='a.b', default=0)|list }} {{ [3, 1]|max }} {{ ['b', 'A']|min }}",
    "{{ [{'a': 2}, {'a': 1}]|max(attribute='a') }} {{ {'a': 1}|pprint }} {{ [1, 2, 3]|reject('odd')|list }}",
    "{{ [{'a': 0}, {'a': 1}]|rejectattr('a')|list }} {{ 'aXbX'|replace('X', '-', 1) }} {{ 'abc'|reverse }}",
    "{{ [1, 2]|reverse|list }} {{ 2.55|round(1) }} {{ 42.5|round(0, 'floor') }} {{ 42|round(-1) }}",
    "{{ [0, 1, 2]|select|list }} {{ [1, 2, 3]|select('>', 1)|list }} "
    "{{ [{'a': 1}]|selectattr('a', 'equalto', 1)|list }}",
    "{{ [1, 2, 3]|slice(2)|list }} {{ ['b', 'A', 'c']|sort }} {{ [{'a': 2}, {'a': 1}]|sort(attribute='a') }}",
    "{{ [3, 1]|sort(reverse=true) }} {{ 1|string }} {{ '<b>x</b> <!-- -->y'|striptags }} {{ [1, 2.5]|sum }}",
    "{{ [{'a': 1}, {'a': 2}]|sum(attribute='a', start=10) }} "
    "{{ [[1], [2]]|sum(start=[]) }} {{ 'ab cd'|title }}",
    "{{ {'a': [1, '<é']}|tojson }} {{ [1]|tojson(indent=2) }} {{ ' a '|trim }} {{ 'xax'|trim('x') }}",
    "{{ 'abc def ghi'|truncate(7) }} {{ 'abcdefghijkl'|truncate(5, true, '..', 0) }} "
    "{{ [1, 2, 1]|unique|list }}",
    "{{ 'a'|upper }} {{ 'a b&/é'|urlencode }} {{ {'a': 'x y', 'b': 1}|urlencode }} "
    "{{ 'see http://a.example'|urlize }}",
    "{{ 'a b'|wordcount }} {{ 'aaa bbb ccc'|wordwrap(7) }} {{ {'id': 'x', 'n': none}|xmlattr }}",
    "{{ 4 is divisibleby 2 }}{{ 1 is eq 1 }}{{ x is defined }}{{ x is undefined }}"
    "{{ 2 is even }}{{ 1 is odd }}",
    "{{ false is false }}{{ true is true }}{{ 1.0 is float }}{{ 1 is integer }}"
    "{{ 1 is number }}{{ 'a' is string }}",
    "{{ 2 is ge 1 }}{{ 2 is gt 1 }}{{ 1 is in [1] }}{{ [] is iterable }}"
    "{{ 1 is le 1 }}{{ 1 is lt 2 }}{{ 1 is ne 2 }}",
    "{{ 'a' is lower }}{{ 'A' is upper }}{{ {} is mapping }}{{ none is none }}"
    "{{ 1 is sameas 1 }}{{ [] is sequence }}",
    "{{ dict is callable }}{{ true is boolean }}{{ 'a'|escape is escaped }}"
    "{{ 'int' is filter }}{{ 'odd' is test }}",
    "{{ 1 + 2 }} {{ [1] + [2] }} {{ 'a' + 'b' }} {{ 7 // 2 }} {{ 7 % 4 }} "
    "{{ 2 ** 10 }} {{ 2 ** -1 }} {{ -3 }} {{ 1 / 4 }}",
    "{{ 'a' ~ 1 ~ none ~ [2] }} {{ 'ab' * 2 }} {{ 2 * [1] }} {{ '%s' % 1 }} "
    "{{ '%s %s' % (1, 'b') }} {{ not 1 }}",
    "{{ 1 < 2 <= 2 != 3 }} {{ 1 in [1] and 'a' not in 'b' or 1 }} {{ 'y' if x else 'n' }} {{ 'y' if 1 }}",
    "{{ [1, 2, 3][1:] }} {{ 'abcd'[::2] }} {{ 'abc'[-1] }} {{ (1, 2, 3)[:-1] }} "
    "{{ {'a': 1}['a'] }} {{ {}.a }} {{ [][3] }}",
    "{{ 'a,b'.split(',') }} {{ '{:>5}|{a}'.format(1, a='x') }} "
    "{{ '{0.year:04d}'.format(EXASTRO_CURRENT_TIME) }}",
    "{{ '-'.join(['a', 'b']) }} {{ '-'.join(['a', 'b']|map('upper')) }} {{ ''.join('abc'|reverse) }}",
    "{{ ['a', 'b']|map('upper')|join('-') }} {{ [2, 1]|map('abs')|sort }} {{ [1]|map('string')|list|sort }}",
    "{{ 'aXb'.replace('X', '') }} {{ ' a'.strip() }} {{ 'a'.zfill(3) }} {{ 'abc'.startswith(('x', 'a')) }}",
    "{{ 'a=b=c'.partition('=') }} {{ 'a/b/c'.rsplit('/', 1)[-1] }} "
    "{{ 'abcb'.rfind('b') }} {{ 'a\tb'.expandtabs(4) }}",
    "{{ (255).bit_length() }} {{ (1.5).is_integer() }} {{ [1, 1].count(1) }} {{ {'a': 1}.get('b', 2) }}",
    "{% for k, v in {'a': 1}.items() %}{{ k }}{{ v }}{% endfor %} "
    "{{ {'a': 1}.keys()|list }} {{ {'a': 1}.values()|sum }}",
    "{% for i in range(5) if i is odd %}{{ loop.index }}{{ loop.last }}"
    "{{ loop.cycle('a', 'b') }}{% else %}x{% endfor %}",
    "{% for i in [] %}{% else %}none{% endfor %}{% for i in nothing %}"
    "{% endfor %}{% for c in 'ab' %}{{ c }}{% endfor %}",
    "{% for i in [1, 2] %}{{ loop.previtem }}{{ loop.nextitem }}{{ loop.changed(i) }}"
    "{{ loop.length }}{% endfor %}",
    "{% for i in [[1, [2]], 3] recursive %}{{ loop(i) if i is iterable else i }}{{ loop.depth }}{% endfor %}",
    "{% set ns = namespace(n=0) %}{% for i in range(4) %}{% set ns.n = ns.n + i %}{% endfor %}{{ ns.n }}",
    "{% set x %}a{{ 1 }}{% endset %}{{ x|upper }} {% set a, b = 1, 2 %}"
    "{{ a + b }} {% with c = 3 %}{{ c }}{% endwith %}",
    "{% macro m(a, b=2) %}{{ a }}{{ b }}{{ varargs }}{{ kwargs }}{% endmacro %}"
    "{{ m(1) }}{{ m(1, 3, 4, c=5) }}{{ m.name }}",
    "{% macro m() %}[{{ caller(1) }}]{% endmacro %}{% call(x) m() %}{{ x }}{% endcall %}",
    "{% filter upper %}a{{ 1 }}b{% endfilter %} {% block b %}x{% endblock %}"
    "{{ self.b() }} {% raw %}{{ x }}{% endraw %}",
    "{% if x is defined and x %}a{% elif 1 %}b{% else %}c{% endif %} {#- comment -#} "
    "{%- if 1 -%} t {%- endif %}",
    "{% autoescape true %}{{ '<' }}{{ '<'|safe }}{{ none ~ '<'|safe ~ EXASTRO_LAST_FETCHED_EVENT.name }}"
    "{{ ('<b>{}'|safe).format('<') }}{% endautoescape %}",
    "{{ dict(a=1, b=2)|length }} {{ range(3)|list }} {{ range(1, 9, 3)|join }} "
    "{{ [1, 2]|list|last }} {{ none }}",
    "{{ EXASTRO_LAST_FETCHED_TIME.strftime('%Y-%m-%dT%H:%M:%S') }} "
    "{{ EXASTRO_LAST_FETCHED_TIME.isoformat() }}",
    "{{ EXASTRO_LAST_FETCHED_TIME.date() }} {{ EXASTRO_LAST_FETCHED_TIME.replace(hour=0, minute=0) }}",
    "{{ (EXASTRO_CURRENT_TIME - EXASTRO_LAST_FETCHED_TIME).total_seconds()|int }} "
    "{{ EXASTRO_LAST_FETCHED_TIME.month }}",
    "{{ EXASTRO_CURRENT_TIME.fromtimestamp(0).year }} {{ EXASTRO_CURRENT_TIME.strptime('2024', '%Y') }}",
    "{{ EXASTRO_LAST_FETCHED_TIME.timetuple().tm_yday }} {{ EXASTRO_LAST_FETCHED_TIME.isocalendar().week }}",
    "{{ EXASTRO_LAST_FETCHED_TIME - EXASTRO_CURRENT_TIME.resolution * 60000000 }}",
    "{{ EXASTRO_LAST_FETCHED_EVENT.tags|join(',') }} {{ EXASTRO_LAST_FETCHED_EVENT['eventid'] }}",
    "{{ EXASTRO_EVENT_COLLECTION_SETTING.SAVED_IDS|map('int')|max }} "
    "{{ EXASTRO_EVENT_COLLECTION_SETTING.SAVED_IDS[-1] }}",
]


def variables() -> dict[str, Any]:
    """Return what templates see, as the sandbox makes it."""
    from oase_agent.collect.templates import _variables  # noqa: PLC0415 - the one place that tells

    return _variables(setting_with(), facts_with(EVENT, IDS))


@pytest.mark.parametrize("text", TEXTS)
def test_the_sandbox_renders_what_jinja_renders(text: str) -> None:
    expected = jinja2.Environment().from_string(text).render(variables())
    assert text_of(text, facts_with(EVENT, IDS)) == expected


def test_every_filter_and_test_of_jinja_is_compared() -> None:
    environment = jinja2.Environment()
    all_texts = " ".join(TEXTS)
    assert not [name for name in environment.filters if name != "random" and f"|{name}" not in all_texts]
    words = {"==": "eq", "!=": "ne", "<": "lt", "<=": "le", ">": "'>'", ">=": "ge", "equalto": "'equalto'"}
    tests = (words.get(name, f"is {name}") for name in environment.tests)
    missing = {name for name in tests if name not in all_texts}
    assert missing <= {"is lessthan", "is greaterthan"}  # other names of lt and gt
    assert text_of("{{ [1]|random }}{{ 1 is lessthan 2 }}{{ 1 is greaterthan 2 }}") == "1TrueFalse"


ZABBIX = """{"jsonrpc": "2.0", "method": "problem.get", "id": 1, "params": {"output": "extend", "recent": true,
{%- if EXASTRO_LAST_FETCHED_EVENT_IS_EXIST %} "eventid_from": {{ EXASTRO_LAST_FETCHED_EVENT.eventid|int + 1 }},
{%- endif %} "time_from": {{ EXASTRO_LAST_FETCHED_TIMESTAMP }}},
 "auth": "{{ EXASTRO_EVENT_COLLECTION_SETTING.AUTH_TOKEN }}"}"""
GRAFANA = (
    "https://{{ EXASTRO_EVENT_COLLECTION_SETTING.USERNAME|lower }}.example/api/annotations"
    "?from={{ EXASTRO_LAST_FETCHED_TIMESTAMP * 1000 }}&q={{ 'a b'|urlencode }}"
)
KNOWN = """{"ids": {{ EXASTRO_EVENT_COLLECTION_SETTING.SAVED_IDS|tojson }},
 "last": "{{ EXASTRO_LAST_FETCHED_YY_MM_DD|replace("/", "-") }}"}"""
HEADER = """{"X-Since": "{{ EXASTRO_LAST_FETCHED_TIME.strftime("%a, %d %b %Y") }}"
{%- if EXASTRO_LAST_FETCHED_EVENT_IS_EXIST %},
 "X-After": "{{ EXASTRO_LAST_FETCHED_EVENT.eventid|default("0") }}"{% endif %}}"""


def test_a_problem_query_of_zabbix_asks_for_what_came_after_the_last_event() -> None:
    asked = parameter_of(ZABBIX, facts_with(EVENT))
    assert asked["params"] == {
        "output": "extend",
        "recent": True,
        "eventid_from": 18,
        "time_from": 1700000000,
    }
    assert asked["auth"] == "token-hunter2"
    assert "eventid_from" not in parameter_of(ZABBIX)["params"]


def test_a_url_a_header_and_a_list_of_known_ids_are_filled_in() -> None:
    assert text_of(GRAFANA) == "https://admin.example/api/annotations?from=1700000000000&q=a%20b"
    assert parameter_of(KNOWN, facts_with(EVENT, IDS)) == {"ids": list(IDS), "last": "2023-11-15 07:13:20"}
    assert parameter_of(HEADER, facts_with(EVENT)) == {"X-Since": "Wed, 15 Nov 2023", "X-After": "17"}
