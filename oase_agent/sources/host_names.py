"""Host names and addresses in one form, however they are spelled, so that lists of them can be compared. Pure.

A URL may write one host in many ways: in capitals, with a dot at its end, percent-encoded, in another script, and an
IPv4 address in hexadecimal, as one number or with fewer than four parts. Resolvers and proxies read all of these.
"""

import socket
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from urllib.parse import unquote

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# IPv6 networks whose addresses carry an IPv4 address: its place, as the number of bits below it.
_NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052, 2.1
_CARRIERS = (
    (IPv6Network("::/96"), 0),  # "compatible", RFC 4291, 2.5.5.1
    (IPv6Network("::ffff:0:0:0/96"), 0),  # "translated", RFC 2765, 2.1
    (_NAT64, 0),
    (IPv6Network("64:ff9b:1::/48"), 0),  # RFC 8215, in the form of a prefix of 96 bits
    (IPv6Network("2002::/16"), 80),  # 6to4, RFC 3056, 2
)
_LOCAL_NAT64 = IPv6Network("64:ff9b:1::/48")
_ISATAP_MARKS = (0x0000_5EFE, 0x0200_5EFE)  # RFC 5214, 6.1
_LOW_32 = 0xFFFF_FFFF
# Parsers may disagree where a host with one of these ends, decoded or not.
_DELIMITERS = frozenset(' #%/<>?@[\\]^|"')


def normal_host(text: str) -> str:
    """Return a host as the resolver or proxy that is asked for it reads it: a name, or an address.

    Names are in lower case, in ASCII (IDNA), without a dot at the end; addresses are in their usual form, without
    brackets and scope. Raises ValueError for what is no host at all.
    """
    name = text.strip()
    if name.startswith("[") and name.endswith("]"):
        return str(as_connected(ip_address(name[1:-1])))
    if ":" not in name:
        name = _ascii(unquote(name)).lower().rstrip(".")
        if not name or not name.isprintable() or not _DELIMITERS.isdisjoint(name):
            raise ValueError("it is empty, or has a character that no name of a host has")
    address = literal_address(name)
    return name if address is None else str(as_connected(address))


def literal_address(name: str) -> Address | None:
    """Return the address that a host without brackets spells, or None for a name."""
    try:
        return ip_address(name)
    except ValueError:
        pass
    try:
        # Reads 127.1, 0x7f.1, 0177.0.0.1 and 2130706433, as getaddrinfo does.
        return IPv4Address(socket.inet_aton(name))
    except (OSError, ValueError):
        if ":" in name:
            raise ValueError("it has a colon and is no IPv6 address") from None
        return None


def host_pattern(text: str) -> str:
    """Return an entry of a list of hosts in normal form: a host, or `*.` and a name.

    Raises ValueError, whose text is the end of a sentence, for anything else.
    """
    tail = text.removeprefix("*.")
    if any(mark in tail for mark in "*/@?# ") or (":" in tail and not _is_address(tail)):
        raise ValueError(f"{text!r} is no host name, nor one behind `*.`")
    try:
        host = normal_host(tail)
    except ValueError:
        raise ValueError(f"{text!r} is no host name") from None
    if tail == text:
        return host
    if _is_address(host):
        raise ValueError(f"{text!r} puts a wildcard before an address: write a network instead")
    return f"*.{host}"


def matches(pattern: str, host: str) -> bool:
    """Tell whether `host` is `pattern`, or a name below it if that begins with `*.`; both in normal form."""
    return host.endswith(pattern[1:]) if pattern.startswith("*.") else host == pattern


def as_connected(address: Address) -> Address:
    """Return the address that packets go to: IPv4 in IPv6 clothes is IPv4, "any" is this host."""
    if isinstance(address, IPv6Address):
        address = address.ipv4_mapped or IPv6Address(
            int(address)
        )  # the scope is not part of an address's network
    if address.is_unspecified:
        return IPv4Address("127.0.0.1") if address.version == 4 else IPv6Address("::1")
    return address


def carried_addresses(address: Address) -> tuple[IPv4Address, ...]:
    """Return the IPv4 addresses that gateways may read from an IPv6 address: where its packets may end."""
    if not isinstance(address, IPv6Address) or int(address) <= 1:
        return ()
    value = int(address)
    carried = [value >> shift & _LOW_32 for network, shift in _CARRIERS if address in network]
    if address in _LOCAL_NAT64:
        carried += _behind_prefixes(value)
    if address.teredo is not None:
        carried += map(int, address.teredo)
    if value >> 32 & _LOW_32 in _ISATAP_MARKS:
        carried.append(value & _LOW_32)
    return tuple(map(IPv4Address, dict.fromkeys(carried)))


def translated_address(address: Address) -> IPv4Address | None:
    """Return the IPv4 address that the well-known prefix of NAT64 stands for, as DNS64 answers with it."""
    return IPv4Address(int(address) & _LOW_32) if address.version == 6 and address in _NAT64 else None


def plain_network(network: Network) -> Network:
    """Return a network of IPv4 addresses in IPv6 clothes as what it is, because addresses are judged as IPv4."""
    if isinstance(network, IPv6Network) and network.prefixlen >= 96 and network.network_address.ipv4_mapped:
        return IPv4Network((int(network.network_address) & _LOW_32, network.prefixlen - 96))
    return network


def _behind_prefixes(value: int) -> list[int]:
    """Return what prefixes of 48, 56 and 64 bits carry (RFC 6052, 2.2): bits 64 to 71 are left out."""
    without_gap = value >> 64 << 56 | value & (1 << 56) - 1
    return [without_gap >> 120 - bits - 32 & _LOW_32 for bits in (48, 56, 64)]


def _ascii(name: str) -> str:
    if name.isascii():
        return name
    import idna  # noqa: PLC0415 - its tables take 2 MiB, and few hosts need them

    try:
        return idna.encode(name, uts46=True).decode("ascii")
    except UnicodeError:
        # What aiohttp's URLs do with names that only the older rules allow.
        return name.encode("idna").decode("ascii")


def _is_address(text: str) -> bool:
    try:
        return literal_address(text.removeprefix("[").removesuffix("]")) is not None
    except ValueError:
        return False
