"""docs/configuration.md is what the declarations say."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from oase_agent.config.environment import PROXY_NAMES, WITHOUT_EFFECT
from oase_agent.config.groups import GROUPS
from oase_agent.config.options import options_of
from oase_agent.config.reference import COMMAND, render_reference

ROOT = Path(__file__).parents[2]

# One string each: a list of literals would be a page long. Contract section 1, and the table of design section 7.
NAMES_OF_THE_CONTRACT = frozenset(
    """
    TZ DEFAULT_LANGUAGE LANGUAGE LOG_LEVEL AGENT_NAME HOSTNAME EXASTRO_URL EXASTRO_ORGANIZATION_ID
    EXASTRO_WORKSPACE_ID EVENT_COLLECTION_SETTINGS_NAMES ITERATION EXECUTE_INTERVAL EXASTRO_REFRESH_TOKEN
    EXASTRO_USERNAME EXASTRO_PASSWORD ROLES USER_ID SERVICE_NAME PYTHONPATH STORAGEPATH SQL_INSERT_PROC_UNIT_NUM
    SQL_UPDATE_PROC_UNIT_NUM SQL_DELETE_PROC_UNIT_NUM ENVFILEPATH PYTHONCMD IS_NON_CONTAINER_LOG LOGPATH
    LOGGING_MAX_SIZE LOGGING_MAX_FILE HTTP_PROXY HTTPS_PROXY NO_PROXY
""".split()  # noqa: SIM905
)
NAMES_OF_THE_DESIGN = frozenset(
    """
    STORAGE_PATH ADMIN_HOST ADMIN_PORT CA_FILE CLIENT_CERT_FILE CLIENT_KEY_FILE SOURCE_CA_FILE
    TLS_INSECURE_HOSTS SOURCE_ALLOWED_NETWORKS SOURCE_DENIED_NETWORKS SOURCE_TIMEOUT_S SOURCE_MAX_BYTES
    SOURCE_CONCURRENCY MAX_POST_BYTES SPOOL_MAX_BYTES SPOOL_MIN_FREE_BYTES KNOWN_ID_RETENTION_H LOG_FORMAT
    SOURCE_DOCUMENT_MAX_BYTES SPOOL_COMPRESSION SOURCE_REQUESTS_PER_MINUTE SOURCE_BACKOFF_MAX_S
    SOURCE_OPTIONS_FILE SOURCE_ALLOWED_HOSTS SOURCE_DENIED_HOSTS SOURCE_ALLOWED_PORTS IMAP_TLS
    IMAP_PLAINTEXT_HOSTS COORDINATION COORDINATION_LEASE_S COORDINATION_VOLUME COORDINATION_SLOTS
    POD_NAMESPACE POD_NAME KUBERNETES_SERVICE_HOST KUBERNETES_SERVICE_PORT SERVICE_ACCOUNT_PATH SETTINGS_FILE
    SETTINGS_FILE_MODE
""".split()  # noqa: SIM905
)


def test_the_documentation_is_up_to_date() -> None:
    found = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert found == render_reference(), f"run: {COMMAND}"


def test_the_command_in_the_header_writes_the_documentation() -> None:
    module = COMMAND.split()[2]
    done = subprocess.run([sys.executable, "-m", module], capture_output=True, check=True, cwd=ROOT)
    assert done.stdout.decode() == render_reference()


@pytest.mark.parametrize("name", sorted(NAMES_OF_THE_CONTRACT | NAMES_OF_THE_DESIGN))
def test_every_name_of_contract_and_design_is_documented(name: str) -> None:
    assert f"`{name}`" in render_reference()


def test_since_tells_the_names_of_the_reference_from_the_new_ones() -> None:
    for group in GROUPS.values():
        for option in options_of(group):
            assert (option.name in NAMES_OF_THE_DESIGN) == option.new
            assert (option.name in NAMES_OF_THE_CONTRACT) != option.new


def test_secrets_are_marked() -> None:
    secret = {option.name for group in GROUPS.values() for option in options_of(group) if option.secret}
    assert secret == {"EXASTRO_REFRESH_TOKEN", "EXASTRO_USERNAME", "EXASTRO_PASSWORD"}


def test_no_name_is_documented_twice() -> None:
    names = re.findall(r"^(?:\| |- )`([A-Z_]+)`", render_reference(), re.MULTILINE)
    assert len(names) == len(set(names))
    assert {*WITHOUT_EFFECT, *PROXY_NAMES} < set(names)


def test_the_rows_of_all_tables_have_the_same_number_of_cells() -> None:
    for table in re.findall(r"(?:^\|.*\n)+", render_reference(), re.MULTILINE):
        assert len({row.count(" | ") for row in table.splitlines()}) == 1
