"""Mail through real proxies: microsocks for SOCKS5 and tinyproxy for a tunnel, with a real Dovecot behind them."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.stage import Stage
from tests.acceptance.steps import polls
from tests.mail.dovecot import PASSWORD as MAIL_PASSWORD
from tests.mail.dovecot import Dovecot, Mailbox, needs_dovecot, running_dovecot
from tests.peers.authority import PeerAuthority
from tests.peers.options_file import OptionsFile
from tests.peers.proxies import (
    PASSWORD,
    USER,
    WRONG,
    RunningProxy,
    needs_microsocks,
    needs_tinyproxy,
    running_microsocks,
    running_tinyproxy,
)
from tests.peers.steps import trouble_of

pytestmark = [needs_dovecot, needs_microsocks, needs_tinyproxy]

HOST = "localhost"
MAIL = b"Message-ID: <1@test>\r\nSubject: disk full\r\nFrom: monitor@test\r\n\r\nhost web01\r\n"


@pytest.fixture(scope="session")
def dovecot(authority: PeerAuthority) -> Iterator[Dovecot]:
    """Run a mail server that offers STARTTLS, as `localhost`."""
    with running_dovecot(certificate=authority.server_file(HOST)) as server:
        yield server


@pytest.fixture
def mailbox(dovecot: Dovecot) -> Mailbox:
    """Give a mailbox with one mail, which arrived just now."""
    mailbox = dovecot.new_mailbox()
    mailbox.deliver(MAIL, arrived_s=time.time() + 1)
    return mailbox


@pytest.fixture
def trusting(authority: PeerAuthority) -> dict[str, Any]:
    """Give the environment of an agent that trusts the authority."""
    return {"SOURCE_CA_FILE": str(authority.file)}


@pytest.fixture
def socks(tmp_path: Path) -> Iterator[RunningProxy]:
    """Give a SOCKS5 proxy that listens."""
    with running_microsocks(tmp_path) as proxy:
        yield proxy


def add_mail(stage: Stage, port: int, mailbox: Mailbox, host: str = HOST, **columns: Any) -> None:
    stage.add(
        "mail",
        host,
        CONNECTION_METHOD_ID="4",
        REQUEST_METHOD_ID="5",
        PORT=port,
        USERNAME=mailbox.user,
        PASSWORD=MAIL_PASSWORD,
        **columns,
    )


async def subjects(stage: Stage, count: int) -> list[str]:
    await stage.workspace.wait_for(lambda workspace: workspace.count("mail") >= count, 20)
    return [event["subject"] for event in stage.workspace.acceptance.events_of("mail")]


async def test_only_the_mail_goes_through_the_socks_proxy_and_its_host_is_looked_up_there(
    stage: Stage, socks: RunningProxy, dovecot: Dovecot, mailbox: Mailbox, trusting: dict[str, Any]
) -> None:
    add_mail(stage, dovecot.port, mailbox, PROXY=socks.url())
    other = await stage.logs("web")
    await stage.start_collecting("mail", "web", **trusting)
    line = other.write("beside it")

    assert await subjects(stage, 1) == ["disk full"]
    assert await stage.arrived("web", 1) == [line]
    await polls(other, 3)
    await stage.stop()

    # By its name: only an address would be told as one.
    assert set(socks.made()) == {f"{HOST}:{dovecot.port}"}
    assert any("TLS" in line for line in dovecot.log_of(mailbox.user)), (
        "the proxy sees no password of the mailbox"
    )


async def test_the_password_of_the_socks_proxy_may_be_in_a_file(
    stage: Stage,
    socks: RunningProxy,
    dovecot: Dovecot,
    mailbox: Mailbox,
    options: OptionsFile,
    trusting: dict[str, Any],
) -> None:
    add_mail(stage, dovecot.port, mailbox)
    way = {"url": socks.bare_url, "username": USER, "password_file": options.keep("password", PASSWORD)}
    await stage.start(**trusting, **options.say(mail={"proxy": way}))
    assert await subjects(stage, 1) == ["disk full"]
    await stage.stop()
    assert set(socks.made()) == {f"{HOST}:{dovecot.port}"}


async def test_a_proxy_of_the_environment_is_not_for_mail(
    stage: Stage,
    socks: RunningProxy,
    dovecot: Dovecot,
    mailbox: Mailbox,
    trusting: dict[str, Any],
    tmp_path: Path,
) -> None:
    with running_tinyproxy(tmp_path) as http_proxy:
        add_mail(stage, dovecot.port, mailbox, PROXY=socks.url())
        await stage.start(**trusting, HTTP_PROXY=http_proxy.url(), HTTPS_PROXY=http_proxy.url())
        assert await subjects(stage, 1) == ["disk full"]
        await stage.stop()
        assert set(socks.made()) == {f"{HOST}:{dovecot.port}"}
        assert all(stage.workspace.url in target for target in http_proxy.asked())
        assert http_proxy.asked() != []


async def test_a_tunnel_through_an_http_proxy(
    stage: Stage, dovecot: Dovecot, mailbox: Mailbox, trusting: dict[str, Any], tmp_path: Path
) -> None:
    with running_tinyproxy(tmp_path) as proxy:
        add_mail(stage, dovecot.port, mailbox, PROXY=proxy.url())
        await stage.start(**trusting)
        assert await subjects(stage, 1) == ["disk full"]
        await stage.stop()
        assert set(proxy.asked()) == {f"CONNECT {HOST}:{dovecot.port}"}


@pytest.mark.parametrize("kind", ["socks", "http"])
async def test_a_wrong_password_is_told_with_the_remedy_and_without_the_password(
    stage: Stage,
    dovecot: Dovecot,
    mailbox: Mailbox,
    trusting: dict[str, Any],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    kind: str,
) -> None:
    running = running_microsocks if kind == "socks" else running_tinyproxy
    with running(tmp_path) as proxy:
        add_mail(stage, dovecot.port, mailbox, PROXY=proxy.url(WRONG))
        await stage.start(**trusting)
        trouble = await trouble_of(stage, "mail")
        await stage.stop()
    assert "the proxy refused the connection" in trouble
    assert "check PROXY of the setting" in trouble
    assert proxy.made() == []
    assert WRONG not in trouble + caplog.text
    assert MAIL_PASSWORD not in trouble + caplog.text


async def test_a_host_that_the_proxy_cannot_look_up_is_told_by_the_proxy(
    stage: Stage, socks: RunningProxy, dovecot: Dovecot, mailbox: Mailbox
) -> None:
    add_mail(stage, dovecot.port, mailbox, "mail.nowhere.invalid", PROXY=socks.url())
    await stage.start()
    trouble = await trouble_of(stage, "mail")
    await stage.stop()
    assert f"the proxy refused the connection to mail.nowhere.invalid:{dovecot.port}" in trouble


async def test_a_proxy_that_is_down_is_told(
    stage: Stage, dovecot: Dovecot, mailbox: Mailbox, tmp_path: Path
) -> None:
    with running_microsocks(tmp_path) as proxy:
        pass  # its port is free now
    add_mail(stage, dovecot.port, mailbox, PROXY=proxy.url())
    await stage.start()
    trouble = await trouble_of(stage, "mail")
    await stage.stop()
    assert "the proxy on the way to" in trouble
    assert "check PROXY of the setting" in trouble


async def test_a_denied_host_is_refused_before_the_proxy_is_asked(
    stage: Stage, dovecot: Dovecot, mailbox: Mailbox, tmp_path: Path
) -> None:
    with running_tinyproxy(tmp_path) as proxy:
        add_mail(stage, dovecot.port, mailbox, PROXY=proxy.url())
        await stage.start(SOURCE_DENIED_HOSTS=HOST)
        trouble = await trouble_of(stage, "mail")
        await stage.stop()
    assert f"{HOST} matches {HOST} in SOURCE_DENIED_HOSTS" in trouble
    assert proxy.asked() == []


async def test_a_proxy_in_a_denied_network_is_not_connected_to(
    stage: Stage, socks: RunningProxy, dovecot: Dovecot, mailbox: Mailbox
) -> None:
    add_mail(stage, dovecot.port, mailbox, PROXY=socks.url())
    await stage.start(SOURCE_DENIED_NETWORKS="127.0.0.0/8")
    trouble = await trouble_of(stage, "mail")
    await stage.stop()
    assert "127.0.0.1 is in 127.0.0.0/8, which SOURCE_DENIED_NETWORKS forbids" in trouble
    assert socks.made() == []
