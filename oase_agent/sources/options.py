"""What SOURCE_OPTIONS_FILE may say about the source of one setting, beyond the workspace's form.

Values are checked and files are read before these are made: whoever holds one can use it as it is.
"""

import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from oase_agent.model import Secret


class PageStyle(StrEnum):
    """How the request for the next page is made."""

    LINK_HEADER = "link_header"  # RFC 8288, rel="next"
    NEXT_URL = "next_url"  # a URL in the body
    TOKEN = "token"  # noqa: S105 - a cursor token in the body, sent back as a parameter
    PAGE = "page"  # a page number that counts up
    OFFSET = "offset"  # the number of elements so far


@dataclass(frozen=True, slots=True)
class Pagination:
    """How a source that answers in pages is asked for all of them, and where that ends.

    `path` is a dotted path in the body, no JMESPath (pagination/dotted.py): to the next URL or token, and with `page`
    and `offset` to the list, if RESPONSE_KEY is no such path to it. `parameter` is the name under which a token, a
    page number or an offset is sent: in the query of a GET, or at that dotted place of the JSON body of a POST;
    numbers begin at `first`. `size` is how many elements a full page has: a shorter page is the last one, without
    it an empty one is. A run that reached `max_pages` or `max_bytes` ends, and the next one goes on from there.
    """

    style: PageStyle
    path: str | None = None
    parameter: str | None = None
    first: int = 0
    size: int | None = None
    max_pages: int = 1000
    max_bytes: int = 1024 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class OAuth2Client:
    """Client credentials for a source (RFC 6749, 4.4). `audience` is sent when it is set."""

    token_url: str
    client_id: str
    client_secret: Secret
    scope: str = ""
    audience: str = ""
    sends_basic: bool = True


@dataclass(frozen=True, slots=True)
class SourceProxy:
    """A proxy for one setting instead of its PROXY; `url` is http:// or socks5:// with host and port."""

    url: str
    username: str = ""
    password: Secret = field(default_factory=lambda: Secret(""))


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """The options of one setting; None and empty values leave what holds for every source.

    `interval_s` and `timeout_s` are seconds, `max_bytes` counts after decompression. `tls` is the context for this
    source itself and for the endpoint of its tokens, with its authorities and its own certificate; a host that the
    source redirects to gets what holds for every source. `headers` replace those of the setting, and like its
    credentials they go to no other host. `is_conditional` allows ETag and Last-Modified (RFC 9110, 13.1).
    """

    interval_s: float | None = None
    timeout_s: float | None = None
    max_bytes: int | None = None
    tls: ssl.SSLContext | None = None
    proxy: SourceProxy | None = None
    headers: Mapping[str, Secret] = field(default_factory=lambda: MappingProxyType({}))
    oauth2: OAuth2Client | None = None
    pagination: Pagination | None = None
    is_conditional: bool = True


OptionsOf = Callable[[str], SourceOptions]
"""Asked with the name of a setting, for the options it has at the moment."""


def no_options(_setting_name: str) -> SourceOptions:
    """Return what a setting has without a file of options."""
    return _NO_OPTIONS


def secrets_of_options(options: SourceOptions) -> tuple[Secret, ...]:
    """Return every secret of the options of a setting, so that whatever is shown of them can be masked."""
    proxy = (options.proxy.password,) if options.proxy else ()
    client = (options.oauth2.client_secret,) if options.oauth2 else ()
    return tuple(secret for secret in (*options.headers.values(), *proxy, *client) if secret)


_NO_OPTIONS = SourceOptions()
