"""How Helm keeps a release in a Secret, as far as the tests read and change it.

Helm sends its own Secrets in Kubernetes' protobuf form; a release inside is base64 of gzip of JSON.
"""

import base64
import gzip
import json
from collections.abc import Iterator
from typing import Any

from tests.chart.patches import Json

PROTOBUF = "application/vnd.kubernetes.protobuf"
_ENVELOPE = b"k8s\x00"


def decode_secret(body: bytes) -> Json:
    """Read a Secret from its protobuf form. Raises ValueError for anything else."""
    if not body.startswith(_ENVELOPE):
        raise ValueError("not Kubernetes' protobuf envelope")
    envelope = dict(_fields(body[len(_ENVELOPE) :]))
    if b"Secret" not in envelope[1]:
        raise ValueError("only Secrets are read from protobuf")
    metadata: Json = {}
    data: dict[str, str] = {}
    kind = "Opaque"
    for number, value in _fields(envelope[2]):
        if number == 1:
            metadata = _metadata(value)
        elif number == 2:
            key, content = _entry(value)
            data[key] = base64.b64encode(content).decode()
        elif number == 3:
            kind = value.decode()
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data, "type": kind}


def _metadata(message: bytes) -> Json:
    texts = {1: "name", 3: "namespace", 5: "uid", 6: "resourceVersion"}
    maps = {11: "labels", 12: "annotations"}
    metadata: Json = {}
    for number, value in _fields(message):
        if number in texts and value:
            metadata[texts[number]] = value.decode()
        elif number in maps:
            key, content = _entry(value)
            metadata.setdefault(maps[number], {})[key] = content.decode()
    return metadata


def _entry(message: bytes) -> tuple[str, bytes]:
    parts = dict(_fields(message))
    return parts.get(1, b"").decode(), parts.get(2, b"")


def _fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield number and content of every field with a length; numbers are passed over."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        if tag & 7 == 0:
            _, at = _varint(message, at)
        elif tag & 7 == 2:
            length, at = _varint(message, at)
            yield tag >> 3, message[at : at + length]
            at += length
        else:
            raise ValueError(f"unexpected wire type {tag & 7}")


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def read_release(secret: Json) -> dict[str, Any]:
    """Return the release that a Secret of Helm holds."""
    text = base64.b64decode(secret["data"]["release"])
    release: dict[str, Any] = json.loads(gzip.decompress(base64.b64decode(text)))
    return release


def write_release(secret: Json, release: dict[str, Any]) -> Json:
    """Return the Secret with another release in it."""
    text = base64.b64encode(gzip.compress(json.dumps(release).encode()))
    return secret | {"data": secret["data"] | {"release": base64.b64encode(text).decode()}}
