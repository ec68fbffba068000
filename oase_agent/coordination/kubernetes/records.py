"""The hand-over records in the claims, for replicas with volumes of their own (decision 16).

R1 A record is written against the version of the claim that we wrote last. Whoever wants the setting replaces the
   claim, so a record that was written is the proof that nobody has, and the next owner reads it with its claim.
R2 What is known of all Leases holds no records: they would be tens of megabytes. A claim is read as a whole before
   it is replaced, and only replaced if nobody changed it since it was seen.
"""

from dataclasses import replace
from types import MappingProxyType

from oase_agent.coordination.kubernetes.api import LeaseApi
from oase_agent.coordination.kubernetes.cluster import Cluster
from oase_agent.coordination.kubernetes.lease import RECORD_ANNOTATION, Lease
from oase_agent.errors import CoordinationUnavailable, OwnershipLost, Reason

# Kubernetes allows 256 KiB of annotations; what is larger than this is a defect of the caller.
MAX_RECORD_BYTES = 64 * 1024


class Records:
    """Our claims as a whole, by the names of their Leases. Methods raise CoordinationUnavailable."""

    def __init__(self, api: LeaseApi, cluster: Cluster) -> None:
        self._api = api
        self._cluster = cluster
        self._ours: dict[str, Lease] = {}
        self._entrusted: dict[str, str] = {}

    async def whole(self, known: Lease) -> Lease | None:
        """Return a claim with its record; None if it is not any more what was seen of it."""
        ours = self._ours.get(known.name)
        if ours is not None and ours.version == known.version:
            return ours
        found = await self._api.get(known.name)
        if found is None:
            self._cluster.forget(known.name)
            return None
        self._cluster.note(found)
        return found if found.version == known.version else None

    def keep(self, ours: Lease) -> None:
        """Take in a claim as we wrote it."""
        self._ours[ours.name] = ours
        self._entrusted.pop(ours.name, None)

    def entrust(self, name: str, record: str) -> None:
        """Let the claim be released with this record."""
        self._entrusted[name] = _bounded(record)

    def released(self, ours: Lease) -> Lease:
        """Return a claim as it is to be written when it is released."""
        record = self._entrusted.get(ours.name)
        return (ours if record is None else _with_record(ours, record)).held_by("")

    def forget(self, name: str) -> None:
        """Take in that a claim is not ours any more."""
        self._ours.pop(name, None)
        self._entrusted.pop(name, None)

    async def write(self, name: str, holder: str, record: str) -> None:
        """Write a record into a claim of `holder`, who we are. Raises OwnershipLost if another one has it."""
        ours = self._ours.get(name)
        for _ in range(2):
            if ours is None or ours.holder != holder:
                break
            written = await self._api.replace(_with_record(ours, _bounded(record)))
            if written is not None:
                self._ours[name] = written
                self._cluster.note(written)
                return
            # What changed it may have been our own record, whose answer was lost.
            ours = await self._api.get(name)
        self.forget(name)
        raise OwnershipLost("Another replica has taken the setting over: its claim is not ours any more.")


def _with_record(lease: Lease, record: str) -> Lease:
    return replace(lease, annotations=MappingProxyType({**lease.annotations, RECORD_ANNOTATION: record}))


def _bounded(record: str) -> str:
    if len(record.encode()) > MAX_RECORD_BYTES:
        raise CoordinationUnavailable(
            "The hand-over record of a setting is too large for its claim Lease.", Reason.TOO_LARGE
        )
    return record
