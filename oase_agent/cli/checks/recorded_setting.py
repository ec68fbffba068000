"""A setting and the options of its source as a recording may hold them: without secrets, as far as names tell.

What is known to be a secret is hidden by the masker of the recording in any case; this is about what an operator
wrote into the texts literally.
"""

import re
from collections.abc import Iterator
from typing import Any

from oase_agent.cli.checks.request import masked_text
from oase_agent.cli.checks.secrets import HARMLESS_HEADERS, sounds_secret
from oase_agent.config.groups import AgentConfig
from oase_agent.model import MASK, Secret, Setting
from oase_agent.sources.options import SourceOptions
from oase_agent.workspace.secrets import SecretBox
from oase_agent.workspace.setting_row import connection_method, read_setting

_SECRET_COLUMNS = ("AUTH_TOKEN", "PASSWORD", "SECRET_ACCESS_KEY")
# For people, and nobody knows what they wrote there.
_LEFT_OUT = frozenset({"NOTE", "LAST_UPDATE_USER"})

_URL_PASSWORD = re.compile(r"(//[^/@\s:]*):[^/@\s]*@")
# `"name": "value"`, `["name", "value"]` and the same with single quotes or a plain value.
_PAIR = re.compile(
    r"""(["'])(?P<name>[^"']*)\1(?P<between>\s*[:,]\s*)(?P<value>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|[^\s,}\]"'{\[]+)"""
)
# A value that is a template and nothing else tells where the secret comes from, not what it is.
_TEMPLATE = re.compile(r"""["'](?:[A-Za-z]+ )?\{\{[^{}"']*\}\}["']""")


def recorded_row(setting: Setting) -> dict[str, Any]:
    """Return the columns of a setting; of its three secrets, whether they are filled."""
    secrets = (setting.auth_token, setting.password, setting.secret_access_key)
    filled = {name: MASK if secret else "" for name, secret in zip(_SECRET_COLUMNS, secrets, strict=True)}
    columns = {name: value for name, value in setting.row.items() if name not in _LEFT_OUT}
    return {name: _column(name, value) for name, value in columns.items()} | filled


def setting_of_row(row: dict[str, Any]) -> Setting:
    """Return the setting of a recorded row, with the mask in place of secrets; raises SettingRejected."""
    secrets = {name: Secret(str(row.get(name) or "")) for name in _SECRET_COLUMNS}
    row = {**row, **secrets}
    return read_setting(row, connection_method(row), SecretBox("", ""))


def recorded_configuration(config: AgentConfig) -> dict[str, Any]:
    """Return the options of the agent that matter to a source, by their names; none of them is secret."""
    source, egress = config.source, config.egress
    return {
        "SOURCE_TIMEOUT_S": source.timeout_s,
        "SOURCE_MAX_BYTES": source.max_bytes,
        "SOURCE_CONCURRENCY": source.concurrency,
        "SOURCE_REQUESTS_PER_MINUTE": source.requests_per_minute,
        "SOURCE_CA_FILE": None if source.ca_file is None else str(source.ca_file),
        "TLS_INSECURE_HOSTS": source.insecure_hosts,
        "SOURCE_ALLOWED_NETWORKS": tuple(map(str, egress.allowed_networks)),
        "SOURCE_DENIED_NETWORKS": tuple(map(str, egress.denied_networks)),
        "SOURCE_ALLOWED_HOSTS": egress.allowed_hosts,
        "SOURCE_DENIED_HOSTS": egress.denied_hosts,
        "SOURCE_ALLOWED_PORTS": egress.allowed_ports,
        "IMAP_TLS": config.mail.tls,
        "HTTP_PROXY": "set" if config.proxies.http else "",
        "HTTPS_PROXY": "set" if config.proxies.https else "",
    }


def recorded_options(options: SourceOptions) -> dict[str, Any]:
    """Return what SOURCE_OPTIONS_FILE says about the source; what is not set is left out."""
    return dict(_options(options))


def _options(options: SourceOptions) -> Iterator[tuple[str, Any]]:
    for name in ("interval_s", "timeout_s", "max_bytes"):
        if (value := getattr(options, name)) is not None:
            yield name, value
    if options.tls is not None:
        yield "tls", "of its own"
    if options.proxy is not None:
        user = options.proxy.username
        yield (
            "proxy",
            {"url": _text(options.proxy.url), "username": user, "password": _hidden(options.proxy.password)},
        )
    if options.headers:
        yield "headers", dict.fromkeys(options.headers, MASK)
    if options.oauth2 is not None:
        client = options.oauth2
        shown = {"token_url": _text(client.token_url), "scope": client.scope, "audience": client.audience}
        yield "oauth2", {"client_id": client.client_id, "client_secret": MASK, **shown}
    if options.pagination is not None:
        pages = options.pagination
        yield "pagination", {name: getattr(pages, name) for name in pages.__slots__}
    yield "is_conditional", options.is_conditional


def _hidden(secret: Secret) -> str:
    return MASK if secret else ""


def _column(name: str, value: Any) -> Any:
    if not isinstance(value, str):
        return value
    is_header = name == "REQUEST_HEADER"

    def hide(pair: re.Match[str]) -> str:
        is_secret = pair["name"].lower() not in HARMLESS_HEADERS if is_header else sounds_secret(pair["name"])
        if not is_secret or _TEMPLATE.fullmatch(pair["value"]):
            return pair[0]
        return f'{pair[1]}{pair["name"]}{pair[1]}{pair["between"]}"{MASK}"'

    return _text(_PAIR.sub(hide, value))


def _text(text: str) -> str:
    return masked_text(_URL_PASSWORD.sub(rf"\1:{MASK}@", text))
