"""Chooses where spans go: to the collector that is set, or nowhere, and then nothing of OpenTelemetry is imported."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from agents.settings import TracingSettings
from schemas.errors import UsageError

if TYPE_CHECKING:
    from agents.worker.open_telemetry import OpenTelemetrySpans


def collector_spans(settings: TracingSettings) -> "OpenTelemetrySpans | None":
    """Return the way to the collector. Raises UsageError where the extra is not installed."""
    if settings.endpoint is None:
        return None
    try:
        from agents.worker.open_telemetry import to_collector  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise UsageError(f"tracing.endpoint: {error}; pip install 'insession[tracing]'") from error
    return to_collector(settings.endpoint)


@asynccontextmanager
async def exporting(spans: "OpenTelemetrySpans | None") -> AsyncIterator[None]:
    """Send what is left at the end."""
    try:
        yield
    finally:
        if spans is not None:
            await asyncio.to_thread(spans.close)
