"""Records on their way: as read from a topic, and as sent to one."""

import asyncio
from collections.abc import Callable, Generator, Sequence
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


class Delivery:
    """What becomes of one write: it settles once, as safe or as failed. Awaiting it waits for that, and may raise.

    Every record has one, so it is no future: whoever waits for many is called back, without a turn of the loop each.

    topic, key: of the record, for whoever has to name it. offset: where it lies in its partition; -1 = not told.
    """

    __slots__ = ("_error", "_is_settled", "_waiting", "key", "offset", "topic")

    def __init__(self, topic: str, key: bytes | None) -> None:
        self.topic = topic
        self.key = key
        self.offset = -1
        self._error: Exception | None = None
        self._is_settled = False
        self._waiting: list[Callable[[Delivery], None]] | None = None

    @property
    def is_settled(self) -> bool:
        """Return whether it is known what became of it."""
        return self._is_settled

    @property
    def error(self) -> Exception | None:
        """Return why it failed; None where it has not."""
        return self._error

    def settle(self, error: Exception | None = None) -> None:
        """Tell whoever waits, in this call; what comes after the first time is of no account."""
        if self._is_settled:
            return
        self._error, self._is_settled = error, True
        waiting, self._waiting = self._waiting, None
        for callback in waiting or ():
            callback(self)

    def then(self, callback: Callable[["Delivery"], None]) -> None:
        """Call back when it is settled; at once where it is already."""
        if self._is_settled:
            callback(self)
        elif self._waiting is None:
            self._waiting = [callback]
        else:
            self._waiting.append(callback)

    def __await__(self) -> Generator[Any, None, None]:
        if not self._is_settled:
            settled: asyncio.Future[None] = asyncio.get_running_loop().create_future()

            def wake(_: "Delivery") -> None:
                if not settled.done():
                    settled.set_result(None)

            self.then(wake)
            yield from settled
        if self._error is not None:
            raise self._error


def delivered() -> Delivery:
    """Return what is safe already."""
    delivery = Delivery("", None)
    delivery.settle()
    return delivery


class RecordSink(Protocol):
    """Where records go: Kafka, or a list in tests and replay."""

    def send(self, record: OutputRecord) -> Delivery:
        """Hand a record over, behind those sent before it to the same partition; raises where it is not taken."""
