"""`/metrics` for Prometheus."""

import time
from collections.abc import Callable
from typing import Final

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

METRICS_SECONDS: Final = 1.0
"""For so long a scrape is given to whoever asks again."""


class MetricsPage:
    """Answers Prometheus; from the web port's thread only."""

    def __init__(self, registry: CollectorRegistry, clock: Callable[[], float] = time.monotonic) -> None:
        self._registry = registry
        self._clock = clock
        self._scraped: tuple[float, bytes] | None = None

    def add_to(self, server: web.Application) -> None:
        """Register the routes; before the server starts."""
        server.router.add_get("/metrics", self._metrics)

    def metrics(self) -> bytes:
        """Return the metrics in Prometheus's text format, at most `METRICS_SECONDS` old."""
        now_seconds = self._clock()
        if self._scraped is None or now_seconds - self._scraped[0] >= METRICS_SECONDS:
            self._scraped = now_seconds, generate_latest(self._registry)
        return self._scraped[1]

    async def _metrics(self, _request: web.Request) -> web.Response:
        return web.Response(body=self.metrics(), headers={"Content-Type": CONTENT_TYPE_LATEST})
