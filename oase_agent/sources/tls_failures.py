"""What went wrong in TLS with a source, and what to do about it: each case has another remedy.

OpenSSL tells the case of a certificate by a number (`X509_V_ERR_…`, openssl-verification-options(1)), everything else
by the name of a reason; what the peer says comes as the name of its alert (RFC 8446, section 6).
"""

import ssl
from typing import Final

_OUT_OF_DATE: Final = frozenset({9, 10})  # not yet valid, has expired
_ANOTHER_NAME: Final = frozenset({62, 64})  # mismatch of the host name, of the IP address
_REVOKED: Final = 23

# The oldest protocol that we offer is too new for the peer, or what it chose is too old for us.
_OLD_PROTOCOL: Final = frozenset({"TLSV1_ALERT_PROTOCOL_VERSION", "UNSUPPORTED_PROTOCOL"})
# Alerts about the certificate of the one who gets them.
_OWN_CERTIFICATE: Final = frozenset(
    {
        "TLSV13_ALERT_CERTIFICATE_REQUIRED",
        "TLSV1_ALERT_UNKNOWN_CA",
        "TLSV1_ALERT_ACCESS_DENIED",
        "SSLV3_ALERT_BAD_CERTIFICATE",
        "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE",
        "SSLV3_ALERT_CERTIFICATE_REVOKED",
        "SSLV3_ALERT_CERTIFICATE_EXPIRED",
        "SSLV3_ALERT_CERTIFICATE_UNKNOWN",
    }
)


def tls_sentence(error: ssl.SSLError, origin: str) -> str:
    """Return the sentence for the operator."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _about_certificate(error, f"the certificate of {origin}")
    reason = error.reason or "no reason given"
    if reason in _OLD_PROTOCOL:
        return (
            f"{origin} offers no TLS that is new enough ({reason}): let it speak TLS 1.2 or 1.3, older versions are "
            "never used"
        )
    if reason in _OWN_CERTIFICATE:
        return (
            f"{origin} wants a certificate of the agent, or another one ({reason}): check client_cert_file of the "
            "setting in SOURCE_OPTIONS_FILE"
        )
    return f"TLS with {origin} failed ({reason}): check scheme and port of the URL"


def _about_certificate(error: ssl.SSLCertVerificationError, certificate: str) -> str:
    said = error.verify_message.rstrip(".")
    if error.verify_code in _OUT_OF_DATE:
        return f"{certificate} is out of date ({said}): renew it there, and check the clock of this machine"
    if error.verify_code in _ANOTHER_NAME:
        return (
            f"{certificate} is for another host ({said}): write a name into the URL that the certificate holds, or "
            "have one made for this name"
        )
    if error.verify_code == _REVOKED:
        return f"{certificate} was revoked ({said}): have a new one made"
    return (
        f"{certificate} is not trusted ({said}): set SOURCE_CA_FILE, or list the host in TLS_INSECURE_HOSTS, or give "
        "the setting a ca_file in SOURCE_OPTIONS_FILE"
    )
