"""The request of a collection as it may be shown: complete, but without secrets (promise S3).

It is rendered anew from a setting whose secrets are the mask, so that no filter of a template (`upper`, a slice of
the text) brings out a piece of one. What an operator wrote into the texts literally is hidden by its name.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from oase_agent.cli.checks.section import Section
from oase_agent.cli.terminal import shortened
from oase_agent.collect.templates import RequestTemplates, TemplateFacts
from oase_agent.errors import AgentError
from oase_agent.model import MASK, RequestMethod, Secret, Setting
from oase_agent.sources.authentication import request_headers
from oase_agent.sources.parameters import query_url
from oase_agent.sources.urls import wire_url

_LONGEST_TEXT = 2000
# Headers whose values are shown; any other one may hold a key under a name of its own.
_HARMLESS_HEADERS = {
    "accept",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "cache-control",
    "content-type",
    "date",
    "host",
    "if-modified-since",
    "user-agent",
}
_SECRET_NAME = re.compile(
    r"token|secret|passw|pwd|credential|session|cookie|signature|auth(?!or)|api.?key|access.?key|\bsig\b|^key$",
    re.IGNORECASE,
)
_QUERY_PAIR = re.compile(r"(^|[?&;])([^=&;?#\s]+)=([^&;#\s]*)")
# The mask after a template or the URL has percent-encoded it.
_ENCODED_MASK = re.compile(r"(?:%2A){8}", re.IGNORECASE)


def show_request(
    section: Section, templates: RequestTemplates, setting: Setting, facts: TemplateFacts
) -> None:
    """Add the request to the section; the request that is really sent was rendered before without an error."""
    try:
        for label, text in _masked_request(templates, setting, facts):
            section.fact(label, text)
    except AgentError:
        # Rendering worked with the secrets and fails with the mask: the template takes a secret apart.
        section.fact("request", "not shown: it depends on what is inside of a secret of the setting")


def _masked_request(
    templates: RequestTemplates, setting: Setting, facts: TemplateFacts
) -> Iterator[tuple[str, str]]:
    request = templates.render_request(_without_secrets(setting), facts)
    is_post = setting.request_method is RequestMethod.POST
    url = str(wire_url(request.url)) if is_post else query_url(request.url, request.parameter)
    yield "request", f"{'POST' if is_post else 'GET'} {shortened(_masked_text(url), _LONGEST_TEXT)}"
    headers = request_headers(_without_secrets(setting), request.url, request.headers, facts.now_s)
    for name, value in headers.items():
        yield "header", f"{name}: {value if name.lower() in _HARMLESS_HEADERS else MASK}"
    if request.parameter is not None:
        yield "parameter", shortened(_shown_parameter(request.parameter), _LONGEST_TEXT)


def _without_secrets(setting: Setting) -> Setting:
    def masked(secret: Secret) -> Secret:
        return Secret(MASK) if secret else secret

    return replace(
        setting,
        auth_token=masked(setting.auth_token),
        password=masked(setting.password),
        secret_access_key=masked(setting.secret_access_key),
    )


def _shown_parameter(parameter: Any) -> str:
    if isinstance(parameter, str):
        return _masked_text(parameter)
    return json.dumps(_masked_values(parameter), ensure_ascii=False)


def _masked_values(value: Any) -> Any:
    """Hide the values whose names sound like secrets, in objects, in [name, value] pairs, and within texts."""
    match value:
        case dict():
            return {
                name: MASK if item and _SECRET_NAME.search(name) else _masked_values(item)
                for name, item in value.items()
            }
        case [str(name), item] if item and _SECRET_NAME.search(name):
            return [name, MASK]
        case list():
            return [_masked_values(item) for item in value]
        case str():
            return _masked_text(value)
    return value


def _masked_text(text: str) -> str:
    """Hide what stands after `name=` for names that sound like secrets."""

    def hide(pair: re.Match[str]) -> str:
        before, name, value = pair.groups()
        return f"{before}{name}={MASK if _SECRET_NAME.search(name) else value}"

    return _QUERY_PAIR.sub(hide, _ENCODED_MASK.sub(MASK, text))
