"""Servers of a whole test run, and a mailbox in one of them for every test."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from oase_agent.model import Setting
from tests.mail.dovecot import Dovecot, Mailbox, running_dovecot
from tests.mail.mail_stage import SETTING
from tests.unit.source_servers import Authority


@pytest.fixture(scope="session")
def dovecot() -> Iterator[Dovecot]:
    """Run a server without TLS."""
    with running_dovecot() as server:
        yield server


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Make an authority that no system trusts."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def tls_dovecot(authority: Authority) -> Iterator[Dovecot]:
    """Run a server with a certificate for `localhost`, which takes passwords without TLS as well."""
    authority.server_context("localhost")
    with running_dovecot(certificate=authority.file.parent / "server-localhost.pem") as server:
        yield server


@pytest.fixture
def mailbox(dovecot: Dovecot) -> Mailbox:
    """Give an empty mailbox."""
    return dovecot.new_mailbox()


@pytest.fixture
def setting(dovecot: Dovecot, mailbox: Mailbox) -> Setting:
    """Give the setting of that mailbox."""
    return replace(SETTING, port=dovecot.port, username=mailbox.user)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Give a directory for a spool."""
    return tmp_path
