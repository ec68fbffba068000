"""Where requests to sources may go (promise S4; docs/egress.md).

Two moments: `check_target` judges a host and port before anything is sent there, for every hop of a redirect, and
`check` the address that is really connected to. A check of names alone would not do: names resolve to anything, and
answers of DNS change between a check and a connection.
"""

import errno
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from oase_agent.sources.host_names import (
    Address,
    Network,
    as_connected,
    carried_addresses,
    host_pattern,
    literal_address,
    matches,
    normal_host,
    plain_network,
    translated_address,
)

PortRange = tuple[int, int]


class EgressDenied(OSError):
    """The policy forbids a connection; `option` is the name of the one that does, `verdict` a clause about it.

    The text is the same for every address on purpose: a client that tried several addresses of a host then
    reports this error instead of a mixture that has lost its type.
    """

    def __init__(self, option: str, verdict: str) -> None:
        super().__init__(
            errno.EACCES, "forbidden by the egress policy (SOURCE_ALLOWED_… and SOURCE_DENIED_…)"
        )
        self.option = option
        self.verdict = verdict


@dataclass(frozen=True, slots=True)
class EgressPolicy:
    """Lists of networks, hosts and ports; what is denied wins, and an empty list of what is allowed means all.

    Hosts are names, addresses, or `*.example.com` for every name below; port ranges include both ends. Raises
    ValueError for a host that cannot be read.
    """

    allowed: tuple[Network, ...] = ()
    denied: tuple[Network, ...] = ()
    allowed_hosts: tuple[str, ...] = ()
    denied_hosts: tuple[str, ...] = ()
    allowed_ports: tuple[PortRange, ...] = ()

    def __post_init__(self) -> None:
        """Bring every entry into the form in which it is compared."""
        for name in ("allowed", "denied"):
            object.__setattr__(self, name, tuple(map(plain_network, getattr(self, name))))
        for name in ("allowed_hosts", "denied_hosts"):
            object.__setattr__(self, name, tuple(map(host_pattern, getattr(self, name))))

    def check_target(self, host: str, port: int) -> str:
        """Raise EgressDenied if nothing may be sent to `host`, a name or an address in any spelling, and `port`.

        Returns the host in the form in which it was judged; whoever connects by himself resolves that form.
        """
        try:
            host = normal_host(host)
        except ValueError:
            raise EgressDenied("", "its host cannot be read, and so cannot be judged") from None
        self._check_host(host)
        if self.allowed_ports and not any(first <= port <= last for first, last in self.allowed_ports):
            raise _denied("SOURCE_ALLOWED_PORTS", f"port {port} of {host} is not in {{option}}: add it there")
        address = literal_address(host)
        if address is not None:
            self._check_address(address)
        return host

    def check(self, address: str) -> None:
        """Raise EgressDenied if `address`, the text form of an IP address, must not be connected to."""
        self._check_address(ip_address(address))

    def socket_factory(self, address_info: tuple[Any, ...]) -> socket.socket:
        """Make the socket for one resolved address, or raise EgressDenied: the hook of aiohttp's connector.

        The connector connects this socket to the very address that was judged.
        """
        family, kind, protocol, _, address = address_info
        self.check(address[0])
        return socket.socket(family, kind, protocol)

    def _check_host(self, host: str) -> None:
        entry = next((entry for entry in self.denied_hosts if matches(entry, host)), None)
        if entry is not None:
            raise _denied(
                "SOURCE_DENIED_HOSTS", f"{host} matches {entry} in {{option}}: take that out of the list"
            )
        if self.allowed_hosts and not any(matches(entry, host) for entry in self.allowed_hosts):
            raise _denied("SOURCE_ALLOWED_HOSTS", f"{host} matches no entry of {{option}}: add one")

    def _check_address(self, address: Address) -> None:
        judged = as_connected(address)
        for end in (judged, *carried_addresses(judged)):
            network = _network_of(end, self.denied)
            if network is not None:
                named = str(judged) if end is judged else f"{judged}, which leads to {end},"
                raise _denied(
                    "SOURCE_DENIED_NETWORKS",
                    f"{named} is in {network}, which {{option}} forbids: replace that entry there",
                )
        translated = translated_address(judged)
        ends = (judged,) if translated is None else (judged, translated)
        if self.allowed and not any(_network_of(end, self.allowed) for end in ends):
            raise _denied("SOURCE_ALLOWED_NETWORKS", f"{judged} is in no network of {{option}}: add one")


def _network_of(address: Address, networks: Iterable[Network]) -> Network | None:
    return next((network for network in networks if address in network), None)


def _denied(option: str, verdict: str) -> EgressDenied:
    return EgressDenied(option, f"{verdict.format(option=option)} if this is meant to be a source")
