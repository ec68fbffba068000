"""Where a mailbox was read up to, as the text that is kept with the cursor. Pure.

Numbers of mails only grow, in the order of arrival, as long as the UIDVALIDITY of the mailbox stays the same (RFC
3501, 2.3.1.1). When that changes, or nothing is known of the mailbox, mails are chosen by the time of their arrival
instead, up to the highest number that exists at that moment; beyond it, numbers count again.
"""

import hashlib
from dataclasses import asdict, dataclass
from typing import Any, Final

import orjson

from oase_agent.model import Setting
from oase_agent.sources.mail.route import MailRoute

# After a change of numbering this much is looked at again; the Message-IDs that are known drop out (contract C3).
_MARGIN_S: Final = 86_400


@dataclass(frozen=True, slots=True)
class OpenMailbox:
    """What the server says of a mailbox: how many mails, and in which numbering.

    `uid_validity` is None if numbers mean nothing beyond this connection; `uid_next` is None if it was not told.
    """

    mails: int
    uid_validity: int | None
    uid_next: int | None


@dataclass(frozen=True, slots=True)
class Bookmark:
    """Everything up to number `uid` was read.

    Of the mails up to number `until`, those that arrived before `since` (epoch seconds) are none of ours; `since` is
    None, and `until` 0, when numbers alone decide. `mailbox` stands for host, user and name.
    """

    mailbox: str
    port: int
    uid_validity: int | None
    uid: int
    since: int | None = None
    until: int = 0

    def text(self) -> str:
        """Return the text to keep."""
        return orjson.dumps(asdict(self)).decode()

    def after(self, uid: int) -> "Bookmark":
        """Return the bookmark when everything up to `uid` was read."""
        is_scanned = self.since is None or uid >= self.until
        since, until = (None, 0) if is_scanned else (self.since, self.until)
        return Bookmark(self.mailbox, self.port, self.uid_validity, uid, since, until)

    def wants(self, uid: int, arrived_s: float) -> bool:
        """Tell whether a mail is one of ours."""
        if uid <= self.uid:
            return False
        return self.since is None or uid > self.until or arrived_s >= self.since


def bookmark_to_go_on(
    kept: str | None, setting: Setting, route: MailRoute, opened: OpenMailbox
) -> Bookmark | None:
    """Return the bookmark that was kept, if its numbers still mean the same mails, else None."""
    bookmark = _read(kept)
    if bookmark is None or (bookmark.mailbox, bookmark.port) != (_mailbox(setting, route), route.port):
        return None
    if opened.uid_validity is None or bookmark.uid_validity != opened.uid_validity:
        return None
    # A mailbox that was restored from a backup may keep its UIDVALIDITY, and gives numbers out a second time.
    is_behind = opened.uid_next is not None and opened.uid_next <= bookmark.uid
    return None if is_behind else bookmark


def bookmark_by_time(
    kept: str | None, setting: Setting, route: MailRoute, opened: OpenMailbox, *, since: int, highest_uid: int
) -> Bookmark:
    """Return the bookmark to begin with by time of arrival, where `highest_uid` is the last number that exists.

    What was read of the same mailbox before is looked at again for a day; of another one, nothing is known, and it
    begins at `since`, the time of the cursor.
    """
    bookmark = _read(kept)
    mailbox = _mailbox(setting, route)
    if bookmark is not None and bookmark.mailbox == mailbox:
        since -= _MARGIN_S
    return Bookmark(mailbox, route.port, opened.uid_validity, 0, since, highest_uid)


def _mailbox(setting: Setting, route: MailRoute) -> str:
    parts = (route.host, setting.username or "", setting.mailbox_name or "INBOX")
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _read(kept: str | None) -> Bookmark | None:
    """Read a text that was kept; None if it is none of ours, such as one of another kind of source."""
    if not kept:
        return None
    try:
        fields: Any = orjson.loads(kept)
        bookmark = Bookmark(**fields)
    except (orjson.JSONDecodeError, TypeError):
        return None
    numbers = (bookmark.port, bookmark.uid, bookmark.until)
    optional = (bookmark.uid_validity, bookmark.since)
    is_whole = all(type(number) is int for number in numbers) and all(
        number is None or type(number) is int for number in optional
    )
    return bookmark if is_whole and type(bookmark.mailbox) is str else None
