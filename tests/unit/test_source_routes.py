"""Proxies and trust: which proxy and which TLS context a URL gets."""

import ssl
from dataclasses import replace

import pytest
from yarl import URL

from oase_agent.errors import Reason, SettingRejected, SourceUnavailable
from oase_agent.proxies import ProxyEnvironment
from oase_agent.sources.routes import Proxy, SourceTls, proxy_for, proxy_of
from oase_agent.tls import client_context
from tests.unit.source_servers import GET_SETTING


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, None),
        ("", None),
        ("  ", None),
        ("http://proxy.example:3128", Proxy("http://proxy.example:3128")),
        ("http://proxy.example:3128/", Proxy("http://proxy.example:3128")),
        (" HTTP://proxy.example:3128 ", Proxy("http://proxy.example:3128")),
        ("proxy.example:3128", Proxy("http://proxy.example:3128")),
        ("10.0.0.1:80", Proxy("http://10.0.0.1:80")),
        ("http://[::1]:3128", Proxy("http://[::1]:3128")),
        ("http://us%65r:p%40ss@proxy.example:3128", Proxy("http://proxy.example:3128", "Basic dXNlcjpwQHNz")),
        ("user:pass@proxy.example:3128", Proxy("http://proxy.example:3128", "Basic dXNlcjpwYXNz")),
    ],
)
def test_the_proxy_of_a_setting_is_read(text: str | None, expected: Proxy | None) -> None:
    assert proxy_of(replace(GET_SETTING, proxy=text)) == expected


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("http://hidden:port", "cannot be read"),
        ("http://hidden:70000", "cannot be read"),
        ("http://[hidden:80", "cannot be read"),
        ("http://hidden:0", "no port"),
        ("http://hidden", "no port"),
        ("hidden", "no port"),
        ("http://:3128", "no host"),
        ("socks5://hidden:3128", "plain HTTP proxy"),
        ("socks5://hidden:1080", "plain HTTP proxy"),
    ],
)
def test_a_proxy_that_cannot_be_used_is_rejected_without_being_shown(text: str, fault: str) -> None:
    with pytest.raises(SettingRejected, match=fault) as caught:
        proxy_of(replace(GET_SETTING, proxy=text))
    assert "PROXY of the setting" in str(caught.value)
    assert "hidden" not in str(caught.value)


def test_credentials_of_a_proxy_do_not_print() -> None:
    assert "dXNlcjpwYXNz" not in repr(proxy_of(replace(GET_SETTING, proxy="user:pass@proxy.example:3128")))


ENVIRONMENT = ProxyEnvironment(
    http="http://plain.example", https="http://user:pass@tunnel.example:3128", no_proxy="direct.example"
)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://source.example/", Proxy("http://plain.example:80")),
        ("https://source.example/", Proxy("http://tunnel.example:3128", "Basic dXNlcjpwYXNz")),
        ("https://direct.example/", None),
    ],
)
def test_the_environment_is_used_without_a_proxy_of_the_setting(url: str, expected: Proxy | None) -> None:
    assert proxy_for(GET_SETTING, ENVIRONMENT, URL(url)) == expected


@pytest.mark.parametrize("url", ["http://source.example/", "http://direct.example/"])
def test_the_proxy_of_the_setting_wins_even_over_no_proxy(url: str) -> None:
    setting = replace(GET_SETTING, proxy="own.example:3128")
    assert proxy_for(setting, ENVIRONMENT, URL(url)) == Proxy("http://own.example:3128")


def test_a_proxy_of_the_environment_that_cannot_be_used_is_named() -> None:
    with pytest.raises(
        SourceUnavailable, match="HTTPS_PROXY of the agent is not a plain HTTP proxy"
    ) as caught:
        proxy_for(GET_SETTING, ProxyEnvironment(https="socks5://p:1080"), URL("https://source.example/"))
    assert caught.value.reason is Reason.PROXY


@pytest.mark.parametrize(
    ("entry", "url", "is_verified"),
    [
        ("host.example", "https://host.example/", False),
        ("HOST.example ", "https://host.example:8443/", False),
        ("host.example:8443", "https://host.example:8443/", False),
        ("host.example:443", "https://host.example/", False),
        ("host.example:8443", "https://host.example/", True),
        ("example", "https://host.example/", True),
        ("host.example", "https://sub.host.example/", True),
        ("::1", "https://[::1]:8443/", False),
        ("[::1]:8443", "https://[::1]:8443/", False),
        ("[::1]:8443", "https://[::1]/", True),
    ],
)
def test_s1_only_listed_hosts_go_unverified(entry: str, url: str, is_verified: bool) -> None:
    context = SourceTls(client_context(), [entry]).context_for(URL(url))
    assert (context.verify_mode is ssl.CERT_REQUIRED) is is_verified
    assert context.check_hostname is is_verified


def test_s1_without_a_list_everything_is_verified() -> None:
    verified = client_context()
    assert SourceTls(verified).context_for(URL("https://host.example/")) is verified
