"""Hosts in one form, however they are spelled: what the lists of the egress policy are compared with."""

from ipaddress import IPv4Address, ip_address, ip_network

import pytest

from oase_agent.sources.host_names import (
    as_connected,
    carried_addresses,
    host_pattern,
    matches,
    normal_host,
    plain_network,
)


@pytest.mark.parametrize(
    ("spelled", "normal"),
    [
        ("Zabbix.EXAMPLE.com", "zabbix.example.com"),
        ("zabbix.example.com.", "zabbix.example.com"),
        ("zabbix.example.com..", "zabbix.example.com"),
        (" zabbix.example.com\n", "zabbix.example.com"),
        ("%7aabbix.example.com", "zabbix.example.com"),
        ("zabbix。example。com", "zabbix.example.com"),
        ("ⓩabbix.example.com", "zabbix.example.com"),
        ("\uff5aabbix.example.com", "zabbix.example.com"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("BÜCHER.example.", "xn--bcher-kva.example"),
        ("XN--BCHER-KVA.example", "xn--bcher-kva.example"),
        ("faß.example", "xn--fa-hia.example"),
        ("監視.example", "xn--6zyw21b.example"),
        ("a_service", "a_service"),
    ],
)
def test_a_name_has_one_form(spelled: str, normal: str) -> None:
    assert normal_host(spelled) == normal


@pytest.mark.parametrize(
    "spelled",
    [
        "127.0.0.1",
        "127.1",
        "127.0.1",
        "0x7f.1",
        "0x7F000001",
        "0177.0.0.1",
        "017700000001",
        "2130706433",
        "127.0.0.1.",
        "%31%32%37.0.0.1",
        "\uff11\uff12\uff17.\uff10.\uff10.\uff11",
        "①②⑦.⓪.⓪.①",
        "127。0。0。1",
        "0x7f。1",
        "0.0.0.0",
        "0",
        "[::ffff:127.0.0.1]",
        "::ffff:7f00:1",
        "0:0:0:0:0:ffff:7f00:0001",
    ],
)
def test_an_address_has_one_form_in_every_spelling(spelled: str) -> None:
    assert normal_host(spelled) == "127.0.0.1"


@pytest.mark.parametrize(
    ("spelled", "normal"),
    [
        ("[::1]", "::1"),
        ("0:0:0:0:0:0:0:1", "::1"),
        ("[::]", "::1"),
        ("FD00:EC2::0254", "fd00:ec2::254"),
        ("[fe80::1%eth0]", "fe80::1"),
        ("fe80::1%25eth0", "fe80::1"),
    ],
)
def test_an_ipv6_address_has_neither_brackets_nor_scope(spelled: str, normal: str) -> None:
    assert normal_host(spelled) == normal


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", ".", "[", "[]", "::g", "[::1", "[a]", "a b", "a\0b", "a\nb", "a:80", "\xad", "é" * 300),
        *(
            "127.0.0.1 x",
            "127.0.0.1%2f.good.example",
            "a%40b",
            "a%2523b",
            "a\\b",
            "127.0.0.1%00.good.example",
        ),
    ],
)
def test_what_is_no_host_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        normal_host(text)


@pytest.mark.parametrize(
    ("pattern", "host", "expected"),
    [
        ("example.com", "example.com", True),
        ("example.com", "a.example.com", False),
        ("*.example.com", "a.example.com", True),
        ("*.example.com", "a.b.example.com", True),
        ("*.example.com", "example.com", False),
        ("*.example.com", "badexample.com", False),
        ("*.example.com", "example.com.evil.test", False),
        ("*.Example.COM.", "A.EXAMPLE.com.", True),
        ("*.bücher.example", "neue.xn--bcher-kva.example", True),
        ("127.1", "127.0.0.1", True),
        ("[::1]", "::1", True),
        ("*.test", "10.0.0.1", False),
    ],
)
def test_a_pattern_is_a_host_or_every_name_below_one(pattern: str, host: str, expected: bool) -> None:
    assert matches(host_pattern(pattern), normal_host(host)) is expected


@pytest.mark.parametrize(
    "text",
    [
        "*",
        "*.",
        "",
        "a*.example.com",
        "*.*.example.com",
        "10.0.0.0/8",
        "example.com:443",
        "http://a",
        "u@a",
        "*.0.1",
    ],
)
def test_what_is_no_pattern_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no host name|wildcard before an address"):
        host_pattern(text)


@pytest.mark.parametrize(
    "address",
    [
        "::169.254.169.254",
        "::ffff:0:169.254.169.254",
        "64:ff9b::169.254.169.254",
        "64:ff9b:1::169.254.169.254",
        "64:ff9b:1:a9fe:a9:fe00::",
        "64:ff9b:1:a9:fe:a9fe::",
        "64:ff9b:1:0:a9:fea9:fe00:0",
        "2002:a9fe:a9fe::",
        "2001:0:a9fe:a9fe::1",
        "2001:0:1:1::5601:5601",
        "fe80::5efe:169.254.169.254",
        "2001:db8::200:5efe:169.254.169.254",
    ],
)
def test_an_ipv4_address_inside_an_ipv6_address_is_seen(address: str) -> None:
    assert IPv4Address("169.254.169.254") in carried_addresses(ip_address(address))


@pytest.mark.parametrize("address", ["10.0.0.1", "::1", "::", "fd00::1", "2001:db8::1", "fe80::1"])
def test_other_addresses_carry_none(address: str) -> None:
    assert carried_addresses(ip_address(address)) == ()


def test_ipv4_in_ipv6_clothes_is_ipv4() -> None:
    assert as_connected(ip_address("::ffff:10.0.0.1")) == ip_address("10.0.0.1")
    assert plain_network(ip_network("::ffff:10.0.0.0/104")) == ip_network("10.0.0.0/8")
    assert plain_network(ip_network("::/64")) == ip_network("::/64")
