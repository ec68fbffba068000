"""The settings in a file of this host: read, checked, and read again when the file or one of its secrets changed.

The file is YAML: a list under `settings`, whose elements have the fields of contract section 4. Secrets are best kept
in files of their own, `PASSWORD_FILE` instead of `PASSWORD`, with a path relative to the file. Nothing of it is ever
written anywhere. Everything here blocks: call it in a thread.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import partial
from pathlib import Path

from oase_agent.errors import ConfigError, SettingRejected
from oase_agent.model import ConnectionMethod, Secret
from oase_agent.workspace.local_rows import Fault, Row, read_row, standalone
from oase_agent.workspace.secrets import SecretBox
from oase_agent.workspace.setting_row import (
    DISCARDED_COLUMN,
    NAME_COLUMN,
    connection_method,
    read_setting,
)
from oase_agent.workspace.settings import Check, folded
from oase_agent.yaml_file import YamlDocument, YamlFaults, parse_yaml, read_limited

_MAX_BYTES = 1 << 20  # as much as Kubernetes puts into a ConfigMap
_SECRET_MAX_BYTES = 1 << 16
_TOP = "settings"


@dataclass(frozen=True, slots=True)
class LocalSettings:
    """The settings of one version of the file; `inline` names the secrets that stand in it in plain text."""

    rows: tuple[Row, ...] = ()
    inline: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the settings."""
        return tuple(row[NAME_COLUMN] for row in self.rows)


class LocalSettingsFile:
    """A file of settings, and what its last good version says.

    With `is_complete` its settings must be whole on their own; `checks` are applied to them then.
    """

    def __init__(self, path: Path, *, is_complete: bool = False, checks: Sequence[Check] = ()) -> None:
        self._path = path
        self._why_not_whole = partial(why_not_whole, checks=checks) if is_complete else None
        self._seen = _Seen()
        self.settings = LocalSettings()
        self.is_faulty = False

    def refresh(self) -> bool:
        """Read the file if it changed since the last look; return whether `settings` are others now.

        Raises ConfigError, once for each change, with every fault of the file; `settings` stay what they were, and
        `is_faulty` tells so until a good version comes.
        """
        if not self.is_new(self.fingerprint()):
            return False
        self._seen = seen = _Seen()
        self.is_faulty = True
        try:
            settings = self._read(seen)
        except _Faulty as error:
            raise ConfigError(
                tuple(f"SETTINGS_FILE {self._path.name}: {fault}" for fault in error.faults)
            ) from None
        finally:
            seen.close()
        self.is_faulty = False
        before, self.settings = self.settings, settings
        return before != settings

    def is_new(self, fingerprint: bytes) -> bool:
        """Tell whether a fingerprint is another than that of the last `refresh`."""
        return fingerprint != self._seen.digest

    def fingerprint(self) -> bytes:
        """Return what differs as soon as the file, or a secret that it named when it was read last, differs."""
        seen = _Seen()
        for path, limit in self._seen.limits.items() or ((self._path, _MAX_BYTES),):
            seen.read_quietly(path, limit)
        seen.close()
        return seen.digest

    def _read(self, seen: "_Seen") -> LocalSettings:
        try:
            document = parse_yaml(seen.read(self._path, _MAX_BYTES))
        except YamlFaults as error:
            raise _Faulty(tuple(f"{fault}." for fault in error.faults)) from None
        except OSError as error:
            raise _Faulty((f"it cannot be read ({error.strerror}).",)) from None

        def read_secret(name: str) -> Secret:
            return _secret(seen.read(self._path.parent / name, _SECRET_MAX_BYTES))

        reading = _Reading(read_secret, self._why_not_whole)
        reading.read(document.content)
        if reading.faults:
            raise _Faulty(tuple(_sentence(fault, document) for fault in reading.faults))
        return LocalSettings(tuple(reading.rows), tuple(reading.inline))


class _Faulty(Exception):
    """A version of the file that cannot be used."""

    def __init__(self, faults: tuple[str, ...]) -> None:
        super().__init__(*faults)
        self.faults = faults


@dataclass(slots=True)
class _Seen:
    """Which files were read, within which limits, and a digest of what they held or why they could not be read."""

    limits: dict[Path, int] = field(default_factory=dict)
    digest: bytes = b""
    _parts: dict[Path, bytes] = field(default_factory=dict)

    def read(self, path: Path, limit: int) -> bytes:
        """Return what a file holds; raises OSError and ValueError."""
        self.limits[path] = limit
        self._parts[path] = b"unreadable"
        data = read_limited(path, limit)
        self._parts[path] = hashlib.sha256(data).digest()
        return data

    def read_quietly(self, path: Path, limit: int) -> None:
        try:
            self.read(path, limit)
        except (OSError, ValueError):
            return

    def close(self) -> None:
        """Make the digest."""
        parts = (
            str(path).encode("utf-8", "surrogateescape") + b"\0" + part for path, part in self._parts.items()
        )
        self.digest = hashlib.sha256(b"\0".join(parts)).digest()


def why_not_whole(row: Row, checks: Sequence[Check]) -> str | None:
    """Return why a setting cannot be collected from what its row in the file says alone, or None."""
    try:
        whole = standalone(row)
        method = connection_method(whole)
        if method is not ConnectionMethod.NO_AGENT and whole[DISCARDED_COLUMN] != "1":
            setting = read_setting(whole, method, SecretBox("", ""))  # nothing in it is encrypted
            for check in checks:
                check(setting)
    except SettingRejected as error:
        return str(error).removesuffix(".")
    return None


@dataclass(slots=True)
class _Reading:
    """Collects rows and faults of one version of the file."""

    read_secret: Callable[[str], Secret]
    why_not_whole: Callable[[Row], str | None] | None
    rows: list[Row] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    inline: list[str] = field(default_factory=list)

    def read(self, content: object) -> None:
        """Read everything."""
        if not isinstance(content, Mapping) or _TOP not in content:
            self.faults.append(Fault((), f"the list {_TOP!r} is missing at the top"))
            return
        for key in content.keys() - {_TOP}:
            hint = f": did you mean {_TOP}?" if get_close_matches(key.lower(), [_TOP]) else ""
            self.faults.append(Fault((key,), f"there is nothing but {_TOP!r} at the top{hint}"))
        entries = content[_TOP]
        if not isinstance(entries, list):
            self.faults.append(Fault((_TOP,), "it is not a list"))
        elif not entries and self.why_not_whole is not None:
            self.faults.append(Fault((_TOP,), "it holds no setting, and SETTINGS_FILE_MODE is only"))
        else:
            self._read_entries(entries)

    def _read_entries(self, entries: Sequence[object]) -> None:
        first: dict[str, int] = {}
        for index, entry in enumerate(entries):
            place = (_TOP, index)
            read = read_row(entry, place, self.read_secret)
            name = read.row.get(NAME_COLUMN)
            if isinstance(name, str) and name.strip():
                before = first.setdefault(folded(name), index)
                if before != index:
                    read.faults.append(
                        Fault(
                            (*place, NAME_COLUMN),
                            f"{_TOP}[{before}] has this name already (case does not count)",
                        )
                    )
            if self.why_not_whole is not None and not read.faults:
                why = self.why_not_whole(read.row)
                read.faults.extend([] if why is None else [Fault(place, why)])
            self.rows.append(read.row)
            self.faults.extend(read.faults)
            self.inline.extend(f"{column} of {name!r}" for column in read.inline)


def _secret(data: bytes) -> Secret:
    """Return a secret without the one newline at its end that editors and `echo` add; raises ValueError."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise ValueError("it is no UTF-8 text") from None
    text = text.removesuffix("\n").removesuffix("\r") if text.endswith("\n") else text
    if not text:
        raise ValueError("it is empty")
    return Secret(text)


def _sentence(fault: Fault, document: YamlDocument) -> str:
    return "".join(_words(fault, document.line_of(fault.place)))


def _words(fault: Fault, line: int | None) -> Iterator[str]:
    if line is not None:
        yield f"line {line}, "
    for number, part in enumerate(fault.place):
        yield f"[{part}]" if isinstance(part, int) else f"{'.' if number else ''}{part}"
    if fault.place:
        yield ": "
    yield fault.text if fault.text.endswith("?") else f"{fault.text}."
