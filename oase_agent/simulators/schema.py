"""The published schema of the two request bodies (contract 3.1 and 3.2), checked as the API layer does."""

from typing import Any


def settings_fault(body: dict[str, Any]) -> str | None:
    """Return why a settings request breaks the schema, or None. A missing list is no matter of the schema."""
    if "event_collection_settings_names" not in body:
        return None
    names = body["event_collection_settings_names"]
    if not isinstance(names, list):
        return _wrong(names, "array", "event_collection_settings_names")
    for index, name in enumerate(names):
        if not isinstance(name, str):
            return _wrong(name, "string", f"event_collection_settings_names.{index}")
    return None


def events_fault(body: dict[str, Any]) -> str | None:
    """Return why an events request breaks the schema, or None. A missing list is no matter of the schema."""
    if "events" not in body:
        return None
    groups = body["events"]
    if not isinstance(groups, list):
        return _wrong(groups, "array", "events")
    for index, group in enumerate(groups):
        fault = _group_fault(group, f"events.{index}")
        if fault is not None:
            return fault
    return None


def _group_fault(group: Any, path: str) -> str | None:
    if not isinstance(group, dict):
        return _wrong(group, "object", path)
    if "event" not in group:
        return f"'event' is a required property - '{path}'"
    return (
        _event_list_fault(group["event"], f"{path}.event")
        or _time_fault(group, path)
        or _texts_fault(group, ("event_collection_settings_name", "event_collection_settings_id"), path)
        or _agent_fault(group, path)
    )


def _event_list_fault(events: Any, path: str) -> str | None:
    if not isinstance(events, list):
        return _wrong(events, "array", path)
    # One pass in C for the usual case; requests with tens of thousands of events come here.
    if set(map(type, events)) <= {dict}:
        return None
    index, stranger = next((i, event) for i, event in enumerate(events) if not isinstance(event, dict))
    return _wrong(stranger, "object", f"{path}.{index}")


def _time_fault(group: dict[str, Any], path: str) -> str | None:
    # type(), not isinstance: true and false are integers for Python, but not for the schema.
    if "fetched_time" in group and type(group["fetched_time"]) is not int:
        return _wrong(group["fetched_time"], "integer", f"{path}.fetched_time")
    return None


def _agent_fault(group: dict[str, Any], path: str) -> str | None:
    if "agent" not in group:
        return None
    agent = group["agent"]
    if not isinstance(agent, dict):
        return _wrong(agent, "object", f"{path}.agent")
    return _texts_fault(agent, ("name", "version"), f"{path}.agent")


def _texts_fault(holder: dict[str, Any], keys: tuple[str, ...], path: str) -> str | None:
    for key in keys:
        if key in holder and not isinstance(holder[key], str):
            return _wrong(holder[key], "string", f"{path}.{key}")
    return None


def _wrong(value: Any, expected: str, path: str) -> str:
    return f"{value!r:.80} is not of type '{expected}' - '{path}'"
