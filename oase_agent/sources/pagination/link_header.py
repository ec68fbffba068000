"""The Link header (RFC 8288): `<https://host/items?page=2>; rel="next", <…>; rel="last"`. Pure."""

import re
from collections.abc import Iterable, Iterator

_PARAMETER = r'[ \t]*+;[ \t]*+([^\s;,="]++)(?:[ \t]*+=[ \t]*+("(?:[^"\\]|\\.)*+"|[^\s;,"]*+))?+'
_PARAMETERS = re.compile(_PARAMETER)
_LINK = re.compile(rf"[ \t,]*+<([^<>]*+)>((?:{_PARAMETER})*+)")
_ESCAPED = re.compile(r"\\(.)")


def next_link(headers: Iterable[str]) -> str | None:
    """Return the target of the first link with the relation `next`, as it stands there, or None.

    What follows a malformed link in its header is not read.
    """
    for header in headers:
        for target, parameters in _links(header):
            if _is_next(parameters):
                return target.strip()
    return None


def _links(header: str) -> Iterator[tuple[str, str]]:
    at = 0
    while link := _LINK.match(header, at):
        yield link[1], link[2]
        at = link.end()


def _is_next(parameters: str) -> bool:
    for name, value in _PARAMETERS.findall(parameters):
        if name.lower() == "rel":
            # Only the first one counts (section 3.3).
            quoted = value.startswith('"')
            relations = _ESCAPED.sub(r"\1", value[1:-1]) if quoted else value
            return "next" in relations.lower().split()
    return False
