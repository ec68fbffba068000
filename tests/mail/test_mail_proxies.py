"""Mail through SOCKS5 and HTTP proxies, for the connection of one setting only (defect D14)."""

from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from oase_agent.errors import Reason, SettingRejected, SourceUnavailable
from oase_agent.model import Secret, Setting
from oase_agent.sources.egress import EgressPolicy
from oase_agent.sources.mail.route import MailPolicy, mail_proxy_of
from oase_agent.sources.options import SourceOptions, SourceProxy
from tests.mail.mail_stage import SETTING, mail_source, read_all
from tests.mail.scripted_imap import ScriptedImap
from tests.mail.socks_proxy import SocksProxy
from tests.unit.source_servers import forward_proxy

# A name that only the proxy can resolve, on a network that is trusted.
FAR = "mail.inside.test"
TRUSTED = MailPolicy(plaintext_hosts=(FAR,))
USER_PASS = "Basic dXNlcjpwYXNz"


def far(proxy: str, **columns: Any) -> Setting:
    return replace(SETTING, url=FAR, port=143, proxy=proxy, **columns)


async def failure(place: Path, setting: Setting, **source: Any) -> SourceUnavailable:
    with pytest.raises(SourceUnavailable) as caught:
        await read_all(mail_source(place, **({"policy": TRUSTED} | source)), setting)
    assert "pass" not in str(caught.value).replace("password", "")
    return caught.value


@pytest.mark.parametrize("scheme", ["socks5://", "socks5h://", "", "https://"])
async def test_a_socks_proxy_is_asked_for_the_name_of_the_server(scheme: str, tmp_path: Path) -> None:
    async with ScriptedImap().serving() as server, SocksProxy(server.port).serving() as proxy:
        setting = far(f"{scheme}127.0.0.1:{proxy.port}")
        assert len(await read_all(mail_source(tmp_path, policy=TRUSTED), setting)) == 2
        assert proxy.asked == [(FAR, 143)]
        # Another setting of the same source goes there by itself.
        assert len(await read_all(mail_source(tmp_path), server.setting())) == 2
        assert len(proxy.asked) == 1


async def test_a_socks_proxy_may_want_a_login(tmp_path: Path) -> None:
    async with (
        ScriptedImap().serving() as server,
        SocksProxy(server.port, credentials="user:p@ss").serving() as proxy,
    ):
        where = f"127.0.0.1:{proxy.port}"
        assert len(await read_all(mail_source(tmp_path, policy=TRUSTED), far(f"user:p%40ss@{where}"))) == 2
        assert "gave the login" in str(await failure(tmp_path, far(f"user:other@{where}")))
        assert "another kind of login" in str(await failure(tmp_path, far(where)))


async def test_the_options_of_a_setting_may_name_another_proxy(tmp_path: Path) -> None:
    async with (
        ScriptedImap().serving() as server,
        SocksProxy(server.port, credentials="user:secret").serving() as proxy,
    ):
        options = SourceOptions(
            proxy=SourceProxy(f"socks5://127.0.0.1:{proxy.port}", "user", Secret("secret"))
        )
        source = mail_source(tmp_path, policy=TRUSTED, options_of=lambda _name: options)
        assert len(await read_all(source, far("nonsense"))) == 2
        assert proxy.asked == [(FAR, 143)]


async def test_an_http_proxy_is_asked_for_a_tunnel(tmp_path: Path) -> None:
    async with ScriptedImap().serving() as server, forward_proxy(USER_PASS) as proxy:
        setting = server.setting(proxy=f"http://user:pass@127.0.0.1:{proxy.port}")
        policy = MailPolicy(plaintext_hosts=("127.0.0.1",))
        assert len(await read_all(mail_source(tmp_path, policy=policy), setting)) == 2
        assert proxy.only_request.line == f"CONNECT 127.0.0.1:{server.port} HTTP/1.1"
        refused = await failure(
            tmp_path, replace(setting, proxy=f"http://127.0.0.1:{proxy.port}"), policy=policy
        )
        assert refused.reason is Reason.PROXY
        assert "gave status 407: check PROXY" in str(refused)


async def test_loopback_behind_a_proxy_is_not_ours_so_it_gets_no_password_in_clear(tmp_path: Path) -> None:
    async with ScriptedImap().serving() as server, SocksProxy(server.port).serving() as proxy:
        setting = server.setting(proxy=f"127.0.0.1:{proxy.port}")
        error = await failure(tmp_path, setting, policy=MailPolicy())
        assert error.reason is Reason.TLS
        assert "list 127.0.0.1 in IMAP_PLAINTEXT_HOSTS" in str(error)
        assert [command for command in server.said if command.startswith(("LOGIN", "AUTH"))] == []


@pytest.mark.parametrize(
    ("status", "why"), [(5, "connection refused"), (2, "not allowed by its rules"), (99, "does not name")]
)
async def test_a_refusal_of_the_proxy_says_why(status: int, why: str, tmp_path: Path) -> None:
    async with SocksProxy(1, status=status).serving() as proxy:
        error = await failure(tmp_path, far(f"127.0.0.1:{proxy.port}"))
    assert error.reason is Reason.PROXY
    assert why in str(error)


async def test_what_is_no_proxy_is_told_apart(tmp_path: Path) -> None:
    async with ScriptedImap().serving() as server:
        where = f"127.0.0.1:{server.port}"
        assert "no SOCKS5" in str(await failure(tmp_path, far(where)))
        assert "no HTTP" in str(await failure(tmp_path, far(f"http://{where}")))
    error = await failure(tmp_path, far("127.0.0.1:1"))
    assert error.reason is Reason.PROXY
    assert "cannot be reached (Connection refused)" in str(error)


async def test_the_egress_policy_judges_the_proxy_and_the_server_behind_it(tmp_path: Path) -> None:
    setting = far("127.0.0.1:1080")
    no_loopback = EgressPolicy(denied=(ip_network("127.0.0.0/8"),))
    for egress in (
        no_loopback,
        EgressPolicy(denied_hosts=(FAR,)),
        EgressPolicy(allowed_ports=((1080, 1080),)),
        EgressPolicy(allowed_ports=((143, 143),)),
    ):
        error = await failure(tmp_path, setting, egress=egress)
        assert error.reason is Reason.EGRESS_DENIED
    direct = replace(setting, url="localhost", proxy=None)
    assert (await failure(tmp_path, direct, egress=no_loopback)).reason is Reason.EGRESS_DENIED


@pytest.mark.parametrize("text", ["http://host", "socks5://", "host:0", "host:70000", "[::1", "ho st:1080"])
def test_a_proxy_that_cannot_be_read_rejects_the_setting(text: str) -> None:
    with pytest.raises(SettingRejected, match="PROXY of the setting cannot be read"):
        mail_proxy_of(replace(SETTING, proxy=text))
