"""A namespace of a real cluster, by the commands that an operator uses: kubectl and helm."""

import json
import os
import shutil
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
CHART = HERE.parent.parent / "chart"
# Images are pulled, volumes are made, a lease runs out.
PATIENCE_S = 300.0
_COMMAND_S = 330.0


def why_not() -> str | None:
    """Return why the story cannot be told here, or None."""
    missing = [name for name in ("kubectl", "helm") if shutil.which(name) is None]
    if missing:
        return f"{' and '.join(missing)} not found"
    if not os.environ.get("KUBECONFIG"):
        return "KUBECONFIG is not set"
    unset = [name for name in ("IMAGE", "STORAGE_CLASS") if not os.environ.get(name)]
    if unset:
        return (
            f"{' and '.join(unset)} not set: IMAGE is the image under test as the cluster pulls it, with its tag, "
            "STORAGE_CLASS a class for ReadWriteMany"
        )
    return None


class Cluster:
    """One namespace; `kubectl` and `helm` run in it and return their output, or raise CalledProcessError."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace

    def kubectl(self, *arguments: str, text: str | None = None) -> str:
        """Run kubectl."""
        return _run("kubectl", "--namespace", self.namespace, *arguments, text=text)

    def helm(self, *arguments: str) -> str:
        """Run helm."""
        return _run("helm", "--namespace", self.namespace, *arguments)

    def ask(self, service: str, port: int, path: str) -> Any:
        """Ask a service through the API server; returns its JSON."""
        base = f"/api/v1/namespaces/{self.namespace}/services/{service}:{port}/proxy"
        return json.loads(self.kubectl("get", "--raw", base + path))

    def pods(self, selector: str) -> list[str]:
        """Return the names of running pods."""
        found = json.loads(self.kubectl("get", "pods", "--selector", selector, "--output", "json"))
        return [
            pod["metadata"]["name"]
            for pod in found["items"]
            if pod["status"]["phase"] == "Running" and "deletionTimestamp" not in pod["metadata"]
        ]


@contextmanager
def namespace() -> Iterator[Cluster]:
    """Make a namespace; it goes with all that is in it."""
    cluster = Cluster(f"oase-agent-test-{uuid.uuid4().hex[:8]}")
    _run("kubectl", "create", "namespace", cluster.namespace)
    try:
        yield cluster
    finally:
        print(cluster.kubectl("get", "pods,leases,pvc", "--output", "wide"))  # pytest shows it with a failure
        _run("kubectl", "delete", "namespace", cluster.namespace, "--wait=false")


def wait_for(is_so: Callable[[], bool], what: str) -> None:
    """Return when something holds; fails after PATIENCE_S with what was waited for."""
    deadline = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < deadline, what
        time.sleep(1)


def _run(*command: str, text: str | None = None) -> str:
    ended = subprocess.run(
        command, input=text, capture_output=True, text=True, check=False, timeout=_COMMAND_S
    )
    assert ended.returncode == 0, f"{' '.join(command)}: {ended.stderr}"
    return ended.stdout
