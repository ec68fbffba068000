"""Reading the configuration: contract section 1, design section 7, promises O4 and S3."""

from collections.abc import Mapping
from dataclasses import FrozenInstanceError
from ipaddress import ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from oase_agent.config.environment import WITHOUT_EFFECT
from oase_agent.config.groups import GROUPS, AgentConfig
from oase_agent.config.load import day_limit, load_config
from oase_agent.config.options import options_of
from oase_agent.errors import ConfigError
from oase_agent.model import Secret

TOKEN = "eyJ-refresh-token"
MINIMUM = {
    "EXASTRO_URL": "http://platform-auth:8000",
    "EXASTRO_ORGANIZATION_ID": "org001",
    "EXASTRO_WORKSPACE_ID": "ws01",
    "EVENT_COLLECTION_SETTINGS_NAMES": "zabbix",
    "EXASTRO_REFRESH_TOKEN": TOKEN,
}
WITHOUT_TOKEN = {name: text for name, text in MINIMUM.items() if name != "EXASTRO_REFRESH_TOKEN"}


def config_of(**changed: str) -> AgentConfig:
    return load_config({**MINIMUM, **changed})[0]


def warnings_of(**changed: str) -> tuple[str, ...]:
    return load_config({**MINIMUM, **changed})[1]


def faults_of(environment: Mapping[str, str]) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        load_config(environment)
    return caught.value.faults


def test_the_five_required_options_are_enough_and_everything_else_has_its_default() -> None:
    config, warnings = load_config(MINIMUM)
    assert warnings == ()
    assert config.workspace.url == "http://platform-auth:8000"
    assert (config.workspace.organization_id, config.workspace.workspace_id) == ("org001", "ws01")
    assert config.workspace.max_post_bytes == 512 * 1024
    assert config.credentials.refresh_token == Secret(TOKEN)
    assert (config.credentials.username, config.credentials.password) == (None, Secret(""))
    tls = config.workspace_tls
    assert (tls.ca_file, tls.cert_file, tls.key_file) == (None, None, None)
    assert (config.agent.name, config.agent.language) == ("agent-oase-01", "en")
    assert config.collection.setting_names == ("zabbix",)
    assert (config.collection.interval_s, config.collection.iterations) == (5, 10)
    assert (config.source.timeout_s, config.source.concurrency) == (30.0, 128)
    assert (config.source.max_bytes, config.source.document_max_bytes) == (256 << 20, 8 << 20)
    assert (config.source.ca_file, config.source.insecure_hosts) == (None, ())
    assert config.egress.allowed_networks == ()
    assert {ip_network("169.254.169.254"), ip_network("fd00:ec2::254")} < set(config.egress.denied_networks)
    assert "metadata.google.internal" in config.egress.denied_hosts
    assert (config.egress.allowed_hosts, config.egress.allowed_ports) == ((), ())
    assert config.spool.path == Path("/storage")
    assert (config.spool.max_bytes, config.spool.min_free_bytes) == (None, 64 << 20)
    assert config.spool.known_id_retention_h == 168
    assert config.spool.compression == "auto"
    assert (config.admin.host, config.admin.port) == ("0.0.0.0", 8080)
    assert (config.log.level, config.log.format) == ("INFO", "text")
    assert config.proxies.for_url("http://anywhere") is None


@pytest.mark.parametrize("name", [name for name in MINIMUM if name != "EXASTRO_REFRESH_TOKEN"])
@pytest.mark.parametrize("text", [None, ""])
def test_a_required_option_that_is_missing_or_empty_is_a_fault(name: str, text: str | None) -> None:
    environment = {key: value for key, value in MINIMUM.items() if key != name}
    (fault,) = faults_of(environment if text is None else {**environment, name: text})
    assert fault.startswith(f"{name} is not set: give ")


def test_promise_o4_all_faults_are_told_at_once_and_each_names_its_option() -> None:
    faults = faults_of(
        {
            "EXASTRO_URL": "ftp://h",
            "EXASTRO_WORKSPACE_ID": "ws 1",
            "ITERATION": "ten",
            "CA_FILE": "/no/such/file",
            "CLIENT_CERT_FILE": "/no/such/file",
            "ADMIN_PORT": "65536",
            "LOG_FORMAT": "xml",
            "SPOOL_COMPRESSION": "sometimes",
            "SOURCE_TIMEOUT_S": "nan",
            "STORAGE_PATH_FILE": "/no/such/file",
            "AGENT_NAME": "a/b",
        }
    )
    assert sorted(fault.split()[0] for fault in faults) == [
        "ADMIN_PORT",
        "AGENT_NAME",
        "CA_FILE",
        "CLIENT_CERT_FILE",
        "EVENT_COLLECTION_SETTINGS_NAMES",
        "EXASTRO_ORGANIZATION_ID",
        "EXASTRO_URL",
        "EXASTRO_WORKSPACE_ID",
        "ITERATION",
        "LOG_FORMAT",
        "SOURCE_TIMEOUT_S",
        "SPOOL_COMPRESSION",
        "STORAGE_PATH_FILE",
        "There",
    ]
    assert "ITERATION is 'ten': give a whole number, 10 to 120." in faults
    assert (
        "CA_FILE is '/no/such/file' (No such file or directory): give the path of a readable file." in faults
    )


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("http://localhost:30080/", "http://localhost:30080"),
        ("https://example.test/exastro//", "https://example.test/exastro"),
        (" https://[::1]:8443 ", "https://[::1]:8443"),
    ],
)
def test_a_trailing_slash_of_the_url_is_tolerated(text: str, url: str) -> None:
    assert config_of(EXASTRO_URL=text).workspace.url == url


@pytest.mark.parametrize(
    "text",
    [
        "platform-auth:8000",
        "http://",
        "http://h:0",
        "http://h:99999",
        "http://h/?a=1",
        "http://h/#x",
        "http://h/a b",
    ],
)
def test_a_url_that_cannot_be_a_base_is_a_fault(text: str) -> None:
    (fault,) = faults_of({**MINIMUM, "EXASTRO_URL": text})
    assert fault.startswith("EXASTRO_URL is ")


@pytest.mark.parametrize(
    "text", ["http://admin:hunter2@h", "http://admin:hun/ter2@h", "http://h/?key=hunter2"]
)
def test_reference_defect_17_a_fault_shows_no_credentials_of_a_url(text: str) -> None:
    (fault,) = faults_of({**MINIMUM, "EXASTRO_URL": text})
    assert "ter2" not in fault


@pytest.mark.parametrize("text", ["org 1", "", " ", "a" * 37, "組織", "org/1", "org1\n"])
def test_reference_defect_27_an_impossible_organization_id_ends_the_start(text: str) -> None:
    (fault,) = faults_of({**MINIMUM, "EXASTRO_ORGANIZATION_ID": text})
    assert fault.startswith("EXASTRO_ORGANIZATION_ID ")


def test_ids_of_36_letters_digits_underscores_and_hyphens_are_accepted() -> None:
    longest = "aZ09_-" * 6
    assert config_of(EXASTRO_WORKSPACE_ID=longest).workspace.workspace_id == longest


def test_reference_defect_35_blanks_around_setting_names_do_not_matter_and_repeats_collapse() -> None:
    config, warnings = load_config({**MINIMUM, "EVENT_COLLECTION_SETTINGS_NAMES": " b , a,b ,two words"})
    assert config.collection.setting_names == ("b", "a", "two words")
    assert warnings == ()


def test_empty_setting_names_are_dropped_with_one_warning() -> None:
    config, warnings = load_config({**MINIMUM, "EVENT_COLLECTION_SETTINGS_NAMES": ",a,, b,"})
    assert config.collection.setting_names == ("a", "b")
    assert [warning.split()[0] for warning in warnings] == ["EVENT_COLLECTION_SETTINGS_NAMES"]


def test_commas_without_any_setting_name_are_a_fault() -> None:
    (fault,) = faults_of({**MINIMUM, "EVENT_COLLECTION_SETTINGS_NAMES": " , ,"})
    assert fault.startswith("EVENT_COLLECTION_SETTINGS_NAMES is ")


@pytest.mark.parametrize(
    ("interval", "iterations", "expected", "warnings"),
    [
        # The table of contract section 1.
        ("10", "500", (10, 120), 1),
        ("1", "1", (3, 10), 2),
        ("719", "120", (719, 120), 0),
        ("720", "120", (720, 118), 1),
        ("8640", "10", (8640, 9), 1),
        ("100000", "10", (86390, 1), 2),
        ("-5", "0", (3, 10), 2),
    ],
)
def test_interval_and_iterations_run_as_in_the_reference_with_a_warning_for_each_change(
    interval: str, iterations: str, expected: tuple[int, int], warnings: int
) -> None:
    config, told = load_config({**MINIMUM, "EXECUTE_INTERVAL": interval, "ITERATION": iterations})
    assert (config.collection.interval_s, config.collection.iterations) == expected
    assert len(told) == warnings


@given(interval_s=st.integers(3, 10**7), iterations=st.integers(10, 120))
def test_the_interval_times_the_iterations_stays_below_a_day(interval_s: int, iterations: int) -> None:
    limited = day_limit(interval_s, iterations)
    assert limited[0] * limited[1] < 86400
    assert min(limited) >= 1
    if interval_s * iterations < 86400:
        assert limited == (interval_s, iterations)


def test_a_clamp_names_the_found_and_the_used_value() -> None:
    assert warnings_of(ITERATION="500") == ("ITERATION is 500, more than allowed: 120 is used.",)
    assert warnings_of(MAX_POST_BYTES="1KiB") == (
        "MAX_POST_BYTES is 1 KiB, less than allowed: 64 KiB is used.",
    )


@pytest.mark.parametrize(
    "name", ["ITERATION", "EXECUTE_INTERVAL", "SOURCE_CONCURRENCY", "KNOWN_ID_RETENTION_H", "ADMIN_PORT"]
)
@pytest.mark.parametrize("text", ["ten", "1.5", "0x10", "5s"])
def test_a_number_that_is_none_is_a_fault(name: str, text: str) -> None:
    (fault,) = faults_of({**MINIMUM, name: text})
    assert fault.startswith(f"{name} is {text!r}: give a whole number")


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("2097152", 2 << 20),
        ("2MiB", 2 << 20),
        ("2 mib", 2 << 20),
        ("2Mi", 2 << 20),
        ("1Gi", 1 << 30),
        ("512KiB", 1 << 19),
    ],
)
def test_bytes_may_have_a_binary_unit(text: str, size: int) -> None:
    assert config_of(SOURCE_MAX_BYTES=text).source.max_bytes == size


@pytest.mark.parametrize("text", ["1MB", "1M", "-1", "1.5MiB", "MiB", "lots"])
def test_bytes_with_another_unit_are_a_fault(text: str) -> None:
    (fault,) = faults_of({**MINIMUM, "SPOOL_MAX_BYTES": text})
    assert fault.startswith(f"SPOOL_MAX_BYTES is {text!r} ")


@pytest.mark.parametrize("text", ["", "..", ".", "a/b", "a\nb", "x" * 201, " "])
def test_an_agent_name_that_cannot_be_a_folder_is_a_fault(text: str) -> None:
    (fault,) = faults_of({**MINIMUM, "AGENT_NAME": text})
    assert fault.startswith("AGENT_NAME is ")


def test_an_agent_name_from_a_file_cannot_hold_nul(tmp_path: Path) -> None:
    (tmp_path / "name").write_bytes(b"a\0b")
    (fault,) = faults_of({**MINIMUM, "AGENT_NAME_FILE": str(tmp_path / "name")})
    assert fault.startswith("AGENT_NAME is ")


@pytest.mark.parametrize("text", ["oase-agent", "ita-oase-agent-01", "東京 1", "a..b"])
def test_other_agent_names_are_accepted(text: str) -> None:
    assert config_of(AGENT_NAME=text).agent.name == text


def test_user_name_and_password_do_instead_of_a_token() -> None:
    # The compose file passes an empty token (contract section 1, D12).
    given_pair = {"EXASTRO_REFRESH_TOKEN": "", "EXASTRO_USERNAME": "admin", "EXASTRO_PASSWORD": "pw"}
    credentials = config_of(**given_pair).credentials
    assert not credentials.refresh_token
    assert (credentials.username, credentials.password) == ("admin", Secret("pw"))


def test_without_credentials_the_fault_names_both_ways() -> None:
    assert faults_of(WITHOUT_TOKEN) == (
        "There are no credentials: set EXASTRO_REFRESH_TOKEN, or EXASTRO_USERNAME and EXASTRO_PASSWORD.",
    )


@pytest.mark.parametrize(
    ("present", "missing"),
    [("EXASTRO_USERNAME", "EXASTRO_PASSWORD"), ("EXASTRO_PASSWORD", "EXASTRO_USERNAME")],
)
def test_half_a_pair_of_credentials_is_a_fault(present: str, missing: str) -> None:
    (fault,) = faults_of({**WITHOUT_TOKEN, present: "hunter2"})
    assert fault.startswith(f"{missing} is not set")
    assert "hunter2" not in fault


def test_the_placeholder_of_the_chart_is_refused_even_beside_a_password() -> None:
    placeholder = {"EXASTRO_REFRESH_TOKEN": "change-this-token"}
    (fault,) = faults_of({**MINIMUM, **placeholder, "EXASTRO_USERNAME": "admin", "EXASTRO_PASSWORD": "pw"})
    assert fault.startswith("EXASTRO_REFRESH_TOKEN cannot be used (it is still the placeholder")
    assert "EXASTRO_USERNAME and EXASTRO_PASSWORD" in fault


def test_reference_defect_17_no_secret_is_printed() -> None:
    config = config_of(
        EXASTRO_USERNAME="name-hunter2",
        EXASTRO_PASSWORD="password-hunter2",
        HTTPS_PROXY="http://user:proxy-hunter2@proxy:3128",
    )
    assert config.credentials.password.reveal() == "password-hunter2"
    assert config.proxies.for_url("https://h") == "http://user:proxy-hunter2@proxy:3128"
    for printed in (repr(config), str(config), str(config.credentials), f"{config.credentials!r}"):
        assert "hunter2" not in printed
        assert TOKEN not in printed


def test_a_configuration_cannot_be_changed() -> None:
    config = config_of()
    with pytest.raises(FrozenInstanceError):
        config.log = config.log  # type: ignore[misc]
    with pytest.raises(ValidationError):
        config.admin.port = 1


@pytest.mark.parametrize(
    ("content", "value"),
    [(b"s3\n", "s3"), (b"s3\r\n", "s3"), (b"s3", "s3"), (b"s3\n\n", "s3\n"), (b" s3 ", " s3 ")],
)
def test_a_secret_may_come_from_a_file_without_one_newline_at_its_end(
    tmp_path: Path, content: bytes, value: str
) -> None:
    file = tmp_path / "token"
    file.write_bytes(content)
    config, _ = load_config({**WITHOUT_TOKEN, "EXASTRO_REFRESH_TOKEN_FILE": str(file)})
    assert config.credentials.refresh_token.reveal() == value


def test_every_option_may_come_from_a_file(tmp_path: Path) -> None:
    environment = {}
    for name, text in {**MINIMUM, "ITERATION": "77", "LOG_FORMAT": "json", "NO_PROXY": "inside"}.items():
        (tmp_path / name).write_text(text + "\n")
        environment[f"{name}_FILE"] = str(tmp_path / name)
    config, warnings = load_config(environment)
    assert warnings == ()
    assert config.workspace.url == MINIMUM["EXASTRO_URL"]
    assert (config.collection.iterations, config.log.format) == (77, "json")
    assert config.proxies.no_proxy == "inside"


def test_an_option_and_its_file_together_are_a_fault(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("other")
    faults = faults_of({**MINIMUM, "EXASTRO_REFRESH_TOKEN_FILE": str(tmp_path / "token")})
    assert faults == (
        "EXASTRO_REFRESH_TOKEN and EXASTRO_REFRESH_TOKEN_FILE are both set: remove one of them.",
    )


def test_an_empty_option_beside_its_file_is_not_set_twice(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("other")
    config = config_of(EXASTRO_REFRESH_TOKEN="", EXASTRO_REFRESH_TOKEN_FILE=str(tmp_path / "token"))
    assert config.credentials.refresh_token.reveal() == "other"


def test_a_file_that_cannot_be_read_is_one_fault_that_names_it(tmp_path: Path) -> None:
    missing = str(tmp_path / "missing")
    (fault,) = faults_of({**WITHOUT_TOKEN, "EXASTRO_REFRESH_TOKEN_FILE": missing})
    assert fault.startswith(f"EXASTRO_REFRESH_TOKEN_FILE is {missing!r} (No such file or directory)")


def test_a_file_that_is_no_text_is_a_fault_that_does_not_show_its_content(tmp_path: Path) -> None:
    (tmp_path / "token").write_bytes(b"hunter2\xff")
    (fault,) = faults_of({**WITHOUT_TOKEN, "EXASTRO_REFRESH_TOKEN_FILE": str(tmp_path / "token")})
    assert "it is no UTF-8 text" in fault
    assert "hunter2" not in fault


def test_certificate_files_must_be_readable_and_a_key_needs_a_certificate(tmp_path: Path) -> None:
    pem = tmp_path / "agent.pem"
    pem.write_text("certificate")
    tls = config_of(CLIENT_CERT_FILE=str(pem), CA_FILE=str(pem)).workspace_tls
    assert (tls.cert_file, tls.key_file, tls.ca_file) == (pem, None, pem)
    assert faults_of({**MINIMUM, "CLIENT_KEY_FILE": str(pem)}) == (
        "CLIENT_KEY_FILE is set without CLIENT_CERT_FILE: set both, or neither.",
    )
    (fault,) = faults_of({**MINIMUM, "SOURCE_CA_FILE": str(tmp_path)})
    assert fault.startswith(f"SOURCE_CA_FILE is {str(tmp_path)!r} (Is a directory)")


def test_networks_are_lists_of_cidr_networks_and_addresses() -> None:
    egress = config_of(
        SOURCE_ALLOWED_NETWORKS="10.0.0.0/8, 192.168.1.7,fd00::/8", SOURCE_DENIED_NETWORKS="none"
    ).egress
    assert egress.allowed_networks == tuple(map(ip_network, ("10.0.0.0/8", "192.168.1.7/32", "fd00::/8")))
    assert egress.denied_networks == ()


@pytest.mark.parametrize("text", ["10.0.0.1/8", "example.test", "10.0.0.0/33"])
def test_a_network_that_is_none_is_a_fault(text: str) -> None:
    (fault,) = faults_of({**MINIMUM, "SOURCE_DENIED_NETWORKS": text})
    assert fault.startswith(f"SOURCE_DENIED_NETWORKS is {text!r} ")


def test_hosts_of_the_egress_policy_are_in_the_form_in_which_they_are_compared() -> None:
    egress = config_of(
        SOURCE_ALLOWED_HOSTS="*.Example.COM, bücher.example ,10.1,*.example.com.", SOURCE_DENIED_HOSTS="none"
    ).egress
    assert egress.allowed_hosts == ("*.example.com", "xn--bcher-kva.example", "10.0.0.1")
    assert egress.denied_hosts == ()
    assert config_of(SOURCE_ALLOWED_HOSTS="any").egress.allowed_hosts == ()


def test_ports_are_numbers_and_ranges() -> None:
    assert config_of(SOURCE_ALLOWED_PORTS="443, 8000-8999").egress.allowed_ports == ((443, 443), (8000, 8999))
    assert config_of(SOURCE_ALLOWED_PORTS="any").egress.allowed_ports == ()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("SOURCE_ALLOWED_HOSTS", "none"),
        ("SOURCE_ALLOWED_HOSTS", "any, example.com"),
        ("SOURCE_ALLOWED_HOSTS", "*"),
        ("SOURCE_ALLOWED_HOSTS", "example.com:443"),
        ("SOURCE_ALLOWED_HOSTS", "10.0.0.0/8"),
        ("SOURCE_DENIED_HOSTS", "any"),
        ("SOURCE_DENIED_HOSTS", "http://example.com"),
        ("SOURCE_ALLOWED_NETWORKS", "none"),
        ("SOURCE_ALLOWED_PORTS", "none"),
        ("SOURCE_ALLOWED_PORTS", "0"),
        ("SOURCE_ALLOWED_PORTS", "90-80"),
        ("SOURCE_ALLOWED_PORTS", "80-65536"),
        ("SOURCE_ALLOWED_PORTS", "https"),
        # A list of what is allowed that came out empty must not allow everything.
        ("SOURCE_ALLOWED_HOSTS", " , "),
        ("SOURCE_ALLOWED_NETWORKS", ","),
        ("SOURCE_ALLOWED_PORTS", ","),
    ],
)
def test_an_entry_of_the_egress_policy_that_cannot_be_meant_is_a_fault(name: str, text: str) -> None:
    (fault,) = faults_of({**MINIMUM, name: text})
    assert fault.startswith(f"{name} is {text!r} (")


def test_hosts_with_unverified_certificates_are_named_one_by_one() -> None:
    assert config_of(
        TLS_INSECURE_HOSTS="Zabbix.test, 10.0.0.1:8443,zabbix.test,[fd00::1]:443"
    ).source.insecure_hosts == (
        "zabbix.test",
        "10.0.0.1:8443",
        "[fd00::1]:443",
    )


@pytest.mark.parametrize("text", ["*", "*.example.test", "https://h", "h/path", "h:port"])
def test_certificates_of_all_hosts_cannot_be_ignored(text: str) -> None:
    (fault,) = faults_of({**MINIMUM, "TLS_INSECURE_HOSTS": text})
    assert fault.startswith("TLS_INSECURE_HOSTS is ")


@pytest.mark.parametrize("text", ["ERROR", "WARNING", "INFO", "DEBUG"])
def test_a_log_level_is_taken_as_it_is(text: str) -> None:
    config, warnings = load_config({**MINIMUM, "LOG_LEVEL": text})
    assert (config.log.level, warnings) == (text, ())


@pytest.mark.parametrize("text", ["info", "TRACE", "debug"])
def test_another_log_level_is_info_with_a_warning(text: str) -> None:
    config, warnings = load_config({**MINIMUM, "LOG_LEVEL": text})
    assert config.log.level == "INFO"
    assert warnings == (f"LOG_LEVEL is {text!r}, not exactly ERROR, WARNING, INFO or DEBUG: INFO is used.",)


def test_any_port_from_0_is_accepted_and_65536_is_not() -> None:
    assert config_of(ADMIN_PORT="0").admin.port == 0
    assert config_of(ADMIN_PORT="65535").admin.port == 65535
    (fault,) = faults_of({**MINIMUM, "ADMIN_PORT": "65536"})
    assert fault == "ADMIN_PORT is '65536': give a whole number, 0 to 65535."


def test_names_of_the_reference_without_effect_are_accepted_silently() -> None:
    assert warnings_of(**dict.fromkeys(WITHOUT_EFFECT, "anything"), TZ="Asia/Tokyo", PATH="/bin") == ()


@pytest.mark.parametrize(
    ("mistake", "meant"),
    [
        ("EXASTRO_REFRESHTOKEN", "EXASTRO_REFRESH_TOKEN"),
        ("EXASRTO_URL", "EXASTRO_URL"),
        ("EVENT_COLLECTION_SETTING_NAMES", "EVENT_COLLECTION_SETTINGS_NAMES"),
        ("ITERATIONS", "ITERATION"),
        ("SPOOL_MAX_BYTE", "SPOOL_MAX_BYTES"),
        ("log_level", "LOG_LEVEL"),
        ("EXASTRO_PASWORD_FILE", "EXASTRO_PASSWORD_FILE"),
    ],
)
def test_a_name_that_is_nearly_an_option_gives_a_warning_without_its_value(mistake: str, meant: str) -> None:
    (warning,) = warnings_of(**{mistake: "hunter2"})
    assert warning == f"{mistake} is not an option and has no effect: did you mean {meant}?"


@pytest.mark.parametrize(
    "name", ["ADMIN_PORT_80_TCP", "SOURCE_DATE_EPOCH", "LOGNAME", "http_proxy", "LANG", "HOME"]
)
def test_names_of_others_give_no_warning(name: str) -> None:
    assert warnings_of(**{name: "x"}) == ()


def test_proxies_are_read_in_any_case_and_lower_case_goes_first() -> None:
    proxies = config_of(
        http_proxy="http://low:1", HTTP_PROXY="http://up:1", HTTPS_PROXY="up:2", no_proxy="in"
    ).proxies
    assert proxies.for_url("http://h") == "http://low:1"
    assert proxies.for_url("https://h") == "http://up:2"
    assert proxies.for_url("https://h.in") is None


def test_the_environment_of_the_process_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ITERATION", "99")
    monkeypatch.setenv("LOG_FORMAT", "xml")
    monkeypatch.setenv("port", "1")
    config = config_of()
    assert (config.collection.iterations, config.log.format, config.admin.port) == (10, "text", 8080)


def test_variables_named_like_fields_are_not_options() -> None:
    assert config_of(host="elsewhere", port="1", url="http://elsewhere", level="DEBUG") == config_of()


def test_every_option_has_one_name() -> None:
    names = [option.name for group in GROUPS.values() for option in options_of(group)]
    assert len(names) == len(set(names))


def test_names_of_settings_may_be_left_out_where_a_file_is_all_there_is(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.touch()
    without = {name: text for name, text in MINIMUM.items() if name != "EVENT_COLLECTION_SETTINGS_NAMES"}
    options = {"SETTINGS_FILE": str(file), "SETTINGS_FILE_MODE": "only"}
    config, _ = load_config({**without, **options})
    assert config.collection.setting_names == ()
    assert (config.local_settings.file, config.local_settings.is_only) == (file, True)
    assert faults_of({**without, "SETTINGS_FILE": str(file)}) == (
        "EVENT_COLLECTION_SETTINGS_NAMES is not set: give names separated by commas.",
    )


def test_a_file_that_is_all_there_is_must_be_given() -> None:
    (fault,) = faults_of({**MINIMUM, "SETTINGS_FILE_MODE": "only"})
    assert fault.startswith("SETTINGS_FILE_MODE is only, but SETTINGS_FILE is not set")
    (fault,) = faults_of({**MINIMUM, "SETTINGS_FILE_MODE": "both"})
    assert fault.endswith("give merge or only.")
