"""The templates of a setting: from URL, REQUEST_HEADER and PARAMETER to a request (contract section 5).

Whoever may edit a setting writes templates, so these run in a sandbox (template_sandbox.py): they cannot reach Python
(promise S2, D18), and what they may take of time and memory is limited, so that one setting does not hold up the
others (C2, C4).

A template that fails sends nothing; the reference agent would send the raw template (D29). No message repeats a
template or a value, and failures are raised `from None`: the frames of a template hold the decrypted secrets of the
setting, and jinja's own messages quote the template.
"""

import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from traceback import walk_tb
from typing import TYPE_CHECKING, Any

from oase_agent.collect.template_limits import (
    MAX_SECONDS,
    MAX_TEMPLATE_CHARACTERS,
    MAX_TEMPLATE_TOKENS,
    Clock,
)
from oase_agent.errors import Reason, SettingRejected, SourceUnavailable
from oase_agent.model import Cursor, Setting, SourceRequest

if TYPE_CHECKING:
    from oase_agent.collect.template_sandbox import Renderer

# Some two texts of each of 200 settings; a compiled one takes some 7 KiB.
_KEPT_TEMPLATES = 400

_SYNTAX = ("{{", "{%", "{#")
_NEWLINE = re.compile(r"\r\n|\r|\n")

# Why a rendering failed, by the name of the error, because jinja2 must not be imported for the names.
_KINDS = {
    "SecurityError": "it uses something that is closed to templates",
    "UndefinedError": "it uses a part of something that is not there; "
    "ask `if EXASTRO_LAST_FETCHED_EVENT_IS_EXIST` first, or use the filter `default`",
    "ZeroDivisionError": "it divides by zero",
    "TemplateAssertionError": "it uses a filter or test that does not exist",
    "TemplateSyntaxError": "its syntax is wrong",
    "RecursionError": "parts of it are nested too deeply, or it calls itself too often",
    "SyntaxError": "parts of it are nested too deeply",  # of Python, for what jinja made of it
    "OverflowError": "a number or range in it is too large",
    "TooMuchError": "it takes too many steps, or a number or text in it is too large",
    "TooSlowError": f"it takes longer than {MAX_SECONDS:g} s of processor time",
    "TemplateTooLongError": f"it has more than {MAX_TEMPLATE_CHARACTERS} characters, or more than "
    f"{MAX_TEMPLATE_TOKENS} names, numbers and operators",
}


@dataclass(frozen=True, slots=True)
class TemplateFacts:
    """What a request may depend on besides its setting.

    `now_s` is epoch seconds. `saved_ids` are the ids known for the setting. `zone` is the time zone of formatted
    times; None is the zone of the process (`TZ`).
    """

    cursor: Cursor
    now_s: float
    saved_ids: Sequence[str] = ()
    zone: tzinfo | None = None


class RequestTemplates:
    """Renders requests, and keeps the compiled templates. For one thread; build one and share it.

    `clock` tells the seconds that a text may take MAX_SECONDS of.
    """

    def __init__(self, kept_templates: int = _KEPT_TEMPLATES, *, clock: Clock = time.thread_time) -> None:
        self._kept_templates = kept_templates
        self._clock = clock
        self._renderer: Renderer | None = None

    def render_request(self, setting: Setting, facts: TemplateFacts) -> SourceRequest:
        """Return the request of the next collection of `setting`.

        Raises SettingRejected for what cannot work before the setting is changed, and SourceUnavailable for a
        template that may work next time, when there is an event or another cursor.
        """
        columns = {
            "URL": setting.url,
            "REQUEST_HEADER": setting.request_header,
            "PARAMETER": setting.parameter,
        }
        templated = any(_has_syntax(text) for text in columns.values() if text)
        variables = _variables(setting, facts) if templated else {}
        rendered = {
            column: self._render(setting, column, text, variables) for column, text in columns.items() if text
        }
        if not rendered.get("URL", "").strip():
            message = f"URL of setting {setting.name!r} is empty: give it an address."
            raise (
                SourceUnavailable(message, Reason.TEMPLATE)
                if _has_syntax(setting.url)
                else SettingRejected(message, Reason.INVALID_SETTING)
            )
        return SourceRequest(
            url=rendered["URL"],
            headers=_headers(setting, rendered.get("REQUEST_HEADER", "")),
            parameter=_json_or_text(rendered.get("PARAMETER")),
        )

    def _render(self, setting: Setting, column: str, text: str, variables: Mapping[str, Any]) -> str:
        if not _has_syntax(text):
            return _as_jinja_reads(text)
        if self._renderer is None:
            # Not before the first template, because many agents have none and the import takes 2 MiB.
            from oase_agent.collect.template_sandbox import Renderer  # noqa: PLC0415

            self._renderer = Renderer(self._clock, self._kept_templates)
        try:
            template = self._renderer.compiled(text)
        except Exception as error:  # the text is foreign, and so is what it makes the parser raise
            line = getattr(error, "lineno", None)
            raise SettingRejected(_complaint(setting, column, line, error), Reason.TEMPLATE) from None
        try:
            return self._renderer.rendered(template, variables)
        except Exception as error:  # a template may raise anything
            line = _line_of(template.filename, error)
            raise SourceUnavailable(_complaint(setting, column, line, error), Reason.TEMPLATE) from None


def _variables(setting: Setting, facts: TemplateFacts) -> dict[str, Any]:
    """Return the variables of contract section 5, with their types."""
    fetched_s = facts.cursor.last_fetched_time
    fetched = _local(fetched_s, facts.zone)
    event = facts.cursor.last_event
    return {
        "EXASTRO_LAST_FETCHED_TIMESTAMP": fetched_s,
        "EXASTRO_LAST_FETCHED_YY_MM_DD": fetched.strftime("%Y/%m/%d %H:%M:%S"),
        "EXASTRO_LAST_FETCHED_DD_MM_YY": fetched.strftime("%d/%m/%y %H:%M:%S"),
        "EXASTRO_LAST_FETCHED_TIME": fetched,
        "EXASTRO_CURRENT_TIME": _local(facts.now_s, facts.zone),
        "EXASTRO_LAST_FETCHED_EVENT_IS_EXIST": event is not None,
        "EXASTRO_LAST_FETCHED_EVENT": None if event is None else json.loads(event),
        "EXASTRO_EVENT_COLLECTION_SETTING": {
            **setting.row,
            "AUTH_TOKEN": setting.auth_token.reveal(),
            "PASSWORD": setting.password.reveal(),
            "SECRET_ACCESS_KEY": setting.secret_access_key.reveal(),
            "LAST_FETCHED_TIMESTAMP": fetched_s,
            "SAVED_IDS": list(facts.saved_ids),
        },
    }


def _local(epoch_s: float, zone: tzinfo | None) -> datetime:
    """Return a naive local time, as templates of the reference agent get it; `fold` tells a repeated hour."""
    return datetime.fromtimestamp(epoch_s, zone).replace(tzinfo=None)


def _headers(setting: Setting, text: str) -> dict[str, str]:
    """Return the headers of a rendered REQUEST_HEADER; a blank text, which a condition may leave, has none."""
    if not text.strip():
        return {}
    headers = _json_or_text(text)
    if isinstance(headers, dict) and all(map(_can_be_a_header, headers, headers.values())):
        return headers
    raise SettingRejected(
        f"REQUEST_HEADER of setting {setting.name!r} is not what it must be: "
        "give a JSON object whose values are texts of one line.",
        Reason.INVALID_SETTING,
    )


def _can_be_a_header(name: str, value: Any) -> bool:
    return isinstance(value, str) and not any(character in name + value for character in "\r\n\0")


def _json_or_text(text: str | None) -> Any:
    """Return the JSON value of a text, or the text if it is none (contract section 5)."""
    if text is None:
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _has_syntax(text: str) -> bool:
    return any(mark in text for mark in _SYNTAX)


def _as_jinja_reads(text: str) -> str:
    """Return a text without template as jinja would: newlines unified, one at the end dropped."""
    return _NEWLINE.sub("\n", text).removesuffix("\n")


def _line_of(filename: str | None, error: Exception) -> int | None:
    """Return the line of the template that failed: jinja puts it into the traceback."""
    lines = [line for frame, line in walk_tb(error.__traceback__) if frame.f_code.co_filename == filename]
    return lines[-1] if lines else None


def _complaint(setting: Setting, column: str, line: int | None, error: Exception) -> str:
    where = "" if line is None else f" in line {line}"
    kind = _KINDS.get(type(error).__name__, f"it ends with {type(error).__name__}")
    return f"{column} of setting {setting.name!r} cannot be rendered{where}: {kind}."
