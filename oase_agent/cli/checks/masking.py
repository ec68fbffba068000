"""Hide secrets in text that is shown, in every form in which a request may carry them (promise S3)."""

import json
import re
from base64 import b64encode
from collections.abc import Iterable, Iterator
from urllib.parse import quote, quote_plus, unquote, urlsplit

from oase_agent.config.groups import AgentConfig
from oase_agent.model import MASK, Secret, Setting

# A shorter text occurs everywhere: hiding it would hide the report. What is shown of a request does not rely on
# this, because it is rendered without the secrets in the first place.
_SHORTEST = 4
_ESCAPE = re.compile("%[0-9A-F]{2}")
# In base64, this many leading characters still hold bits of the 0, 1 or 2 bytes before the secret.
_FOREIGN_CHARACTERS = (0, 2, 3)


class Masker:
    """Replaces secrets by the mask: as they are, and as URLs, forms, JSON and base64 write them."""

    def __init__(self, secrets: Iterable[Secret]) -> None:
        texts = {secret.reveal() for secret in secrets}
        forms = {form for text in texts if len(text) >= _SHORTEST for form in _forms(text)}
        # Longest first: a form may be a part of another one.
        self._forms = sorted(forms, key=len, reverse=True)

    def mask(self, text: str) -> str:
        """Return `text` without secrets."""
        for form in self._forms:
            text = text.replace(form, MASK)
        return text


def secrets_of_config(config: AgentConfig) -> tuple[Secret, ...]:
    """Return every secret of the configuration, those in proxy URLs included."""
    credentials, proxies = config.credentials, config.proxies
    in_proxies = (secret for url in (proxies.http, proxies.https) for secret in _of_url(url))
    return credentials.refresh_token, credentials.password, *in_proxies


def secrets_of_setting(setting: Setting) -> tuple[Secret, ...]:
    """Return every secret of a setting, those in its URLs included."""
    in_urls = (secret for url in (setting.proxy, setting.url) for secret in _of_url(url))
    return setting.auth_token, setting.password, setting.secret_access_key, *in_urls


def _of_url(url: str | None) -> Iterator[Secret]:
    try:
        password = urlsplit(url if url and "//" in url else f"//{url or ''}").password
    except ValueError:
        return
    if password:
        yield from (Secret(password), Secret(unquote(password)))


def _forms(text: str) -> Iterator[str]:
    for form in {text, quote(text, safe=""), quote(text), quote_plus(text)}:
        yield form
        yield _ESCAPE.sub(lambda escape: escape[0].lower(), form)
    yield json.dumps(text)[1:-1]
    yield json.dumps(text, ensure_ascii=False)[1:-1]
    yield from _in_base64(text.encode("utf-8", "replace"))


def _in_base64(data: bytes) -> Iterator[str]:
    """Yield what base64 makes of `data` wherever it stands in what is encoded, such as after `user:`."""
    for before, foreign in enumerate(_FOREIGN_CHARACTERS):
        encoded = b64encode(bytes(before) + data).decode()
        sure = encoded[foreign : (before + len(data)) * 8 // 6]
        yield sure
        yield sure.replace("+", "-").replace("/", "_")
