"""The egress policy: which addresses may be connected to (promise S4)."""

import socket
from ipaddress import ip_network
from pathlib import Path

import pytest

from oase_agent.errors import Reason, SourceUnavailable
from oase_agent.proxies import ProxyEnvironment
from oase_agent.sources.egress import EgressDenied, EgressPolicy
from tests.unit.source_servers import (
    a_source,
    answering,
    fetch,
    fetch_bytes,
    forward_proxy,
    http_answer,
    redirect_to,
    serving,
)

METADATA = EgressPolicy(denied=(ip_network("169.254.169.254/32"), ip_network("fd00:ec2::254/128")))
NO_LOOPBACK = EgressPolicy(denied=(ip_network("127.0.0.0/8"), ip_network("::1/128")))
ONLY_TEN = EgressPolicy(
    allowed=(ip_network("10.0.0.0/8"), ip_network("fd00::/8")), denied=(ip_network("10.9.0.0/16"),)
)


@pytest.mark.parametrize(
    ("policy", "address", "option"),
    [
        (METADATA, "169.254.169.254", "SOURCE_DENIED_NETWORKS"),
        (METADATA, "::ffff:169.254.169.254", "SOURCE_DENIED_NETWORKS"),
        (METADATA, "fd00:ec2::254", "SOURCE_DENIED_NETWORKS"),
        (NO_LOOPBACK, "0.0.0.0", "SOURCE_DENIED_NETWORKS"),
        (NO_LOOPBACK, "::", "SOURCE_DENIED_NETWORKS"),
        (NO_LOOPBACK, "::ffff:0.0.0.0", "SOURCE_DENIED_NETWORKS"),
        (ONLY_TEN, "10.9.1.1", "SOURCE_DENIED_NETWORKS"),
        (ONLY_TEN, "11.0.0.1", "SOURCE_ALLOWED_NETWORKS"),
        (ONLY_TEN, "::1", "SOURCE_ALLOWED_NETWORKS"),
    ],
)
def test_an_address_is_denied_with_the_option_that_says_so(
    policy: EgressPolicy, address: str, option: str
) -> None:
    with pytest.raises(EgressDenied) as caught:
        policy.check(address)
    assert option in caught.value.verdict


@pytest.mark.parametrize(
    ("policy", "address"),
    [
        (EgressPolicy(), "169.254.169.254"),
        (METADATA, "127.0.0.1"),
        (METADATA, "fe80::1%eth0"),
        (ONLY_TEN, "10.8.1.1"),
        (ONLY_TEN, "::ffff:10.8.1.1"),
        (ONLY_TEN, "fd00::1"),
    ],
)
def test_other_addresses_are_allowed(policy: EgressPolicy, address: str) -> None:
    policy.check(address)


@pytest.mark.parametrize("host", ["169.254.169.254", "::ffff:169.254.169.254", "fd00:ec2::254"])
def test_a_literal_address_is_judged(host: str) -> None:
    with pytest.raises(EgressDenied):
        METADATA.check_literal(host)


def test_a_name_is_not_a_literal_address() -> None:
    NO_LOOPBACK.check_literal("localhost")


def test_the_socket_factory_makes_sockets_for_allowed_addresses_only() -> None:
    info = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", 80))
    with EgressPolicy().socket_factory(info) as made:
        assert made.family is socket.AF_INET
    with pytest.raises(EgressDenied):
        NO_LOOPBACK.socket_factory(info)


async def egress_denial(directory: Path, url: str, policy: EgressPolicy, **changes: ProxyEnvironment) -> str:
    async with a_source(directory, egress=policy, **changes) as source:
        with pytest.raises(SourceUnavailable) as caught:
            await fetch(source, url)
    assert caught.value.reason is Reason.EGRESS_DENIED
    return str(caught.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "[::1]", "[::ffff:127.0.0.1]"])
async def test_s4_a_denied_address_is_never_connected_to(tmp_path: Path, host: str) -> None:
    async with serving(answering(http_answer())) as server:
        message = await egress_denial(tmp_path, server.url("/?token=hidden", host), NO_LOOPBACK)
        assert server.requests == []
    assert "SOURCE_DENIED_NETWORKS" in message
    assert "hidden" not in message


async def test_s4_a_redirect_to_a_denied_address_is_not_followed(tmp_path: Path) -> None:
    async with serving(answering(redirect_to("http://169.254.169.254/latest/"))) as server:
        message = await egress_denial(tmp_path, server.url(), METADATA)
    assert "169.254.169.254:80 was not asked" in message


async def test_s4_a_proxy_in_a_denied_network_is_not_used(tmp_path: Path) -> None:
    async with forward_proxy() as proxy:
        message = await egress_denial(
            tmp_path, "http://source.example/", NO_LOOPBACK, proxies=ProxyEnvironment(http=proxy.url())
        )
        assert proxy.requests == []
    assert "127.0.0.1" in message


@pytest.mark.parametrize("host", ["169.254.169.254", "2852039166", "0xa9fea9fe", "[::ffff:169.254.169.254]"])
async def test_s4_a_denied_address_is_not_reached_through_a_proxy_either(tmp_path: Path, host: str) -> None:
    async with forward_proxy() as proxy:
        proxies = ProxyEnvironment(http=proxy.url())
        await egress_denial(tmp_path, f"http://{host}/", METADATA, proxies=proxies)
        assert proxy.requests == []


async def test_an_allowed_address_is_asked(tmp_path: Path) -> None:
    async with (
        serving(answering(http_answer(b"[1]"))) as server,
        a_source(tmp_path, egress=METADATA) as source,
    ):
        assert await fetch_bytes(source, server.url()) == b"[1]"
