"""One agent in a container as the compose file runs it: read-only, without capabilities, within 64 MiB."""

import asyncio
import json
import socket
import time
import uuid
from collections.abc import Mapping
from typing import Any

from tests.docker.engine import Engine

MEMORY = "64m"
_RESTRICTED = (
    "--read-only",
    "--tmpfs=/tmp",
    "--cap-drop=ALL",
    "--security-opt=no-new-privileges",
    f"--memory={MEMORY}",
    f"--memory-swap={MEMORY}",
    "--network=host",
    "--health-interval=1s",
)
_PATIENCE_S = 30.0

# What the reference's compose file passes, whether it has a value or not.
REFERENCE_ENVIRONMENT = {
    "TZ": "Asia/Tokyo",
    "DEFAULT_LANGUAGE": "ja",
    "LANGUAGE": "en",
    "EXASTRO_USERNAME": "",
    "EXASTRO_PASSWORD": "",
    "ITERATION": "10",
    "EXECUTE_INTERVAL": "3",
    "LOG_LEVEL": "INFO",
}


class Container:
    """A container and its named volume."""

    def __init__(self, engine: Engine, image: str) -> None:
        self._engine = engine
        self._image = image
        self._name = f"oase-agent-test-{uuid.uuid4().hex[:8]}"

    def start(self, environment: Mapping[str, str], *options: str) -> None:
        """Start the image's own command on the volume, which is made at the first start."""
        own = {"ADMIN_HOST": "127.0.0.1", "ADMIN_PORT": str(_free_port()), "SPOOL_MIN_FREE_BYTES": "1MiB"}
        given = {**REFERENCE_ENVIRONMENT, **environment, **own, "STORAGE_PATH": "/storage"}
        variables = [f"--env={name}={value}" for name, value in given.items()]
        volume = f"--volume={self._name}:/storage"
        where = ("--detach", f"--name={self._name}", volume, *_RESTRICTED, *variables, *options)
        self._engine("run", *where, self._image)

    async def stop(self) -> float:
        """Stop it as `docker stop` does, and return how many seconds that took."""
        began = time.monotonic()
        await asyncio.to_thread(self._engine, "stop", "--time=30", self._name)
        return time.monotonic() - began

    async def kill(self) -> None:
        """Kill it, and remove the container but not its volume."""
        await asyncio.to_thread(self._engine, "kill", self._name)
        await asyncio.to_thread(self._engine, "rm", self._name)

    def remove(self) -> None:
        """Remove the container and its volume, whatever state they are in."""
        log = self._engine.run("logs", self._name)
        print(log.stdout, log.stderr, sep="\n")  # pytest shows it with a failure
        self._engine.run("rm", "--force", self._name)
        self._engine.run("volume", "rm", self._name)

    async def healthy(self) -> None:
        """Wait until the engine finds it healthy. Raises TimeoutError."""
        async with asyncio.timeout(_PATIENCE_S):
            while (await self.state())["Health"]["Status"] != "healthy":
                await asyncio.sleep(0.2)

    async def state(self) -> dict[str, Any]:
        """Return what the engine knows of its state."""
        found: dict[str, Any] = (await asyncio.to_thread(self._engine.inspect, self._name))["State"]
        return found

    async def memory(self) -> str:
        """Return how much memory it takes now, of how much, as `docker stats` writes it."""
        stats = await asyncio.to_thread(
            self._engine, "stats", "--no-stream", "--format={{json .}}", self._name
        )
        return str(json.loads(stats)["MemUsage"])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
