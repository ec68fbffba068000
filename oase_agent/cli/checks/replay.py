"""A recording made by `oase-agent check --record`, read back: it needs no configuration, volume or network."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oase_agent.cli.checks.masking import Masker
from oase_agent.cli.checks.order import WrongUse
from oase_agent.cli.checks.outcome import Collection, View, Yield
from oase_agent.cli.checks.recorded_setting import setting_of_row
from oase_agent.cli.checks.recording import FORMAT, RECORDING_FILE, SETTING_FILE
from oase_agent.cli.checks.request import ShownRequest
from oase_agent.cli.checks.saved import SavedAnswer, SavedCollection, extract_saved
from oase_agent.cli.checks.section import Section
from oase_agent.cli.checks.showing import show_cursor, show_request
from oase_agent.errors import SettingRejected
from oase_agent.model import Cursor
from oase_agent.spool.known_ids import IdPolicy, KnownIds

# Nothing expires within one collection: any retention will do.
_IDS = IdPolicy(retention_h=168)


def recording_directory(path: Path) -> Path | None:
    """Return the directory of the recording that `path` names, or None if it names something else."""
    if path.is_dir():
        return path
    return path.parent if path.name == RECORDING_FILE else None


@dataclass(frozen=True, slots=True)
class RecordedCollection:
    """The answers of one collection, which ids were known then, and what was asked."""

    saved: SavedCollection
    made: str
    known: KnownIds
    request: ShownRequest


def check_recording(recorded: RecordedCollection, view: View) -> Section:
    """Extract a recording once more. Blocks."""
    section = Section(f"setting {recorded.saved.collection.setting.name!r}", Masker(()))
    section.fact("setting from", f"{SETTING_FILE} of the recording, {recorded.made}")
    show_cursor(section, recorded.saved.cursor, "when it was recorded")
    show_request(section, recorded.request)
    found = Yield(view.events, view.events, recorded.known, _IDS)
    extract_saved(section, recorded.saved, found, view)
    return section


def read_recording(directory: Path) -> RecordedCollection:
    """Read a recording; raises WrongUse for anything else, also for one that was damaged."""
    facts, row = _document(directory / RECORDING_FILE), _document(directory / SETTING_FILE)
    if facts.get("format") != FORMAT:
        raise WrongUse(
            f"{str(directory)!r} is a recording in format {facts.get('format')!r}, and this agent reads {FORMAT}: "
            "use the agent that made it."
        )
    try:
        return _collection(directory, facts, row)
    except SettingRejected as error:
        raise WrongUse(
            f"The setting in {str(directory / SETTING_FILE)!r} cannot be used: {error}."
        ) from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _no_recording(directory, f"a part is missing, {type(error).__name__}") from error


def _collection(directory: Path, facts: dict[str, Any], row: dict[str, Any]) -> RecordedCollection:
    if "began" not in facts:
        raise WrongUse(
            f"The recording in {str(directory)!r} ended before anything was asked: read its report.txt."
        )
    began = int(facts["began"])
    result = facts["result"] or {"known_ids": []}
    cursor = facts["cursor"]
    event = cursor["last_event"]
    saved = SavedCollection(
        Collection(setting_of_row(row), began, int(facts["document_max_bytes"])),
        Cursor(int(cursor["last_fetched_time"]), None if event is None else str(event).encode()),
        tuple(_answer(directory, answer) for answer in facts["answers"]),
    )
    return RecordedCollection(
        saved,
        made=f"made {facts['recorded_at']} by agent {facts['agent_version']}",
        known=_known(map(str, result["known_ids"]), began),
        request=tuple((str(label), str(text)) for label, text in facts["request"]),
    )


def _answer(directory: Path, facts: dict[str, Any]) -> SavedAnswer:
    cut_bytes = max(1, int(facts["size_bytes"]) - int(facts["recorded_bytes"])) if facts["is_cut"] else 0
    return SavedAnswer(
        # Only its name: a recording from somebody else must not lead to another file.
        file=directory / Path(str(facts["file"])).name,
        fetched_time=int(facts["fetched_time"]),
        received_us=int(facts["received_us"]),
        status=int(facts["status"]),
        content_type=str(facts["content_type"]),
        is_first=bool(facts["is_first"]),
        is_last=bool(facts["is_last"]),
        is_unchanged=bool(facts["is_unchanged"]),
        cut_bytes=cut_bytes,
    )


def _known(event_ids: "map[str]", began: int) -> KnownIds:
    known = KnownIds()
    sighting = known.sighting(began // 3600)
    sighting.are_new(list(event_ids))
    known.absorb(sighting, _IDS)
    return known


def _document(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_bytes())
    except OSError as error:
        raise _no_recording(file.parent, f"{file.name} cannot be read, {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise _no_recording(file.parent, f"{file.name} is no JSON") from error
    if not isinstance(content, dict):
        raise _no_recording(file.parent, f"{file.name} holds no object")
    return content


def _no_recording(directory: Path, why: str) -> WrongUse:
    return WrongUse(
        f"{str(directory)!r} is no recording ({why}): give a directory that --record made, or a file with the answer "
        "of a source."
    )
