"""From an open mailbox to its new mails, in the order of their numbers, a few at a time. Blocks.

What a server says is not believed blindly: it may repeat old numbers, tell of mails that nobody asked for, tell wrong
sizes, and lose mails between a search and a fetch.
"""

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from oase_agent.sources.mail.bookmark import Bookmark, OpenMailbox
from oase_agent.sources.mail.connection import Connection
from oase_agent.sources.mail.message import MAX_SOURCE_BYTES, Mail
from oase_agent.sources.mail.protocol import CommandRefused

# Mails that one search may tell of: its answer is one line, which is read as a whole.
SEARCH_WINDOW: Final = 20_000
# Mails whose size is asked for at once; the command stays far below the 8,000 bytes that servers take.
_FACTS_AT_ONCE: Final = 100
_FACTS_BYTES: Final = 512
# Mail that one answer brings, unless a single one is larger: times SOURCE_CONCURRENCY it must fit the memory.
_FETCH_BYTES: Final = 256 * 1024
# Sizes are estimates on some servers: this much, and a share of the size, more is asked for.
_SIZE_MARGIN_BYTES: Final = 512
_SIZE_MARGIN_SHARE: Final = 16
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@dataclass(frozen=True, slots=True)
class _Facts:
    uid: int
    size_bytes: int
    arrived_s: float


def highest_uid(connection: Connection, opened: OpenMailbox) -> int:
    """Return the highest number of a mail that exists, 0 in an empty mailbox."""
    if opened.mails == 0:
        return 0
    return max(connection.search_uids("UID *", at_most=opened.mails), default=0)


def new_uids(
    connection: Connection, opened: OpenMailbox, bookmark: Bookmark, *, window: int = SEARCH_WINDOW
) -> "array[int]":
    """Return the numbers of the mails that may be new, ascending."""
    found: array[int] = array("I")
    if bookmark.uid < bookmark.until and bookmark.since is not None:
        # The server compares calendar days of its own zone: a day more, and the exact time is looked at later.
        day = datetime.fromtimestamp(max(0, bookmark.since), UTC) - timedelta(days=1)
        keys = f"UID {bookmark.uid + 1}:{bookmark.until} SINCE {day.day}-{_MONTHS[day.month - 1]}-{day.year}"
        for uids in _searched(connection, opened.mails, keys, window):
            found.extend(uid for uid in uids if bookmark.uid < uid <= bookmark.until)
    above = max(bookmark.uid, bookmark.until)
    for uids in _searched(connection, opened.mails, f"UID {above + 1}:*", window):
        # `*` is the highest number, even if that is lower than the other end of the range.
        newer = [uid for uid in uids if uid > above]
        found.extend(newer)
        if len(newer) < window:
            break  # the ones before are older still
    return array("I", sorted(found))


def read_mails(
    connection: Connection, uids: Sequence[int], bookmark: Bookmark, *, now_s: float
) -> Iterator[Mail]:
    """Yield the mails that are new, in the order of their numbers.

    `now_s` stands for the time of arrival where a server does not tell it.
    """
    for start in range(0, len(uids), _FACTS_AT_ONCE):
        some = list(uids[start : start + _FACTS_AT_ONCE])
        told = connection.fetch_items(some, ["RFC822.SIZE", "INTERNALDATE"], answer_bytes=_FACTS_BYTES)
        wanted = [facts for facts in _facts(some, told, now_s) if bookmark.wants(facts.uid, facts.arrived_s)]
        for batch in _batches(wanted):
            yield from _fetched(connection, batch)


def _searched(connection: Connection, mails: int, keys: str, window: int) -> Iterator[list[int]]:
    """Search a mailbox from its newest mails backwards, in windows of sequence numbers."""
    if mails <= window:
        yield connection.search_uids(keys, at_most=mails)
        return
    for last in range(mails, 0, -window):
        yield connection.search_uids(f"{max(1, last - window + 1)}:{last} {keys}", at_most=window)


def _facts(uids: list[int], told: dict[int, dict[bytes, Any]], now_s: float) -> Iterator[_Facts]:
    for uid in uids:
        items = told.get(uid)
        if items is None:
            continue  # gone since the search
        size, arrived = items.get(b"RFC822.SIZE"), items.get(b"INTERNALDATE")
        yield _Facts(
            uid,
            size if isinstance(size, int) else MAX_SOURCE_BYTES,
            arrived.timestamp() if isinstance(arrived, datetime) else now_s,
        )


def _batches(wanted: list[_Facts]) -> Iterator[list[_Facts]]:
    """Cut a list so that a batch, with as much of each mail as the largest one needs, stays within bounds."""
    batch: list[_Facts] = []
    largest = 0
    for facts in wanted:
        largest = max(largest, _asked_bytes(facts))
        if batch and largest * (len(batch) + 1) > _FETCH_BYTES:
            yield batch
            batch, largest = [], _asked_bytes(facts)
        batch.append(facts)
    if batch:
        yield batch


def _asked_bytes(facts: _Facts) -> int:
    margin = _SIZE_MARGIN_BYTES + facts.size_bytes // _SIZE_MARGIN_SHARE
    return min(facts.size_bytes + margin, MAX_SOURCE_BYTES)


def _fetched(connection: Connection, batch: list[_Facts]) -> Iterator[Mail]:
    """Fetch a batch, and if the server refuses that, one mail after the other."""
    try:
        mails = _fetched_at_once(connection, batch)
    except CommandRefused:
        if len(batch) == 1:
            raise connection.refused_mail(batch[0].uid) from None
        for facts in batch:
            yield from _fetched(connection, [facts])
    else:
        yield from mails


def _fetched_at_once(connection: Connection, batch: list[_Facts]) -> list[Mail]:
    """Fetch a batch; BODY.PEEK leaves no mark on a mail (defect D31)."""
    asked = max(map(_asked_bytes, batch))
    uids = [facts.uid for facts in batch]
    told = connection.fetch_items(uids, [_part(asked)], answer_bytes=asked + _FACTS_BYTES)
    mails: list[Mail] = []
    for facts in batch:
        items = told.pop(facts.uid, None)
        source = None if items is None else _source(items)
        if source is None:
            continue  # gone since its size was told
        if len(source) >= asked and asked < MAX_SOURCE_BYTES:
            # The size was wrong by far.
            more = connection.fetch_items(
                [facts.uid], [_part(MAX_SOURCE_BYTES)], answer_bytes=MAX_SOURCE_BYTES + _FACTS_BYTES
            )
            source = _source(more.get(facts.uid, {})) or source
        mails.append(Mail(facts.uid, facts.arrived_s, max(facts.size_bytes, len(source)), source))
    return mails


def _part(size_bytes: int) -> str:
    return f"BODY.PEEK[]<0.{size_bytes}>"


def _source(items: dict[bytes, Any]) -> bytes | None:
    """Return the text of a mail, or None if the answer is about something else, such as changed flags."""
    for key in (b"BODY[]<0>", b"BODY[]"):
        if key in items:
            return items[key] if isinstance(items[key], bytes) else b""
    return None
