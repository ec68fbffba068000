"""Which mails are known already: by their Message-ID, the second key beside the number of the mailbox.

Numbers change when a mailbox is numbered anew, and when a mail is moved away and back; Message-IDs do not.
"""

import hashlib
from collections.abc import Sequence
from itertools import compress
from typing import Any

from oase_agent.collect.labelling import AreNew


def unknown_mails(mails: Any, are_new: AreNew) -> Any:
    """Return the mails of a list that `are_new` does not know; what is no list of mails stays as it is."""
    if not isinstance(mails, list) or not all(isinstance(mail, dict) for mail in mails):
        return mails
    return list(compress(mails, are_new([_key(mail) for mail in mails])))


def all_new(event_ids: Sequence[str]) -> list[bool]:
    """Take every id for new: EVENT_ID_KEY makes no mail known (contract section 8)."""
    return [True] * len(event_ids)


def _key(mail: dict[str, Any]) -> str:
    """Return what a mail is known by.

    A mail without Message-ID has one made of a name and a second. Several may come in one second, so the mail itself
    counts as well.
    """
    message_id = str(mail.get("message_id", ""))
    if message_id.startswith("<"):
        return message_id
    content = hashlib.sha256(repr(mail).encode("utf-8", "backslashreplace")).hexdigest()
    return f"{message_id} {content}"
