"""TLS as a real nginx speaks it: private authorities, client certificates, names, what has ended, what is too old."""

from pathlib import Path

import pytest

from tests.acceptance.stage import Stage
from tests.peers.authority import PeerAuthority
from tests.peers.nginx import needs_nginx, running_nginx
from tests.peers.options_file import OptionsFile
from tests.peers.steps import trouble_of

pytestmark = needs_nginx

EVENTS = [{"id": "1"}]
WANTS_CLIENT = "ssl_verify_client on; ssl_client_certificate {authority};"


@pytest.fixture
def other_authority(tmp_path: Path) -> PeerAuthority:
    """Give an authority that nobody here asked for."""
    place = tmp_path / "other-authority"
    place.mkdir()
    return PeerAuthority(place)


def certificate_and_key(identity: Path) -> tuple[Path, Path]:
    """Split a file with a key and a certificate into two."""
    begin = "-----BEGIN CERTIFICATE-----"
    key, _, certificate = identity.read_text().partition(begin)
    key_file, certificate_file = identity.with_suffix(".key"), identity.with_suffix(".crt")
    key_file.write_text(key)
    certificate_file.write_text(begin + certificate)
    return certificate_file, key_file


@pytest.mark.parametrize("files", ["one file", "two files"])
async def test_a_client_certificate_of_the_options_file_opens_a_server_that_wants_one(
    stage: Stage, authority: PeerAuthority, options: OptionsFile, tmp_path: Path, files: str
) -> None:
    identity = authority.identity(f"agent of {files.replace(' ', '-')}")
    block = {"ca_file": str(authority.file), "client_cert_file": str(identity)}
    if files == "two files":
        certificate, key = certificate_and_key(identity)
        block |= {"client_cert_file": str(certificate), "client_key_file": str(key)}
    wants = WANTS_CLIENT.format(authority=authority.file)
    with running_nginx(tmp_path, wants, certificate=authority.server_file("127.0.0.1")) as server:
        server.say(EVENTS)
        stage.add("web", server.url("/alerts.json"), EVENT_ID_KEY="id")
        await stage.start(**options.say(web=block))
        assert await stage.arrived("web", 1) == ["1"]
        await stage.stop()
        assert {request["client"] for request in server.requests()} == {f"CN={identity.stem}"}


async def test_without_a_client_certificate_such_a_server_gives_nothing(
    stage: Stage, authority: PeerAuthority, tmp_path: Path
) -> None:
    wants = WANTS_CLIENT.format(authority=authority.file)
    with running_nginx(tmp_path, wants, certificate=authority.server_file("127.0.0.1")) as server:
        server.say(EVENTS)
        stage.add("web", server.url("/alerts.json"), EVENT_ID_KEY="id")
        await stage.start(SOURCE_CA_FILE=str(authority.file))
        trouble = await trouble_of(stage, "web")
        await stage.stop()
    # nginx lets the handshake pass and then answers with 400, whatever is wrong about the certificate.
    assert trouble.startswith(f"127.0.0.1:{server.port} answered with status 400: if it wants a certificate")
    assert "client_cert_file in SOURCE_OPTIONS_FILE" in trouble
    assert stage.workspace.count("web") == 0


async def test_a_client_certificate_of_another_authority_opens_nothing(
    stage: Stage,
    authority: PeerAuthority,
    other_authority: PeerAuthority,
    options: OptionsFile,
    tmp_path: Path,
) -> None:
    block = {"ca_file": str(authority.file), "client_cert_file": str(other_authority.identity("stranger"))}
    wants = WANTS_CLIENT.format(authority=authority.file)
    with running_nginx(tmp_path, wants, certificate=authority.server_file("127.0.0.1")) as server:
        server.say(EVENTS)
        stage.add("web", server.url("/alerts.json"), EVENT_ID_KEY="id")
        await stage.start(**options.say(web=block))
        trouble = await trouble_of(stage, "web")
        await stage.stop()
    assert "client_cert_file in SOURCE_OPTIONS_FILE" in trouble
    assert stage.workspace.count("web") == 0


async def test_a_client_certificate_is_not_shown_to_a_server_that_the_source_redirects_to(
    stage: Stage, authority: PeerAuthority, options: OptionsFile, tmp_path: Path
) -> None:
    certificate = authority.server_file("127.0.0.1")
    asks = f"ssl_verify_client optional; ssl_client_certificate {authority.file};"
    with running_nginx(tmp_path / "target", asks, certificate=certificate) as target:
        target.say(EVENTS)
        away = f"{asks} return 302 {target.url('/alerts.json')};"
        with running_nginx(tmp_path / "source", away, certificate=certificate) as source:
            stage.add("web", source.url("/"), EVENT_ID_KEY="id")
            block = {"client_cert_file": str(authority.identity("agent"))}
            await stage.start(**options.say(web=block), SOURCE_CA_FILE=str(authority.file))
            assert await stage.arrived("web", 1) == ["1"]
            await stage.stop()
            assert {request["client"] for request in source.requests()} == {"CN=agent"}
        assert {request["client"] for request in target.requests()} == {""}


async def test_an_unknown_authority_is_told_with_the_options_that_make_it_known(
    stage: Stage,
    authority: PeerAuthority,
    other_authority: PeerAuthority,
    options: OptionsFile,
    tmp_path: Path,
) -> None:
    with running_nginx(tmp_path, certificate=authority.server_file("127.0.0.1")) as server:
        server.say(EVENTS)
        stage.add("web", server.url("/alerts.json"), EVENT_ID_KEY="id")
        await stage.start(**options.say(web={"ca_file": str(other_authority.file)}))
        trouble = await trouble_of(stage, "web")
        await stage.stop()
        assert server.requests() == []
    assert "is not trusted" in trouble
    assert "SOURCE_CA_FILE" in trouble
    assert "ca_file in SOURCE_OPTIONS_FILE" in trouble


async def test_a_certificate_that_has_ended_is_told_as_such(
    stage: Stage, authority: PeerAuthority, tmp_path: Path
) -> None:
    with running_nginx(tmp_path, certificate=authority.expired_server_file("localhost")) as server:
        server.say(EVENTS)
        stage.add("web", server.url("/alerts.json", "localhost"), EVENT_ID_KEY="id")
        await stage.start(SOURCE_CA_FILE=str(authority.file))
        trouble = await trouble_of(stage, "web")
        await stage.stop()
        assert server.requests() == []
    assert "is out of date (certificate has expired): renew it there" in trouble
    assert "TLS_INSECURE_HOSTS" not in trouble


async def test_a_certificate_for_another_name_is_told_as_such(
    stage: Stage, authority: PeerAuthority, tmp_path: Path
) -> None:
    with running_nginx(tmp_path, certificate=authority.server_file("alerts.example")) as server:
        server.say(EVENTS)
        stage.add("web", server.url("/alerts.json", "localhost"), EVENT_ID_KEY="id")
        await stage.start(SOURCE_CA_FILE=str(authority.file))
        trouble = await trouble_of(stage, "web")
        await stage.stop()
        assert server.requests() == []
    assert "is for another host (Hostname mismatch, certificate is not valid for 'localhost')" in trouble
    assert "SOURCE_CA_FILE" not in trouble


@pytest.mark.parametrize("insecure", [False, True], ids=["verified", "TLS_INSECURE_HOSTS"])
async def test_a_server_that_speaks_tls_1_0_only_is_refused(
    stage: Stage, authority: PeerAuthority, tmp_path: Path, insecure: bool
) -> None:
    old = "ssl_protocols TLSv1; ssl_ciphers ALL:@SECLEVEL=0;"
    insecure_hosts = "127.0.0.1" if insecure else ""
    with running_nginx(tmp_path, old, certificate=authority.server_file("127.0.0.1")) as server:
        server.say(EVENTS)
        stage.add("web", server.url("/alerts.json"), EVENT_ID_KEY="id")
        await stage.start(SOURCE_CA_FILE=str(authority.file), TLS_INSECURE_HOSTS=insecure_hosts)
        trouble = await trouble_of(stage, "web")
        await stage.stop()
        assert server.requests() == []
    assert trouble.startswith(f"127.0.0.1:{server.port} offers no TLS that is new enough")
    assert "let it speak TLS 1.2 or 1.3" in trouble


async def test_a_name_and_an_address_get_each_their_own_certificate(
    stage: Stage, authority: PeerAuthority, tmp_path: Path
) -> None:
    named = authority.server_file("localhost")
    by_name = (
        "server { listen 127.0.0.1:{port} ssl; server_name localhost; "
        f'ssl_certificate {named}; ssl_certificate_key {named}; return 200 \'[{{"id": "by name"}}]\'; }}'
    )
    certificate = authority.server_file("127.0.0.1")
    with running_nginx(tmp_path, "server_name _;", http=by_name, certificate=certificate) as server:
        server.say([{"id": "by address"}])
        stage.add("named", server.url("/alerts.json", "localhost"), EVENT_ID_KEY="id")
        stage.add("addressed", server.url("/alerts.json"), EVENT_ID_KEY="id")
        await stage.start(SOURCE_CA_FILE=str(authority.file))
        assert await stage.arrived("named", 1) == ["by name"]
        assert await stage.arrived("addressed", 1) == ["by address"]
        await stage.stop()
        assert {request["server_name"] for request in server.requests()} == {"localhost", ""}


async def test_a_plain_request_to_a_port_with_tls_is_told(
    stage: Stage, authority: PeerAuthority, tmp_path: Path
) -> None:
    with running_nginx(tmp_path, certificate=authority.server_file("127.0.0.1")) as server:
        stage.add("web", server.url("/alerts.json").replace("https", "http"), EVENT_ID_KEY="id")
        await stage.start()
        # A certificate is nothing that could be shown over http.
        assert (await trouble_of(stage, "web")).endswith("answered with status 400")
        await stage.stop()
