"""The bookmark of a source in words: what it noted to go on from, such as the last mail it read.

Only the source understands it; most write JSON. Values are shown by their names, never what may let somebody in: of a
URL only the host, and nothing of what stands under a name that sounds secret.
"""

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from oase_agent.cli.checks.masking import Masker
from oase_agent.cli.checks.secrets import sounds_secret
from oase_agent.cli.terminal import shortened
from oase_agent.model import MASK

# Digests, by which a source recognizes what it noted.
_NOT_FOR_PEOPLE = frozenset({"identity", "mailbox", "marks", "request"})
_LONGEST_VALUE = 80
_LONGEST_TEXT = 400


def describe_bookmark(bookmark: str, masker: Masker) -> str:
    """Return what an operator may read of a bookmark."""
    try:
        content = json.loads(b"".join(masker.masked(bookmark.encode("utf-8", "replace"))))
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict | list):
        return f"{len(bookmark)} characters that only the source understands"
    return shortened(", ".join(_facts(content, "")) or "empty", _LONGEST_TEXT)


def _facts(value: Any, name: str) -> Iterator[str]:
    if value in (None, "", [], {}) or name in _NOT_FOR_PEOPLE:
        return
    match value:
        case _ if sounds_secret(name):
            yield f"{name} {MASK}"
        case dict():
            for key, item in value.items():
                yield from _facts(item, f"{name}.{key}" if name else key)
        case list() if all(isinstance(item, int | float | str) for item in value):
            yield f"{name} {' '.join(_text(item) for item in value)}".strip()
        case list():
            for number, item in enumerate(value, start=1):
                yield from _facts(item, f"{name}[{number}]")
        case _:
            yield f"{name} {_text(value)}"


def _text(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return shortened(_host_of(text) if "://" in text else text, _LONGEST_VALUE)


def _host_of(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        return MASK
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}/…"
