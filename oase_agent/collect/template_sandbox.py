"""The sandbox in which templates run: the one door to jinja2 (promises S2, C2 and C4).

Jinja's sandbox is the base, and is made narrower: attributes and calls are open only if they are listed
(template_attributes.py), and everything that takes time or memory is limited (template_limits.py). Of the rounds of
loops to the pieces of the output, all goes through the functions below: jinja has hooks for attributes, calls,
operators and output; for the rest the tree of a template is rewritten (template_tree.py).
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from types import MethodType
from typing import Any

from jinja2 import Template, Undefined, pass_context, pass_eval_context
from jinja2.exceptions import SecurityError
from jinja2.nodes import EvalContext
from jinja2.runtime import (
    BlockReference,
    Context,
    LoopContext,
    Macro,
    TemplateReference,
    markup_join,
    str_join,
)
from jinja2.sandbox import ImmutableSandboxedEnvironment, SandboxedEscapeFormatter, SandboxedFormatter
from jinja2.utils import Namespace
from markupsafe import Markup

from oase_agent.collect.template_attributes import is_open, is_open_method
from oase_agent.collect.template_filters import (
    Limits,
    format_filter,
    limited_filters,
    limited_tests,
    sum_filter,
)
from oase_agent.collect.template_growth import (
    check_format,
    check_operation,
    check_text_method,
    check_time_method,
    values_of,
)
from oase_agent.collect.template_limits import (
    MAX_TEMPLATE_CHARACTERS,
    MAX_TEMPLATE_TOKENS,
    Clock,
    check_size,
)
from oase_agent.collect.template_tree import CONCATENATED, COUNTED, MADE, SLICED, rewritten

_SLICEABLE = (str, list, tuple, range)
_SUBSCRIPTABLE = (str, list, tuple, dict, range, Undefined, TemplateReference)
_OPEN_OF_JINJA: Mapping[type, frozenset[str]] = {
    LoopContext: frozenset(
        {
            *(
                "changed",
                "cycle",
                "depth",
                "depth0",
                "first",
                "index",
                "index0",
                "last",
                "length",
                "nextitem",
            ),
            *("previtem", "revindex", "revindex0"),
        }
    ),
    Macro: frozenset({"arguments", "caller", "catch_kwargs", "catch_varargs", "name"}),
    BlockReference: frozenset({"super"}),
}
_GROUP = frozenset({"grouper", "list"})

_NO_TOKENS = frozenset({"comment", "comment_begin", "comment_end", "data", "whitespace"})

# What escaping makes of one character at most: `&#34;`.
_ESCAPED_CHARACTERS = 5


class TemplateTooLongError(Exception):
    """A template has more than MAX_TEMPLATE_CHARACTERS, or more than MAX_TEMPLATE_TOKENS."""


class Renderer:
    """Compiles templates, keeps the last `kept_templates`, and renders them; for one thread."""

    def __init__(self, clock: Clock, kept_templates: int) -> None:
        self._limits = Limits(clock)
        self._sandbox = Sandbox(self._limits)
        self.compiled = lru_cache(maxsize=kept_templates)(self._compile)

    def rendered(self, template: Template, variables: Mapping[str, Any]) -> str:
        """Return the text; raises whatever a template may raise, TooMuchError among it."""
        self._limits.restart()
        try:
            return self._limits.budget.output(template.generate(variables))
        finally:
            self._limits.weights.forget()

    def _compile(self, text: str) -> Template:
        if len(text) > MAX_TEMPLATE_CHARACTERS or self._tokens_of(text) > MAX_TEMPLATE_TOKENS:
            raise TemplateTooLongError
        return self._sandbox.from_string(rewritten(self._sandbox.parse(text)))

    def _tokens_of(self, text: str) -> int:
        return sum(kind not in _NO_TOKENS for _, kind, _ in self._sandbox.lex(text))


class Sandbox(ImmutableSandboxedEnvironment):
    """Jinja's sandbox with an allow list instead of a deny list, and with limits."""

    intercepted_binops = frozenset(ImmutableSandboxedEnvironment.default_binop_table)

    def __init__(self, limits: Limits) -> None:
        # Nothing is computed while a template is compiled, where no budget holds.
        super().__init__(optimized=False, finalize=_finalizer(limits))
        self._limits = limits
        self.concat = lambda pieces: limits.budget.keep(limits.budget.output(pieces))  # type: ignore[method-assign]
        for name in ("lipsum", "cycler", "joiner"):
            del self.globals[name]
        self.globals["namespace"] = _Namespace
        self._open_functions = (self.globals["range"], self.globals["dict"], _Namespace)
        own = {"format": format_filter(limits), "sum": sum_filter(self._item, self._added)}
        filters: dict[str, Any] = {**self.filters, **own}
        tests: dict[str, Any] = {**self.tests}
        self.filters = {**limited_filters(filters, limits), **_filters_of_the_tree(limits)}
        self.tests = {**limited_tests(tests, limits)}

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Return an attribute that is open, else an item of that name."""
        if self._is_open(obj, attribute):
            try:
                return self._opened(getattr(obj, attribute))
            except AttributeError:
                pass
        return self._item_or_undefined(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """Return an item, else an attribute of that name that is open."""
        try:
            return self._subscribed(obj, argument)
        except (TypeError, LookupError):
            if isinstance(argument, str) and self._is_open(obj, argument):
                return self.getattr(obj, argument)
        return self._item_or_undefined(obj, argument)

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805
        """Call what is open. Double underscores, as in jinja: a template may pass any keyword."""
        limits = __self._limits
        limits.budget.take()
        if isinstance(__obj, LoopContext):
            args = (limits.budget.counted(args[0]), *args[1:]) if args else args
        elif isinstance(getattr(__obj, "__self__", None), str) and __obj.__name__ == "join":
            args = tuple(map(limits.listed, args))
        __self._check_call(__obj, args, kwargs)
        result = super().call(__context, __obj, *args, **kwargs)
        is_found = getattr(__obj, "__name__", "") == "get"
        return result if is_found else limits.returned(result, *args)

    def is_safe_callable(self, obj: Any) -> bool:
        """Tell whether templates may call `obj`."""
        if isinstance(obj, Macro | LoopContext | BlockReference | _Format | Undefined) or not callable(obj):
            return True  # the last two fail by themselves, and say better why
        if any(obj is function for function in self._open_functions):
            return True
        if isinstance(obj, MethodType) and isinstance(obj.__self__, LoopContext):
            return obj.__name__ in _OPEN_OF_JINJA[LoopContext]
        return is_open_method(obj)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:  # noqa: ARG002
        """Tell whether templates may read the attribute; used by jinja only, should it look past `getattr`."""
        return self._is_open(obj, attr)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Apply a binary operator within the limits."""
        limits = self._limits
        limits.budget.take()
        check_operation(operator, left, right, limits.weights)
        return limits.made(super().call_binop(context, operator, left, right), left, right)

    def _check_call(self, obj: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        owner, name = getattr(obj, "__self__", None), getattr(obj, "__name__", "")
        values = values_of(args, kwargs)
        if isinstance(owner, str):
            check_text_method(owner, name, values, self._limits.weights)
        else:
            check_time_method(name, values)

    def _is_open(self, obj: Any, attribute: str) -> bool:
        if attribute.startswith("_"):
            return False
        if is_open(obj, attribute) or isinstance(obj, Namespace):
            return True
        if attribute in _GROUP and isinstance(obj, tuple):
            return hasattr(obj, "grouper")  # what `groupby` makes
        return any(isinstance(obj, kind) and attribute in names for kind, names in _OPEN_OF_JINJA.items())

    def _opened(self, value: Any) -> Any:
        """Return an attribute; `str.format` walks attributes by itself, so another one takes its place."""
        owner = getattr(value, "__self__", None)
        if isinstance(owner, str) and getattr(value, "__name__", "") == "format":
            return _Format(self, owner, self._limits)
        return value

    def _subscribed(self, obj: Any, argument: Any) -> Any:
        if not isinstance(obj, _SUBSCRIPTABLE):
            raise TypeError
        return obj[argument]

    def _item_or_undefined(self, obj: Any, name: Any) -> Any:
        try:
            return self._subscribed(obj, name)
        except (TypeError, LookupError):
            if isinstance(name, str) and hasattr(obj, name):
                # Jinja would only fail when the result is used, and print nothing if it is printed.
                raise SecurityError(name) from None
        return self.undefined(obj=obj, name=name)

    def _item(self, obj: Any, path: str | int) -> Any:
        """Return what `attribute=` of a filter means: items and attributes behind dots."""
        parts = path.split(".") if isinstance(path, str) else [path]
        for part in parts:
            obj = self.getitem(obj, int(part) if isinstance(part, str) and part.isdigit() else part)
        return obj

    def _added(self, left: Any, right: Any) -> Any:
        self._limits.budget.take()
        check_operation("+", left, right, self._limits.weights)
        return self._limits.made(left + right, left, right)


class _Namespace(Namespace):
    """A namespace whose text does not show what is in it, because that may be itself."""

    def __repr__(self) -> str:
        return "<Namespace>"


class _Format:
    """`str.format` of a text, which reads attributes as templates may, and whose fields are limited."""

    def __init__(self, sandbox: Sandbox, text: str, limits: Limits) -> None:
        self._sandbox = sandbox
        self._text = text
        self._limits = limits

    def __call__(self, *args: Any, **keywords: Any) -> str:
        """Return the formatted text."""
        text = self._text
        check_format(text, "{", values_of(args, keywords), self._limits.weights)
        if isinstance(text, Markup):
            formatter: SandboxedFormatter = SandboxedEscapeFormatter(self._sandbox, escape=text.escape)
        else:
            formatter = SandboxedFormatter(self._sandbox)
        return type(text)(formatter.vformat(text, args, keywords))


def _filters_of_the_tree(limits: Limits) -> dict[str, Callable[..., Any]]:
    def sliced(value: Any, start: Any, stop: Any, step: Any) -> Any:
        limits.budget.take()
        if not isinstance(value, _SLICEABLE):
            raise TypeError
        return limits.made(value[start:stop:step], value)

    @pass_eval_context
    def concatenated(context: EvalContext, parts: tuple[Any, ...]) -> str:
        limits.budget.take()
        check_size(sum(map(limits.weights.check, parts)))
        return limits.budget.keep((markup_join if context.autoescape else str_join)(parts))

    return {
        COUNTED: limits.budget.counted,
        MADE: limits.made,
        SLICED: sliced,
        CONCATENATED: concatenated,
    }


def _finalizer(limits: Limits) -> Callable[..., Any]:
    # That it wants the context keeps jinja from folding output into constants when it compiles.
    @pass_context
    def finalized(context: Context, value: Any) -> Any:
        limits.budget.go_round()
        if isinstance(value, str):
            longer = _ESCAPED_CHARACTERS if context.eval_ctx.autoescape else 1
            limits.budget.produce(longer * len(value))
            return value
        limits.weights.check(value)
        return value if isinstance(value, Undefined) else limits.budget.keep(str(value))

    return finalized
