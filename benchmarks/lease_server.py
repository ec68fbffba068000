"""The API server of a cluster, as far as Leases need it, in a process of its own."""

from contextlib import AsyncExitStack
from pathlib import Path

from tests.coordination.lease_api import LeaseServer, serving_leases
from tests.unit.source_servers import Authority

NAMESPACE = "benchmark"


class Leases:
    """Leases over TLS; `start` returns the port. The authority's file is written to `directory`."""

    def __init__(self, directory: str) -> None:
        self._directory = Path(directory)
        self._server = LeaseServer(NAMESPACE)
        self._stack = AsyncExitStack()

    async def start(self) -> int:
        """Listen."""
        tls = Authority(self._directory).server_context("127.0.0.1")
        await self._stack.enter_async_context(serving_leases(self._server, tls))
        return self._server.port

    async def stop(self) -> None:
        """Close."""
        await self._stack.aclose()

    def requests(self) -> dict[str, int]:
        """Return how many requests of each verb there were, of all replicas together."""
        counts: dict[str, int] = {}
        for (_, verb), count in self._server.requests.items():
            counts[verb] = counts.get(verb, 0) + count
        return counts
