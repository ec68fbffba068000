"""Which events a workspace accepts, and what it answers: contract 3.2 without a network.

This is a second, independent reading of the contract. It shares no code with the agent, so that an error there
cannot hide behind the same error here. What the server does with an event after accepting it (labels,
deduplication) is not visible to an agent and not simulated.
"""

import json
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Never

from oase_agent.simulators.answers import Answer, refusal, schema_violation, success, system_error
from oase_agent.simulators.schema import events_fault
from oase_agent.simulators.settings_table import KnownSetting, SettingsTable
from oase_agent.simulators.storable import may_hold_unstorable, unstorable_reason

Event = dict[str, Any]

PROGRESS_TTL_S = 72 * 3600.0
"""Age after which the server forgets a group time: its `EVENT_COLLECTION_PROGRESS_TTL`."""

_UNKNOWN_AGENT = "Unknown"
_NAME_OR_ID = (
    "'event_collection_settings_name' or 'event_collection_settings_id' is a required property - 'events.0'"
)


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """One event as stored. `received_order` counts over all settings, from 0."""

    group_time: int
    agent_name: str
    event: Event
    received_order: int


@dataclass(frozen=True, slots=True)
class _Group:
    """A group that passed the fence."""

    setting: KnownSetting
    agent_name: str
    agent_version: str
    time: int
    events: list[Event]


class _Refused(Exception):
    """One group is not stored; `unknown` when its setting could not be found."""

    def __init__(self, text: str, *, unknown: bool = False) -> None:
        super().__init__(text)
        self.text = text
        self.unknown = unknown


class Acceptance:
    """The receiver's memory and judgement.

    `clock` gives epoch seconds. With `keep_events=False` only numbers are kept, for runs with a million events.
    `progress_ttl_s` is how far back the fence reaches (None: for ever); beware of group times in the distant
    past, which the server forgets as soon as it has stored them. `poison` is a hook for tests: an event for
    which it is true makes storing fail.

    `progress` maps (settings id, agent name) to the latest stored group time; `last_request_groups` is the
    number of groups in the last request.
    """

    def __init__(
        self,
        settings: SettingsTable,
        *,
        clock: Callable[[], float] = time.time,
        keep_events: bool = True,
        progress_ttl_s: float | None = PROGRESS_TTL_S,
        poison: Callable[[Event], bool] | None = None,
    ) -> None:
        self.settings = settings
        self.poison = poison
        self.progress: dict[tuple[str, str], int] = {}
        self.last_request_groups = 0
        self._clock = clock
        self._keep_events = keep_events
        self._progress_ttl_s = progress_ttl_s
        self._stored: defaultdict[str, list[StoredEvent]] = defaultdict(list)
        self._counts: Counter[str] = Counter()

    def handle(self, payload: bytes) -> Answer:
        """Judge the body of one POST to `…/events` and return the HTTP status and the answer."""
        self.last_request_groups = 0
        now_s = self._clock()
        try:
            body = parse_json(payload)
        except ValueError:
            return refusal("400-00002", "The request body is not valid JSON.", now_s)
        # The schema says nothing of a body that is no object: it fails later, like one without `events`.
        if not isinstance(body, dict):
            return system_error(now_s)
        fault = events_fault(body)
        if fault is not None:
            return schema_violation(fault)
        groups = _in_order_of_time(body)
        if groups is None:
            return system_error(now_s)
        self.last_request_groups = len(groups)
        return self._store_groups(groups, now_s, check_values=may_hold_unstorable(payload))

    def events_of(self, setting_name: str) -> list[Event]:
        """Return the stored events of a setting in the order of arrival."""
        return [stored.event for stored in self.stored(setting_name)]

    def ids_of(self, setting_name: str) -> list[str]:
        """Return `_exastro_oase_event_id` of the stored events of a setting in the order of arrival."""
        return [stored.event["_exastro_oase_event_id"] for stored in self.stored(setting_name)]

    def stored(self, setting_name: str) -> list[StoredEvent]:
        """Return the stored events of a setting with group time and agent name, in the order of arrival.

        Raises:
            RuntimeError: the events are not kept.

        """
        if not self._keep_events:
            raise RuntimeError("Only numbers are kept; create the simulator with keep_events=True.")
        return list(self._stored[setting_name])

    def count(self, setting_name: str | None = None) -> int:
        """Return how many events of a setting, or of all settings, were stored."""
        return self._counts.total() if setting_name is None else self._counts[setting_name]

    def counts(self) -> dict[str, int]:
        """Return the number of stored events by setting name."""
        return dict(self._counts)

    def _store_groups(self, groups: list[dict[str, Any]], now_s: float, *, check_values: bool) -> Answer:
        accepted: list[_Group] = []
        refused: list[_Refused] = []
        for group in groups:
            try:
                accepted.append(self._judge(group, now_s))
            except _Refused as refusal_of_group:
                refused.append(refusal_of_group)
        texts = [group.text for group in refused]
        if not any(group.events for group in accepted):
            if any(group.unknown for group in refused):
                return refusal(
                    "499-01802", f"There are no events that can be saved.({', '.join(texts)})", now_s
                )
            return success(texts, now_s)
        reason = self._why_storing_fails(accepted, check_values=check_values)
        if reason is not None:
            return refusal("499-01803", f"Saving the events failed.({reason})", now_s)
        for stored in accepted:
            self._store(stored)
        self._move_progress(accepted, now_s)
        return success(texts, now_s)

    def _judge(self, group: dict[str, Any], now_s: float) -> _Group:
        """Apply the fence, which only knows what was stored before this request."""
        setting = self._find_setting(group)
        agent = group.get("agent", {})
        agent_name = agent.get("name") or _UNKNOWN_AGENT
        group_time = group.get("fetched_time", int(now_s))
        latest = self.progress.get((setting.id, agent_name))
        if latest is not None and group_time <= latest:
            raise _Refused(
                "The events were not saved because the fetched_time is not the latest. "
                f"(event_collection_settings_id:{setting.id}, received_fetched_time:{group_time}, "
                f"latest fetched_time:{latest})"
            )
        version = agent.get("version") or _UNKNOWN_AGENT
        return _Group(setting, agent_name, version, group_time, group["event"])

    def _find_setting(self, group: dict[str, Any]) -> KnownSetting:
        if "event_collection_settings_name" in group:
            name = group["event_collection_settings_name"]
            setting, wanted = self.settings.find(name), f"event_collection_settings_name={name!r}"
        elif "event_collection_settings_id" in group:
            setting_id = group["event_collection_settings_id"]
            setting = self.settings.find_by_id(setting_id)
            wanted = f"event_collection_settings_id={setting_id!r}"
        else:
            setting, wanted = None, _NAME_OR_ID
        if setting is None:
            raise _Refused(
                f"The events were not saved because received data is invalid.({wanted})", unknown=True
            )
        if setting.discarded:
            raise _Refused(f"The events were not saved because the settings has been discarded.({wanted})")
        return setting

    def _why_storing_fails(self, groups: list[_Group], *, check_values: bool) -> str | None:
        for group in groups:
            for event in group.events:
                if self.poison is not None and self.poison(event):
                    return "the event is poisoned"
                reason = unstorable_reason(event) if check_values else None
                if reason is not None:
                    return reason
        return None

    def _store(self, group: _Group) -> None:
        name = group.setting.name
        if self._keep_events:
            first = self._counts.total()
            self._stored[name] += [
                StoredEvent(group.time, group.agent_name, _completed(event, group), first + index)
                for index, event in enumerate(group.events)
            ]
        self._counts[name] += len(group.events)

    def _move_progress(self, groups: list[_Group], now_s: float) -> None:
        """Write the group times of the whole request, those of empty groups too, then forget the oldest."""
        for group in groups:
            key = (group.setting.id, group.agent_name)
            self.progress[key] = max(self.progress.get(key, group.time), group.time)
        if self._progress_ttl_s is None:
            return
        for key in {(group.setting.id, group.agent_name) for group in groups}:
            if self.progress[key] < int(now_s) - int(self._progress_ttl_s):
                del self.progress[key]


def parse_json(payload: bytes) -> Any:
    """Parse strict JSON in UTF-8.

    Raises:
        ValueError: it is not JSON, or it holds NaN or Infinity, which no gateway lets through.

    """
    try:
        return json.loads(payload.decode(), parse_constant=_refuse_constant)
    except RecursionError as error:
        raise ValueError("The text is nested too deeply.") from error


def _refuse_constant(text: str) -> Never:
    raise ValueError(f"{text} is not JSON.")


def _in_order_of_time(body: dict[str, Any]) -> list[dict[str, Any]] | None:
    """Return the groups, or None where the receiver stumbles: no groups, or a time missing after a first one.

    They are sorted by time only if the first of them has one.
    """
    groups: list[dict[str, Any]] = body.get("events", [])
    if not groups:
        return None
    if "fetched_time" not in groups[0]:
        return groups
    if not all("fetched_time" in group for group in groups):
        return None
    return sorted(groups, key=lambda group: group["fetched_time"])


def _completed(event: Event, group: _Group) -> Event:
    """Return the event with the fields that the receiver adds: the agent always, the others only if absent."""
    defaults = {
        "_exastro_event_collection_settings_name": group.setting.name,
        "_exastro_event_collection_settings_id": group.setting.id,
        "_exastro_fetched_time": group.time,
        "_exastro_end_time": group.time + group.setting.ttl_s,
    }
    agent = {"_exastro_agent_name": group.agent_name, "_exastro_agent_version": group.agent_version}
    return defaults | event | agent
