"""TLS contexts: TLS 1.2 or newer, and verified unless the operator lists an exception (promise S1).

The oldest version is set here and not left to the system, whose configuration may allow what nobody should use any
more (RFC 8996).
"""

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
    context = _modern(ssl.create_default_context())
    if ca_file is not None:
        context.load_verify_locations(cafile=ca_file)
    if cert_file is not None:
        context.load_cert_chain(cert_file, key_file)
    return context


def context_trusting_only(ca_file: Path) -> ssl.SSLContext:
    """Return a context that verifies names and certificates, by the authorities of one file; raises OSError."""
    return _modern(ssl.create_default_context(cafile=ca_file))


def unverified_context(*, cert_file: Path | None = None, key_file: Path | None = None) -> ssl.SSLContext:
    """Return a context that accepts any certificate, for hosts that the operator named only.

    `cert_file` with `key_file` is our own identity; raises like `client_context`.
    """
    # Without the system's authorities, which nobody would ask.
    context = _modern(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if cert_file is not None:
        context.load_cert_chain(cert_file, key_file)
    return context


def _modern(context: ssl.SSLContext) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
