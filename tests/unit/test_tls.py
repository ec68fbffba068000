"""The contexts that every connection over TLS is made with."""

import ssl
from pathlib import Path
from typing import Any

import pytest

from oase_agent.config.source_options.files import PemFile
from oase_agent.config.source_options.trust import TlsContexts, Trust
from oase_agent.tls import client_context, context_trusting_only, unverified_context
from tests.unit.source_servers import Authority


def test_what_is_older_than_tls_1_2_is_never_spoken_even_if_the_system_would(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_this_system = ssl.create_default_context

    def of_a_lax_system(*arguments: Any, **named: Any) -> ssl.SSLContext:
        context = of_this_system(*arguments, **named)
        context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        return context

    monkeypatch.setattr(ssl, "create_default_context", of_a_lax_system)
    authorities = Authority(tmp_path).file
    assert client_context(ca_file=authorities).minimum_version is ssl.TLSVersion.TLSv1_2
    assert context_trusting_only(authorities).minimum_version is ssl.TLSVersion.TLSv1_2


def test_nor_by_a_context_that_verifies_nothing(tmp_path: Path) -> None:
    identity = PemFile(Authority(tmp_path).identity("agent"), b"")
    trust = Trust(is_insecure=True, authorities=None, certificate=identity, key=None)
    for context in (unverified_context(), TlsContexts(None).context_for(trust)):
        assert context is not None
        assert context.minimum_version is ssl.TLSVersion.TLSv1_2
        assert context.verify_mode is ssl.CERT_NONE
