"""The document of a mail, with what must hold of every one: it can be stored, and JSON changes nothing of it."""

from typing import Any

import orjson

from oase_agent.collect.unstorable import find_unstorable
from oase_agent.sources.mail.message import Mail, mail_document

ARRIVED_S = 1_700_000_000.0


def document(source: bytes | str, *, size_bytes: int | None = None) -> dict[str, Any]:
    data = source.encode() if isinstance(source, str) else source
    found = mail_document(Mail(1, ARRIVED_S, size_bytes or len(data), data), "m")
    assert find_unstorable(found) is None
    assert orjson.loads(orjson.dumps(found)) == found
    return found


def body(source: bytes | str, **size: int) -> dict[str, str]:
    found: dict[str, str] = document(source, **size)["body"]
    return found
