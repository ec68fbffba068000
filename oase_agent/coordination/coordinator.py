"""What an engine of coordination does, whatever it is built on.

A *member* is one life of one replica; its name is new with every start. A *claim* says that a member owns a setting,
with an epoch that grows whenever the owner changes. Rendezvous hashing says who should own a setting, the claim who
does: views may differ for a while, claims never do.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Claim:
    """`setting_name` is owned under `epoch`, which is higher than that of every owner before.

    `record` is what the owner before left for the next one, where records are kept and there is one.
    """

    setting_name: str
    epoch: int
    record: str | None = None


@dataclass(frozen=True, slots=True)
class View:
    """What a replica knows of the others at a moment.

    `members` are those that may be given settings, by name; this replica is one of them unless it is leaving.
    `owners` are the settings that somebody owns who may still be alive, with the owner's name: nobody else may claim
    them. What is not in it is free. `wishes` are the tokens of settings that members ask for, because they have
    batches of them (see rendezvous.py).
    """

    members: Collection[str] = ()
    owners: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    wishes: Mapping[str, frozenset[str]] = field(default_factory=lambda: MappingProxyType({}))


class Coordinator(Protocol):
    """One member's side of an engine. Its methods raise CoordinationUnavailable when the engine cannot be asked.

    The order of a life: `join`, then `claim` and `release` as `view` suggests, then `leave`.
    """

    @property
    def name(self) -> str:
        """The name of this member."""

    @property
    def is_sure(self) -> bool:
        """Whether nobody can have taken this member for dead; when it is False, nothing may be done as an owner."""

    async def join(self) -> None:
        """Become a member."""

    async def view(self) -> View:
        """Return what is known now, without waiting for anything; it may be a few seconds old."""
        ...

    async def changed(self, timeout_s: float) -> None:
        """Return when the view may have changed, or after `timeout_s` seconds."""

    async def claim(self, setting_name: str) -> Claim | None:
        """Become the owner of a free setting; None if another member was faster."""
        ...

    async def release(self, setting_name: str) -> None:
        """Let others own a setting: nothing of it is done here any more."""

    async def confirm(self, since_s: float) -> None:
        """Return if this member was alive to all others at a moment after `since_s`, seconds of `monotonic`.

        Asked for before a POST, with the time of the commit (invariant I9). Raises OwnershipLost if it was not.
        """

    async def retire(self) -> None:
        """Stay an owner, but be given no more settings: the first step of leaving."""

    async def leave(self) -> None:
        """Stop being a member; what was not released is free at once. Never raises."""


class RecordKeeper(Protocol):
    """What an engine does beside that for replicas with volumes of their own (decision 16).

    Its methods raise CoordinationUnavailable.
    """

    async def carry(self, setting_name: str, record: str) -> None:
        """Let the next owner of a setting of ours find this record; it also proves that nobody else owns it.

        Raises OwnershipLost if somebody does.
        """

    def entrust(self, setting_name: str, record: str) -> None:
        """Let the next `release` of a setting carry this record."""

    async def wish(self, tokens: Collection[str]) -> None:
        """Ask for the settings with these tokens, and for no others any more. Does nothing unless we are a member."""
