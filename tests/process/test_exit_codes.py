"""What the command says and returns when it is used wrongly: one message with every fault, no quiet loop (O4)."""

import re
import socket

import pytest

from tests.acceptance.stage import Stage
from tests.process.agent_process import run_command
from tests.process.conftest import Children

# A line of the list of commands: four blanks, the command, and a text on the same or the next line.
COMMAND = re.compile(r"^    ([a-z-]+)(?:\s|$)", re.MULTILINE)

GOOD = {
    "EXASTRO_URL": "http://127.0.0.1:9",
    "EXASTRO_ORGANIZATION_ID": "org001",
    "EXASTRO_WORKSPACE_ID": "ws01",
    "EXASTRO_REFRESH_TOKEN": "a-secret-token",
    "EVENT_COLLECTION_SETTINGS_NAMES": "web-01",
}


async def test_a_start_without_configuration_names_every_missing_option_and_returns_2() -> None:
    ended = await run_command("run")

    assert ended.exit_code == 2
    assert ended.stdout == ""
    for name in (*GOOD, "EXASTRO_USERNAME", "EXASTRO_PASSWORD"):
        assert name in ended.stderr


async def test_all_faults_of_a_configuration_are_told_at_once_and_without_secrets() -> None:
    wrong = {
        "EXASTRO_URL": "ftp://user:hidden-1@exastro.example/?token=hidden-2",
        "ADMIN_PORT": "99999",
        "EXECUTE_INTERVAL": "often",
        "LOG_FORMAT": "poem",
        "MAX_POST_BYTES": "1 parsec",
        "SOURCE_DENIED_NETWORKS": "everything",
        "CA_FILE": "/nowhere/ca.pem",
    }
    ended = await run_command("run", environment=GOOD | wrong)

    assert ended.exit_code == 2
    assert ended.stdout == ""
    first, *faults = ended.stderr.splitlines()
    assert "7 fault(s)" in first
    assert sorted(re.findall(r"^  - (\w+)", line)[0] for line in faults) == sorted(wrong)
    for secret in ("hidden-1", "hidden-2", "a-secret-token"):
        assert secret not in ended.stderr


async def test_a_taken_admin_port_is_a_fault_of_the_configuration(stage: Stage, children: Children) -> None:
    await stage.open()
    await stage.logs("logs")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        agent = await children.start(ADMIN_PORT=str(port))

        assert await agent.ended() == 2

    assert "ADMIN_PORT" in agent.stderr
    assert str(port) in agent.stderr
    assert "Traceback" not in agent.stdout + agent.stderr


@pytest.mark.parametrize("arguments", [("fly",), ("run", "--quickly"), ("status", "too", "many")])
async def test_wrong_use_returns_2_and_shows_the_usage(arguments: tuple[str, ...]) -> None:
    ended = await run_command(*arguments)

    assert ended.exit_code == 2
    assert ended.stdout == ""
    assert "usage: oase-agent" in ended.stderr


async def test_help_lists_the_commands_and_each_shows_an_example() -> None:
    overview = await run_command("--help")
    commands = COMMAND.findall(overview.stdout)

    assert overview.exit_code == 0
    assert {"run", "demo", "check", "status"} <= set(commands)
    for command in commands:
        ended = await run_command(command, "--help")
        assert ended.exit_code == 0, command
        assert re.search(rf"examples?:\s.*oase-agent\s+{command}\b", ended.stdout, re.DOTALL), ended.stdout
        assert ended.stderr == ""


async def test_asking_an_agent_that_does_not_run_returns_1_with_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]

    ended = await run_command("status", environment={"ADMIN_HOST": "127.0.0.1", "ADMIN_PORT": str(port)})

    assert ended.exit_code == 1
    assert len(ended.stderr.splitlines()) == 1
    assert str(port) in ended.stderr
