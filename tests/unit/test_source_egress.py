"""The egress policy by itself: which addresses, hosts and ports it lets through (promise S4)."""

import socket
from ipaddress import ip_network

import pytest

from oase_agent.config.sources import EgressOptions
from oase_agent.sources.egress import EgressDenied, EgressPolicy

METADATA = EgressPolicy(denied=(ip_network("169.254.169.254/32"), ip_network("fd00:ec2::254/128")))
NO_LOOPBACK = EgressPolicy(denied=(ip_network("127.0.0.0/8"), ip_network("::1/128")))
ONLY_TEN = EgressPolicy(
    allowed=(ip_network("10.0.0.0/8"), ip_network("fd00::/8")), denied=(ip_network("10.9.0.0/16"),)
)
HOSTS = EgressPolicy(
    allowed_hosts=("*.example.com", "10.0.0.7", "[fd00::7]"),
    denied_hosts=("secret.example.com", "*.in.example.com"),
)
PORTS = EgressPolicy(allowed_ports=((443, 443), (8000, 8999)))


def default_policy() -> EgressPolicy:
    egress = EgressOptions()
    return EgressPolicy(
        egress.allowed_networks,
        egress.denied_networks,
        egress.allowed_hosts,
        egress.denied_hosts,
        egress.allowed_ports,
    )


@pytest.mark.parametrize(
    ("policy", "address", "option"),
    [
        (METADATA, "169.254.169.254", "SOURCE_DENIED_NETWORKS"),
        (METADATA, "::ffff:169.254.169.254", "SOURCE_DENIED_NETWORKS"),
        (METADATA, "64:ff9b::a9fe:a9fe", "SOURCE_DENIED_NETWORKS"),
        (METADATA, "2002:a9fe:a9fe::1", "SOURCE_DENIED_NETWORKS"),
        (METADATA, "fd00:ec2::254", "SOURCE_DENIED_NETWORKS"),
        (METADATA, "fd00:ec2::254%eth0", "SOURCE_DENIED_NETWORKS"),
        (NO_LOOPBACK, "0.0.0.0", "SOURCE_DENIED_NETWORKS"),
        (NO_LOOPBACK, "::", "SOURCE_DENIED_NETWORKS"),
        (NO_LOOPBACK, "::ffff:0.0.0.0", "SOURCE_DENIED_NETWORKS"),
        (EgressPolicy(denied=(ip_network("fe80::/10"),)), "fe80::1%eth0", "SOURCE_DENIED_NETWORKS"),
        (EgressPolicy(denied=(ip_network("::ffff:127.0.0.0/104"),)), "127.0.0.1", "SOURCE_DENIED_NETWORKS"),
        (ONLY_TEN, "10.9.1.1", "SOURCE_DENIED_NETWORKS"),
        (ONLY_TEN, "64:ff9b::10.9.1.1", "SOURCE_DENIED_NETWORKS"),
        (ONLY_TEN, "11.0.0.1", "SOURCE_ALLOWED_NETWORKS"),
        (ONLY_TEN, "2002:a00:1::1", "SOURCE_ALLOWED_NETWORKS"),
        (ONLY_TEN, "::1", "SOURCE_ALLOWED_NETWORKS"),
    ],
)
def test_an_address_is_denied_with_the_option_that_says_so(
    policy: EgressPolicy, address: str, option: str
) -> None:
    with pytest.raises(EgressDenied) as caught:
        policy.check(address)
    assert caught.value.option == option
    assert option in caught.value.verdict


@pytest.mark.parametrize(
    ("policy", "address"),
    [
        (EgressPolicy(), "169.254.169.254"),
        (METADATA, "127.0.0.1"),
        (METADATA, "fe80::1%eth0"),
        (METADATA, "64:ff9b::10.0.0.1"),
        (ONLY_TEN, "10.8.1.1"),
        (ONLY_TEN, "::ffff:10.8.1.1"),
        (ONLY_TEN, "64:ff9b::10.8.1.1"),
        (ONLY_TEN, "fd00::1"),
    ],
)
def test_other_addresses_are_allowed(policy: EgressPolicy, address: str) -> None:
    policy.check(address)


@pytest.mark.parametrize(
    ("policy", "host", "port", "verdict"),
    [
        (
            METADATA,
            "0xa9fea9fe",
            80,
            "169.254.169.254 is in 169.254.169.254/32, which SOURCE_DENIED_NETWORKS forbids",
        ),
        (METADATA, "[::ffff:a9fe:a9fe]", 80, "169.254.169.254 is in"),
        (
            METADATA,
            "[64:ff9b::a9fe:a9fe]",
            80,
            "64:ff9b::a9fe:a9fe, which leads to 169.254.169.254, is in 169.254.169.254/32",
        ),
        (ONLY_TEN, "192.168.0.1", 80, "192.168.0.1 is in no network of SOURCE_ALLOWED_NETWORKS: add one"),
        (HOSTS, "example.com", 80, "example.com matches no entry of SOURCE_ALLOWED_HOSTS: add one"),
        (HOSTS, "10.0.0.8", 80, "10.0.0.8 matches no entry of SOURCE_ALLOWED_HOSTS"),
        (
            HOSTS,
            "SECRET.example.com.",
            80,
            "secret.example.com matches secret.example.com in SOURCE_DENIED_HOSTS",
        ),
        (HOSTS, "a.in.example.com", 80, "a.in.example.com matches *.in.example.com in SOURCE_DENIED_HOSTS"),
        (PORTS, "a.example.com", 80, "port 80 of a.example.com is not in SOURCE_ALLOWED_PORTS"),
        (PORTS, "a.example.com", 9000, "port 9000 of a.example.com is not in SOURCE_ALLOWED_PORTS"),
        (EgressPolicy(), "a b", 80, "its host cannot be read"),
    ],
)
def test_a_target_is_denied_with_the_entry_that_matched_and_what_to_change(
    policy: EgressPolicy, host: str, port: int, verdict: str
) -> None:
    with pytest.raises(EgressDenied) as caught:
        policy.check_target(host, port)
    assert caught.value.verdict.startswith(verdict)


@pytest.mark.parametrize(
    ("policy", "host", "port", "judged"),
    [
        (EgressPolicy(), "Zabbix.Example.com.", 80, "zabbix.example.com"),
        (NO_LOOPBACK, "localhost", 80, "localhost"),  # a name is not an address: its address is judged later
        (HOSTS, "a.EXAMPLE.com", 80, "a.example.com"),
        (HOSTS, "10.7", 80, "10.0.0.7"),
        (HOSTS, "fd00:0::7", 80, "fd00::7"),
        (PORTS, "a", 443, "a"),
        (PORTS, "a", 8999, "a"),
    ],
)
def test_other_targets_are_allowed_and_come_back_in_the_form_to_connect_to(
    policy: EgressPolicy, host: str, port: int, judged: str
) -> None:
    assert policy.check_target(host, port) == judged


def test_host_and_network_must_both_be_allowed_when_both_are_listed() -> None:
    both = EgressPolicy(allowed=(ip_network("10.0.0.0/8"),), allowed_hosts=("*.example.com", "11.0.0.1"))
    both.check_target("a.example.com", 80)
    both.check("10.0.0.1")
    for host, option in (("10.0.0.1", "SOURCE_ALLOWED_HOSTS"), ("11.0.0.1", "SOURCE_ALLOWED_NETWORKS")):
        with pytest.raises(EgressDenied) as caught:
            both.check_target(host, 80)
        assert caught.value.option == option


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",
        "169.254.170.2",
        "169.254.170.23",
        "168.63.129.16",
        "100.100.100.200",
        "fd00:ec2::254",
        "fd00:ec2::23",
        "fd20:ce::254",
        "::ffff:169.254.169.254",
        "64:ff9b::169.254.169.254",
    ],
)
def test_s4_cloud_metadata_is_denied_unless_the_operator_says_otherwise(address: str) -> None:
    with pytest.raises(EgressDenied):
        default_policy().check(address)


@pytest.mark.parametrize(
    "host", ["metadata.google.internal", "Metadata.Google.Internal.", "metadata", "instance-data"]
)
def test_s4_names_of_cloud_metadata_are_denied_because_a_proxy_may_resolve_them(host: str) -> None:
    with pytest.raises(EgressDenied):
        default_policy().check_target(host, 80)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "10.0.0.1", "169.254.1.1", "zabbix.example.com", "metadata.example.com"]
)
def test_other_hosts_are_allowed_by_default(host: str) -> None:
    default_policy().check_target(host, 12345)


def test_a_policy_with_a_host_that_is_none_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="'a/b' is no host name"):
        EgressPolicy(denied_hosts=("a/b",))


def test_the_socket_factory_makes_sockets_for_allowed_addresses_only() -> None:
    info = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", 80))
    with EgressPolicy().socket_factory(info) as made:
        assert made.family is socket.AF_INET
    with pytest.raises(EgressDenied):
        NO_LOOPBACK.socket_factory(info)
