"""A real nginx on loopback, without root and without anything of the system's configuration."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.peers.server_process import binary, listening, needs

needs_nginx = needs("nginx", "nginx-light")

# One process, so that root and others get the same: no worker of another user, who could not read our directories.
_CONFIGURATION = """
daemon off;
master_process off;
pid {directory}/nginx.pid;
error_log {directory}/error.log;
events {{ }}
http {{
    types {{ application/json json; text/html html; }}
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    log_format told escape=json '{{"asked":"$request_method $request_uri","status":$status,'
        '"server_name":"$ssl_server_name","client":"$ssl_client_s_dn","protocol":"$ssl_protocol",'
        '"if_none_match":"$http_if_none_match","if_modified_since":"$http_if_modified_since",'
        '"authorization":"$http_authorization","coding":"$sent_http_content_encoding"}}';
    access_log {directory}/access.log told;
    {http}
    server {{
        listen 127.0.0.1:{port} default_server{tls};
        root {directory}/root;
        {server}
    }}
}}
"""


@dataclass(frozen=True)
class RunningNginx:
    """An nginx that serves what is written to `root`."""

    port: int
    scheme: str
    directory: Path

    @property
    def root(self) -> Path:
        """The directory of what it serves."""
        return self.directory / "root"

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        """Return the URL of a path."""
        return f"{self.scheme}://{host}:{self.port}{path}"

    def say(self, document: Any, path: str = "alerts.json") -> Path:
        """Serve this JSON document under a path from now on, never half of it."""
        new = self.directory / "new"
        new.write_text(json.dumps(document))
        return new.rename(self.root / path)

    def requests(self) -> list[dict[str, Any]]:
        """Return the requests that were answered, as the log format names their properties."""
        lines = (self.directory / "access.log").read_text().splitlines()
        return [json.loads(line) for line in lines]

    def statuses(self) -> list[int]:
        """Return the status of every answer."""
        return [request["status"] for request in self.requests()]


@contextmanager
def running_nginx(
    directory: Path, server: str = "", *, http: str = "", certificate: Path | None = None
) -> Iterator[RunningNginx]:
    """Run a server until the end of the block; `server` and `http` are lines for these blocks of its configuration.

    `certificate` holds a key as well. `{port}` in these lines is the server's port.
    """
    place = directory / "nginx"
    (place / "root").mkdir(parents=True)
    scheme = "http" if certificate is None else "https"
    identity = f"ssl_certificate {certificate}; ssl_certificate_key {certificate};" if certificate else ""

    def command_on(port: int) -> list[str | Path]:
        text = _CONFIGURATION.format(
            directory=place,
            port=port,
            tls=" ssl" if certificate else "",
            http=http.replace("{port}", str(port)),
            server=identity + server.replace("{port}", str(port)),
        )
        (place / "nginx.conf").write_text(text)
        return [str(binary("nginx")), "-c", place / "nginx.conf", "-p", place, "-e", place / "error.log"]

    with listening(command_on, place / "nginx.out") as port:
        yield RunningNginx(port, scheme, place)
