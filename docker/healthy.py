"""End with 0 when the agent in this container answers at /healthz, else say why and end with 1.

It runs beside the agent and within its memory limit: a socket and nothing larger. Like `oase-agent status` it reads
ADMIN_HOST and ADMIN_PORT. A port and a path as arguments ask something else in this container, such as a simulator.
"""

import os
import socket
import sys

_LOOPBACK = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - to connect to, not to listen
_TIMEOUT_S = 4.0


def main(arguments: list[str]) -> int:
    """Ask once."""
    host, port_, path = os.environ.get("ADMIN_HOST", ""), os.environ.get("ADMIN_PORT") or "8080", "/healthz"
    if arguments:
        host, (port_, path) = "", arguments
    host = _LOOPBACK.get(host, host)
    try:
        port = int(port_)
        with socket.create_connection((host, port), _TIMEOUT_S) as connection:
            connection.sendall(f"GET {path} HTTP/1.0\r\nHost: {host}\r\n\r\n".encode())
            status = connection.makefile("rb").readline(200).split()
    except (OSError, ValueError) as error:
        print(f"no answer: {error}")  # noqa: T201 - the engine keeps it
        return 1
    if status[1:2] != [b"200"]:
        print("what answers is no healthy agent")  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
