"""Who should own a setting: rendezvous hashing (Thaler and Ravishankar, 1998). Pure.

Every replica that knows the same members comes to the same answer without asking anybody. When a member leaves, only
its own settings move; when one joins, it takes its share and nothing else moves.
"""

import hashlib
from collections.abc import Collection


def winner(setting_name: str, members: Collection[str], preferred: Collection[str] = ()) -> str | None:
    """Return the member that should own the setting: one of the `preferred`, if any; None if there is no member."""
    members = [member for member in members if member in preferred] or members
    return max(members, key=lambda member: (_weight(setting_name, member), member), default=None)


def token_of(setting_name: str) -> str:
    """Return a short text by which members ask for a setting; two settings with the same one do no harm."""
    return hashlib.blake2b(setting_name.encode("utf-8", "surrogatepass"), digest_size=5).hexdigest()


def _weight(setting_name: str, member: str) -> bytes:
    # The separator cannot be in a member's name, so that no two pairs hash the same text.
    text = f"{member}\0{setting_name}".encode("utf-8", "surrogatepass")
    return hashlib.blake2b(text, digest_size=16).digest()
