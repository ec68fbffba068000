"""Requests under an egress policy, over real sockets: redirects, proxies, and names that change (promise S4)."""

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from oase_agent.errors import Reason, SettingRejected, SourceUnavailable
from oase_agent.model import Setting
from oase_agent.proxies import ProxyEnvironment
from oase_agent.sources.egress import EgressPolicy
from oase_agent.sources.exchange import Exchange, SourceLimits
from oase_agent.sources.host_budget import HostBudget
from oase_agent.sources.redirects import Hop
from oase_agent.sources.routes import SourceTls
from oase_agent.sources.turns import Turns
from oase_agent.sources.urls import wire_url
from oase_agent.tls import client_context
from tests.unit.source_servers import (
    GET_SETTING,
    NOW_US,
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
OTHER_LOOPBACK = "127.0.0.2"
NOT_THE_OTHER = EgressPolicy(denied=(ip_network(f"{OTHER_LOOPBACK}/32"),))


class ScriptedResolver(AbstractResolver):
    """Answers each question about a name with its next list of addresses, and the last one from then on."""

    def __init__(self, answers: Mapping[str, Sequence[Sequence[str]]]) -> None:
        self.answers = {name: list(lists) for name, lists in answers.items()}
        self.asked: list[str] = []

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        self.asked.append(host)
        lists = self.answers[host]
        addresses = lists.pop(0) if len(lists) > 1 else lists[0]
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST,
            )
            for address in addresses
        ]

    async def close(self) -> None:
        pass


@asynccontextmanager
async def trap(port: int) -> AsyncIterator[list[str]]:
    """Listen on the other loopback address, and note every connection."""
    connections: list[str] = []

    def accept(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(str(writer.get_extra_info("sockname")[0]))
        writer.write(http_answer(b'"trapped"'))
        writer.close()

    async with await asyncio.start_server(accept, OTHER_LOOPBACK, port):
        yield connections


@asynccontextmanager
async def an_exchange(
    directory: Path, policy: EgressPolicy, resolver: ScriptedResolver, proxies: ProxyEnvironment | None = None
) -> AsyncIterator[Exchange]:
    async with Exchange(
        SourceLimits(timeout_s=10),
        SourceTls(client_context()),
        proxies or ProxyEnvironment(),
        policy,
        clock=lambda: NOW_US,
        spill_dir=directory,
        resolver=resolver,
    ) as exchange:
        yield exchange


async def ask(exchange: Exchange, url: str, setting: Setting = GET_SETTING) -> bytes:
    async with Turns(1, HostBudget()).turn(setting.name, timeout_s=10) as turn:
        answer = await exchange.answer(setting, Hop("GET", wire_url(url), {}), turn)
    with answer.body as body:
        return bytes(body.view())


async def denial(directory: Path, url: str, policy: EgressPolicy, **changes: ProxyEnvironment) -> str:
    async with a_source(directory, egress=policy, **changes) as source:
        with pytest.raises(SourceUnavailable) as caught:
            await fetch(source, url)
    assert caught.value.reason is Reason.EGRESS_DENIED
    return str(caught.value)


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "①②⑦.⓪.⓪.①", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0"],
)
async def test_s4_a_denied_address_is_never_connected_to(tmp_path: Path, host: str) -> None:
    async with serving(answering(http_answer())) as server:
        message = await denial(tmp_path, server.url("/?token=hidden", host), NO_LOOPBACK)
        assert server.requests == []
    assert "SOURCE_DENIED_NETWORKS" in message
    assert "hidden" not in message


async def test_s4_the_address_that_was_judged_is_the_one_connected_to_whatever_the_name_says_next(
    tmp_path: Path,
) -> None:
    resolver = ScriptedResolver({"rebinding.example": [["127.0.0.1"], [OTHER_LOOPBACK]]})
    async with (
        serving(answering(http_answer(b"[1]"))) as server,
        trap(server.port) as connections,
        an_exchange(tmp_path, NOT_THE_OTHER, resolver) as exchange,
    ):
        assert await ask(exchange, server.url(host="rebinding.example")) == b"[1]"
        assert resolver.asked == ["rebinding.example"]
        assert connections == []


async def test_s4_a_name_that_moved_to_a_denied_address_is_denied_at_its_next_connection(
    tmp_path: Path,
) -> None:
    resolver = ScriptedResolver({"rebinding.example": [["127.0.0.1"], [OTHER_LOOPBACK]]})
    async with serving(answering(http_answer(b"[1]"))) as server, trap(server.port) as connections:
        url = server.url(host="rebinding.example")
        async with an_exchange(tmp_path, NOT_THE_OTHER, resolver) as exchange:
            assert await ask(exchange, url) == b"[1]"
        async with an_exchange(tmp_path, NOT_THE_OTHER, resolver) as exchange:
            with pytest.raises(SourceUnavailable, match=f"{OTHER_LOOPBACK} is in") as caught:
                await ask(exchange, url)
        assert caught.value.reason is Reason.EGRESS_DENIED
        assert connections == []


async def test_s4_of_several_addresses_of_a_name_only_the_allowed_ones_are_connected_to(
    tmp_path: Path,
) -> None:
    resolver = ScriptedResolver({"both.example": [[OTHER_LOOPBACK, "127.0.0.1"]]})
    async with (
        serving(answering(http_answer(b"[1]"))) as server,
        trap(server.port) as connections,
        an_exchange(tmp_path, NOT_THE_OTHER, resolver) as exchange,
    ):
        assert await ask(exchange, server.url(host="both.example")) == b"[1]"
        assert connections == []


async def test_s4_a_name_with_only_denied_addresses_is_denied_and_not_merely_unreachable(
    tmp_path: Path,
) -> None:
    resolver = ScriptedResolver(
        {"cloud.example": [["169.254.169.254", "fd00:ec2::254", "64:ff9b::a9fe:a9fe"]]}
    )
    async with an_exchange(tmp_path, METADATA, resolver) as exchange:
        with pytest.raises(
            SourceUnavailable, match=r"cloud\.example:80 was not asked: .* SOURCE_DENIED_NETWORKS"
        ):
            await ask(exchange, "http://cloud.example/")


@pytest.mark.parametrize(
    ("policy", "location", "verdict"),
    [
        (METADATA, "http://169.254.169.254/latest/", "169.254.169.254 is in 169.254.169.254/32"),
        (METADATA, "//2852039166/latest/", "169.254.169.254 is in 169.254.169.254/32"),
        (
            EgressPolicy(denied_hosts=("*.internal",)),
            "http://metadata.Internal./",
            "metadata.internal matches",
        ),
        (
            EgressPolicy(allowed_hosts=("127.0.0.1",)),
            "http://localhost:{port}/next",
            "localhost matches no entry",
        ),
        (
            EgressPolicy(allowed_ports=((1024, 65535),)),
            "http://127.0.0.1:25/",
            "port 25 of 127.0.0.1 is not in",
        ),
        (
            EgressPolicy(allowed_hosts=("127.0.0.1",)),
            "http://127.0.0.1@evil.test/",
            "evil.test matches no entry",
        ),
    ],
)
async def test_s4_a_redirect_is_judged_like_the_first_request(
    tmp_path: Path, policy: EgressPolicy, location: str, verdict: str
) -> None:
    async with serving(lambda *_: asyncio.sleep(0)) as unused:
        port = unused.port
    async with serving(answering(redirect_to(location.format(port=port)))) as server:
        message = await denial(tmp_path, server.url(), policy)
        assert len(server.requests) == 1
    assert verdict in message


async def test_s4_the_second_redirect_is_judged_too(tmp_path: Path) -> None:
    async with (
        serving(answering(redirect_to("http://169.254.169.254/"))) as second,
        serving(answering(redirect_to(second.url()))) as first,
    ):
        message = await denial(tmp_path, first.url(), METADATA)
        assert len(second.requests) == 1
    assert "169.254.169.254:80 was not asked" in message


@pytest.mark.parametrize(
    "authority",
    ["good.example@{trap}", "good.example:80@{trap}", "good.example%2f@{trap}", "good.example%00@{trap}"],
)
async def test_s4_a_user_that_looks_like_an_allowed_host_does_not_help(
    tmp_path: Path, authority: str
) -> None:
    async with serving(answering(http_answer())) as server:
        url = f"http://{authority.format(trap=f'127.0.0.1:{server.port}')}/"
        message = await denial(tmp_path, url, EgressPolicy(allowed_hosts=("good.example",)))
        assert server.requests == []
    assert "127.0.0.1 matches no entry of SOURCE_ALLOWED_HOSTS" in message


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:{port}\\@good.example/",
        "http://127.0.0.1:{port}#@good.example/",
        "http://127.0.0.1:{port}?@good.example/",
        "http://127.0.0.1:{port}/@good.example/",
        "http://127.0.0.1%0a.good.example:{port}/",
    ],
)
async def test_s4_parsers_do_not_disagree_about_the_host(tmp_path: Path, url: str) -> None:
    resolver = ScriptedResolver({"good.example": [["169.254.169.254"]]})
    policy = replace(METADATA, allowed_hosts=("good.example",))
    async with (
        serving(answering(http_answer())) as server,
        an_exchange(tmp_path, policy, resolver) as exchange,
    ):
        with pytest.raises((SourceUnavailable, SettingRejected)):
            await ask(exchange, url.format(port=server.port))
        assert server.requests == []


async def test_s4_a_proxy_in_a_denied_network_is_not_used(tmp_path: Path) -> None:
    async with forward_proxy() as proxy:
        proxies = ProxyEnvironment(http=proxy.url())
        message = await denial(tmp_path, "http://source.example/", NO_LOOPBACK, proxies=proxies)
        assert proxy.requests == []
    assert "127.0.0.1 is in 127.0.0.0/8" in message


async def test_s4_a_proxy_whose_name_leads_to_a_denied_address_is_not_used(tmp_path: Path) -> None:
    resolver = ScriptedResolver({"proxy.example": [[OTHER_LOOPBACK]]})
    async with serving(answering(http_answer())) as server, trap(server.port) as connections:
        proxies = ProxyEnvironment(http=server.url(host="proxy.example"))
        async with an_exchange(tmp_path, NOT_THE_OTHER, resolver, proxies) as exchange:
            with pytest.raises(SourceUnavailable, match=f"{OTHER_LOOPBACK} is in") as caught:
                await ask(exchange, "http://source.example/")
        assert caught.value.reason is Reason.EGRESS_DENIED
        assert connections == []


@pytest.mark.parametrize(
    ("policy", "verdict"),
    [
        (
            EgressPolicy(allowed_hosts=("source.example",)),
            "127.0.0.1 matches no entry of SOURCE_ALLOWED_HOSTS",
        ),
        (EgressPolicy(allowed_ports=((80, 80),)), "of 127.0.0.1 is not in SOURCE_ALLOWED_PORTS"),
    ],
)
async def test_s4_the_proxy_of_a_setting_is_a_host_like_any_other(
    tmp_path: Path, policy: EgressPolicy, verdict: str
) -> None:
    async with forward_proxy() as proxy, a_source(tmp_path, egress=policy) as source:
        setting = replace(GET_SETTING, proxy=proxy.url())
        with pytest.raises(SourceUnavailable, match=verdict) as caught:
            await fetch(source, "http://source.example/", setting)
        assert caught.value.reason is Reason.EGRESS_DENIED
        assert proxy.requests == []


@pytest.mark.parametrize(
    "host",
    ["169.254.169.254", "2852039166", "0xa9fea9fe", "[::ffff:169.254.169.254]", "[64:ff9b::a9fe:a9fe]"],
)
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_s4_a_denied_address_is_not_reached_through_a_proxy_either(
    tmp_path: Path, scheme: str, host: str
) -> None:
    async with forward_proxy() as proxy:
        proxies = ProxyEnvironment(http=proxy.url(), https=proxy.url())
        await denial(tmp_path, f"{scheme}://{host}/", METADATA, proxies=proxies)
        assert proxy.requests == []


@pytest.mark.parametrize(
    ("policy", "url"),
    [
        (EgressPolicy(denied_hosts=("metadata.google.internal",)), "http://metadata.google.internal/"),
        (EgressPolicy(denied_hosts=("metadata.google.internal",)), "http://METADATA。google.internal./"),
        (EgressPolicy(allowed_ports=((1024, 65535),)), "http://source.example/"),
        (EgressPolicy(allowed_hosts=("127.0.0.1",)), "http://source.example/"),
    ],
)
async def test_s4_a_name_that_the_proxy_would_resolve_is_judged_as_a_name(
    tmp_path: Path, policy: EgressPolicy, url: str
) -> None:
    async with forward_proxy() as proxy:
        await denial(tmp_path, url, policy, proxies=ProxyEnvironment(http=proxy.url()))
        assert proxy.requests == []


async def test_a_listed_source_behind_a_listed_proxy_is_asked(tmp_path: Path) -> None:
    policy = EgressPolicy(
        allowed=(ip_network("127.0.0.1/32"),),
        allowed_hosts=("localhost", "127.0.0.1"),
        allowed_ports=((1024, 65535),),
    )
    async with serving(answering(http_answer(b"[1]"))) as server, forward_proxy() as proxy:
        proxies = ProxyEnvironment(http=proxy.url())
        async with a_source(tmp_path, egress=policy, proxies=proxies) as source:
            assert await fetch_bytes(source, server.url(host="localhost")) == b"[1]"
        assert len(proxy.requests) == 1


async def test_an_allowed_address_is_asked(tmp_path: Path) -> None:
    async with (
        serving(answering(http_answer(b"[1]"))) as server,
        a_source(tmp_path, egress=METADATA) as source,
    ):
        assert await fetch_bytes(source, server.url()) == b"[1]"
