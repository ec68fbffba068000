"""`oase-agent dead`: look at dead letters, let them enter the queue again, or remove them for good.

It works on the volume, whether the agent is running or not. A letter to be replayed is only marked here: the queue
belongs to the agent, which takes marked letters up within seconds, or after its next start.
"""

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson

from oase_agent.app.agent_directory import agent_directory
from oase_agent.cli.main import EXIT_FAILED, EXIT_FINE, EXIT_WRONG_USE
from oase_agent.cli.terminal import counted, local_time, printable, table
from oase_agent.config.load import load_config
from oase_agent.disk import Disk
from oase_agent.errors import AgentError, Reason, SpoolUnavailable
from oase_agent.spool.batch_file import Damage
from oase_agent.spool.dead import (
    DeadLetter,
    LetterName,
    letter_names,
    mark_for_replay,
    marked_letters,
    read_letter,
    remove_letter,
)
from oase_agent.spool.spool import SETTINGS_DIRECTORY, setting_name_in

_HEADINGS = ("SETTING", "LETTER", "EVENTS", "REASON", "ATTEMPTS", "BURIED", "NOTE")
_NUMBERS = (2, 4)
# A running agent may replace a checkpoint between our listing and our reading it; each look takes milliseconds.
_LOOKS = 5
_SUFFIX = ".json"


class _NotThere(AgentError):
    """The operator named something that does not exist; the message says what does."""


@dataclass(frozen=True, slots=True)
class _Dead:
    """The dead letters of one setting."""

    setting: str
    directory: Path
    names: Sequence[LetterName]
    marked: frozenset[LetterName]


def list_letters(environment: Mapping[str, str], setting: str | None) -> int:
    """Print a table of all dead letters, or of those of one setting. Raises AgentError."""
    with _volume(environment) as settings:
        chosen = settings.values() if setting is None else [_chosen(settings, setting)]
        rows = [row for dead in chosen for row in _rows(dead)]
    if not rows:
        print("No dead letters.")
        return EXIT_FINE
    for line in table([_HEADINGS, *rows], right=_NUMBERS):
        print(line)
    return EXIT_FINE


def show_letter(environment: Mapping[str, str], setting: str, letter: str) -> int:
    """Print a letter as JSON lines: what is known of its death, then its events as they were. Raises AgentError."""
    with _volume(environment) as settings:
        dead = _chosen(settings, setting)
        name = _named(dead, letter)
        found = _readable(dead, name)
    certificate = {
        "setting": found.setting_name,
        "letter": _shown(name),
        **asdict(found.certificate),
        "buried": local_time(found.certificate.buried_at),
        "events": len(found.events),
        "replay_asked": name in dead.marked,
    }
    _print_lines([orjson.dumps(certificate), *found.events])
    return EXIT_FINE


def replay_letters(environment: Mapping[str, str], setting: str, letter: str | None) -> int:
    """Mark a letter, or all of a setting (None), for the agent to deliver once more. Raises AgentError.

    Returns 1 if one of them cannot be replayed.
    """
    events, marked, left_out = 0, 0, 0
    with _volume(environment) as settings:
        dead = _chosen(settings, setting)
        for name in _wanted(dead, letter):
            try:
                found = _replayable(dead, name)
            except _NotThere as error:
                print(printable(f"oase-agent: {error}"), file=sys.stderr)
                left_out += 1
                continue
            mark_for_replay(Disk(), dead.directory, name)
            marked += 1
            events += len(found.events)
    print(
        f"{counted(marked, 'letter')} with {counted(events, 'event')} marked. A running agent takes them up within "
        "about 10 seconds; one that is not running, after its start."
    )
    return EXIT_FAILED if left_out else EXIT_FINE


def drop_letters(environment: Mapping[str, str], setting: str, letter: str | None, *, is_sure: bool) -> int:
    """Remove a letter, or all of a setting (None), for good; they stay counted as dead. Raises AgentError.

    Returns 2, and removes nothing, unless the operator `is_sure`.
    """
    with _volume(environment) as settings:
        dead = _chosen(settings, setting)
        names = _wanted(dead, letter)
        events = sum(name.until_event - name.first_event for name in names)
        what = f"{counted(len(names), 'letter')} with {counted(events, 'event')}"
        if not is_sure:
            print(f"oase-agent: {what} would be lost for good: say so with --yes.", file=sys.stderr)
            return EXIT_WRONG_USE
        for name in names:
            remove_letter(Disk(), dead.directory, name)
    print(f"{what} dropped. The agent goes on counting them as dead.")
    return EXIT_FINE


# -- the volume ---------------------------------------------------------------------------------------------


@contextmanager
def _volume(environment: Mapping[str, str]) -> Iterator[dict[str, _Dead]]:
    """Give the settings that left something on the agent's volume, by name; trouble with it is told in one line."""
    config, _ = load_config(environment)
    directory = agent_directory(config)
    try:
        if not directory.is_dir():
            raise _NotThere(
                f"No agent kept anything in {directory}: check STORAGE_PATH, EXASTRO_ORGANIZATION_ID, "
                "EXASTRO_WORKSPACE_ID and AGENT_NAME."
            )
        yield dict(sorted((dead.setting, dead) for dead in _settings(Disk(), directory / SETTINGS_DIRECTORY)))
    except OSError as error:
        raise SpoolUnavailable(
            f"The volume cannot be used ({error.strerror}): run this command as the user of the agent, where the "
            "volume behind STORAGE_PATH is mounted.",
            Reason.DISK,
        ) from error


def _settings(disk: Disk, settings: Path) -> Iterator[_Dead]:
    for name in disk.names(settings):
        directory = settings / name
        setting = _setting_name(disk, directory)
        if setting is not None:
            marked = frozenset(marked_letters(disk, directory))
            yield _Dead(setting, directory, letter_names(disk, directory), marked)


def _setting_name(disk: Disk, directory: Path) -> str | None:
    """Return whose directory it is. Its own name is not believed: it is shortened, and may have been copied."""
    if not directory.is_dir():
        return None
    for _ in range(_LOOKS):
        try:
            found = setting_name_in(disk, directory)
        except FileNotFoundError:
            continue
        if found:
            return found
        break
    if letter_names(disk, directory):
        print(
            printable(f"oase-agent: nothing in {directory.name} tells whose dead letters these are."),
            file=sys.stderr,
        )
    return None


def _chosen(settings: Mapping[str, _Dead], setting: str) -> _Dead:
    if setting in settings:
        return settings[setting]
    known = ", ".join(map(repr, settings)) or "none"
    raise _NotThere(
        printable(f"The volume has nothing of a setting {setting!r}. Settings it knows: {known}.")
    )


def _wanted(dead: _Dead, letter: str | None) -> Sequence[LetterName]:
    return dead.names if letter is None else [_named(dead, letter)]


def _named(dead: _Dead, letter: str) -> LetterName:
    """Find a letter among those that are there: what an operator types never becomes a path."""
    wanted = letter.removesuffix(_SUFFIX)
    for name in dead.names:
        if _shown(name) == wanted:
            return name
    known = ", ".join(map(_shown, dead.names)) or "none"
    raise _NotThere(
        printable(f"Setting {dead.setting!r} has no dead letter {letter!r}. Letters it has: {known}.")
    )


def _readable(dead: _Dead, name: LetterName) -> DeadLetter:
    try:
        return read_letter(Disk(), dead.directory, name)
    except FileNotFoundError as error:
        raise _NotThere(f"Letter {_shown(name)} has just left: it was replayed or dropped.") from error
    except Damage as error:
        raise _NotThere(
            f"Letter {_shown(name)} of setting {dead.setting!r} is damaged ({error}). Its file is "
            f"{dead.directory.name}/dead/{name}."
        ) from error


def _replayable(dead: _Dead, name: LetterName) -> DeadLetter:
    found = _readable(dead, name)
    if found.is_refused:
        raise _NotThere(
            f"Letter {_shown(name)} holds values that the workspace cannot store, so it is never posted. Show or "
            "drop it."
        )
    return found


# -- what is printed ----------------------------------------------------------------------------------------


def _rows(dead: _Dead) -> Iterator[tuple[str, ...]]:
    for name in dead.names:
        events = str(name.until_event - name.first_event)
        head = (printable(dead.setting), _shown(name), events)
        try:
            found = read_letter(Disk(), dead.directory, name)
        except FileNotFoundError:
            continue  # replayed or dropped meanwhile
        except Damage:
            yield *head, "-", "-", "-", "damaged"
            continue
        certificate = found.certificate
        yield (
            *head,
            printable(certificate.reason),
            str(certificate.attempts),
            local_time(certificate.buried_at),
            _note(found, is_marked=name in dead.marked),
        )


def _note(letter: DeadLetter, *, is_marked: bool) -> str:
    if is_marked:
        return "replay asked"
    return "cannot be stored" if letter.is_refused else ""


def _shown(name: LetterName) -> str:
    return str(name).removesuffix(_SUFFIX)


def _print_lines(lines: Iterable[bytes]) -> None:
    """Write JSON lines byte by byte, or, where a terminal would act on them, with control characters escaped."""
    sys.stdout.flush()
    if not sys.stdout.isatty():
        sys.stdout.buffer.writelines(line + b"\n" for line in lines)
        sys.stdout.buffer.flush()
        return
    for line in lines:
        print("".join(map(_escaped, line.decode("utf-8", "replace"))))


def _escaped(letter: str) -> str:
    """Return a character as JSON may also write it: outside strings there are only printable ones and blanks."""
    if letter.isprintable():
        return letter
    return "".join(f"\\u{unit:04x}" for unit in memoryview(letter.encode("utf-16-le")).cast("H"))
