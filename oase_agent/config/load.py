"""From an environment to an `AgentConfig`: every fault at once, every mended value with a warning."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from oase_agent.config.environment import (
    PROXY_NAMES,
    OptionTexts,
    TextSource,
    probable_mistakes,
    read_texts,
)
from oase_agent.config.groups import GROUPS, AdminOptions, AgentConfig, CollectionOptions
from oase_agent.config.options import Option, OptionGroup, options_of
from oase_agent.errors import ConfigError
from oase_agent.model import MASK
from oase_agent.proxies import proxies_of

_DAY_S = 86400
_SHOWN_CHARACTERS = 80


def load_config(environment: Mapping[str, str]) -> tuple[AgentConfig, tuple[str, ...]]:
    """Return the configuration and the warnings, one sentence each.

    Raises ConfigError with all faults, each of which names the option, what was found and the remedy.
    """
    names = [*(option.name for group in GROUPS.values() for option in options_of(group)), *PROXY_NAMES]
    found = read_texts(_with_upper_case_proxies(environment), names)
    groups, faults = _read_groups(found, GROUPS)
    faults.extend(_missing_names(found, groups))
    if faults:
        raise ConfigError(tuple(faults))
    warnings = list(probable_mistakes(environment, names))
    for field, group in groups.items():
        groups[field], mended = _mend(group)
        warnings.extend(mended)
    groups["collection"], limited = _within_a_day(groups["collection"])
    warnings.extend(limited)
    return AgentConfig(**groups, proxies=proxies_of(found.texts)), tuple(warnings)


def load_admin(environment: Mapping[str, str]) -> AdminOptions:
    """Return the options of the admin server alone, for who only asks a running agent. Raises ConfigError."""
    found = read_texts(environment, [option.name for option in options_of(AdminOptions)])
    groups, faults = _read_groups(found, {"admin": AdminOptions})
    if faults:
        raise ConfigError(tuple(faults))
    admin: AdminOptions = groups["admin"]
    return admin


def day_limit(interval_s: int, iterations: int) -> tuple[int, int]:
    """Apply the rule of 86400 seconds (contract section 1), after the clamps.

    It kept a run of the reference agent within the life of its access token. It stays because it also bounds
    how long a change of the settings may go unnoticed.
    """
    if interval_s * iterations < _DAY_S:
        return interval_s, iterations
    iterations = _DAY_S // (interval_s + 10)
    return (interval_s, iterations) if iterations else (_DAY_S - 10, 1)


def _read_groups(
    found: OptionTexts, wanted: Mapping[str, type[OptionGroup]]
) -> tuple[dict[str, Any], list[str]]:
    groups: dict[str, Any] = {}
    faults = list(found.faults.values())
    for field, group in wanted.items():
        try:
            groups[field] = group(**TextSource(group, found.texts)())
        except ValidationError as error:
            faults.extend(_sentences(group, error, found))
    return groups, faults


def _missing_names(found: OptionTexts, groups: Mapping[str, Any]) -> Iterator[str]:
    """Yield a fault if nothing tells what to collect; a group that could not be read has faults of its own."""
    local = groups.get("local_settings")
    name = "EVENT_COLLECTION_SETTINGS_NAMES"
    if name not in found.texts and name not in found.faults and local is not None and not local.is_only:
        yield f"{name} is not set: give names separated by commas."


def _sentences(group: type[OptionGroup], error: ValidationError, found: OptionTexts) -> Iterator[str]:
    """Yield one sentence per fault; none that only follows from a file that could not be read."""
    options = {option.name: option for option in options_of(group)}
    for detail in error.errors():
        name = str(detail["loc"][0]) if detail["loc"] else None
        if name is None and found.faults.keys().isdisjoint(options):
            yield _reason(detail)
        elif name is not None and name not in found.faults:
            yield _sentence(options[name], detail, found.texts.get(name))


def _sentence(option: Option, detail: ErrorDetails, text: str | None) -> str:
    if text is None:
        return f"{option.name} is not set: give {option.must_be}."
    reason = _reason(detail)
    what = "cannot be used" if option.secret else f"is {_shown(text)}"
    return f"{option.name} {what}{f' ({reason})' if reason else ''}: give {option.must_be}."


def _reason(detail: ErrorDetails) -> str:
    """Return the message of our own validators; pydantic's only repeat what `must_be` says."""
    if detail["type"] != "value_error":
        return ""
    return str(detail["ctx"]["error"])


def _shown(text: str) -> str:
    """Return a text for a message: short, without the credentials and the query that a URL may hold."""
    masked = re.sub(r"//.*@", f"//{MASK}@", text, flags=re.DOTALL)
    masked = re.sub(r"(//[^?#]*[?#]).*", rf"\1{MASK}", masked, flags=re.DOTALL)
    return repr(masked if len(masked) <= _SHOWN_CHARACTERS else masked[:_SHOWN_CHARACTERS] + "…")


def _mend(group: OptionGroup) -> tuple[OptionGroup, list[str]]:
    """Apply the rules whose breach is no fault."""
    update: dict[str, Any] = {}
    warnings = []
    for option in options_of(type(group)):
        for rule in option.rules:
            value, warning = rule.mend(option.name, getattr(group, option.field))
            if warning is not None:
                update[option.field] = value
                warnings.append(warning)
    return group.model_copy(update=update), warnings


def _within_a_day(group: CollectionOptions) -> tuple[CollectionOptions, list[str]]:
    interval_s, iterations = day_limit(group.interval_s, group.iterations)
    warnings = [
        f"{name} {before} is too much for a day together with {other} {other_before}: {after} is used."
        for name, before, after, other, other_before in (
            ("EXECUTE_INTERVAL", group.interval_s, interval_s, "ITERATION", group.iterations),
            ("ITERATION", group.iterations, iterations, "EXECUTE_INTERVAL", group.interval_s),
        )
        if after != before
    ]
    return group.model_copy(update={"interval_s": interval_s, "iterations": iterations}), warnings


def _with_upper_case_proxies(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment with the proxy variables in upper case; lower case wins, as in `proxies_of`."""
    lower = {name: environment[name.lower()] for name in PROXY_NAMES if environment.get(name.lower())}
    return {**environment, **lower}
