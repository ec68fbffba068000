"""What a redirect does to a request: the rules of the library `requests`, which settings in use rely on. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from urllib.parse import urljoin

from yarl import URL

from oase_agent.errors import Reason, SettingRejected, SourceUnavailable
from oase_agent.sources.urls import origin_of, wire_url

MAX_REDIRECTS = 10

REDIRECT_STATUSES = frozenset({301, 302, 303, 307, 308})

_CREDENTIALS = frozenset({"authorization", "cookie", "proxy-authorization"})
_BODY_HEADERS = frozenset({"content-type"})


@dataclass(frozen=True, slots=True)
class Hop:
    """One request on the way to the answer; `url` is ready for the wire.

    `private` are names of headers, in lower case, that leave with the credentials. `is_home` tells that no redirect
    led to another host yet: only then tokens and the certificate of the setting are for it.
    """

    method: str
    url: URL = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    body: bytes | None = field(default=None, repr=False)
    private: frozenset[str] = frozenset()
    is_home: bool = True

    def with_authorization(self, value: str) -> "Hop":
        """Return the same request with `value` instead of any other credentials in an Authorization header."""
        others = {name: text for name, text in self.headers.items() if name.lower() != "authorization"}
        return replace(self, headers={**others, "Authorization": value})


def next_hop(hop: Hop, status: int, location: str) -> Hop:
    """Return the request that follows `hop` after a redirect with `status` to `location`.

    303, and 301 and 302 after a POST, go on with GET and without body; 307 and 308 repeat the request. Another
    host, port or scheme does not get the credentials, except for the step from http to https of one host.
    Raises SourceUnavailable if `location` is not an http or https URL.
    """
    try:
        url = wire_url(urljoin(str(hop.url), location))
    except (SettingRejected, ValueError) as error:
        raise SourceUnavailable(
            f"{origin_of(hop.url)} redirects to something that is not an http or https URL", Reason.REDIRECT
        ) from error
    dropped: frozenset[str] = frozenset()
    if not keeps_credentials(hop.url, url):
        dropped |= _CREDENTIALS | hop.private
        hop = replace(hop, is_home=False)
    if status in {301, 302, 303}:
        dropped |= _BODY_HEADERS
        hop = replace(hop, method="GET", body=None)
    kept = {name: value for name, value in hop.headers.items() if name.lower() not in dropped}
    return replace(hop, url=url, headers=kept)


def keeps_credentials(old: URL, new: URL) -> bool:
    """Tell whether what was meant for `old` may go to `new`: the same host, port and scheme, or one with TLS."""
    if old.host != new.host:
        return False
    is_upgrade = (old.scheme, old.port, new.scheme, new.port) == ("http", 80, "https", 443)
    return is_upgrade or (old.scheme, old.port) == (new.scheme, new.port)
