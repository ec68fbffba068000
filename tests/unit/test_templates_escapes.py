"""Ways out of Jinja's sandbox, from its own history and from what attackers try: promise S2, reference defect D18."""

from datetime import UTC, datetime
from typing import Any

import pytest

from oase_agent.collect.template_filters import Limits
from oase_agent.collect.template_sandbox import Sandbox
from oase_agent.errors import Reason, SourceUnavailable
from tests.unit.test_templates import EVENT, facts_with, request_of, setting_with, text_of

CLOSED = "it uses something that is closed to templates"
NOT_THERE = "it uses a part of something that is not there"


def assert_refused(template: str, *kinds: str) -> None:
    """Nothing is sent, for the reason that is meant, and the message shows nothing of what was reached for."""
    with pytest.raises(SourceUnavailable) as caught:
        request_of(setting_with(parameter=f"before {template} after"), facts_with(EVENT))
    assert caught.value.reason is Reason.TEMPLATE
    message = str(caught.value)
    assert any(kind in message for kind in kinds or (CLOSED,)), message
    assert "hunter2" not in message
    assert caught.value.__cause__ is None


def assert_prints_nothing(template: str) -> None:
    assert text_of(template, facts_with(EVENT)) == ""


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__ }}",
        "{{ ''['__class__'] }}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ ().__class__.__bases__[0].__subclasses__() }}",
        "{{ (1).__class__ }}{{ (1).real.__class__ }}",
        "{{ {}.__class__.__base__ }}",
        "{{ true.__class__ }}",
        "{{ none.__class__ }}",
        "{{ EXASTRO_LAST_FETCHED_TIME.__class__.__init__.__globals__ }}",
        "{{ EXASTRO_LAST_FETCHED_TIME.min.__reduce__() }}",
        "{% set x = ''.__class__ %}{{ x }}",
        "{% if ''.__class__ %}{% endif %}",
        "{{ dict.mro() }}",
    ],
)
def test_the_classes_of_values_are_closed(template: str) -> None:
    assert_refused(template)


@pytest.mark.parametrize(
    "name",
    [
        r"'\x5f\x5fclass\x5f\x5f'",
        r"'\u005f\u005fclass\u005f\u005f'",
        "'_' * 2 ~ 'class' ~ '_' * 2",
        "'__cla' + 'ss__'",
        "('_', '_', 'class', '_', '_')|join",
        "'__ssalc__'|reverse",
        "'__CLASS__'|lower",
        "'__CLASS__'.lower()",
        "'%c%cclass%c%c'|format(95, 95, 95, 95)",
        "'%sclass%s' % ('__', '__')",
        "'{0}class{0}'.format('__')",
        "'--class--'|replace('-', '_')",
        "'x__class__'[1:]",
        "'__class__ x'.split()[0]",
        "'__class__'|safe",
        "dict(__class__=1)|list|first",
        "{'__class__': 1}|items|first|first",
        "(['__class__']|map('string')|list)[0]",
    ],
)
def test_a_name_put_together_while_rendering_is_closed_too(name: str) -> None:
    assert_refused(f"{{% set name = {name} %}}{{{{ ''[name] }}}}")
    assert_refused(f"{{% set name = {name} %}}{{{{ ''|attr(name) }}}}")
    assert_refused(f"{{% set name = {name} %}}{{{{ [''|string]|map(attribute=name)|list }}}}")


@pytest.mark.parametrize(
    "template",
    [
        "{{ '{0.__class__}'.format(1) }}",
        "{{ '{0.__class__.__mro__}'.format('') }}",
        "{{ '{0[__class__]}'.format('') }}",
        "{{ '{a.__init__.__globals__}'.format(a=EXASTRO_LAST_FETCHED_TIME) }}",
        "{{ '{0.real.__class__!r:>9}'.format(1) }}",
        "{{ ('{0.__class__}'|safe).format(1) }}",
        "{{ ('{0.__class__}'|escape).format(1) }}",
    ],
)
def test_cve_2016_10745_str_format_reads_only_what_is_open(template: str) -> None:
    assert_refused(template)


@pytest.mark.parametrize(
    "template",
    [
        "{{ '{a.__class__}'.format_map({'a': 1}) }}",
        "{{ '{a}'.format_map({'a': 1}) }}",
        "{{ ('{a.__class__}'|attr('format_map'))({'a': 1}) }}",
        "{{ ('{a.__class__}'|safe).format_map({'a': 1}) }}",
    ],
)
def test_cve_2019_10906_str_format_map_is_closed(template: str) -> None:
    assert_refused(template)


@pytest.mark.parametrize(
    "template",
    [
        "{% set f = '{0.__class__}'.format %}{{ f(1) }}",
        "{% set ns = namespace(f='{0.__class__}'.format) %}{{ ns.f(1) }}",
        "{% set fs = ['{0.__class__}'.format] %}{{ fs[0](1) }}",
        "{% macro call(f) %}{{ f(1) }}{% endmacro %}{{ call('{0.__class__}'.format) }}",
        "{% for f in ['{0.__class__}'.format] %}{{ f(1) }}{% endfor %}",
        "{{ ({'f': '{0.__class__}'.format}|items|first|last)(1) }}",
        "{% set f = '{0.__class__}'['format'] %}{{ f(1) }}",
    ],
)
def test_cve_2024_56326_a_stored_reference_to_str_format_reads_only_what_is_open(template: str) -> None:
    assert_refused(template)


@pytest.mark.parametrize(
    "template",
    [
        "{{ ('{0.__class__}'|attr('format'))(1) }}",
        "{{ (['{0.__class__}']|map('attr', 'format')|first)(1) }}",
        "{{ (['{0.__class__}']|map(attribute='format')|first)(1) }}",
        "{{ ('{0.__class__}'|attr('format')|attr('__call__')) }}",
        "{{ ('{0.__class__}'|attr('format')|attr('_text')) }}",
        "{{ ('x'.format)._sandbox }}",
    ],
)
def test_cve_2025_27516_the_filter_attr_gives_no_other_str_format(template: str) -> None:
    assert_refused(template)


@pytest.mark.parametrize(
    "template",
    [
        "{{ dict.get }}",
        "{{ dict.fromkeys('ab') }}",
        "{{ dict['__class__'].fromkeys }}",
        "{{ range.__class__ }}",
        "{{ namespace.__init__.__globals__ }}",
        "{{ namespace()._Namespace__attrs }}",
        "{{ namespace()['__class__'] }}",
        "{{ dict.__base__ }}",
        "{{ (''|string).join.__self__ }}",
        "{{ EXASTRO_EVENT_COLLECTION_SETTING.get.__self__.__class__ }}",
        "{{ EXASTRO_CURRENT_TIME.now.__self__ }}",
    ],
)
def test_unbound_methods_functions_and_types_are_closed(template: str) -> None:
    assert_refused(template, CLOSED, NOT_THERE)


@pytest.mark.parametrize(
    "template",
    [
        "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
        "{{ joiner.__init__.__globals__ }}",
        "{{ lipsum.__globals__['os'].popen('id').read() }}",
        "{{ url_for.__globals__ }}",
        "{{ get_flashed_messages.__globals__ }}",
        "{{ config.from_object('os') }}",
        "{{ request.application.__globals__ }}",
        "{{ request|attr('application') }}",
        "{{ g.pop.__globals__ }}",
        "{{ session.x }}",
        "{{ environment.loader }}",
        "{{ context.vars }}",
        "{{ __builtins__.open('/etc/passwd') }}",
        "{{ open('/etc/passwd').read() }}",
        "{{ __import__('os').getpid() }}",
        "{{ super.__class__ }}",
        "{{ x.__init__.__globals__ }}",
        "{{ caller.__globals__ }}",
        "{{ x._undefined_obj }}",
        "{{ EXASTRO_LAST_FETCHED_EVENT.nothing._undefined_obj }}",
        "{{ EXASTRO_LAST_FETCHED_EVENT.nothing._fail_with_undefined_error() }}",
    ],
)
def test_globals_that_other_programs_offer_are_not_there(template: str) -> None:
    assert_refused(template, NOT_THERE)


@pytest.mark.parametrize(
    "name", ["cycler", "joiner", "lipsum", "request", "config", "url_for", "environment"]
)
def test_names_of_globals_that_settings_do_not_need_print_nothing(name: str) -> None:
    assert_prints_nothing(f"{{{{ {name} }}}}")


@pytest.mark.parametrize(
    "template",
    [
        "{{ self.__init__.__globals__ }}",
        "{{ self._TemplateReference__context }}",
        "{{ self['_TemplateReference__context'] }}",
        "{{ self|attr('_TemplateReference__context') }}",
        "{{ self.__class__ }}",
        "{% block b %}{{ self.b._context }}{% endblock %}",
        "{% block b %}{{ self.b._stack }}{% endblock %}",
    ],
)
def test_the_template_itself_is_no_way_to_its_context(template: str) -> None:
    assert_refused(template)


@pytest.mark.parametrize(
    "template",
    [
        "{% macro m() %}{% endmacro %}{{ m.__call__.__globals__ }}",
        "{% macro m() %}{% endmacro %}{{ m._func }}",
        "{% macro m() %}{% endmacro %}{{ m._environment }}",
        "{% macro m() %}{{ caller._func }}{% endmacro %}{% call m() %}{% endcall %}",
        "{% macro m() %}{{ caller.__init__ }}{% endmacro %}{% call m() %}{% endcall %}",
        "{% macro m() %}{{ varargs.__class__ }}{{ kwargs.__class__ }}{% endmacro %}{{ m(1, a=2) }}",
        "{% for i in [1] %}{{ loop.__init__.__globals__ }}{% endfor %}",
        "{% for i in [1] %}{{ loop._iterable }}{% endfor %}",
        "{% for i in [1] %}{{ loop._recurse }}{% endfor %}",
        "{% for i in [1] %}{{ loop.cycle.__func__.__globals__ }}{% endfor %}",
        "{% for i in [1] %}{{ loop._to_iterator }}{% endfor %}",
    ],
)
def test_macros_and_loops_show_nothing_of_how_they_are_made(template: str) -> None:
    assert_refused(template)


@pytest.mark.parametrize(
    "name",
    [
        "gi_frame",
        "gi_code",
        "gi_yieldfrom",
        "cr_await",
        "cr_frame",
        "ag_frame",
        "ag_await",
        "close",
        "send",
        "throw",
    ],
)
def test_iterators_have_no_frames(name: str) -> None:
    assert_prints_nothing(f"{{{{ ([1]|map('string')).{name} }}}}{{{{ ([1]|batch(1))['{name}'] }}}}")
    assert_prints_nothing(f"{{{{ [1]|select|attr('{name}') }}}}")


@pytest.mark.parametrize("name", ["tb_frame", "f_globals", "f_back", "func_globals", "im_func", "func_code"])
def test_names_of_frames_and_functions_mean_nothing(name: str) -> None:
    assert_prints_nothing(
        f"{{{{ ''.{name} }}}}{{{{ EXASTRO_CURRENT_TIME.strftime.{name} }}}}{{{{ range.{name} }}}}"
    )


@pytest.mark.parametrize("name", ["_budget", "_items", "__init__", "__class__"])
def test_what_the_limits_put_around_iterators_is_closed_too(name: str) -> None:
    assert_refused(f"{{{{ ([1]|map('string')).{name} }}}}")


@pytest.mark.parametrize(
    "template",
    [
        "{{ [1]|map(attribute='__class__')|list }}",
        "{{ [1]|map('attr', '__class__')|list }}",
        "{{ [1]|map(attribute='real.__class__')|list }}",
        "{{ [1]|groupby('__class__') }}",
        "{{ [1]|sum(attribute='__class__') }}",
        "{{ [1]|sort(attribute='__class__') }}",
        "{{ [1]|sort(attribute='real,__class__') }}",
        "{{ [1, 2]|unique(attribute='__class__')|list }}",
        "{{ [1, 2]|min(attribute='__class__') }}",
        "{{ [1, 2]|max(attribute='__class__') }}",
        "{{ [1]|join(',', attribute='__class__') }}",
        "{{ [1]|selectattr('__class__')|list }}",
        "{{ [1]|selectattr('__class__.__mro__', 'defined')|list }}",
        "{{ [1]|rejectattr('__class__')|list }}",
        "{{ ''|attr('__cla' ~ 'ss__') }}",
        "{{ ([1]|groupby('real'))[0]._asdict() }}",
        "{{ ([1]|groupby('real'))[0]._fields }}",
    ],
)
def test_filters_that_take_the_name_of_an_attribute_read_only_what_is_open(template: str) -> None:
    assert_refused(template)


@pytest.mark.parametrize("template", ["{{ ''|xmlattr }}", "{{ {'a b onload': 1}|xmlattr }}"])
def test_cve_2024_22195_xmlattr_writes_no_key_that_holds_another(template: str) -> None:
    assert_refused(template, "it ends with ValueError", "it ends with AttributeError")


@pytest.mark.parametrize(
    "name",
    ["__getattribute__", "__format__", "__reduce_ex__", "__doc__", "__dir__", "__init_subclass__", "__eq__"],
)
def test_special_methods_are_closed(name: str) -> None:
    for value in ("''", "(1)", "[]", "{}", "()", "EXASTRO_CURRENT_TIME", "range(1)", "none"):
        assert_refused(f"{{{{ {value}.{name} }}}}")


def test_special_methods_of_single_types_are_closed() -> None:
    for value in ("''", "[]", "{}", "()"):
        assert_refused(f"{{{{ {value}.__getitem__ }}}}")
    for value in ("''", "[]", "()", "(1)"):
        assert_refused(f"{{{{ {value}.__add__ }}}}")


@pytest.mark.parametrize("method", ["encode()", "translate({})", "maketrans('a', 'b')", "format_map({})"])
def test_methods_of_texts_that_no_setting_needs_are_closed(method: str) -> None:
    assert_refused(f"{{{{ 'a'.{method} }}}}")
    assert_refused("{{ (1).to_bytes(1, 'big') }}")
    assert_refused("{{ (1).from_bytes('') }}")


@pytest.mark.parametrize(
    "template",
    [
        "{{ EXASTRO_EVENT_COLLECTION_SETTING.update({'a': 1}) }}",
        "{{ EXASTRO_EVENT_COLLECTION_SETTING.SAVED_IDS.append('x') }}",
        "{{ EXASTRO_EVENT_COLLECTION_SETTING.SAVED_IDS.sort() }}",
        "{{ EXASTRO_EVENT_COLLECTION_SETTING.SAVED_IDS['clear']() }}",
        "{{ EXASTRO_EVENT_COLLECTION_SETTING.SAVED_IDS|attr('pop') }}",
        "{{ EXASTRO_LAST_FETCHED_EVENT.pop('a') }}",
        "{{ EXASTRO_LAST_FETCHED_EVENT.setdefault('a', 1) }}",
        "{{ EXASTRO_LAST_FETCHED_EVENT.__setitem__('a', 1) }}",
        "{% do EXASTRO_LAST_FETCHED_EVENT.clear() %}",
    ],
)
def test_values_cannot_be_changed(template: str) -> None:
    if template.startswith("{% do"):
        with pytest.raises(Exception, match="its syntax is wrong"):
            text_of(template)
    else:
        assert_refused(template)


def test_only_namespaces_can_be_assigned_to() -> None:
    assert_refused("{% set x = {} %}{% set x.a = 1 %}", "it ends with TemplateRuntimeError")
    assert text_of("{% set ns = namespace() %}{% set ns.__class__ = 1 %}{{ ns is mapping }}") == "False"


@pytest.mark.parametrize(
    "template",
    [
        "{% import 'os' as os %}{{ os.getpid() }}",
        "{% from 'os' import getpid %}{{ getpid() }}",
        "{% include '/etc/passwd' %}",
        "{% include ['/etc/passwd', 'x'] ignore missing %}",
        "{% include self %}",
        "{% extends '/etc/passwd' %}",
    ],
)
def test_there_are_no_other_templates_and_so_no_names_of_files_as_in_cve_2024_56201(template: str) -> None:
    assert_refused(template, "it ends with TypeError", "it ends with KeyError")


@pytest.mark.parametrize(
    "text", ["{__import__('os')}", "{0!r}", '"""', "'); import os; ('", "\\N{LATIN SMALL LETTER A}"]
)
def test_a_text_never_becomes_a_piece_of_the_compiled_template(text: str) -> None:
    assert text_of("{{ 1 }}" + text) == "1" + text
    assert text_of("{{ EXASTRO_LAST_FETCHED_EVENT.a }}", facts_with({"a": text})) == text


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__\uff43lass__ }}",
        "{{ ''['__\uff43lass__'] }}",
        "{{ ''|attr('__\uff43lass__') }}",
        "{{ ''['\uff3f\uff3fclass\uff3f\uff3f'] }}",
        "{{ namespace(__\uff43lass__=1).__\uff43lass__ }}",
        "{{ \uff53elf }}",
    ],
)
def test_letters_that_python_takes_for_others_are_not_taken_for_them(template: str) -> None:
    assert_prints_nothing(template)


def test_what_the_tree_of_a_template_is_rewritten_with_cannot_be_named() -> None:
    for name in ("counted loop", "'made literal'", "made_literal", "_counted"):
        with pytest.raises(Exception, match=r"its syntax is wrong|a filter or test that does not exist"):
            text_of(f"{{{{ [1]|{name} }}}}")


def test_a_part_of_an_event_is_read_even_if_it_is_called_like_something_closed() -> None:
    event = {"update": 1, "pop": 2, "__class__": 3, "format_map": 4, "_private": 5}
    names = ["update", "pop", "__class__", "format_map", "_private"]
    for name, value in zip(names, "12345", strict=True):
        assert text_of(f"{{{{ EXASTRO_LAST_FETCHED_EVENT.{name} }}}}", facts_with(event)) == value
        assert text_of(f"{{{{ EXASTRO_LAST_FETCHED_EVENT['{name}'] }}}}", facts_with(event)) == value


def test_even_what_got_into_a_template_somehow_is_called_only_if_it_is_listed() -> None:
    sandbox = Sandbox(Limits(lambda: 0.0))
    for listed in ("".upper, {}.get, datetime.now, datetime.now(UTC).isoformat, sandbox.globals["range"]):
        assert sandbox.is_safe_callable(listed)
    closed: list[Any] = [
        open,
        "".encode,
        "".format,
        {}.update,
        [].append,
        str.format,
        type,
        print,
        datetime,
        exec,
    ]
    for function in closed:
        assert not sandbox.is_safe_callable(function)
