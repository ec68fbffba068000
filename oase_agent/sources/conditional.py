"""Conditional requests: a source that has nothing new says so in a few bytes (RFC 9110, sections 8.8 and 13).

An answer with status 304 stands for the same events as the last full one, which are all kept by then: what identifies
that answer is noted in the bookmark, and so becomes valid together with its events. Only settings with EVENT_ID_KEY
ask this way: without ids the same events are collected again from the same answer (contract section 7).
"""

import re
import secrets
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from hashlib import blake2b

import msgspec

from oase_agent.model import Setting
from oase_agent.sources.body import AnswerHead, Body, Fetched
from oase_agent.sources.options import SourceOptions
from oase_agent.sources.redirects import Hop

# Ids that an answer reports stay known; a 304 reports none. They expire after an hour at the earliest
# (KNOWN_ID_RETENTION_H), so that twice as often the whole answer is asked for.
MAX_AGE_S = 1800

_CONDITIONS = frozenset({"if-none-match", "if-modified-since"})
_ETAG = re.compile(r'(?:W/)?"[\x21\x23-\x7e]{0,250}"')
_LONGEST_DATE = 40


class _Noted(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="validators"):
    """The bookmark: what identifies the last full answer, when it came, and which request it answers."""

    request: str
    full_s: float
    etag: str = ""
    last_modified: str = ""


@dataclass(frozen=True, slots=True)
class Condition:
    """A request that asks for news only, if `noted` is there; `request` identifies it whatever its date."""

    hop: Hop
    request: str
    noted: _Noted | None = None

    @property
    def is_asked(self) -> bool:
        """Whether the answer may be that nothing changed."""
        return self.noted is not None


class Conditions:
    """Makes requests conditional. One for a process: after a restart the first answer of each source is whole."""

    def __init__(self) -> None:
        # The digests below cover credentials, and stand on the volume: nobody shall try out passwords on them.
        self._key = secrets.token_bytes(32)

    def on(
        self, hop: Hop, setting: Setting, options: SourceOptions, bookmark: str | None, now_s: float
    ) -> Condition:
        """Return `hop` as it is to be sent, given what the last answer noted; `now_s` is epoch seconds."""
        if (
            hop.method != "GET"
            or not options.is_conditional
            or not setting.event_id_key
            or is_conditional(hop)
        ):
            return Condition(hop, "")
        request = self._identity(hop, setting)
        noted = _read(bookmark)
        # A clock that went back must not let an answer stand for ever.
        if noted is None or noted.request != request or not 0 <= now_s - noted.full_s < MAX_AGE_S:
            return Condition(hop, request)
        asked = {"If-None-Match": noted.etag} if noted.etag else {"If-Modified-Since": noted.last_modified}
        return Condition(replace(hop, headers={**hop.headers, **asked}), request, noted)

    def noted(self, condition: Condition, fetched: Fetched) -> Fetched:
        """Return the answer with the bookmark for the next request."""
        if fetched.is_unchanged:
            noted = condition.noted
        elif condition.request and fetched.status == 200 and fetched.head is not None:
            noted = _validators(condition.request, fetched.received_us / 1_000_000, fetched.head)
        else:
            noted = None
        return replace(fetched, bookmark=None if noted is None else msgspec.json.encode(noted).decode())

    def _identity(self, hop: Hop, setting: Setting) -> str:
        """Tell requests apart whose answers, or whose events from the same answer, may differ."""
        headers = sorted(
            (name.lower(), value) for name, value in hop.headers.items() if name.lower() != "date"
        )
        rules = (setting.id, setting.response_key, setting.event_id_key, setting.response_is_list)
        text = repr((str(hop.url), headers, rules)).encode("utf-8", "backslashreplace")
        return blake2b(text, digest_size=16, key=self._key).hexdigest()


def is_conditional(hop: Hop) -> bool:
    """Tell whether a request asks for news only."""
    return any(name.lower() in _CONDITIONS for name in hop.headers)


def unchanged(now_us: int) -> Fetched:
    """Return the answer that says that nothing changed, received at `now_us` epoch microseconds."""
    return Fetched(Body(b""), now_us, 304, is_unchanged=True)


def _validators(request: str, now_s: float, head: AnswerHead) -> _Noted | None:
    if _ETAG.fullmatch(head.etag):
        return _Noted(request, now_s, etag=head.etag)
    if _is_sure(head):
        return _Noted(request, now_s, last_modified=head.last_modified)
    return None


def _is_sure(head: AnswerHead) -> bool:
    """Tell whether Last-Modified will differ after any change: it counts whole seconds (RFC 9110, 8.8.2.2)."""
    if not 0 < len(head.last_modified) <= _LONGEST_DATE or not head.last_modified.isascii():
        return False
    try:
        age = parsedate_to_datetime(head.date) - parsedate_to_datetime(head.last_modified)
    except (ValueError, TypeError, OverflowError):  # TypeError: one of them without a zone
        return False
    return age.total_seconds() >= 2


def _read(bookmark: str | None) -> _Noted | None:
    try:
        return None if bookmark is None else msgspec.json.decode(bookmark, type=_Noted)
    except (msgspec.MsgspecError, ValueError):
        return None
