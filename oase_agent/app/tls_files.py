"""TLS contexts from the files that options name."""

import ssl
from pathlib import Path

from oase_agent.errors import ConfigError
from oase_agent.tls import client_context


def context_from(
    options: str, ca_file: Path | None, cert_file: Path | None = None, key_file: Path | None = None
) -> ssl.SSLContext:
    """Return a context that verifies; raises ConfigError, which names `options`, for files that cannot be used."""
    try:
        return client_context(ca_file=ca_file, cert_file=cert_file, key_file=key_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError((f"{options}: the files do not hold what they should ({_why(error)}).",)) from error


def _why(error: OSError) -> str:
    return (
        error.reason if isinstance(error, ssl.SSLError) and error.reason else error.strerror or "unreadable"
    )
