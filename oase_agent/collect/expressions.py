"""RESPONSE_KEY and EVENT_ID_KEY: compiled once per setting, evaluated once per answer or event.

Almost every setting uses a plain dotted path such as `result` or `data.alerts`. Such a path is evaluated here,
without JMESPath, with the same result: that is several times faster per event, allows an answer to be read slice
by slice, and leaves the library unloaded in an agent that does not need it. Everything else goes to JMESPath,
the dialect of the workspace.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from oase_agent.errors import Reason, SettingRejected

# The grammar's `unquoted-string`, joined by dots; blanks around each are allowed by the grammar.
_BLANKS = r"[ \t\r\n]*"
_PLAIN_PATH = re.compile(
    rf"{_BLANKS}[A-Za-z_][A-Za-z0-9_]*{_BLANKS}(?:\.{_BLANKS}[A-Za-z_][A-Za-z0-9_]*{_BLANKS})*"
)

# The only functions that consume an expression reference (`&name`); elsewhere it would stay in the result.
_TAKES_REFERENCE = frozenset({"map", "max_by", "min_by", "sort_by"})


@dataclass(frozen=True, slots=True)
class Expression:
    """A compiled RESPONSE_KEY or EVENT_ID_KEY.

    `column` names where the operator finds it. `plain_path` holds the names of a dotted chain of unquoted
    identifiers, and is None for anything else.
    """

    column: str
    plain_path: tuple[str, ...] | None
    _evaluate: Callable[[Any], Any] | None = None

    def search(self, document: Any) -> Any:
        """Return what the expression selects from a parsed document; None when that is nothing or null.

        Raises SettingRejected when the expression does not fit the document (`length(number)`, `slice[::0]`),
        and RecursionError when the document is nested too deep for it.
        """
        if self._evaluate is not None:
            return self._search_with_jmespath(self._evaluate, document)
        for name in self.plain_path or ():
            if not isinstance(document, dict):
                return None
            document = document.get(name)
        return document

    def _search_with_jmespath(self, evaluate: Callable[[Any], Any], document: Any) -> Any:
        try:
            return evaluate(document)
        except (ValueError, TypeError, ArithmeticError, LookupError, AttributeError) as error:
            # JMESPath lets errors of Python through (`ceil` of Infinity, a step of 0), and its own messages
            # quote the values at fault: only the kind of the error is told.
            raise SettingRejected(
                f"{self.column} cannot be evaluated on the answer ({type(error).__name__}): "
                "correct the expression, or guard it for answers of this shape.",
                Reason.EXPRESSION,
            ) from error


def compile_expression(text: str, *, column: str) -> Expression:
    """Compile the text of a settings column (contract section 7, row 64).

    Raises SettingRejected with Reason.EXPRESSION, naming `column`, for an empty text, a syntax error, an
    unknown function, or a reference (`&name`) where no function takes it.
    """
    if _PLAIN_PATH.fullmatch(text):
        return Expression(column, tuple(name.strip(" \t\r\n") for name in text.split(".")))
    # Loaded only for settings that need it; most agents never do.
    import jmespath  # noqa: PLC0415
    from jmespath.functions import Functions  # noqa: PLC0415

    try:
        compiled = jmespath.compile(text)
        _check_calls(compiled.parsed, known=Functions.FUNCTION_TABLE)
    except (ValueError, TypeError, ArithmeticError, LookupError, RecursionError) as error:
        raise SettingRejected(
            f"{column} is not a JMESPath expression ({type(error).__name__}): correct it, "
            "or leave the column unset.",
            Reason.EXPRESSION,
        ) from error
    return Expression(column, None, compiled.search)


def _check_calls(node: Any, *, known: dict[str, Any], parent: str = "") -> None:
    """Find while compiling what JMESPath finds only while searching, or never."""
    name = parent
    if node["type"] == "function_expression":
        name = node["value"]
        if name not in known:
            raise LookupError(name)
    elif node["type"] == "expref" and parent not in _TAKES_REFERENCE:
        raise TypeError(parent)
    else:
        name = ""
    for child in node["children"]:
        if isinstance(child, dict):
            _check_calls(child, known=known, parent=name)
