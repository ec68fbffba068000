"""SOURCE_OPTIONS_FILE: what it may say, what comes of it, and how faults are told."""

import json
import os
import re
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
import yaml  # type: ignore[import-untyped]

from oase_agent.config.source_options.files import digests_now
from oase_agent.config.source_options.read import OptionsTable, Reading, read_source_options
from oase_agent.config.source_options.schema import COMMAND, render_schema
from oase_agent.config.source_options.trust import TlsContexts
from oase_agent.model import Secret
from oase_agent.sources.options import OAuth2Client, PageStyle, SourceOptions, SourceProxy, secrets_of_options
from tests.unit.source_servers import Authority

ROOT = Path(__file__).parents[2]
SECRET = "s3cr3t-hunter2"


def read(directory: Path, text: str, contexts: TlsContexts | None = None) -> Reading:
    file = directory / "options.yaml"
    file.write_text(text, encoding="utf-8")
    return read_source_options(file, contexts or TlsContexts(None))


def good(directory: Path, text: str) -> OptionsTable:
    reading = read(directory, text)
    assert reading.faults == ()
    assert reading.table is not None
    return reading.table


def options(directory: Path, block: str) -> SourceOptions:
    """Return the options of a setting `web` with this block, in flow style."""
    return good(directory, f"version: 1\nsources:\n  web: {block}\n").of("web")


def faults(directory: Path, block: str) -> str:
    reading = read(directory, f"version: 1\nsources:\n  web: {block}\n")
    assert reading.table is None
    return "\n".join(reading.faults)


# -- the documented example and the schema ----------------------------------------------------------------


def example() -> str:
    text = (ROOT / "docs" / "sources.md").read_text(encoding="utf-8")
    (found,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    return str(found)


def example_files(directory: Path) -> None:
    """Write the files that the example names."""
    (directory / "tls").mkdir()
    (directory / "secrets").mkdir()
    authority = Authority(directory)
    authority.file.rename(directory / "tls" / "ca.pem")
    both = authority.identity("agent")
    (directory / "tls" / "agent.pem").write_bytes(both.read_bytes())
    (directory / "tls" / "agent.key").write_bytes(both.read_bytes())
    for name in ("proxy-password", "api-key", "client-secret"):
        (directory / "secrets" / name).write_text(f"{name} {SECRET}\n")


def test_the_documented_example_gives_what_it_says(tmp_path: Path) -> None:
    example_files(tmp_path)
    table = good(tmp_path, example())

    grafana = table.of("grafana alerts")
    assert (grafana.interval_s, grafana.timeout_s, grafana.max_bytes) == (60, 20, 64 << 20)
    assert grafana.tls is not None
    assert grafana.tls.verify_mode is ssl.CERT_REQUIRED
    assert grafana.proxy == SourceProxy(
        "http://proxy.example:3128", "agent", Secret(f"proxy-password {SECRET}")
    )
    assert grafana.headers == {"X-Agent": Secret("oase"), "X-Api-Key": Secret(f"api-key {SECRET}")}
    assert not grafana.is_conditional

    desk = table.of("service desk")
    assert desk.oauth2 == OAuth2Client(
        "https://login.example/oauth2/token",
        "oase-agent",
        Secret(f"client-secret {SECRET}"),
        scope="tickets.read",
        audience="https://desk.example",
        sends_basic=False,
    )
    assert desk.pagination is not None
    assert (desk.pagination.style, desk.pagination.max_pages) == (PageStyle.TOKEN, 50)
    assert desk.is_conditional

    lab = table.of("lab")
    assert lab.tls is not None
    assert lab.tls.verify_mode is ssl.CERT_NONE
    assert lab.headers == {}
    assert table.insecure == ("lab",)
    assert table.of("any other setting") == SourceOptions(timeout_s=20, headers={"X-Agent": Secret("oase")})


def test_the_documented_example_fits_the_published_schema() -> None:
    schema = json.loads(render_schema())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(yaml.safe_load(example()), schema, jsonschema.Draft202012Validator)


@pytest.mark.parametrize(
    "block",
    [
        {"timout_s": 5},
        {"timeout_s": "5"},
        {"interval_s": 0.5},
        {"headers": {"X": {"file": "a", "value": "b"}}},
        {"headers": {"X": {}}},
        {"headers": {"X": "text"}},
        {"proxy": {"url": "http://user:pass@proxy:1"}},
        {"oauth2": {"token_url": "https://a", "client_id": "c", "client_secret": "inline"}},
        {"pagination": {"style": "guess"}},
        {"max_bytes": "64 parsecs"},
    ],
)
def test_the_schema_refuses_what_the_agent_refuses(tmp_path: Path, block: dict[str, Any]) -> None:
    (tmp_path / "a").write_text("secret")
    document = {"version": 1, "sources": {"web": block}}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, json.loads(render_schema()))
    assert read(tmp_path, json.dumps(document)).faults


def test_the_published_schema_is_up_to_date() -> None:
    published = (ROOT / "docs" / "source-options.schema.json").read_text(encoding="utf-8")
    assert published == render_schema(), f"run: {COMMAND}"


def test_the_command_of_the_schema_writes_it() -> None:
    module = COMMAND.split()[2]
    done = subprocess.run([sys.executable, "-m", module], capture_output=True, check=True, cwd=ROOT)
    assert done.stdout.decode() == render_schema()


def test_every_key_of_the_schema_is_described_and_in_the_example() -> None:
    schema = json.loads(render_schema())
    blocks = [schema, *schema["$defs"].values()]
    for name, key in ((name, key) for block in blocks for name, key in block["properties"].items()):
        assert key.get("description"), name
    for name in schema["$defs"]["SourceBlock"]["properties"]:
        assert re.search(rf"^ +{name}:", example(), re.MULTILINE), name


# -- values ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["version: 1\n", "version: 1\nsources:\n", "version: 1\nsources: {}\n"])
def test_a_file_may_say_nothing(tmp_path: Path, text: str) -> None:
    assert good(tmp_path, text).of("web") == SourceOptions()


@pytest.mark.parametrize(
    ("content", "secret"), [("a\n", "a"), ("a\r\n", "a"), ("a", "a"), ("a\n\n", "a\n"), (" a ", " a ")]
)
def test_one_newline_at_the_end_of_a_secret_is_dropped(tmp_path: Path, content: str, secret: str) -> None:
    (tmp_path / "secret").write_bytes(content.encode())
    found = options(tmp_path, "{oauth2: {token_url: 'https://a', client_id: c, client_secret_file: secret}}")
    assert found.oauth2 is not None
    assert found.oauth2.client_secret == Secret(secret)


def test_own_options_go_before_the_defaults_and_null_takes_one_away(tmp_path: Path) -> None:
    table = good(
        tmp_path,
        """
version: 1
defaults:
  interval_s: 30
  timeout_s: 10
  proxy: {url: "http://proxy:3128"}
  headers: {X-A: {value: default}, X-B: {value: default}}
sources:
  own: {timeout_s: 5, headers: {x-a: {value: own}}}
  direct: {proxy: null, headers: null}
""",
    )
    own = table.of("own")
    assert (own.interval_s, own.timeout_s) == (30, 5)
    assert own.proxy == SourceProxy("http://proxy:3128")
    assert own.headers == {"X-B": Secret("default"), "x-a": Secret("own")}
    direct = table.of("direct")
    assert (direct.proxy, direct.headers, direct.interval_s) == (None, {}, 30)


def test_an_own_authority_ends_insecure_of_the_defaults(tmp_path: Path) -> None:
    Authority(tmp_path)
    table = good(
        tmp_path,
        "version: 1\ndefaults: {insecure: true}\nsources: {web: {ca_file: authority.pem}, lab: {}}\n",
    )
    tls = table.of("web").tls
    assert tls is not None
    assert tls.verify_mode is ssl.CERT_REQUIRED
    assert table.insecure == ("lab", "every setting")


def test_settings_with_the_same_files_share_a_context_and_keep_it_when_the_file_is_read_again(
    tmp_path: Path,
) -> None:
    Authority(tmp_path)
    text = "version: 1\nsources: {a: {ca_file: authority.pem}, b: {ca_file: authority.pem}}\n"
    contexts = TlsContexts(None)
    first = read(tmp_path, text, contexts).table
    assert read(tmp_path, "version: 2\n", contexts).table is None
    second = read(tmp_path, text + "defaults: {timeout_s: 3}\n", contexts).table
    assert first is not None
    assert second is not None
    assert first.of("a").tls is first.of("b").tls is second.of("a").tls
    Authority(tmp_path)  # another one under the same name
    third = read(tmp_path, text, contexts).table
    assert third is not None
    assert third.of("a").tls is not second.of("a").tls


def test_every_secret_of_options_is_known_to_who_masks_and_none_prints(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / name).write_text(f"{name}-{SECRET}")
    found = options(
        tmp_path,
        "{proxy: {url: 'http://p:1', username: u, password_file: a}, headers: {X-K: {file: b}}, "
        "oauth2: {token_url: 'https://a', client_id: c, client_secret_file: c}}",
    )
    assert {secret.reveal() for secret in secrets_of_options(found)} == {f"{name}-{SECRET}" for name in "abc"}
    assert SECRET not in repr(found)


# -- faults ------------------------------------------------------------------------------------------------


def test_all_faults_are_listed_at_once_each_with_its_line(tmp_path: Path) -> None:
    reading = read(
        tmp_path,
        f"""\
version: 1
sorces: {{}}
defaults:
  timeout_s: 0.5
sources:
  web:
    timout_s: 5
    headers:
      X-Key: {SECRET}
    oauth2:
      token_url: https://login.example
      client_secret: {SECRET}
  "mail 1":
    ca_file: nowhere.pem
""",
    )
    assert reading.table is None
    assert [fault.removeprefix("SOURCE_OPTIONS_FILE, ") for fault in reading.faults] == [
        "line 2: sorces is not known: probably sources is meant.",
        "line 4: defaults.timeout_s cannot be used: give a number of seconds, 1 to 3600.",
        "line 7: sources.web.timout_s is not known: probably timeout_s is meant.",
        "line 9: sources.web.headers.X-Key cannot be used: give keys and values below it.",
        "line 10: sources.web.oauth2.client_id is missing: give a text.",
        "line 10: sources.web.oauth2.client_secret_file is missing: give the path of a readable file that holds the "
        "secret alone.",
        "line 12: sources.web.oauth2.client_secret is not known: secrets come from files, so give the path of one as "
        "client_secret_file.",
        "line 14: sources.'mail 1'.ca_file cannot be used (the file cannot be read: No such file or directory): give "
        "the path of a readable file in PEM.",
    ]


@pytest.mark.parametrize(
    ("block", "fault"),
    [
        ("{proxy: {url: 'http://user:%s@proxy:1'}}", "it holds credentials: use username and password_file"),
        ("{proxy: {url: 'https://proxy:1'}}", "its scheme is neither http nor socks5"),
        ("{proxy: {url: 'http://proxy'}}", "host or port is missing"),
        ("{proxy: {url: 'http://proxy:99999'}}", "its host or port cannot be read"),
        ("{proxy: {url: 'http://p:1', password: %s}}", "give the path of one as password_file"),
        ("{proxy: {url: 'http://p:1', password_file: secret}}", "has password_file without username"),
        ("{proxy: {url: 'http://p:1', username: 'a:b'}}", "a username with a colon"),
        ("{proxy: {url: 'socks5://p:1', username: a}}", "needs username and password_file for SOCKS"),
        ("{headers: {Authorization: {value: %s}}}", "Authorization is a secret"),
        ("{headers: {COOKIE: {value: %s}}}", "COOKIE is a secret"),
        ("{headers: {'X A': {value: %s}}}", "has a name with characters that HTTP does not allow"),
        ('{headers: {X: {value: "%s\\r\\nY: z"}}}', "X has a value with a line break"),
        ("{headers: {X: {file: two-lines}}}", "X has a value with a line break"),
        ("{headers: {Content-Length: {value: '1'}}}", "only the agent knows"),
        ("{headers: {x-a: {value: a}, X-A: {value: b}}}", "X-A is there twice"),
        ("{headers: {X: {file: secret, value: %s}}}", "needs either file or value"),
        ("{headers: {X: {file: empty}}}", "the file is empty"),
        ("{headers: {X: {file: large}}}", "the file is larger than 65536 bytes"),
        ("{headers: {X: {file: binary}}}", "the file is no UTF-8 text"),
        ("{headers: {X: {file: .}}}", "it is no plain file"),
        ("{headers: {X: {file: pipe}}}", "it is no plain file"),
        ("{ca_file: secret}", "the file holds no certificates in PEM"),
        ("{client_cert_file: secret}", "cannot be used together"),
        ("{client_cert_file: own.pem, client_key_file: other.pem}", "cannot be used together"),
        ("{client_cert_file: locked.pem}", "without a password"),
        ("{client_key_file: own.pem}", "has client_key_file without client_cert_file"),
        ("{insecure: true, ca_file: authority.pem}", "exclude each other"),
        ("{insecure: 'yes'}", "give true or false"),
        ("{max_bytes: 1}", "give a number of bytes, 64KiB to 16GiB"),
        ("{max_bytes: true}", "give a number of bytes"),
        ("{interval_s: .inf}", "give a number of seconds"),
        ("{interval_s: true}", "give a number of seconds"),
        (
            "{oauth2: {token_url: 'https://u:%s@a', client_id: c, client_secret_file: secret}}",
            "it holds credentials",
        ),
        (
            "{oauth2: {token_url: 'ftp://a', client_id: c, client_secret_file: secret}}",
            "it cannot be requested",
        ),
        ("{oauth2: {token_url: 'https://a', client_id: 5, client_secret_file: secret}}", "give a text"),
        (
            "{oauth2: {token_url: 'https://a', client_id: c, client_secret_file: secret}, "
            "headers: {authorization: {file: secret}}}",
            "exclude each other",
        ),
        ("{pagination: {style: token}}", "needs path and parameter for the style token"),
        ("{pagination: {style: pages}}", "give link_header, next_url, token, page or offset"),
        ("5", "sources.web cannot be used: give keys and values below it"),
        ("[1]", "sources.web cannot be used"),
        ("{timeout_s: 5, timeout_s: 6}", "timeout_s' is there already"),
        ("{timeout_s: 5", "line"),
        ("&a [*a]", "nested deeper"),
        ("!!python/object/apply:os.system [x]", "a tag is not allowed"),
    ],
)
def test_a_fault_is_told_without_a_value(tmp_path: Path, block: str, fault: str) -> None:
    (tmp_path / "secret").write_text(SECRET)
    (tmp_path / "two-lines").write_text(f"{SECRET}\n{SECRET}\n")
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "large").write_text("x" * 65537)
    (tmp_path / "binary").write_bytes(b"\xff")
    os.mkfifo(tmp_path / "pipe")
    authority = Authority(tmp_path)
    authority.identity("own")
    authority.identity("other")
    authority.identity("locked", password=b"a password")
    told = faults(tmp_path, block.replace("%s", SECRET))
    assert fault in told
    assert "SOURCE_OPTIONS_FILE" in told
    assert SECRET not in told


@pytest.mark.parametrize("text", ["", "- a\n", "version: 2\n", "version: true\n", "sources: {}\n"])
def test_a_file_of_another_kind_or_version_is_refused(tmp_path: Path, text: str) -> None:
    assert read(tmp_path, text).table is None


def test_a_file_that_is_too_large_is_refused(tmp_path: Path) -> None:
    reading = read(tmp_path, "version: 1\n" + "#" * (1 << 20))
    assert "larger than 1048576 bytes" in reading.faults[0]


def test_what_aliases_stand_for_stays_bounded(tmp_path: Path) -> None:
    lines = [
        "a0: &a0 {x: 1}",
        *(f"a{n}: &a{n} {{x: [{', '.join([f'*a{n - 1}'] * 9)}]}}" for n in range(1, 9)),
    ]
    assert "counted where aliases are used" in read(tmp_path, "\n".join(lines)).faults[0]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    reading = read_source_options(tmp_path / "nowhere.yaml", TlsContexts(None))
    assert reading.faults == (
        f"SOURCE_OPTIONS_FILE {tmp_path / 'nowhere.yaml'} cannot be read: No such file or directory.",
    )


def test_files_that_could_not_be_read_are_watched_too(tmp_path: Path) -> None:
    reading = read(tmp_path, "version: 1\nsources: {web: {headers: {X: {file: later}}}}\n")
    assert digests_now(reading.digests) == reading.digests
    (tmp_path / "later").write_text("now")
    assert digests_now(reading.digests) != reading.digests
