"""`oase-agent dead` on volumes that agents left, and beside an agent that runs."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from oase_agent.app import agent as agent_module
from oase_agent.app.agent_directory import agent_directory
from oase_agent.cli.dead import _escaped
from oase_agent.config.load import load_config
from oase_agent.spool.known_ids import IdPolicy
from oase_agent.spool.limits import SpoolLimits
from oase_agent.spool.spool import Spool, setting_directory
from oase_agent.telemetry import Telemetry
from tests.integration.cli_stage import CliStage, Terminal, until
from tests.integration.test_cli_status import running_agent
from tests.spool.queue_stage import account_of, collect, collect_answer, waiting_ids

BURIED_S = 1_700_000_000.0


class Volume:
    """The volume of an agent that does not run, with dead letters on it."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.environment = dict(environment)
        self.directory = agent_directory(load_config(environment)[0])
        self.directory.mkdir(parents=True)

    def spool(self) -> Spool:
        """Return the spool as the agent sees it."""
        spool = Spool(
            self.directory,
            limits=SpoolLimits(None, 0),
            ids=IdPolicy(168),
            now=lambda: BURIED_S,
            telemetry=Telemetry(),
        )
        spool.open_existing()
        return spool

    def bury(self, setting: str, *ids: str, reason: str = "content_refused") -> None:
        """Make a letter of these events."""
        queue = self.spool().queue(setting)
        collect(queue, *ids)
        queue.bury(queue.peek(10**9)[0], reason, answer="not storable", attempts=3)

    def letters(self, setting: str) -> list[str]:
        """Return what an operator types for the letters of a setting."""
        folder = self.directory / "s" / setting_directory(setting) / "dead"
        return sorted(path.name.removesuffix(".json") for path in folder.iterdir())

    def trace(self) -> dict[str, int]:
        """Return what any writing would change."""
        return {str(path): path.stat().st_mtime_ns for path in self.directory.rglob("*")}


@pytest.fixture
def volume(stage: CliStage, monkeypatch: pytest.MonkeyPatch) -> Volume:
    """Give the empty volume of the stage's agent, in a known time zone."""
    stage.name("web-01")
    monkeypatch.setenv("TZ", "UTC")
    return Volume(stage.environment)


async def test_list_shows_each_letter_and_writes_nothing(volume: Volume, terminal: Terminal) -> None:
    volume.bury("web-01", "1", "2")
    volume.bury("mail", "3", reason="unknown_setting")
    before = volume.trace()

    printed = await terminal.run(volume.environment, "dead", "list")

    assert printed.code == 0
    head, *table = [line.split() for line in printed.out.splitlines()]
    assert head == ["SETTING", "LETTER", "EVENTS", "REASON", "ATTEMPTS", "BURIED", "NOTE"]
    [mail], [web] = volume.letters("mail"), volume.letters("web-01")
    assert [row[:5] for row in table] == [
        ["mail", mail, "1", "unknown_setting", "3"],
        ["web-01", web, "2", "content_refused", "3"],
    ]
    assert "2023-11-1" in printed.out
    assert volume.trace() == before


async def test_list_of_one_setting_shows_its_letters_only(volume: Volume, terminal: Terminal) -> None:
    volume.bury("web-01", "1")
    volume.bury("mail", "3")

    printed = await terminal.run(volume.environment, "dead", "list", "mail")

    assert printed.code == 0
    assert "mail" in printed.out
    assert "web-01" not in printed.out


async def test_list_without_letters_says_so(volume: Volume, terminal: Terminal) -> None:
    collect(volume.spool().queue("web-01"), "1")

    printed = await terminal.run(volume.environment, "dead", "list")

    assert (printed.code, printed.out) == (0, "No dead letters.\n")


async def test_list_tells_damaged_letters_and_those_that_cannot_be_stored(
    volume: Volume, terminal: Terminal
) -> None:
    volume.bury("mail", "1")
    folder = volume.directory / "s" / setting_directory("mail") / "dead"
    (folder / f"{volume.letters('mail')[0]}.json").write_bytes(b"{")
    refuse(volume, "web-01")

    printed = await terminal.run(volume.environment, "dead", "list")

    assert printed.code == 0
    _, damaged, refused = printed.out.splitlines()
    assert damaged.endswith("damaged")
    assert refused.endswith("cannot be stored")


def refuse(volume: Volume, setting: str) -> None:
    queue = volume.spool().queue(setting)
    collect_answer(queue, [], refused=["bad"])
    queue.bury(queue.peek(0)[0], "unstorable_value", answer="", attempts=0)


async def test_show_prints_why_and_then_the_events_as_they_were(volume: Volume, terminal: Terminal) -> None:
    queue = volume.spool().queue("web-01")
    queue.begin_collection("id")
    sighting = queue.sighting()
    odd = '{ "id":"1", "n":1.10, "name":"日本" }'.encode()
    with queue.collecting(5) as file:
        file.add([odd, b'{"id":"2"}'])
        queue.commit(file, queue.read_cursor(), sighting)
    queue.bury(queue.peek(0)[0], "content_refused", answer="not storable", attempts=3)
    [letter] = volume.letters("web-01")

    printed = await terminal.run(volume.environment, "dead", "show", "web-01", letter)

    assert printed.code == 0
    certificate, *events = printed.out.splitlines()
    assert json.loads(certificate) == {
        "setting": "web-01",
        "letter": letter,
        "reason": "content_refused",
        "answer": "not storable",
        "attempts": 3,
        "buried_at": BURIED_S,
        "buried": json.loads(certificate)["buried"],
        "events": 2,
        "replay_asked": False,
    }
    assert events == [odd.decode(), '{"id":"2"}']


def test_a_terminal_is_not_steered_by_events() -> None:
    text = '{"a":"日本 \x9b31m \u202e 😀 \x85"}'

    shown = "".join(map(_escaped, text))

    assert shown == '{"a":"日本 \\u009b31m \\u202e 😀 \\u0085"}'
    assert json.loads(shown) == json.loads(text)


async def test_replay_marks_a_letter_and_the_agent_takes_it_up(volume: Volume, terminal: Terminal) -> None:
    volume.bury("web-01", "1", "2")
    volume.bury("web-01", "3")
    first, second = volume.letters("web-01")

    printed = await terminal.run(volume.environment, "dead", "replay", "web-01", first)

    assert printed.code == 0
    assert printed.out.startswith("1 letter with 2 events marked.")
    assert "within about 10 seconds" in printed.out
    listed = await terminal.run(volume.environment, "dead", "list", "web-01")
    assert [line.endswith("replay asked") for line in listed.out.splitlines()[1:]] == [True, False]
    spool = volume.spool()
    spool.maintain()
    assert waiting_ids(spool.queue("web-01")) == ["1", "2"]
    assert volume.letters("web-01") == [second]


async def test_a_running_agent_delivers_replayed_letters(
    stage: CliStage, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent_module, "_MAINTENANCE_S", 0.1)
    stage.add_zabbix("web-01")
    acceptance = stage.workspace.acceptance
    acceptance.poison = lambda _event: True
    async with running_agent(stage.environment) as agent:
        await until(lambda: any(each.figures and each.figures.dead for each in agent.status().settings))
        acceptance.poison = None

        listed = await terminal.run(stage.environment, "dead", "list")
        replayed = await terminal.run(stage.environment, "dead", "replay", "web-01", "--all")

        assert (listed.code, replayed.code) == (0, 0)
        await until(lambda: stage.workspace.count("web-01") == 1)
        await until(lambda: all(each.figures and not each.figures.dead for each in agent.status().settings))
        [setting] = agent.status().settings
        assert setting.figures is not None
        assert (setting.figures.collected, setting.figures.delivered) == (1, 1)
        await until(lambda: not list(stage.storage.rglob("dead/*")))


async def test_replay_of_all_leaves_out_what_can_never_be_posted(volume: Volume, terminal: Terminal) -> None:
    volume.bury("web-01", "1")
    refuse(volume, "web-01")
    _, refused = volume.letters("web-01")

    printed = await terminal.run(volume.environment, "dead", "replay", "web-01", "--all")

    assert printed.code == 1
    assert printed.out.startswith("1 letter with 1 event marked.")
    assert f"Letter {refused} holds values that the workspace cannot store" in printed.err


async def test_drop_asks_first_and_then_removes(volume: Volume, terminal: Terminal) -> None:
    volume.bury("web-01", "1", "2")
    volume.bury("web-01", "3")
    first, second = volume.letters("web-01")

    asked = await terminal.run(volume.environment, "dead", "drop", "web-01", first)
    assert asked.code == 2
    assert asked.err == "oase-agent: 1 letter with 2 events would be lost for good: say so with --yes.\n"
    assert volume.letters("web-01") == [first, second]

    dropped = await terminal.run(volume.environment, "dead", "drop", "--yes", "web-01", first)
    assert dropped.code == 0
    assert dropped.out == "1 letter with 2 events dropped. The agent goes on counting them as dead.\n"
    assert volume.letters("web-01") == [second]

    rest = await terminal.run(volume.environment, "dead", "drop", "web-01", "--all", "--yes")
    assert rest.code == 0
    assert volume.letters("web-01") == []
    assert account_of(volume.spool().queue("web-01")) == (3, 0, 0, 3)


@pytest.mark.parametrize("action", ["show", "replay", "drop"])
async def test_a_name_that_does_not_exist_is_answered_with_those_that_do(
    volume: Volume, terminal: Terminal, action: str
) -> None:
    volume.bury("web-01", "1")
    [letter] = volume.letters("web-01")

    no_setting = await terminal.run(volume.environment, "dead", action, "web-1", letter)
    assert no_setting.code == 1
    assert no_setting.err == (
        "oase-agent: The volume has nothing of a setting 'web-1'. Settings it knows: 'web-01'.\n"
    )
    for wanted in ("0000000009.0000-0001.00000000", f"../dead/{letter}"):
        no_letter = await terminal.run(volume.environment, "dead", action, "web-01", wanted)
        assert no_letter.code == 1
        assert no_letter.err == (
            f"oase-agent: Setting 'web-01' has no dead letter {wanted!r}. Letters it has: {letter}.\n"
        )


async def test_a_copied_directory_is_known_by_what_is_in_it(volume: Volume, terminal: Terminal) -> None:
    volume.bury("web-01", "1")
    settings = volume.directory / "s"
    (settings / setting_directory("web-01")).rename(settings / "moved-00000000")
    (settings / setting_directory("mail") / "dead").mkdir(parents=True)

    printed = await terminal.run(volume.environment, "dead", "list")

    assert printed.code == 0
    assert [line.split()[0] for line in printed.out.splitlines()] == ["SETTING", "web-01"]


async def test_a_volume_that_no_agent_used_is_told(
    stage: CliStage, terminal: Terminal, tmp_path: Path
) -> None:
    stage.name("web-01")
    environment = {**stage.environment, "STORAGE_PATH": str(tmp_path / "elsewhere")}

    printed = await terminal.run(environment, "dead", "list")

    assert printed.code == 1
    assert "check STORAGE_PATH" in printed.err
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize(
    "arguments", [("dead",), ("dead", "replay", "web-01"), ("dead", "drop", "web-01", "x", "--all")]
)
async def test_wrong_use_ends_with_2(terminal: Terminal, arguments: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit) as ended:
        await terminal.run({}, *arguments)

    assert ended.value.code == 2


async def test_a_wrong_configuration_ends_with_2(stage: CliStage, terminal: Terminal) -> None:
    printed = await terminal.run({**stage.environment, "EXASTRO_URL": ""}, "dead", "list")

    assert printed.code == 2
    assert "EXASTRO_URL" in printed.err
