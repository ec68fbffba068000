"""A real Dovecot on loopback, in a directory of its own: mail in maildir format, plaintext and TLS ports.

Nothing of the system's configuration is read, and nothing outside of the directory is written.
"""

import ctypes
import grp
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

BINARY = shutil.which("dovecot") or shutil.which("dovecot", path="/usr/sbin")

needs_dovecot = pytest.mark.skipif(
    BINARY is None,
    reason="There is no Dovecot here; on Debian: apt-get install --no-install-recommends dovecot-imapd",
)

PASSWORD = 'p "ä\\ss'
PATIENCE_S = 20.0
_ATTEMPTS = 5
_PR_SET_PDEATHSIG = 1

_USERS = [f"ops{number}" for number in range(200)]
_CONFIGURATION = """
base_dir = {base}/run
state_dir = {base}/state
log_path = {base}/dovecot.log
protocols = imap
listen = 127.0.0.1
instance_name = test
default_login_user = {login_user}
default_internal_user = {internal_user}
default_internal_group = {internal_group}
default_process_limit = 200
first_valid_uid = 0
first_valid_gid = 0
mail_location = maildir:{base}/mail/%u
mail_fsync = never
mail_max_userip_connections = 100
disable_plaintext_auth = {refuses_plaintext}
auth_mechanisms = {mechanisms}
auth_failure_delay = 0
ssl = {ssl}
ssl_cert = <{certificate}
ssl_key = <{certificate}
ssl_dh =
passdb {{
  driver = passwd-file
  args = scheme=PLAIN {base}/users
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={base}/home
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {port}
  }}
  inet_listener imaps {{
    port = {tls_port}
    ssl = yes
  }}
}}
service anvil {{
  chroot =
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service stats {{
  chroot =
}}
"""


@dataclass(frozen=True)
class Mailbox:
    """The mail of one user, seen from the side of the server's file system."""

    user: str
    maildir: Path

    def make_folder(self, folder: str = "") -> None:
        """Make a folder, or INBOX; the server's user may change it."""
        place = self.maildir / folder
        for directory in (place, *(place / part for part in ("cur", "new", "tmp"))):
            if not directory.exists():
                directory.mkdir(parents=True)
                directory.chmod(0o777)

    def deliver(self, source: bytes | str, *, arrived_s: float, folder: str = "") -> Path:
        """Put a mail into a folder as a delivery agent does; it arrived at that time, in epoch seconds."""
        self.make_folder(folder)
        place = self.maildir / folder
        name = f"{time.time_ns()}.M{os.urandom(6).hex()}.test"
        temporary = place / "tmp" / name
        temporary.write_bytes(source.encode() if isinstance(source, str) else source)
        temporary.chmod(0o666)
        os.utime(temporary, (arrived_s, arrived_s))
        return temporary.rename(place / "new" / name)

    def move(self, mail: Path, folder: str) -> Path:
        """Move a mail to another folder, as a mail reader does: there it is a new one."""
        self.make_folder(folder)
        (now,) = self.maildir.rglob(f"{mail.name}*")
        return now.rename(self.maildir / folder / "new" / f"{time.time_ns()}.M{os.urandom(6).hex()}.test")

    def delete(self, mail: Path) -> None:
        """Remove a mail."""
        (now,) = self.maildir.rglob(f"{mail.name}*")
        now.unlink()

    def forget_numbers(self) -> None:
        """Let the server number the mails anew, with another UIDVALIDITY."""
        time.sleep(1.1)  # it is made of the time in seconds
        for file in (*self.maildir.glob("dovecot-uid*"), *self.maildir.glob("dovecot.*")):
            file.unlink()

    def flags(self) -> set[str]:
        """Return the flags of all mails: in maildir they are letters at the end of a file's name."""
        names = (file.name for part in ("cur", "new") for file in (self.maildir / part).iterdir())
        return set("".join(name.partition(":2,")[2] for name in names))


@dataclass(frozen=True)
class Dovecot:
    """A running server; `tls_port` speaks TLS from the start and is 0 without a certificate."""

    base: Path
    port: int
    tls_port: int
    _users: Iterator[str] = field(default_factory=lambda: iter(_USERS))

    def new_mailbox(self) -> Mailbox:
        """Return the empty mailbox of a user who has not been one yet."""
        user = next(self._users)
        mailbox = Mailbox(user, self.base / "mail" / user)
        mailbox.make_folder()
        return mailbox

    def log(self) -> str:
        """Return what the server logged."""
        return (self.base / "dovecot.log").read_text()

    def log_of(self, user: str) -> list[str]:
        """Return the lines that the server logged of a user."""
        return [line for line in self.log().splitlines() if f"({user})" in line or f"<{user}>" in line]


@contextmanager
def running_dovecot(
    *, certificate: Path | None = None, refuses_plaintext: bool = False, mechanisms: str = "plain"
) -> Iterator[Dovecot]:
    """Run a server until the end of the block; `certificate` holds a key as well."""
    # Its processes run as other users, who may not look into directories of the test run.
    with tempfile.TemporaryDirectory(prefix="oase-agent-dovecot-", ignore_cleanup_errors=True) as directory:
        Path(directory).chmod(0o755)
        (Path(directory) / "mail").mkdir()
        (Path(directory) / "mail").chmod(0o777)
        with ExitStack() as stack:
            # Between the choice of a port and the start somebody else may take it.
            for _ in range(_ATTEMPTS):
                server = Dovecot(Path(directory), _free_port(), _free_port() if certificate else 0)
                _configure(server, certificate, refuses_plaintext=refuses_plaintext, mechanisms=mechanisms)
                with suppress(_PortTaken):
                    stack.enter_context(_running(server))
                    break
            yield server


class _PortTaken(Exception):
    pass


def _configure(
    server: Dovecot, certificate: Path | None, *, refuses_plaintext: bool, mechanisms: str
) -> None:
    is_root = os.getuid() == 0
    me = pwd.getpwuid(os.getuid())
    owner = pwd.getpwnam("nobody") if is_root else me  # it gives mail to no one as root
    (server.base / "users").write_text("".join(f"{user}:{{PLAIN}}{PASSWORD}\n" for user in _USERS))
    (server.base / "dovecot.conf").write_text(
        _CONFIGURATION.format(
            base=server.base,
            login_user="dovenull" if is_root else me.pw_name,
            internal_user="dovecot" if is_root else me.pw_name,
            internal_group="dovecot" if is_root else grp.getgrgid(me.pw_gid).gr_name,
            uid=owner.pw_uid,
            gid=owner.pw_gid,
            refuses_plaintext="yes" if refuses_plaintext else "no",
            mechanisms=mechanisms,
            ssl="yes" if certificate else "no",
            certificate=certificate or "/dev/null",
            port=server.port,
            tls_port=server.tls_port,
        )
    )


@contextmanager
def _running(server: Dovecot) -> Iterator[None]:
    assert BINARY is not None
    command = [BINARY, "-F", "-c", str(server.base / "dovecot.conf")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, preexec_fn=_end_with_parent) as process:
        try:
            _wait_until_listening(server.port, process)
            yield
        finally:
            process.send_signal(signal.SIGTERM)


def _end_with_parent() -> None:
    """Let the kernel end this process when the test run is killed (prctl(2), Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _wait_until_listening(port: int, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            assert process.stderr is not None
            why = process.stderr.read().decode()
            raise _PortTaken if "in use" in why else RuntimeError(f"Dovecot did not start: {why}")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise RuntimeError("Dovecot does not listen")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
