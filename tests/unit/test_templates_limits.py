"""What a template may take of time and memory: promises S2, C2 and C4."""

import tracemalloc
from collections.abc import Callable, Iterator
from itertools import chain, count, repeat
from typing import Any

import pytest

from oase_agent.collect.template_limits import MAX_SIZE, MAX_STEPS
from oase_agent.collect.template_sandbox import Renderer
from oase_agent.collect.templates import RequestTemplates
from oase_agent.errors import Reason, SettingRejected, SourceUnavailable
from tests.unit.hostile_templates import DEAR, LONG, TOO_MUCH
from tests.unit.test_templates import EVENT, facts_with, parameter_of, setting_with, text_of

STOPPED = r"too many steps|too large|takes longer than 1 s"


def ticking(seconds_a_look: float = 0.0005) -> Callable[[], float]:
    """Return a clock on which every look takes time, so that tests of long templates are short."""
    return count(0.0, seconds_a_look).__next__


def rendered_by(clock: Callable[[], float], template: str) -> Any:
    templates = RequestTemplates(clock=clock)
    return templates.render_request(setting_with(parameter=template), facts_with(EVENT)).parameter


@pytest.mark.parametrize("template", TOO_MUCH.values(), ids=TOO_MUCH)
def test_promise_c4_a_template_cannot_take_endless_time_or_memory(template: str) -> None:
    with pytest.raises(SourceUnavailable, match=STOPPED) as caught:
        rendered_by(ticking(), template)
    assert caught.value.reason is Reason.TEMPLATE


@pytest.mark.parametrize("template", DEAR.values(), ids=DEAR)
def test_the_dearest_calls_within_the_limits_end_by_themselves(template: str) -> None:
    assert parameter_of(template) is not None


BUILT = [
    *("many texts kept", "many long texts with ~", "many slices", "a block of fixed text"),
    *("a block that shows a list again and again", "joining numbers with a long text", "tabs", "splitting"),
    *(
        "joining what a filter gives, by a method",
        "a long text, many times",
        "str.format, a long text, many times",
    ),
    *("replacing by a long text", "replacing by a method", "indenting with a long text", "escaped output"),
]


@pytest.mark.parametrize("name", BUILT)
def test_promise_c4_what_would_be_too_large_is_not_built_first(name: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(SourceUnavailable, match=STOPPED):
            rendered_by(ticking(), TOO_MUCH[name])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 40 << 20


def test_nothing_is_computed_before_the_clock_runs() -> None:
    looks = count(0.0, 0.1)
    renderer = Renderer(looks.__next__, 1)
    renderer.compiled("{{ 'a'|upper|center(1000) ~ 'b' }}{% if 'a'|upper is upper %}c{% endif %}")
    assert next(looks) == pytest.approx(0.1)  # one look, when the budget was made


def test_a_text_is_stopped_when_its_time_is_over_and_the_message_says_so() -> None:
    clock: Iterator[float] = chain(repeat(7.0, 10), repeat(8.1))
    with pytest.raises(SourceUnavailable) as caught:
        rendered_by(clock.__next__, "{% for i in range(1000) %}\n{{ i|string }}{% endfor %}")
    assert str(caught.value) == (
        "PARAMETER of setting 'zabbix' cannot be rendered in line 2: it takes longer than 1 s of processor time."
    )


@pytest.mark.parametrize(
    "template",
    [
        "{% for i in range(1000) %}{% endfor %}",
        "{% for i in range(1000) %}a{% endfor %}",
        "{{ range(1000)|map('int')|sum }}",
    ],
)
def test_loops_filters_and_pieces_of_output_all_look_at_the_clock(template: str) -> None:
    clock: Iterator[float] = chain(repeat(0.0, 3), repeat(1.1))
    with pytest.raises(SourceUnavailable, match="takes longer than 1 s"):
        rendered_by(clock.__next__, template)


def test_the_time_and_the_steps_of_each_text_count_anew() -> None:
    loop = "{% for a in range(300) %}{% for b in range(300) %}{% endfor %}{% endfor %}"
    templates = RequestTemplates()
    for _ in range(3):
        request = templates.render_request(setting_with(url=f"u{loop}", parameter=f"p{loop}"), facts_with())
        assert (request.url, request.parameter) == ("u", "p")
    now_s = count(0.0, 0.9).__next__
    request = RequestTemplates(clock=now_s).render_request(
        setting_with(url="u{{ 1 }}", parameter="p{{ 1 }}"), facts_with()
    )
    assert (request.url, request.parameter) == ("u1", "p1")


def test_the_limit_of_steps_does_not_depend_on_the_speed_of_the_machine() -> None:
    template = "{{% for a in range({0}) %}}{{% for b in range(1000) %}}{{% endfor %}}{{% endfor %}}"
    rounds = MAX_STEPS // 1000
    assert rendered_by(lambda: 0.0, template.format(rounds - 10)) == ""
    with pytest.raises(SourceUnavailable, match="too many steps"):
        rendered_by(lambda: 0.0, template.format(rounds + 10))


def test_one_mebibyte_of_output_is_accepted_and_one_character_more_is_not() -> None:
    assert len(parameter_of(f"{{{{ 'a' * {MAX_SIZE} }}}}")) == MAX_SIZE
    with pytest.raises(SourceUnavailable):
        parameter_of(f"{{{{ 'a' * {MAX_SIZE} }}}}b")


def test_a_long_list_of_known_ids_can_be_sent() -> None:
    ids = tuple(str(number) for number in range(10**6, 10**6 + 10_000))
    facts = facts_with(EVENT, ids)
    known = "EXASTRO_EVENT_COLLECTION_SETTING.SAVED_IDS"
    loop = f'[{{% for id in {known} %}}"{{{{ id }}}}"{{% if not loop.last %}},{{% endif %}}{{% endfor %}}]'
    assert parameter_of(loop, facts) == list(ids)
    assert parameter_of(f"{{{{ {known}|tojson }}}}", facts) == list(ids)
    assert parameter_of(f'"{{{{ {known}|join(",") }}}}"', facts) == ",".join(ids)
    assert parameter_of(f"{{{{ {known}|map('int')|max + 1 }}}}", facts) == int(ids[-1]) + 1


def test_values_too_large_to_be_printed_can_still_be_asked_about() -> None:
    ids = tuple(f"{number:020}" for number in range(60_000))
    facts = facts_with(EVENT, ids)
    known = "EXASTRO_EVENT_COLLECTION_SETTING.SAVED_IDS"
    assert text_of(f"{{{{ {known}|length }}}} {{{{ {known}[-1] }}}} {{{{ '7' in {known} }}}}", facts) == (
        f"60000 {ids[-1]} False"
    )
    assert text_of("{% for key, value in EXASTRO_EVENT_COLLECTION_SETTING|items %}{% endfor %}", facts) == ""
    for template in (f"{{{{ {known} }}}}", f"{{{{ [{known}] }}}}", f"{{{{ {known}|tojson }}}}"):
        with pytest.raises(SourceUnavailable, match="too large"):
            text_of(template, facts)


def test_a_large_event_can_be_read_in_parts() -> None:
    deep: Any = "end"
    for _ in range(50):
        deep = {"a": deep}
    event = {"text": "x" * (2 << 20), "deep": deep, "id": 7}
    assert text_of("{{ EXASTRO_LAST_FETCHED_EVENT.id }}", facts_with(event)) == "7"
    assert text_of("{{ EXASTRO_LAST_FETCHED_EVENT.get('text')[:3] }}", facts_with(event)) == "xxx"
    assert text_of("{{ EXASTRO_LAST_FETCHED_EVENT.deep" + ".a" * 50 + " }}", facts_with(event)) == "end"
    assert text_of("{{ EXASTRO_LAST_FETCHED_EVENT.deep|string|length }}", facts_with(event)) == str(
        len(str(deep))
    )
    with pytest.raises(SourceUnavailable, match="too large"):
        text_of("{{ EXASTRO_LAST_FETCHED_EVENT }}", facts_with(event))


@pytest.mark.parametrize(
    "template", ["{{ 1 }}" + "x" * 65_536, "{{ 1 }}" * 1001, "{{ [" + "1," * 1500 + "] }}"]
)
def test_a_template_that_would_take_much_to_compile_rejects_the_setting(template: str) -> None:
    with pytest.raises(SettingRejected, match="more than 65536 characters, or more than 3000 names, numbers"):
        parameter_of(template)


def test_a_long_text_without_a_template_is_no_template() -> None:
    assert parameter_of("x" * 100_000) == "x" * 100_000


def test_a_failed_text_does_not_spoil_the_next_one() -> None:
    templates = RequestTemplates()
    for wrong in ("{{ 1 / 0 }}", "{% if %}", LONG + "{% for i in range(99) %}{{ a }}{% endfor %}"):
        with pytest.raises((SettingRejected, SourceUnavailable)):
            templates.render_request(setting_with(parameter=wrong), facts_with())
    request = templates.render_request(setting_with(parameter="{{ 1 + 1 }}"), facts_with())
    assert request.parameter == 2
