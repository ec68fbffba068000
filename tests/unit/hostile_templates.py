"""Templates that would take endless time or memory.

`python -m tests.unit.hostile_templates` measures what they take.
"""

import os
import resource
import sys
import time

LAUGHS = (
    "{{% set ns = namespace(a={0}, b={0}) %}}{{% for i in range(60) %}}"
    "{{% set ns.a = {1} %}}{{% set ns.b = {2} %}}"
)
LISTS = LAUGHS.format("[1]", "[ns.a, ns.a]", "[ns.b, ns.b]") + "{% endfor %}"
TUPLES = LAUGHS.format("(1,)", "(ns.a, ns.a)", "(ns.b, ns.b)") + "{% endfor %}"
SUMS = LAUGHS.format("[1]", "ns.a + [ns.a]", "ns.b + [ns.b]") + "{% endfor %}"
NESTED = "{{% set ns = namespace(g={0}) %}}{{% for i in range(900) %}}{{% set ns.g = {1} %}}{{% endfor %}}"
MANY = "{{% for i in range(100000) %}}{0}{{% endfor %}}"
LONG = "{% set a = 'a' * 1000000 %}"
LINES = "{% set a = '\\n' * 60000 %}"

# Stopped by a limit of size, steps or time.
TOO_MUCH = {
    "loops in loops": "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}",
    "loops over texts": "{% for a in 'x' * 9999 %}{% for b in 'x' * 9999 %}{% endfor %}{% endfor %}",
    "loops with a condition": MANY.format("{% for b in range(99999) if b < 0 %}{% endfor %}"),
    "loops that ask for their length": MANY.format(
        "{% for b in range(99999) %}{{ loop.length }}{% endfor %}"
    ),
    "a macro that calls itself twice": "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}"
    "{% endmacro %}{{ f(60) }}",
    "a recursive loop": "{% for x in [[[]] * 99] * 99 recursive %}{{ loop(x * 99) }}{% endfor %}",
    "a recursive loop that is long": "{% for x in range(9) recursive %}{% if loop.depth < 4 %}"
    "{{ loop(range(99999)) }}{% endif %}{% endfor %}",
    "call blocks in call blocks": "{% macro m(n) %}{{ caller(n) }}{{ caller(n) }}{% endmacro %}"
    + "{% call(n) m(1) %}" * 18
    + "x"
    + "{% endcall %}" * 18,
    "a long range": "{{ range(10 ** 9) }}",
    "maps of maps": "{{ range(99999)|map('string')|map('list')|map('sort')|map('join')|list|length }}" * 9,
    "a text repeated": "{{ 'a' * 10 ** 9 }}",
    "a list repeated": "{{ 10 ** 9 * [1] }}",
    "a text repeated step by step": "{% set ns = namespace(a='aaaa') %}"
    + MANY.format("{% set ns.a = ns.a * 9 %}"),
    "a text doubled with ~": "{% set ns = namespace(a='a') %}" + MANY.format("{% set ns.a = ns.a ~ ns.a %}"),
    "a text doubled with +": "{% set ns = namespace(a='a') %}" + MANY.format("{% set ns.a = ns.a + ns.a %}"),
    "a list doubled": "{% set ns = namespace(a=[1]) %}" + MANY.format("{% set ns.a = ns.a + ns.a %}"),
    "a list doubled by sum": "{{ ([range(1000)|list] * 2000)|sum(start=[])|length }}",
    "many texts kept": LONG
    + "{% set ns = namespace(l=[]) %}"
    + MANY.format("{% set ns.l = ns.l + [a ~ i] %}"),
    "many long texts with ~": LONG + "{{ (" + "a ~ " * 900 + "a)|length }}",
    "many slices of a list that is long": "{% set a = [1] * 90000 %}{{ [" + "a[1:]," * 400 + "]|length }}",
    "many slices": LONG + "{{ [" + "a[1:]," * 400 + "]|length }}",
    "many lists of characters": "{% set a = 'é' * 1000000 %}{{ [" + "a|list," * 600 + "]|length }}",
    "many lists of numbers": "{{ [" + "range(99999)|list," * 400 + "]|length }}",
    "a block that is set": "{% set x %}" + MANY.format("{{ 'a' * 100000 }}") + "{% endset %}{{ x|length }}",
    "a block of fixed text": "{% set x %}"
    + "{% for i in range(9000) %}"
    + "a" * 10000
    + "{% endfor %}{% endset %}{{ x|length }}",
    "a block that shows a list again and again": "{% set a = range(50000)|list %}{% set x %}"
    + MANY.format("{{ a }}")
    + "{% endset %}{{ x|length }}",
    "a block of many pieces": "{% set x %}"
    + MANY.format("{% if i %}a{% endif %}" * 400)
    + "{% endset %}{{ x|length }}",
    "a macro of many pieces": "{% macro m() %}"
    + MANY.format("{{ 'a' * 9999 }}")
    + "{% endmacro %}{{ m()|length }}",
    "a filter block": "{% filter upper %}" + MANY.format("a" * 10000) + "{% endfilter %}",
    "much output": "{% for i in range(20000) %}{{ 'a' * 100 }}{% endfor %}",
    "escaped output": "{% autoescape true %}{% set x %}" + MANY.format("{{ '\"' * 100000 }}") + "{% endset %}"
    "{% endautoescape %}{{ x|length }}",
    "a power": "{{ 9 ** (9 ** 9) }}",
    "a product of powers": "{% set a = 2 ** 40000 %}{% set b = a * a %}{{ b }}",
    "a number from a long text": "{{ ('f' * 1000000)|int(base=16) % 7 }}",
    "round to a billion digits": "{{ 1|round(-1000000000) }}",
    "round up to a billion digits": "{{ 1.5|round(1000000000, 'ceil') }}",
    "lists in lists, compared": LISTS + "{{ ns.a == ns.b }}",
    "lists in lists, printed": LISTS + "{{ ns.a }}",
    "lists in lists, as JSON": LISTS + "{{ ns.a|tojson }}",
    "lists in lists, made with +": SUMS + "{{ ns.a == ns.b }}",
    "tuples in tuples, hashed": TUPLES + "{{ {ns.a: 1}|length }}",
    "tuples in tuples, unique": TUPLES + "{{ [ns.a, ns.b]|unique|list|length }}",
    "mappings in mappings": LAUGHS.format("{'a': 1}", "{'a': ns.a, 'b': ns.a}", "dict(a=ns.b, b=ns.b)")
    + "{% endfor %}{{ ns.a == ns.b }}",
    "views in lists": LAUGHS.format("{}", "{'a': [ns.a.items(), ns.a.items()]}", "{}")
    + "{% endfor %}{{ ns.a }}",
    "batches of long lists, compared": "{% set a, b = range(9999)|list, range(9999)|list %}"
    "{% for x in range(900)|map(attribute='x', default=a)|batch(999) %}"
    "{% for y in range(900)|map(attribute='x', default=b)|batch(999) %}{{ x == y }}{% endfor %}{% endfor %}",
    "batches in batches": LAUGHS.format("[1]", "[ns.a, ns.a]|batch(2)|first", "[ns.b, ns.b]|slice(1)|first")
    + "{% endfor %}{{ ns.a == ns.b }}",
    "tuples, very deep": NESTED.format("()", "(ns.g,)") + "{{ {ns.g: 1}|length }}",
    "lists, very deep": NESTED.format("[]", "[ns.g]") + "{{ ns.g }}",
    "maps, very deep": NESTED.format("[1]", "ns.g|map('string')") + "{{ ns.g|list }}",
    "selections, very deep": NESTED.format("[1]", "ns.g|select") + "{{ ns.g|list }}",
    "the same long text compared, over and over": LONG
    + "{% set b = 'a' * 1000000 %}{{ range(99999)|map('default')|map('replace', '', a)"
    "|select('eq', b)|list|length }}",
    "a long list sorted, over and over": "{% set a = range(99999)|map('string')|list %}"
    + MANY.format("{{ (a|sort)[0] }}"),
    "padding by a filter": "{{ 'a'|center(10 ** 9) }}",
    "indenting": "{{ 'a'|indent(width=10 ** 9, first=true) }}",
    "indenting many lines": LINES + "{{ a|indent(1000)|length }}",
    "indenting with a long text": LINES + "{{ a|indent('x' * 60000)|length }}",
    "a batch filled up": "{{ [1]|batch(10 ** 9, 'x')|list }}",
    "many slices of a list": "{{ [1]|slice(10 ** 9)|list }}",
    "JSON with an indent": "{{ [1]|tojson(indent=10 ** 9) }}",
    "JSON with an indent and many lines": "{{ (range(99999)|list)|tojson(indent=1000)|length }}",
    "padding by methods": "{{ 'a'.ljust(10 ** 9) }}{{ 'a'.zfill(10 ** 9) }}",
    "tabs": "{{ ('\\t' * 1000000).expandtabs(1000000)|length }}",
    "tabs by keyword": "{{ ('\\t' * 1000000).expandtabs(tabsize=1000000)|length }}",
    "replacing by a long text": LONG + "{{ a|replace('a', a)|length }}",
    "replacing by a method": LONG + "{{ a.replace('a', a)|length }}",
    "joining with a long text": LONG + "{{ a|join(a)|length }}",
    "joining by a method": LONG + "{{ a.join(['x'] * 100000)|length }}",
    "joining numbers with a long text": LONG + "{{ range(9999)|join(a)|length }}",
    "joining what a filter gives, by a method": LONG + "{{ a.join(range(900)|map('string'))|length }}",
    "joining the same text": LONG + "{{ ([a] * 100000)|join|length }}",
    "splitting": "{{ ('a ' * 500000).split()|length }}",
    "searching from the end": LONG + "{{ a.rfind('a' * 100000 ~ 'b' ~ 'a' * 100000) }}",
    "stripping": LONG + "{{ a.strip('b' * 500000 ~ 'a')|length }}",
    "a wide number": "{{ '%999999999d'|format(1) }}",
    "a wide number with %": "{{ '%999999999d' % 1 }}",
    "a width that is an argument": "{{ '%*d' % (10 ** 9, 1) }}",
    "many wide numbers": "{{ ('%(a)9999d' * 100000) % {'a': 1} }}",
    "a long text, many times": LONG + "{{ ('%(a)s' * 900) % {'a': a} }}",
    "str.format, wide": "{{ '{:>999999999}'.format(1) }}",
    "str.format, a width that is a field": "{{ '{:{}}'.format(1, 10 ** 9) }}",
    "str.format, a long text, many times": LONG + "{{ ('{0}' * 900).format(a) }}",
    "str.format, many fields": "{{ ('{0}' * 300000).format(1)|length }}",
    "capitals that are two": "{{ ('\xdf' * 1000000)|upper|length }}",
    "a wide time": "{{ EXASTRO_CURRENT_TIME.strftime('%999999999d') }}",
    "a long format of a time": "{{ EXASTRO_CURRENT_TIME.strftime('%9999d' * 100000) }}",
    "a long format to read a time with": "{{ EXASTRO_CURRENT_TIME.strptime('1' * 9999, '%d ' * 9999) }}",
    "wrapping with a long text": LINES + "{{ a|wordwrap(1, wrapstring='x' * 60000)|length }}",
    "links with a long text": "{{ ('a.com ' * 9000)|urlize(rel='x' * 9999)|length }}",
}

# Not stopped: the dearest single calls that the limits allow. They must end soon by themselves.
DEAR = {
    "the longest search": LONG
    + "{{ ('a' * 29000).find('a' * 1400 ~ 'b' ~ 'a' * 1600) }}{{ a.rfind('a' * 49 ~ 'b') }}",
    "the longest title": "{{ ('ab ' * 20000)|title|length }}",
    "the longest wrapped text": "{{ ('ab ' * 20000)|wordwrap(1)|length }}",
    "the longest text with links": "{{ ('a.com ' * 10000)|urlize|length }}",
    "the longest text with tags": "{{ ('<a>' * 20000)|striptags|length }}{{ ('<!--' * 16000)|striptags|length }}",
    "the longest list, sorted": "{{ (range(50000)|map('string')|sort)|length }}",
    "the longest list as JSON": "{{ (range(99999)|list)|tojson|length }}",
    "the longest list, printed prettily": "{{ (range(9000)|list)|pprint|length }}",
    "the largest numbers": "{{ (2 ** 32000 * 2 ** 32000) // 3 ** 20000 % 7 }}",
    "many groups": "{{ range(20000)|groupby('real')|list|length }}",
}


def _measure(name: str, template: str) -> str:
    """Render in a process of its own and return what it took, beyond a template that does nothing."""
    read, write = os.pipe()
    child = os.fork()
    if not child:
        from tests.unit.test_templates import parameter_of  # noqa: PLC0415 - the parent stays small

        parameter_of("{{ 1 }}")
        before_kib, start_s = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
        try:
            ended = str(parameter_of(template))[:30]
        except Exception as error:
            ended = str(error).partition(": ")[2][:60]
        took_s = time.process_time() - start_s
        grew_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib
        os.write(write, f"{took_s:7.3f} s {grew_kib / 1024:7.1f} MiB  {name}: {ended}".encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as report:
        text = report.read()
    os.waitpid(child, 0)
    return text or f"DIED  {name}"


def main() -> None:
    """Print a line for every template, the dearest first."""
    lines = [_measure(name, template) for name, template in (TOO_MUCH | DEAR).items()]
    sys.stdout.write("\n".join(sorted(lines, reverse=True)) + "\n")


if __name__ == "__main__":
    main()
