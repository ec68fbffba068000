"""The admin server: `/healthz`, `/readyz`, `/metrics` and `/api/status`. It only looks."""

import dataclasses
from collections.abc import Callable

import orjson
from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest

from oase_agent.errors import ConfigError
from oase_agent.serve.queue_metrics import QueueMetrics
from oase_agent.serve.status import AgentStatus

# Prometheus text format: https://prometheus.io/docs/instrumenting/exposition_formats/
_METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class AdminServer:
    """Serves the status; `port` is the real one after `start`, also where 0 was asked for."""

    def __init__(self, status: Callable[[], AgentStatus], registry: CollectorRegistry) -> None:
        self._status = status
        self._registry = registry
        registry.register(QueueMetrics(status))
        self._runner: web.AppRunner | None = None
        self.port = 0

    async def start(self, host: str, port: int) -> None:
        """Listen; raises ConfigError if the address cannot be used."""
        application = web.Application()
        application.router.add_get("/healthz", self._healthz)
        application.router.add_get("/readyz", self._readyz)
        application.router.add_get("/metrics", self._metrics)
        application.router.add_get("/api/status", self._api_status)
        self._runner = web.AppRunner(application, access_log=None, handle_signals=False)
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port)
        try:
            await site.start()
        except OSError as error:
            await self.stop()
            raise ConfigError(
                (f"ADMIN_HOST and ADMIN_PORT: cannot listen on {host} port {port} ({error.strerror}).",)
            ) from error
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Close the server; running answers end."""
        if self._runner is not None:
            runner, self._runner = self._runner, None
            await runner.cleanup()

    async def _healthz(self, _request: web.Request) -> web.Response:
        return web.Response(text="alive\n")

    async def _readyz(self, _request: web.Request) -> web.Response:
        status = self._status()
        if status.is_ready:
            return web.Response(text="ready\n")
        return web.Response(status=503, text="".join(f"{reason}\n" for reason in status.unready))

    async def _metrics(self, _request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(self._registry), headers={"Content-Type": _METRICS_TYPE})

    async def _api_status(self, _request: web.Request) -> web.Response:
        status = self._status()
        document = {"ready": status.is_ready, **dataclasses.asdict(status)}
        return web.Response(body=orjson.dumps(document), content_type="application/json")
