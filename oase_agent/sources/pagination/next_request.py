"""The request for one page: that of the setting, with the place of the page in it. Pure."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import unquote_plus, urlencode

from yarl import URL

from oase_agent.errors import Reason, SettingRejected
from oase_agent.model import RequestMethod
from oase_agent.sources.options import PageStyle, SourceOptions
from oase_agent.sources.pagination.bookmark import Position
from oase_agent.sources.pagination.plan import Plan
from oase_agent.sources.question import Question
from oase_agent.sources.redirects import Hop, next_hop
from oase_agent.sources.requests import first_hop

_TEMPORARY_REDIRECT = 307  # repeats method and body, and keeps credentials from other hosts


def page_hop(
    question: Question, options: SourceOptions, plan: Plan, position: Position | None, now_s: float
) -> Hop:
    """Return the request for the page at `position`, None for the first one; `now_s` is epoch seconds.

    Raises SettingRejected when it cannot be sent as it is.
    """
    setting, request = question.setting, question.request
    if plan.style in {PageStyle.LINK_HEADER, PageStyle.NEXT_URL}:
        hop = first_hop(setting, request, options, now_s)
        return hop if position is None else next_hop(hop, _TEMPORARY_REDIRECT, str(position))
    if position is None and plan.counts:
        position = plan.options.first
    if position is None:
        return first_hop(setting, request, options, now_s)
    if setting.request_method is RequestMethod.POST:
        parameter = with_member(request.parameter, plan.parameter, position)
        return first_hop(setting, replace(request, parameter=parameter), options, now_s)
    hop = first_hop(setting, request, options, now_s)
    return replace(hop, url=with_query(hop.url, plan.options.parameter or "", position))


def with_query(url: URL, name: str, value: Position) -> URL:
    """Return `url`, whose query is encoded, with `name=value` in the place of what has this name."""
    pairs = url.raw_query_string.split("&") if url.raw_query_string else []
    kept = [pair for pair in pairs if unquote_plus(pair.partition("=")[0]) != name]
    kept.append(urlencode({name: value}))
    base = str(url).partition("?")[0]
    return URL(f"{base}?{'&'.join(kept)}", encoded=True)


def with_member(parameter: Any, names: tuple[str, ...], value: Position) -> dict[str, Any]:
    """Return a copy of the object `parameter` with `value` at a dotted place; objects on the way are made.

    Raises SettingRejected if there is something else than an object on the way.
    """
    if parameter is None:
        parameter = {}
    if not isinstance(parameter, Mapping):
        raise SettingRejected(
            "pagination.parameter of the setting in SOURCE_OPTIONS_FILE leads into something that is no object: "
            "PARAMETER of a POST in pages is a JSON object.",
            Reason.INVALID_SETTING,
        )
    name, rest = names[0], names[1:]
    return {**parameter, name: with_member(parameter.get(name), rest, value) if rest else value}
