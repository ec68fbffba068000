"""The request of a collection as it may be shown: complete, but without secrets (promise S3).

It is rendered anew from a setting whose secrets are the mask, so that no filter of a template (`upper`, a slice of
the text) brings out a piece of one. What an operator wrote into the texts literally is hidden by its name.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from oase_agent.cli.checks.secrets import HARMLESS_HEADERS, sounds_secret
from oase_agent.collect.templates import RequestTemplates, TemplateFacts
from oase_agent.errors import AgentError
from oase_agent.model import MASK, ConnectionMethod, RequestMethod, Secret, Setting, SourceRequest
from oase_agent.sources.authentication import request_headers
from oase_agent.sources.parameters import query_url
from oase_agent.sources.urls import wire_url

_QUERY_PAIR = re.compile(r"(^|[?&;])([^=&;?#\s]+)=([^&;#\s]*)")
# The mask after a template or the URL has percent-encoded it.
_ENCODED_MASK = re.compile(r"(?:%2A){8}", re.IGNORECASE)

ShownRequest = tuple[tuple[str, str], ...]
"""Labels and texts, line by line."""


def shown_request(
    templates: RequestTemplates, setting: Setting, facts: TemplateFacts, extra: Mapping[str, Secret]
) -> ShownRequest:
    """Return the request without secrets; the one that is sent was rendered before without an error.

    `extra` are the headers of SOURCE_OPTIONS_FILE.
    """
    without_secrets = _without_secrets(setting)
    try:
        request = templates.render_request(without_secrets, facts)
        if setting.connection_method is ConnectionMethod.IMAP:
            return tuple(_mail(without_secrets, request))
        hidden = {name: Secret(MASK) for name in extra}
        return tuple(
            _http(
                without_secrets,
                request,
                request_headers(without_secrets, request.url, request.headers, facts.now_s, hidden),
            )
        )
    except AgentError:
        # Rendering worked with the secrets and fails with the mask: the template takes a secret apart.
        return (("request", "not shown: it depends on what is inside of a secret of the setting"),)


def _http(setting: Setting, request: SourceRequest, headers: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    is_post = setting.request_method is RequestMethod.POST
    url = str(wire_url(request.url)) if is_post else query_url(request.url, request.parameter)
    yield "request", f"{'POST' if is_post else 'GET'} {masked_text(url)}"
    for name, value in headers.items():
        yield "header", f"{name}: {value if name.lower() in HARMLESS_HEADERS else MASK}"
    if request.parameter is not None:
        yield "parameter", _shown_parameter(request.parameter)


def _mail(setting: Setting, request: SourceRequest) -> Iterator[tuple[str, str]]:
    port = "" if setting.port is None else f":{setting.port}"
    yield "request", f"IMAP {masked_text(request.url)}{port}, REQUEST_METHOD_ID {setting.request_method}"
    yield "mailbox", f"{setting.mailbox_name or 'INBOX'} of user {setting.username or ''}"


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
        return masked_text(parameter)
    return json.dumps(_masked_values(parameter), ensure_ascii=False)


def _masked_values(value: Any) -> Any:
    """Hide the values whose names sound like secrets, in objects, in [name, value] pairs, and within texts."""
    match value:
        case dict():
            return {
                name: MASK if item and sounds_secret(name) else _masked_values(item)
                for name, item in value.items()
            }
        case [str(name), item] if item and sounds_secret(name):
            return [name, MASK]
        case list():
            return [_masked_values(item) for item in value]
        case str():
            return masked_text(value)
    return value


def masked_text(text: str) -> str:
    """Hide what stands after `name=` for names that sound like secrets."""

    def hide(pair: re.Match[str]) -> str:
        before, name, value = pair.groups()
        return f"{before}{name}={MASK if sounds_secret(name) else value}"

    return _QUERY_PAIR.sub(hide, _ENCODED_MASK.sub(MASK, text))
