"""`/metrics`, `/healthz` and `/readyz`: what is known without the event loop that answers the clicks."""

import time
from collections.abc import Callable
from typing import Final

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from agents.web.pulse import Probe, Pulse

METRICS_SECONDS: Final = 1.0
"""For so long a scrape is given to whoever asks again."""


class WorkerPages:
    """Answers probes and Prometheus; from the web port's thread only."""

    def __init__(self, registry: CollectorRegistry, pulse: Pulse, clock: Callable[[], float] = time.monotonic) -> None:
        self._registry = registry
        self._pulse = pulse
        self._clock = clock
        self._scraped: tuple[float, bytes] | None = None

    def add_to(self, server: web.Application) -> None:
        """Register the routes; before the server starts."""
        server.router.add_get("/metrics", self._metrics)
        server.router.add_get("/healthz", self._healthz)
        server.router.add_get("/readyz", self._readyz)

    def metrics(self) -> bytes:
        """Return the metrics in Prometheus's text format, at most `METRICS_SECONDS` old."""
        now_seconds = self._clock()
        if self._scraped is None or now_seconds - self._scraped[0] >= METRICS_SECONDS:
            self._scraped = now_seconds, generate_latest(self._registry)
        return self._scraped[1]

    async def _metrics(self, _request: web.Request) -> web.Response:
        return web.Response(body=self.metrics(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _healthz(self, _request: web.Request) -> web.Response:
        return _response(self._pulse.alive())

    async def _readyz(self, _request: web.Request) -> web.Response:
        return _response(self._pulse.ready())


def _response(probe: Probe) -> web.Response:
    good, why = probe
    return web.Response(text=why, status=200 if good else 503)
