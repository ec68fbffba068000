"""A Kubernetes API in memory, behind a real loopback socket: as much as Helm needs to install, upgrade and uninstall.

It keeps objects, records every request, merges as an API server does (client-side and server-side apply), fills in
defaults and refuses changed selectors and claim specs. It runs no controllers and no pods.
"""

import contextlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.chart.api_kinds import KINDS, Kind, api_group_list, api_resource_list, openapi_index, openapi_of
from tests.chart.cluster_state import APPLY, ClusterState, Place
from tests.chart.patches import Json
from tests.chart.refusal import Refusal
from tests.chart.release_record import PROTOBUF, decode_secret, read_release, write_release

_RELEASE = "sh.helm.release.v1."


@dataclass(frozen=True)
class Request:
    """One request that changed or tried to change an object."""

    method: str
    plural: str
    name: str
    content_type: str
    body: Json
    status: int


class Cluster:
    """What a test sees of the API: its address, its objects and what was asked of it."""

    def __init__(self, namespace: str = "exastro") -> None:
        self.namespace = namespace
        self.url = ""
        self.state = ClusterState()
        self.requests: list[Request] = []
        self.lock = threading.RLock()

    def objects(self, plural: str) -> dict[str, Json]:
        """Return the objects of a kind by name, Helm's own records left out."""
        with self.lock:
            found = self.state.list(plural, "", {})
        named = {manifest["metadata"]["name"]: manifest for manifest in found}
        return {name: manifest for name, manifest in named.items() if not name.startswith(_RELEASE)}

    def place(self, plural: str, name: str) -> Place:
        """Return where an object of that kind and name is kept."""
        namespaced = any(kind.plural == plural and kind.namespaced for kind in KINDS)
        return Place(plural, self.namespace if namespaced else "", name)

    def changes(self, plural: str = "") -> list[Request]:
        """Return the recorded requests, of one kind if given, Helm's own records left out."""
        return [
            request
            for request in self.requests
            if plural in {"", request.plural} and not request.name.startswith(_RELEASE)
        ]

    def scale(self, deployment: str, replicas: int) -> None:
        """Do what `kubectl scale deployment` does."""
        with self.lock:
            place = self.place("deployments", deployment)
            self.state.set_field(place, "kubectl", {"spec": {"replicas": replicas}})

    def annotate(self, plural: str, name: str, annotations: dict[str, str]) -> None:
        """Do what `kubectl annotate` does."""
        with self.lock:
            self.state.set_field(
                self.place(plural, name), "kubectl", {"metadata": {"annotations": annotations}}
            )

    def bind(self, claim: str, volume: str) -> None:
        """Do what the binder does when it finds a volume for a claim."""
        bound = {"spec": {"volumeName": volume}, "status": {"phase": "Bound"}}
        with self.lock:
            place = self.place("persistentvolumeclaims", claim)
            self.state.set_field(place, "kube-controller-manager", bound)

    def make_releases_those_of_helm_3(self) -> None:
        """Take from stored releases what only Helm 4 writes: it then upgrades them by strategic merge, as Helm 3."""
        with self.lock:
            for secret in self.state.list("secrets", self.namespace, {"owner": "helm"}):
                release = read_release(secret)
                release.pop("apply_method", None)
                place = self.place("secrets", secret["metadata"]["name"])
                self.state.replace(place, write_release(secret, release))


@contextlib.contextmanager
def kubernetes_api(namespace: str = "exastro") -> Iterator[Cluster]:
    """Serve an empty cluster on a free loopback port while the context lasts."""
    cluster = Cluster(namespace)

    class Handler(_Handler):
        served = cluster

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    cluster.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield cluster
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass(frozen=True)
class _Target:
    kind: Kind
    namespace: str
    name: str


class _Handler(BaseHTTPRequestHandler):
    served: Cluster
    protocol_version = "HTTP/1.1"
    wbufsize = (
        65536  # one packet per answer: a header sent alone waits for the peer's delayed acknowledgement
    )
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Write no access log."""

    def do_GET(self) -> None:
        self._answer(self._read)

    def do_POST(self) -> None:
        self._answer(self._change)

    do_PUT = do_PATCH = do_DELETE = do_POST  # noqa: N815

    def _answer(self, act: Any) -> None:
        with self.served.lock:
            try:
                status, body = act(urlsplit(self.path))
            except Refusal as refusal:
                status, body = refusal.status, refusal.body()
            except Exception as error:
                status, body = 500, Refusal(500, "InternalError", f"the test's API broke: {error!r}").body()
        content = b"" if body is None else json.dumps(body).encode()
        self.send_response(HTTPStatus(status))
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _read(self, url: Any) -> tuple[int, Json | None]:
        parts = url.path.strip("/").split("/")
        if parts == ["openapi", "v2"]:
            return 200, None  # protobuf's empty document: Helm 3 then checks no fields itself
        if parts == ["version"]:
            return 200, {"major": "1", "minor": "31", "gitVersion": "v1.31.0", "platform": "linux/amd64"}
        if parts in (["api"], ["apis"]):
            return 200, {"kind": "APIVersions", "versions": ["v1"]} if parts == ["api"] else api_group_list()
        if parts[:2] == ["openapi", "v3"]:
            return 200, openapi_of("/".join(parts[2:])) if parts[2:] else openapi_index()
        if (resources := api_resource_list("/".join(parts[1:]))) is not None:
            return 200, resources
        target = _target(parts)
        if target.name:
            return 200, self.served.state.get(Place(target.kind.plural, target.namespace, target.name))
        labels = _wanted_labels(parse_qs(url.query))
        items = self.served.state.list(target.kind.plural, target.namespace, labels)
        kind, version = target.kind.kind, target.kind.group_version
        return 200, {"kind": f"{kind}List", "apiVersion": version, "metadata": {}, "items": items}

    def _change(self, url: Any) -> tuple[int, Json]:
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        content_type = (self.headers.get("Content-Type") or "").partition(";")[0]
        target = _target(url.path.strip("/").split("/"))
        body = _decoded(content, content_type, self.command)
        name = target.name or body["metadata"]["name"]
        place = Place(target.kind.plural, target.namespace, name)
        status = 500
        try:
            status, answer = self._carried_out(place, content_type, body, parse_qs(url.query))
        except Refusal as refusal:
            status = refusal.status
            raise
        finally:
            request = Request(self.command, place.plural, name, content_type, body, status)
            self.served.requests.append(request)
        return status, answer

    def _carried_out(
        self, place: Place, content_type: str, body: Json, query: dict[str, list[str]]
    ) -> tuple[int, Json]:
        state = self.served.state
        if self.command == "DELETE":
            return 200, state.delete(place)
        if self.command == "POST":
            return 201, state.create(place, body)
        if self.command == "PUT":
            return 200, state.replace(place, body)
        if content_type == APPLY:
            manager, force = query["fieldManager"][0], query.get("force", [""])[0] == "true"
            return 200, state.apply(place, manager, body, force=force)
        return 200, state.patch(place, content_type, body)


def _target(parts: list[str]) -> _Target:
    """Read the path of an object or a list: api/v1/… or apis/group/version/…, with or without namespace."""
    rest = parts[2:] if parts[0] == "api" else parts[3:]
    version = "/".join(parts[1 : len(parts) - len(rest)])
    namespace = ""
    if len(rest) > 2 and rest[0] == "namespaces":
        namespace, rest = rest[1], rest[2:]
    for kind in KINDS:
        if rest and (kind.group_version, kind.plural) == (version, rest[0]) and len(rest) <= 2:
            return _Target(kind, namespace, rest[1] if len(rest) == 2 else "")
    raise Refusal(404, "NotFound", f"the server could not find the requested resource: {'/'.join(parts)}")


def _decoded(content: bytes, content_type: str, method: str) -> Json:
    if method == "DELETE" or not content:
        return {}
    found = decode_secret(content) if content_type == PROTOBUF else json.loads(content)
    assert isinstance(found, dict)
    return found


def _wanted_labels(query: dict[str, list[str]]) -> dict[str, str]:
    selector = query.get("labelSelector", [""])[0]
    return dict(pair.split("=", 1) for pair in selector.split(",") if "=" in pair)
