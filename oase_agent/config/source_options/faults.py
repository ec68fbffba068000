"""Faults of SOURCE_OPTIONS_FILE as sentences: the path of the key, its line, and the remedy. Never a value."""

import re
import typing
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from oase_agent.config.source_options.document import Document
from oase_agent.config.source_options.rules import MustBe
from oase_agent.yaml_file import YamlDocument

OPTION = "SOURCE_OPTIONS_FILE"

_PLAIN = re.compile(r"[A-Za-z0-9_-]+")
_SIMILARITY = 0.6
_SHOWN_CHARACTERS = 60

Location = tuple[str | int, ...]


def fault_sentences(error: ValidationError, document: YamlDocument) -> tuple[str, ...]:
    """Return a sentence for every fault, in the order of the lines."""
    details = error.errors(include_url=False, include_input=False)
    # Whatever may be left out is also tried as null, which nobody meant.
    details = [detail for detail in details if detail["type"] != "none_required"]
    located = [(_location(detail, document.content), detail) for detail in details]
    located.sort(key=lambda pair: document.line_of(pair[0]) or 0)
    return tuple(dict.fromkeys(_sentence(place, detail, document) for place, detail in located))


def _sentence(place: Location, detail: ErrorDetails, document: YamlDocument) -> str:
    line = document.line_of(place)
    where = f"{OPTION}, line {line}" if line else OPTION
    model, info = _declared(place)
    path = _path(place)
    match detail["type"]:
        case "extra_forbidden":
            return f"{where}: {path} is not known{_hint(str(place[-1]), model)}."
        case "missing":
            return f"{where}: {path} is missing: give {_must_be(info)}."
        case "value_error" if not _is_own_rule(info, place):
            return f"{where}: {path} {_reason(detail)}."
    reason = _reason(detail)
    return f"{where}: {path} cannot be used{f' ({reason})' if reason else ''}: give {_must_be(info)}."


def _reason(detail: ErrorDetails) -> str:
    """Return the message of our own rules; pydantic's only repeat what `MustBe` says."""
    return str(detail["ctx"]["error"]) if detail["type"] == "value_error" else ""


def _location(detail: ErrorDetails, content: object) -> Location:
    """Return the place of a fault as the file has it, without what pydantic adds for its own use."""
    place: list[str | int] = []
    for part in detail["loc"]:
        if not isinstance(content, Mapping):
            break
        if part in content:
            place.append(part)
            content = content[part]
    return (*place, detail["loc"][-1]) if detail["type"] == "missing" else tuple(place)


def _path(place: Location) -> str:
    shown = (str(part)[:_SHOWN_CHARACTERS] for part in place)
    return ".".join(part if _PLAIN.fullmatch(part) else repr(part) for part in shown) or "the file"


def _hint(key: str, model: type[BaseModel] | None) -> str:
    """Return how the key is meant probably."""
    known = list(model.model_fields) if model else []
    if f"{key}_file" in known:
        return f": secrets come from files, so give the path of one as {key}_file"
    if close := get_close_matches(key, known, n=1, cutoff=_SIMILARITY):
        return f": probably {close[0]} is meant"
    return f": known here are {', '.join(known)}" if known else ""


def _must_be(info: FieldInfo | None) -> str:
    """Return what a key must be, in words."""
    found = next(_musts(info), None)
    return found.text if found else "keys and values below it"


def _musts(info: FieldInfo | None) -> Iterator[MustBe]:
    if info is None:
        return
    yield from (item for item in info.metadata if isinstance(item, MustBe))
    yield from _musts_of(info.annotation)


def _musts_of(annotation: Any) -> Iterator[MustBe]:
    """Yield what the branches of a union say of themselves."""
    yield from (item for item in getattr(annotation, "__metadata__", ()) if isinstance(item, MustBe))
    if typing.get_origin(annotation) is not dict:
        for part in typing.get_args(annotation):
            yield from _musts_of(part)


def _declared(place: Location) -> tuple[type[BaseModel] | None, FieldInfo | None]:
    """Return the model around a place, and the key in it; None for what is not declared."""
    model: type[BaseModel] | None = Document
    info: FieldInfo | None = None
    names_follow = False
    for index, part in enumerate(place):
        if names_follow:
            names_follow, info = False, None
            continue
        if model is None:
            return None, None
        info = model.model_fields.get(str(part))
        inner, is_mapping = _model_in(info.annotation if info else None)
        if index + 1 < len(place):
            model, names_follow = inner, is_mapping
    return model, info


def _model_in(annotation: Any) -> tuple[type[BaseModel] | None, bool]:
    """Return the model that an annotation holds, and whether it is behind the names of a mapping."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, False
    is_mapping = typing.get_origin(annotation) is dict
    for part in typing.get_args(annotation):
        inner, is_mapping_there = _model_in(part)
        if inner is not None:
            return inner, is_mapping or is_mapping_there
    return None, False


def _is_own_rule(info: FieldInfo | None, place: Location) -> bool:
    """Tell whether a fault is about one value, whose key says what it must be, and not about a whole block."""
    return info is not None and next(_musts(info), None) is not None and bool(place)
