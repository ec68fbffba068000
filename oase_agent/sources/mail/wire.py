"""One TCP connection with a deadline, a bound on what the other side may send, and a way to end it from outside.

Blocks; used by one thread. Only `abort` may be called from another one, at any time: whatever waits, ends.
"""

import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

from oase_agent.sources.egress import EgressDenied, EgressPolicy

_PIECE_BYTES: Final = 64 * 1024
# Before a command says what it expects: capabilities, a greeting, a refusal.
_USUAL_ANSWER_BYTES: Final = 1024 * 1024


class Aborted(OSError):
    """The connection was ended from outside."""


class NoConnection(TimeoutError):
    """A connection took too long to be made."""


class AnswerTooLong(Exception):
    """The other side sent, or announced, more than the question allows."""


class UnaskedAnswer(Exception):
    """The other side sent something in clear that belongs to nothing, right before TLS."""


class Deadline:
    """A moment after which nothing waits any more; `monotonic` tells seconds."""

    def __init__(self, seconds: float, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._at = monotonic() + seconds

    def left_s(self, at_most_s: float = float("inf")) -> float:
        """Return the seconds that are left, at most `at_most_s`; raises TimeoutError when there are none."""
        left_s = self._at - self._monotonic()
        if left_s <= 0:
            raise TimeoutError
        return min(left_s, at_most_s)

    def allow_s(self, seconds: float) -> None:
        """Set the moment anew, so many seconds from now."""
        self._at = self._monotonic() + seconds


class Wire:
    """A connection that is made, made secret, read and written. Raises OSError, TimeoutError among them."""

    def __init__(self, deadline: Deadline) -> None:
        self.deadline = deadline
        self.peer_address = ""
        self._socket: socket.socket | None = None
        self._buffer = bytearray()
        self._left_bytes = _USUAL_ANSWER_BYTES
        self._is_aborted = False

    def connect(self, host: str, port: int, egress: EgressPolicy, *, connect_timeout_s: float) -> None:
        """Connect to the first address of `host` that the policy allows and that answers.

        The socket goes to the very address that was judged. Raises EgressDenied when the policy allows none.
        """
        trouble: OSError | None = None
        for family, kind, protocol, _, address in _addresses(host, port):
            try:
                egress.check(str(address[0]))
                self._connect(socket.socket(family, kind, protocol), address, connect_timeout_s)
            except EgressDenied as error:
                trouble = trouble or error
            except Aborted:
                raise
            except OSError as error:
                trouble = error
                self.close()
            else:
                self.peer_address = str(address[0])
                return
        raise trouble or OSError("no address")

    def _connect(self, connection: socket.socket, address: tuple[object, ...], timeout_s: float) -> None:
        self._take(connection)
        connection.settimeout(self.deadline.left_s(timeout_s))
        with self._noticing_abort():
            try:
                connection.connect(address)
            except TimeoutError as error:
                raise NoConnection from error
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def start_tls(self, context: ssl.SSLContext, host: str) -> None:
        """Put TLS on the connection.

        Raises UnaskedAnswer if something came in clear that was not asked for: it would be taken for an answer
        within TLS (CVE-2011-0411).
        """
        if self._buffer or self._is_readable():
            raise UnaskedAnswer
        connection = self._ready()
        connection.settimeout(self.deadline.left_s())
        # Not in one step: a handshake on a socket that nobody knows could not be aborted.
        encrypted = context.wrap_socket(connection, server_hostname=host, do_handshake_on_connect=False)
        self._take(encrypted)
        with self._noticing_abort():
            encrypted.do_handshake()

    def expect(self, answer_bytes: int = _USUAL_ANSWER_BYTES) -> None:
        """Allow the other side so many bytes from now on."""
        self._left_bytes = answer_bytes

    def send(self, data: bytes) -> None:
        """Send all of it."""
        connection = self._ready()
        connection.settimeout(self.deadline.left_s())
        with self._noticing_abort():
            connection.sendall(data)

    def read_line(self) -> bytes:
        """Return the next line with its end; raises EOFError if the other side closed before its end."""
        searched = 0
        while (end := self._buffer.find(b"\n", searched) + 1) == 0:
            searched = len(self._buffer)
            if searched > self._left_bytes:
                raise AnswerTooLong
            self._receive()
        return self._taken(end)

    def read(self, size: int) -> bytes:
        """Return so many bytes; raises EOFError if the other side closed before their end."""
        if size > self._left_bytes:
            raise AnswerTooLong
        while len(self._buffer) < size:
            self._receive()
        return self._taken(size)

    def abort(self) -> None:
        """End the connection from any thread; whoever waits on it gets Aborted. Never blocks."""
        self._is_aborted = True
        connection = self._socket
        if connection is not None:
            with suppress(OSError, ValueError):
                # The plain one, also for TLS: the method of TLS sockets changes what the other thread works on.
                socket.socket.shutdown(connection, socket.SHUT_RDWR)

    def close(self) -> None:
        """Let go of the socket. May be called twice."""
        connection, self._socket = self._socket, None
        if connection is not None:
            with suppress(OSError):
                connection.close()

    def _receive(self) -> None:
        connection = self._ready()
        connection.settimeout(self.deadline.left_s())
        with self._noticing_abort():
            data = connection.recv(_PIECE_BYTES)
        if not data:
            self._check()
            raise EOFError
        self._buffer += data

    def _taken(self, size: int) -> bytes:
        self._left_bytes -= size
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data

    def _is_readable(self) -> bool:
        connection = self._ready()
        connection.settimeout(0)
        try:
            return bool(connection.recv(1, socket.MSG_PEEK))
        except BlockingIOError:
            return False

    def _take(self, connection: socket.socket) -> None:
        self._socket = connection
        self._check()

    def _ready(self) -> socket.socket:
        self._check()
        if self._socket is None:
            raise EOFError
        return self._socket

    def _check(self) -> None:
        if self._is_aborted:
            self.close()
            raise Aborted

    @contextmanager
    def _noticing_abort(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError):
            self._check()
            raise


def _addresses(host: str, port: int) -> list[tuple[int, int, int, str, tuple[object, ...]]]:
    return [*socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
