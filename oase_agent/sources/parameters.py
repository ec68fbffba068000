"""PARAMETER of a setting on the wire: a query for GET, a JSON body for POST (contract section 6).

Pure. The encoding is that of the Python library `requests`, byte by byte, because settings in use rely on it.
"""

import json
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlencode

from oase_agent.errors import Reason, SettingRejected
from oase_agent.sources.urls import quoted, wire_url


def query_url(url: str, parameter: Any) -> str:
    """Return `url` with `parameter` appended to its query.

    An object, or a list of pairs, is form-encoded: lists repeat their name, objects contribute their keys,
    null is left out, booleans are `True` and `False`. A text is appended as it is (a `#` is encoded, so that
    nothing is cut off). A number or `true` is appended as text; None, 0, `false` and empty values add nothing.
    Raises SettingRejected for a list of something else, and for a URL that cannot be requested.
    """
    return str(wire_url(url, _query(parameter)))


def json_body(parameter: Any) -> bytes:
    """Return the body of a POST: JSON in ASCII with `, ` and `: `; nothing for a setting without PARAMETER.

    A text becomes a JSON string. The predecessor sent `null` when there was no parameter (defect D29).
    """
    return b"" if parameter is None else json.dumps(parameter).encode("ascii")


def _query(parameter: Any) -> str:
    if not parameter:
        return ""
    if isinstance(parameter, dict):
        return _form(parameter.items())
    if isinstance(parameter, list):
        if not all(isinstance(pair, list) and len(pair) == 2 for pair in parameter):
            raise SettingRejected(
                "PARAMETER is a list, but not of [name, value] pairs: use an object, or pairs",
                Reason.INVALID_SETTING,
            )
        return _form(parameter)
    return quoted(str(parameter))


def _form(pairs: Iterable[Any]) -> str:
    sent = [(name, value) for name, values in pairs for value in _each(values) if value is not None]
    try:
        return urlencode(sent, doseq=True)
    except UnicodeEncodeError as error:
        raise SettingRejected(
            "PARAMETER holds half of a surrogate pair, which has no UTF-8 form", Reason.INVALID_SETTING
        ) from error


def _each(values: Any) -> Iterable[Any]:
    # Iterating an object gives its keys; that is what `requests` does, intended or not.
    return values if isinstance(values, list | dict) else (values,)
