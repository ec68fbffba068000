"""One collection saved for a bug report, without secrets: what `oase-agent check SETTING --record DIR` writes.

    recording.json    when, with which agent; request, exchanges over HTTP, cursor, options, result
    setting.json      the columns of the setting
    answer-001.body   what the source answered, the first time; pages have more of them
    events.jsonl      the first new events, as they would be posted
    report.txt        what the command printed about the setting

Nothing is written that did not pass a masker, and nothing under a name that exists. `replay.py` reads it again.
"""

import json
import mmap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from oase_agent import __version__
from oase_agent.cli.checks.bookmark import describe_bookmark
from oase_agent.cli.checks.exchanges import HttpExchange
from oase_agent.cli.checks.masking import SHORTEST, Masker
from oase_agent.cli.checks.order import WrongUse
from oase_agent.cli.checks.outcome import Answer, Collection, Yield
from oase_agent.cli.checks.recorded_setting import recorded_options, recorded_row
from oase_agent.cli.checks.request import ShownRequest
from oase_agent.cli.checks.secrets import secrets_of_setting
from oase_agent.cli.checks.section import Section
from oase_agent.cli.terminal import size
from oase_agent.disk import PRIVATE_DIRECTORY_MODE, Disk
from oase_agent.model import Cursor, Setting
from oase_agent.sources.options import SourceOptions

RECORDING_FILE = "recording.json"
SETTING_FILE = "setting.json"
FORMAT = 1
RECORDED_EVENTS = 100
RECORDED_IDS = 10_000
# Of all answers together: more than the usual ones need, and little enough to be sent to somebody.
MOST_BYTES = 16 * 1024 * 1024


class Recording:
    """Takes what a check finds, and keeps nothing of it."""

    def begin(self, collection: Collection, cursor: Cursor, request: ShownRequest) -> None:
        """Take where the collection begins, and what is asked."""

    def add(self, answer: Answer, section: Section) -> None:
        """Take an answer before anything is read from it. Blocks."""

    def found(self, found: Yield) -> None:
        """Take what was extracted."""

    def finish(
        self, section: Section, setting: Setting, options: SourceOptions, exchanges: Sequence[HttpExchange]
    ) -> None:
        """Take the end, also of a check that failed. Blocks."""


NO_RECORDING = Recording()


def prepare_directory(directory: Path) -> None:
    """Make the directory of a recording, or see that it is empty; raises WrongUse."""
    try:
        directory.mkdir(mode=PRIVATE_DIRECTORY_MODE, exist_ok=True)
        is_empty = not any(directory.iterdir())
    except OSError as error:
        raise WrongUse(
            f"--record {str(directory)!r} cannot be used ({error.strerror}): name a directory that does not exist "
            "yet, within one where you may write."
        ) from error
    if not is_empty:
        raise WrongUse(
            f"--record {str(directory)!r} is not empty: name a directory that does not exist yet, or an empty one."
        )


@dataclass(slots=True)
class DirectoryRecording(Recording):
    """Writes into an empty `directory`. Trouble of the disk is a failure of the section, told once at the end.

    `agent_options` are those of the configuration that matter to a source, without secrets, by their names.
    """

    directory: Path
    agent_options: Mapping[str, Any] = field(default_factory=dict)
    most_bytes: int = MOST_BYTES
    _collection: dict[str, Any] = field(default_factory=dict)
    _answers: list[dict[str, Any]] = field(default_factory=list)
    _found: Yield | None = None
    _trouble: OSError | None = None

    def begin(self, collection: Collection, cursor: Cursor, request: ShownRequest) -> None:
        """Take where the collection begins, and what is asked."""
        event = cursor.last_event
        self._collection = {
            "began": collection.began,
            "document_max_bytes": collection.document_max_bytes,
            "cursor": {
                "last_fetched_time": cursor.last_fetched_time,
                "last_event": None if event is None else event.decode("utf-8", "replace"),
            },
            "request": [list(line) for line in request],
        }

    def add(self, answer: Answer, section: Section) -> None:
        """Write the body of an answer, as much of it as there is room for."""
        fetched, masker = answer.fetched, section.masker
        name = f"answer-{len(self._answers) + 1:03}.body"
        room = self.most_bytes - sum(one["recorded_bytes"] for one in self._answers)
        content = _in_utf8(fetched.body.view(), room)
        body = _Cut(() if content is None else masker.masked(content), room, is_cut=content is None)
        with self._watching():
            self._write(name, body)
        if body.is_cut:
            section.warning(
                f"{name} holds only the first {size(body.size_bytes)} of the answer: a recording is limited to "
                f"{size(self.most_bytes)}."
            )
        self._answers.append(
            {
                "file": name,
                "fetched_time": answer.fetched_time,
                "is_first": answer.is_first,
                "status": fetched.status,
                "content_type": fetched.content_type,
                "received_us": fetched.received_us,
                "size_bytes": fetched.body.size_bytes,
                "recorded_bytes": body.size_bytes,
                "is_cut": body.is_cut,
                "is_last": fetched.is_last,
                "is_unchanged": fetched.is_unchanged,
                "bookmark": fetched.bookmark and describe_bookmark(fetched.bookmark, masker),
            }
        )

    def found(self, found: Yield) -> None:
        """Take what was extracted."""
        self._found = found

    def finish(
        self, section: Section, setting: Setting, options: SourceOptions, exchanges: Sequence[HttpExchange]
    ) -> None:
        """Write everything but the bodies, and say what to do with it."""
        facts = {
            "format": FORMAT,
            "agent_version": __version__,
            "recorded_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "setting_name": setting.name,
            "has_failed": bool(section.failures),
            **self._collection,
            "agent_options": dict(self.agent_options),
            "source_options": recorded_options(options),
            "exchanges": [asdict(exchange) for exchange in exchanges],
            "answers": self._answers,
            "result": None if self._found is None else _result(self._found),
        }
        if any(0 < len(secret.reveal()) < SHORTEST for secret in secrets_of_setting(setting)):
            section.warning(
                f"a secret of this setting has fewer than {SHORTEST} characters, and is not looked for in the answer"
            )
        with self._watching():
            self._write_json(SETTING_FILE, recorded_row(setting), section.masker)
            self._write_json(RECORDING_FILE, facts, section.masker)
            if self._found is not None:
                lines = (event + b"\n" for event in self._found.first_events[:RECORDED_EVENTS])
                self._write(
                    "events.jsonl", (piece for line in lines for piece in section.masker.masked(line))
                )
            self._write("report.txt", (f"{line}\n".encode("utf-8", "replace") for line in section.lines()))
        if self._trouble is not None:
            section.failure(
                f"The recording in {str(self.directory)!r} is not complete ({self._trouble.strerror}): free space, "
                "or name another directory."
            )
            return
        section.fact("recorded", f"in {str(self.directory)!r}: read it before you pass it on")

    def _write_json(self, name: str, content: object, masker: Masker) -> None:
        text = json.dumps(_masked(content, masker), ensure_ascii=False, indent=2)
        self._write(name, [text.encode("utf-8", "replace"), b"\n"])

    def _write(self, name: str, pieces: Iterable[bytes]) -> None:
        """Write a file of mode 0600 under a name that must not exist; raises OSError."""
        disk = Disk()
        descriptor = disk.create(self.directory / name)
        try:
            for piece in pieces:
                disk.write(descriptor, piece)
        finally:
            disk.close(descriptor)

    @contextmanager
    def _watching(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._trouble = self._trouble or error


class _Cut:
    """Pieces of a masked text up to `room` bytes: what is cut is the mask, never a secret."""

    def __init__(self, pieces: Iterable[bytes], room: int, *, is_cut: bool) -> None:
        self._pieces = pieces
        self._room = max(room, 0)
        self.size_bytes = 0
        self.is_cut = is_cut

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._pieces:
            taken = piece[: self._room - self.size_bytes]
            self.size_bytes += len(taken)
            if taken:
                yield taken
            if len(taken) < len(piece):
                self.is_cut = True
                return


def _in_utf8(content: bytes | mmap.mmap, room: int) -> bytes | mmap.mmap | None:
    """Return a document in UTF-8, where a masker finds what it looks for; None if it is too large to be converted."""
    encoding = json.detect_encoding(content[:4])
    if encoding.startswith("utf-8"):
        return content
    # As a whole: half of a secret would not be found.
    if len(content) > 4 * room:
        return None
    return content[:].decode(encoding, "replace").encode("utf-8", "replace")


def _result(found: Yield) -> dict[str, Any]:
    return {
        "new": found.events,
        "known": found.known,
        "known_ids": found.first_known,
        "not_available": found.unavailable.most_common(),
        "set_aside": found.refused.most_common(),
        "newest_event_id": None if found.newest is None else found.newest.event_id,
    }


def _masked(value: Any, masker: Masker) -> Any:
    """Hide secrets in every text; the keys are ours, or names of columns, options and headers."""
    match value:
        case str():
            return masker.mask(value)
        case dict():
            return {key: _masked(item, masker) for key, item in value.items()}
        case list() | tuple():
            return [_masked(item, masker) for item in value]
    return value
