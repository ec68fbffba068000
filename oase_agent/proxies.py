"""Which HTTP proxy a URL goes through: the operator's `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY`.

aiohttp could read these itself, but then it would also take credentials from a netrc file, which nobody who
configures this agent expects.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit
from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True)
class ProxyEnvironment:
    """The proxies of the environment; URLs may hold credentials, so they do not print."""

    http: str | None = field(default=None, repr=False)
    https: str | None = field(default=None, repr=False)
    no_proxy: str | None = None

    def for_url(self, url: str) -> str | None:
        """Return the proxy URL for `url`, or None for a direct connection.

        `no_proxy` is read as curl and Python read it: suffixes of host names separated by commas, `*` is all.
        """
        parts = urlsplit(url)
        proxy = self.https if parts.scheme == "https" else self.http
        if not proxy or not parts.hostname:
            return None
        if self.no_proxy and proxy_bypass_environment(parts.netloc.rpartition("@")[2], {"no": self.no_proxy}):
            return None
        return proxy if "//" in proxy else f"http://{proxy}"


def proxies_of(environment: Mapping[str, str]) -> ProxyEnvironment:
    """Read the proxy variables in any case, lower case first as curl does."""

    def value(name: str) -> str | None:
        return environment.get(name.lower()) or environment.get(name.upper()) or None

    return ProxyEnvironment(http=value("http_proxy"), https=value("https_proxy"), no_proxy=value("no_proxy"))
