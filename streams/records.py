"""Records on their way: as read from a topic, and as sent to one."""

from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from msgspec import Struct

from schemas.state import InputPosition
from schemas.tracing import TraceContext
from schemas.validation import Rejection


@dataclass(frozen=True, slots=True)
class Undecodable:
    """Why a Kafka client could not decode a record as it is: it is dead-lettered, whatever else it holds.

    kept: `all`, though a header's name may be spelled with escapes; `no_headers`; or the value is what was `encoded`,
    the record or its batch as it lies in Kafka's log.
    """

    detail: str
    kept: Literal["all", "no_headers", "encoded"] = "all"


class InputRecord(Struct, frozen=True, gc=False):
    """A record as it was read from an input topic; time_ms is its timestamp, Unix milliseconds.

    trace: our own span over this record; None = no trace. undecodable: None = it was decoded as it is.
    """

    position: InputPosition
    key: bytes | None
    value: bytes | None
    time_ms: int
    headers: Sequence[tuple[str, bytes]] = ()
    trace: TraceContext | None = None
    undecodable: Undecodable | None = None

    @property
    def rejection(self) -> Rejection | None:
        """Return why the record is dead-lettered, whatever else it holds."""
        return None if self.undecodable is None else Rejection("undecodable", self.undecodable.detail)


class OutputRecord(Struct, frozen=True, gc=False):
    """One record on its way to Kafka; partition None = by the key."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]] = ()
    partition: int | None = None


class RecordSink(Protocol):
    """Where records go: Kafka, or a list in tests and replay."""

    async def send(self, record: OutputRecord) -> Awaitable[Any]:
        """Hand a record over; the result is done when it is safe, and fails when it cannot be."""
