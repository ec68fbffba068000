"""The request of a setting, ready for the wire: URL, headers and body (contract section 6). Pure."""

from oase_agent.model import RequestMethod, Setting, SourceRequest
from oase_agent.sources.authentication import request_headers
from oase_agent.sources.options import SourceOptions
from oase_agent.sources.parameters import json_body, query_url
from oase_agent.sources.redirects import Hop
from oase_agent.sources.urls import wire_url


def first_hop(setting: Setting, request: SourceRequest, options: SourceOptions, now_s: float) -> Hop:
    """Return the first request; `now_s` is epoch seconds, for requests that carry the time.

    Raises SettingRejected when it cannot be sent as it is.
    """
    headers = request_headers(setting, request.url, request.headers, now_s, options.headers)
    private = frozenset(name.lower() for name in options.headers)
    if setting.request_method is RequestMethod.POST:
        return Hop("POST", wire_url(request.url), headers, json_body(request.parameter), private)
    return Hop("GET", wire_url(query_url(request.url, request.parameter)), headers, private=private)
