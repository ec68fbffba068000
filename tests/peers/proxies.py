"""Real proxies: Debian's tinyproxy for HTTP, microsocks for SOCKS5. Both want a user and a password."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.peers.server_process import binary, listening, needs

needs_tinyproxy = needs("tinyproxy", "tinyproxy-bin")
needs_microsocks = needs("microsocks", "microsocks")

USER = "agent"
PASSWORD = "hunter2-of.the-proxy"
WRONG = "hunter3-is_wrong"

_TINYPROXY = """
Port {port}
Listen 127.0.0.1
Timeout 20
LogLevel Connect
LogFile "{log}"
BasicAuth {user} {password}
{more}
"""
# What each of them logs of a connection that it makes, and of those only: refused ones are not among them.
_MADE = {
    "tinyproxy": re.compile(r'Established connection to host "([^"]+)"'),
    "microsocks": re.compile(r"connected to (\S+)"),
}
_ASKED = re.compile(r"Request \(file descriptor \d+\): (.*) HTTP/")


@dataclass(frozen=True)
class RunningProxy:
    """A proxy that listens; it tells in its log what it did."""

    kind: str
    port: int
    log: Path

    def url(self, password: str = PASSWORD) -> str:
        """Return its URL with user and password."""
        scheme = "http" if self.kind == "tinyproxy" else "socks5"
        return f"{scheme}://{USER}:{password}@127.0.0.1:{self.port}"

    @property
    def bare_url(self) -> str:
        """Its URL without user and password."""
        return f"{self.url().partition('://')[0]}://127.0.0.1:{self.port}"

    def made(self) -> list[str]:
        """Return the hosts that it connected to, as they were named to it; microsocks adds the port."""
        return _MADE[self.kind].findall(self.log.read_text())

    def asked(self) -> list[str]:
        """Return method and target of each request that tinyproxy got, refused or not."""
        return _ASKED.findall(self.log.read_text())


@contextmanager
def running_tinyproxy(directory: Path, more: str = "") -> Iterator[RunningProxy]:
    """Run an HTTP proxy until the end of the block; `more` are further lines of its configuration."""
    configuration, log = directory / "tinyproxy.conf", directory / "tinyproxy.log"

    def command_on(port: int) -> list[str | Path]:
        configuration.write_text(
            _TINYPROXY.format(port=port, log=log, user=USER, password=PASSWORD, more=more)
        )
        return [str(binary("tinyproxy")), "-d", "-c", configuration]

    with listening(command_on, directory / "tinyproxy.out") as port:
        yield RunningProxy("tinyproxy", port, log)


@contextmanager
def running_microsocks(directory: Path) -> Iterator[RunningProxy]:
    """Run a SOCKS5 proxy until the end of the block."""
    log = directory / "microsocks.log"

    def command_on(port: int) -> list[str]:
        return [str(binary("microsocks")), "-i", "127.0.0.1", "-p", str(port), "-u", USER, "-P", PASSWORD]

    with listening(command_on, log) as port:
        yield RunningProxy("microsocks", port, log)
