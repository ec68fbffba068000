"""A Lease as this agent reads and writes it (coordination.k8s.io/v1). Pure.

Names are fixed by organization, workspace, agent name, slot and setting, so that a Role can be bound to them.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

import msgspec
import orjson

API_VERSION = "coordination.k8s.io/v1"
AGENT_LABEL = "oase-agent.exastro.org/agent"
KIND_LABEL = "oase-agent.exastro.org/kind"
SETTING_ANNOTATION = "oase-agent.exastro.org/setting"
POD_ANNOTATION = "oase-agent.exastro.org/pod"
# On a member that finishes what it has and is given no more.
RETIRING_ANNOTATION = "oase-agent.exastro.org/retiring"
# On a member with batches of settings that others own: the tokens of these settings (see rendezvous.py).
WISHES_ANNOTATION = "oase-agent.exastro.org/leftovers"
# On a claim, where each replica has a volume of its own: what the next owner needs.
RECORD_ANNOTATION = "oase-agent.exastro.org/record"
MEMBER, CLAIM = "member", "claim"


@dataclass(frozen=True, slots=True)
class Lease:
    """One Lease; `holder` is empty when nobody holds it, `version` is empty when it does not exist yet.

    `duration_s` is how long it is believed without a sign; a claim has none: its holder's member Lease counts.
    """

    name: str
    kind: str
    holder: str = ""
    transitions: int = 0
    duration_s: int | None = None
    version: str = ""
    annotations: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def held_by(self, holder: str) -> "Lease":
        """Return the Lease with another holder, which is a transition unless it is released."""
        return replace(self, holder=holder, transitions=self.transitions + (1 if holder else 0))

    @property
    def setting_name(self) -> str:
        """The setting of a claim; empty for a Lease that somebody else made under such a name."""
        return self.annotations.get(SETTING_ANNOTATION, "")

    @property
    def record(self) -> str | None:
        """What the last owner of a claim left for the next one."""
        return self.annotations.get(RECORD_ANNOTATION)

    def without_record(self) -> "Lease":
        """Return the Lease as it is remembered: records are large, and only the next owner needs one."""
        if RECORD_ANNOTATION not in self.annotations:
            return self
        rest = {name: text for name, text in self.annotations.items() if name != RECORD_ANNOTATION}
        return replace(self, annotations=MappingProxyType(rest))


def base_name(organization_id: str, workspace_id: str, agent_name: str) -> str:
    """Return what the names of an agent's Leases begin with; the chart computes the same."""
    return f"oase-{_digest(f'{organization_id}/{workspace_id}/{agent_name}')[:12]}"


def member_name(base: str, slot: int) -> str:
    """Return the name of a member Lease; slots count from 0."""
    return f"{base}-m-{slot}"


def claim_name(base: str, setting_name: str) -> str:
    """Return the name of a setting's claim; the chart computes the same."""
    return f"{base}-c-{_digest(setting_name)[:20]}"


class _Metadata(msgspec.Struct):
    name: str
    resourceVersion: str = ""  # noqa: N815 - the API's names
    annotations: dict[str, str] | None = None
    labels: dict[str, str] | None = None


class _Spec(msgspec.Struct):
    holderIdentity: str | None = None  # noqa: N815
    leaseTransitions: int | None = None  # noqa: N815
    leaseDurationSeconds: int | None = None  # noqa: N815


class _Item(msgspec.Struct):
    metadata: _Metadata
    spec: _Spec | None = None


class _ListMetadata(msgspec.Struct):
    resourceVersion: str = ""  # noqa: N815
    continue_: str = msgspec.field(default="", name="continue")


class _List(msgspec.Struct):
    metadata: _ListMetadata
    items: list[_Item]


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a list: `version` is where a watch goes on, `more` asks for the next part, or is empty."""

    leases: list[Lease]
    version: str
    more: str


def parse_lease(document: bytes) -> Lease:
    """Read one Lease; raises msgspec.DecodeError, of which ValidationError is one."""
    return _lease(msgspec.json.decode(document, type=_Item))


def parse_page(document: bytes) -> Page:
    """Read a list of Leases; raises msgspec.DecodeError."""
    found = msgspec.json.decode(document, type=_List)
    return Page(list(map(_lease, found.items)), found.metadata.resourceVersion, found.metadata.continue_)


def document_of(lease: Lease, namespace: str, base: str, now_s: float) -> bytes:
    """Return what is sent to create or replace a Lease; `now_s` (epoch seconds) is for people only."""
    metadata: dict[str, Any] = {
        "name": lease.name,
        "namespace": namespace,
        "labels": {
            "app.kubernetes.io/managed-by": "oase-agent",
            AGENT_LABEL: base,
            KIND_LABEL: lease.kind,
        },
        "annotations": dict(lease.annotations),
    }
    if lease.version:
        metadata["resourceVersion"] = lease.version
    moment = datetime.fromtimestamp(now_s, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    spec = {
        "holderIdentity": lease.holder,
        "leaseTransitions": lease.transitions,
        "renewTime": moment,
        **({} if lease.duration_s is None else {"leaseDurationSeconds": lease.duration_s}),
    }
    return orjson.dumps({"apiVersion": API_VERSION, "kind": "Lease", "metadata": metadata, "spec": spec})


def _lease(item: _Item) -> Lease:
    spec = item.spec or _Spec()
    return Lease(
        name=item.metadata.name,
        kind=(item.metadata.labels or {}).get(KIND_LABEL, ""),
        holder=spec.holderIdentity or "",
        transitions=spec.leaseTransitions or 0,
        duration_s=spec.leaseDurationSeconds,
        version=item.metadata.resourceVersion,
        annotations=MappingProxyType(item.metadata.annotations or {}),
    )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
