import asyncio
from typing import Any

import pytest
import structlog
from prometheus_client import CollectorRegistry

from schemas.framing import frame, unframe
from streams.encodings.errors import RegistryUnavailableError
from streams.encodings.gate import SchemaGate
from streams.encodings.patient_decoder import PatientDecoder
from streams.metrics import SchemaMetrics

VALUE = frame(42, b"x")


class FakeDecoder:
    """Knows a schema after as many failures as the test says."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.known: set[int] = set()

    def missing(self, value: bytes) -> int | None:
        """Return what must be learned."""
        framed = unframe(value)
        return None if framed is None or framed.schema_id in self.known else framed.schema_id

    def learn(self, schema_id: int) -> None:
        """Fail, or know it."""
        self.failures -= 1
        if self.failures >= 0:
            raise RegistryUnavailableError("connection refused")
        self.known.add(schema_id)

    def decode(self, value: bytes) -> object:
        """Return the value."""
        return value


class AbortError(Exception):
    """The process would have ended."""


def fail(error: BaseException) -> None:
    """End the run."""
    raise AbortError(str(error)) from error


class Gated:
    """A gate over a fake, with its metrics."""

    def __init__(self, failures: int, *, patience_seconds: float = 60.0) -> None:
        self.registry = CollectorRegistry()
        self.decoder = FakeDecoder(failures)
        self.is_rebalancing = False
        self.gate = SchemaGate(
            self.decoder,
            SchemaMetrics(self.registry),
            patience_seconds=patience_seconds,
            is_rebalancing=lambda: self.is_rebalancing,
            fail=fail,
            pause_seconds=0.0,
        )

    def requests(self, result: str) -> float | None:
        """Read the counter."""
        return self.registry.get_sample_value("insession_schema_requests_total", {"result": result})


@pytest.fixture(autouse=True)
def logged() -> Any:
    """Catch the log lines."""
    with structlog.testing.capture_logs() as entries:
        yield entries


async def test_a_value_of_a_known_schema_passes_at_once() -> None:
    """JSON, tombstones and known schemas wait for nothing."""
    gated = Gated(failures=0)
    gated.decoder.known.add(42)
    for value in (VALUE, b"{}", None):
        assert await gated.gate.opened(value)
    assert gated.requests("answered") == 0


async def test_the_input_waits_until_the_registry_is_back(logged: Any) -> None:
    """Every failure is a log line and a count; the record passes when its schema is here."""
    gated = Gated(failures=3)
    assert await gated.gate.opened(VALUE)
    assert [entry["event"] for entry in logged] == ["schema_awaited"] * 3 + ["schema_learned"]
    assert (gated.requests("failed"), gated.requests("answered")) == (3, 1)
    assert gated.gate.awaited is None
    assert gated.registry.get_sample_value("insession_schema_awaited") == 0


async def test_the_worker_ends_without_an_acknowledgement_when_patience_does() -> None:
    """A restart replays the record; it becomes no dead letter."""
    with pytest.raises(AbortError, match="connection refused"):
        await Gated(failures=10**6, patience_seconds=0.0).gate.opened(VALUE)


async def test_a_rebalance_is_not_held_up() -> None:
    """The record is let go: it comes again, here or at another worker; what is awaited meanwhile can be asked."""
    gated = Gated(failures=10**6)
    waiting = asyncio.ensure_future(gated.gate.opened(VALUE))
    await asyncio.sleep(0)
    assert gated.gate.awaited == 42
    gated.is_rebalancing = True
    assert not await waiting
    assert gated.gate.awaited is None


async def test_a_bug_in_asking_ends_the_worker() -> None:
    """It would come again at every attempt."""
    gated = Gated(failures=0)

    def broken(_: int) -> None:
        raise RuntimeError("bug")

    gated.decoder.learn = broken  # type: ignore[method-assign]
    with pytest.raises(AbortError, match="bug"):
        await gated.gate.opened(VALUE)


def test_a_thread_waits_by_itself() -> None:
    """The catalog's follower has nothing else to do than to wait for its schema."""
    decoder = FakeDecoder(failures=2)
    assert PatientDecoder(decoder, patience_seconds=60, fail=fail, pause_seconds=0).decode(VALUE) == VALUE
    with pytest.raises(AbortError):
        PatientDecoder(FakeDecoder(failures=9), patience_seconds=0, fail=fail).decode(VALUE)


def test_a_thread_that_is_closed_waits_no_longer() -> None:
    """The process ends at once, registry or not."""
    patient = PatientDecoder(FakeDecoder(failures=10**6), patience_seconds=10**6, fail=fail, pause_seconds=10**6)
    patient.close()
    with pytest.raises(ValueError, match="not here before the end"):
        patient.decode(VALUE)
