"""TLS contexts: verified unless the operator lists an exception (promise S1)."""

import ssl
from pathlib import Path


def client_context(
    *, ca_file: Path | None = None, cert_file: Path | None = None, key_file: Path | None = None
) -> ssl.SSLContext:
    """Return a context that verifies names and certificates.

    `ca_file` is trusted beside the system's authorities; `cert_file` with `key_file` is our own identity (the
    key may be in the same file). Raises OSError for a file that cannot be read and ssl.SSLError for one that
    does not hold what it should.
    """
    context = ssl.create_default_context()
    if ca_file is not None:
        context.load_verify_locations(cafile=ca_file)
    if cert_file is not None:
        context.load_cert_chain(cert_file, key_file)
    return context


def unverified_context() -> ssl.SSLContext:
    """Return a context that accepts any certificate, for the hosts of `TLS_INSECURE_HOSTS` only."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
