"""Where requests to sources may go: judged by the address that is really connected to (promise S4).

A check of the URL would not do: names resolve to anything, answers of DNS change, and redirects lead elsewhere.
"""

import errno
import socket
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


class EgressDenied(OSError):
    """The policy forbids `address`; `option` is the name of the option that says so.

    The text is the same for every address on purpose: a client that tried several addresses of a host then
    reports this error instead of a mixture that has lost its type.
    """

    def __init__(self, address: Address, option: str) -> None:
        super().__init__(errno.EACCES, "forbidden by SOURCE_ALLOWED_NETWORKS or SOURCE_DENIED_NETWORKS")
        self.address = address
        self.option = option

    @property
    def verdict(self) -> str:
        """Return the end of a sentence: which address, and which option to change."""
        judged = "does not list" if self.option == "SOURCE_ALLOWED_NETWORKS" else "forbids"
        return f"{self.address}, which {self.option} {judged}"


@dataclass(frozen=True, slots=True)
class EgressPolicy:
    """`denied` wins over `allowed`; an empty `allowed` means any address."""

    allowed: tuple[Network, ...] = ()
    denied: tuple[Network, ...] = ()

    def check(self, address: str) -> None:
        """Raise EgressDenied if `address`, the text form of an IP address, must not be connected to."""
        judged = _as_connected(ip_address(address))
        if any(judged in network for network in self.denied):
            raise EgressDenied(judged, "SOURCE_DENIED_NETWORKS")
        if self.allowed and not any(judged in network for network in self.allowed):
            raise EgressDenied(judged, "SOURCE_ALLOWED_NETWORKS")

    def check_literal(self, host: str) -> None:
        """Like `check` if `host` is an IP address in its usual form, else nothing.

        For requests through a proxy: there the proxy connects to the host, and what a name means is up to it.
        """
        try:
            ip_address(host)
        except ValueError:
            return
        self.check(host)

    def socket_factory(self, address_info: tuple[Any, ...]) -> socket.socket:
        """Make the socket for one resolved address, or raise EgressDenied: the hook of aiohttp's connector."""
        family, kind, protocol, _, address = address_info
        self.check(address[0])
        return socket.socket(family, kind, protocol)


def _as_connected(address: Address) -> Address:
    """Return the address that packets go to: IPv4 in IPv6 clothes is IPv4, "any" is this host."""
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if address.is_unspecified:
        return IPv4Address("127.0.0.1") if address.version == 4 else IPv6Address("::1")
    return address
