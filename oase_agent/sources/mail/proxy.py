"""The first words to a proxy, so that it passes on what follows: SOCKS5 (RFC 1928, 1929) or HTTP CONNECT.

For one connection only: nothing of the process is changed (defect D14). The name of the mail server goes to the proxy
as it is, because often only the proxy can resolve it. Blocks.
"""

import socket
from typing import Final

from oase_agent.sources.authentication import basic_credentials
from oase_agent.sources.mail.route import MailProxy, MailRoute
from oase_agent.sources.mail.wire import AnswerTooLong, Wire

_ANSWER_BYTES: Final = 16 * 1024
_NO_AUTHENTICATION: Final = 0
_PASSWORD: Final = 2
_SOCKS_REFUSALS: Final = {
    1: "a failure of its own",
    2: "not allowed by its rules",
    3: "network unreachable",
    4: "host unreachable or not found",
    5: "connection refused",
    6: "it took too long",
    7: "it knows no CONNECT",
    8: "it takes no such address",
}


class ProxyRefused(Exception):
    """The proxy does not pass on; the text is a clause that says why, and quotes nothing."""


def pass_through(wire: Wire, proxy: MailProxy, route: MailRoute) -> None:
    """Ask the proxy that `wire` is connected to for the mail server of `route`.

    Raises ProxyRefused, EOFError if it hangs up, and OSError.
    """
    wire.expect(_ANSWER_BYTES)
    try:
        if proxy.is_socks:
            _socks5(wire, proxy, route)
        else:
            _http_connect(wire, proxy, route)
    except AnswerTooLong:
        raise ProxyRefused("an answer without end") from None


def _http_connect(wire: Wire, proxy: MailProxy, route: MailRoute) -> None:
    lines = [f"CONNECT {route.origin} HTTP/1.1", f"Host: {route.origin}"]
    if proxy.username:
        lines.append(f"Proxy-Authorization: {basic_credentials(proxy.username, proxy.password.reveal())}")
    wire.send("\r\n".join((*lines, "", "")).encode())
    words = wire.read_line().split(None, 2)
    if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not words[1].isdigit():
        raise ProxyRefused("an answer that is no HTTP")
    while wire.read_line().strip():
        pass
    if not words[1].startswith(b"2"):
        raise ProxyRefused(f"status {words[1][:3].decode('ascii')}")


def _socks5(wire: Wire, proxy: MailProxy, route: MailRoute) -> None:
    methods = bytes((_NO_AUTHENTICATION, _PASSWORD) if proxy.username else (_NO_AUTHENTICATION,))
    wire.send(bytes((5, len(methods))) + methods)
    version, method = wire.read(2)
    if version != 5:
        raise ProxyRefused("an answer that is no SOCKS5")
    if method == _PASSWORD and proxy.username:
        _socks5_login(wire, proxy)
    elif method != _NO_AUTHENTICATION:
        raise ProxyRefused("that it wants another kind of login")
    wire.send(b"\x05\x01\x00" + _socks5_address(route.host) + route.port.to_bytes(2, "big"))
    version, status, _, kind = wire.read(4)
    if version != 5:
        raise ProxyRefused("an answer that is no SOCKS5")
    if status != 0:
        raise ProxyRefused(_SOCKS_REFUSALS.get(status, "a failure that it does not name"))
    length = {1: 4, 4: 16}.get(kind) or wire.read(1)[0]
    wire.read(length + 2)


def _socks5_login(wire: Wire, proxy: MailProxy) -> None:
    username, password = proxy.username.encode(), proxy.password.reveal().encode()
    if len(username) > 255 or len(password) > 255:
        raise ProxyRefused("no login, because SOCKS5 takes no user or password beyond 255 bytes")
    wire.send(b"\x01" + bytes((len(username),)) + username + bytes((len(password),)) + password)
    if wire.read(2)[1] != 0:
        raise ProxyRefused("the login: check user and password")


def _socks5_address(host: str) -> bytes:
    for kind, family in ((b"\x01", socket.AF_INET), (b"\x04", socket.AF_INET6)):
        try:
            return kind + socket.inet_pton(family, host)
        except OSError:
            pass
    name = host.encode()
    return b"\x03" + bytes((len(name),)) + name
