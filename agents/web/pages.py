"""`/metrics`, `/healthz` and `/readyz`: what is known without the event loop that answers the clicks."""

import time
from collections.abc import Callable
from typing import Protocol

from aiohttp import web
from prometheus_client import CollectorRegistry

from agents.web.metrics_page import MetricsPage
from agents.web.pulse import Probe


class Probes(Protocol):
    """Says how a process is; see `Pulse`."""

    def alive(self) -> Probe:
        """Return whether it makes progress."""

    def ready(self) -> Probe:
        """Return whether it does its work."""


class ProbePages(MetricsPage):
    """Answers probes, too; from the web port's thread only."""

    def __init__(
        self, registry: CollectorRegistry, probes: Probes, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(registry, clock)
        self._probes = probes

    def add_to(self, server: web.Application) -> None:
        """Register the routes; before the server starts."""
        super().add_to(server)
        server.router.add_get("/healthz", self._healthz)
        server.router.add_get("/readyz", self._readyz)

    async def _healthz(self, _request: web.Request) -> web.Response:
        return _response(self._probes.alive())

    async def _readyz(self, _request: web.Request) -> web.Response:
        return _response(self._probes.ready())


def _response(probe: Probe) -> web.Response:
    good, why = probe
    return web.Response(text=why, status=200 if good else 503)
