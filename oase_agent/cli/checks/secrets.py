"""Which secrets there are: in the configuration, in a setting, in a request."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from oase_agent.config.groups import AgentConfig
from oase_agent.model import Secret, Setting, SourceRequest

# Headers whose values are shown; any other one may hold a key under a name of its own.
HARMLESS_HEADERS = frozenset(
    {
        "accept",
        "accept-charset",
        "accept-encoding",
        "accept-language",
        "cache-control",
        "connection",
        "content-length",
        "content-type",
        "date",
        "host",
        "if-modified-since",
        "if-none-match",
        "transfer-encoding",
        "user-agent",
    }
)
_SECRET_NAME = re.compile(
    r"token|secret|passw|pwd|credential|session|cookie|signature|auth(?!or)|api.?key|access.?key|\bsig\b|^key$",
    re.IGNORECASE,
)
# Nobody called these texts secret, their names only sound like it: common words must not vanish from a report.
_SHORTEST_GUESS = 6


def sounds_secret(name: str) -> bool:
    """Tell whether the value of a parameter of this name is to be hidden."""
    return _SECRET_NAME.search(name) is not None


def secrets_of_config(config: AgentConfig) -> tuple[Secret, ...]:
    """Return every secret of the configuration, those in proxy URLs included."""
    credentials, proxies = config.credentials, config.proxies
    in_proxies = (secret for url in (proxies.http, proxies.https) for secret in _of_url(url))
    return credentials.refresh_token, credentials.password, *in_proxies


def secrets_of_setting(setting: Setting) -> tuple[Secret, ...]:
    """Return every secret of a setting, those in its URLs included."""
    in_urls = (secret for url in (setting.proxy, setting.url) for secret in _of_url(url))
    return setting.auth_token, setting.password, setting.secret_access_key, *in_urls


def secrets_of_request(request: SourceRequest) -> tuple[Secret, ...]:
    """Return what a rendered request carries under names that sound secret, and the password in its URL."""
    return tuple(_of_request(request))


def secrets_of_headers(headers: Mapping[str, str]) -> Iterator[Secret]:
    """Yield the values of headers that may be secrets; of `Authorization: Bearer x`, also `x` alone."""
    for name, value in headers.items():
        if name.lower() not in HARMLESS_HEADERS:
            yield from _guessed((value, value.partition(" ")[2]))


def _of_request(request: SourceRequest) -> Iterator[Secret]:
    yield from _of_url(request.url)
    yield from secrets_of_headers(request.headers)
    yield from _guessed(_of_query(request.url))
    yield from _guessed(_of_value(request.parameter))


def _guessed(texts: Iterable[str]) -> Iterator[Secret]:
    return (Secret(text) for text in texts if len(text) >= _SHORTEST_GUESS)


def _of_query(text: str) -> Iterator[str]:
    try:
        query = urlsplit(text).query
    except ValueError:
        return
    yield from (value for name, value in parse_qsl(query) if sounds_secret(name))


def _of_value(value: Any, name: str = "") -> Iterator[str]:
    """Yield the texts and numbers that stand under secret names, however deep below them."""
    match value:
        case dict():
            for key, item in value.items():
                yield from _of_value(item, key if sounds_secret(key) else name)
        case [str(key), item] if sounds_secret(key):
            yield from _of_value(item, key)
        case list():
            for item in value:
                yield from _of_value(item, name)
        case str() | int() | float() if name:
            yield str(value)
        case str():
            yield from (text for key, text in parse_qsl(value) if sounds_secret(key))


def _of_url(url: str | None) -> Iterator[Secret]:
    try:
        password = urlsplit(url if url and "//" in url else f"//{url or ''}").password
    except ValueError:
        return
    if password:
        yield from (Secret(password), Secret(unquote(password)))
